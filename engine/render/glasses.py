"""Glasses: told by the bridge across the nose, so that their rims stay straight while lids come down behind them.

Skin has no thin line across the nose between the eyes. Of some 60 portraits the 27 with the clearest line there were
looked at: 15 with glasses are told, three in faint prints are not, and one dark engraving without is. Moves nothing.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.mouth import LUMINANCE
from engine.render.texture import Pixels

Array = NDArray[np.floating]

BRIDGE = 0.09  # of the light about it: how much a bridge differs from skin, at least
THIN = 0.036  # of the unit: a line differs from what is so far to both sides
FINE = 0.006  # of the unit: steps in which is looked
CLEAR, HIGH = 0.035, 0.30  # of the unit above the lid: where a rim may be
WIDER = 0.25  # of the eye's width: how far beyond its corners a rim goes on
USUAL, SEEN = 0.12, 0.08  # where it is where it differs by less than that from skin
KEPT = 0.02  # below a rim from which on nothing moves


def lines(rgb: Pixels, foot: Array, up: Array, heights: Array, unit: float) -> Array:
    """(N, len(heights)): how much thin lines differ from what is around, of the light there; from points `foot` (N, 2)
    px upward along `up` (2,), at `heights` px."""
    at = (foot[:, None] + heights[None, :, None] * up).astype(np.float32)
    sigma = max(0.5, FINE * unit)
    reach = 4 * sigma + 2
    corner = np.clip(np.floor(at.min((0, 1)) - reach), 0, np.array(rgb.shape[1::-1]) - 1).astype(int)
    last = np.ceil(at.max((0, 1)) + reach).astype(int) + 1
    near = rgb[corner[1] : max(last[1], corner[1] + 1), corner[0] : max(last[0], corner[0] + 1)]
    at -= corner.astype(np.float32)
    soft = cv2.GaussianBlur(near, (0, 0), sigma)
    light = cv2.remap(soft, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32) @ LUMINANCE
    step = round(THIN / FINE)
    found = np.zeros_like(light)
    found[:, step:-step] = light[:, step:-step] - (light[:, : -2 * step] + light[:, 2 * step :]) / 2
    return np.abs(found) / max(float(light.mean()), 20.0)


def wears(rgb: Pixels, landmarks: Array) -> bool:
    """Whether a face with 68 landmarks (68, 3) px has glasses on."""
    unit = float(np.linalg.norm(landmarks[45] - landmarks[36]))
    left, right = landmarks[39, :2], landmarks[42, :2]
    span = right - left
    up = np.array([span[1], -span[0]]) / max(float(np.linalg.norm(span)), 1e-6)
    foot = left + np.linspace(0.3, 0.7, 9)[:, None] * span
    seen = lines(rgb, foot, up, np.arange(-0.22, 0.30, FINE) * unit, unit)
    peak, reach = int(seen.mean(0).argmax()), round(0.06 / FINE)  # a bridge may be bent
    return bool(seen[:, max(0, peak - reach) : peak + reach + 1].max(1).min() > BRIDGE)


def upper_rim(rgb: Pixels, lid: Array, unit: float) -> Array:
    """(N, 2) px above an upper lid's contour `lid` (N, 2) px from corner to corner, from which on nothing moves.

    A rim is straight or, with round glasses, an arch, and goes on beyond the eye's corners, where creases and lashes
    end.
    """
    span = lid[-1] - lid[0]
    up = np.array([span[1], -span[0]]) / max(float(np.linalg.norm(span)), 1e-6)
    arch, at = (lid - lid[0]) @ up / unit, (lid - lid[0]) @ span / (span @ span)
    across = np.linspace(-WIDER, 1 + WIDER, 17)
    heights = np.arange(float(arch.max()) + CLEAR, float(arch.max()) + HIGH, FINE)
    seen = cv2.blur(lines(rgb, lid[0] + across[:, None] * span, up, heights * unit, unit), (3, 1))
    slope, bend = (v.ravel()[:, None] for v in np.meshgrid(np.linspace(-0.15, 0.15, 17), np.linspace(-0.3, 0.05, 8)))
    best, found = SEEN, np.array([0.0, 0.0, float(arch.max()) + USUAL])
    for start in heights:
        shapes = start + slope * (across - 0.5) + bend * (across - 0.5) ** 2
        rows = np.rint((shapes - heights[0]) / FINE).astype(int)
        inside = (rows >= 0) & (rows < len(heights))
        score = (seen[np.arange(len(across)), np.clip(rows, 0, len(heights) - 1)] * inside).mean(1)
        if score.max() > best:
            k = int(score.argmax())
            best, found = float(score.max()), np.array([bend[k, 0], slope[k, 0], start])
    above = np.polyval(found, at - 0.5) - KEPT
    return lid[0] + at[:, None] * span + (np.maximum(above, arch + CLEAR) * unit)[:, None] * up
