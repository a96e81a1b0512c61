"""What the mouth's and the eyes' patches share: a slit between two flaps, and laying a patch into a frame."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.fill import smoothstep
from engine.render.texture import Pixels, Texture

Array = NDArray[np.floating]
Box = tuple[int, int, int, int]

PATCH_PIXELS = 200_000  # see `Texture`: a frame has nine of these


def mix(a: Array, b: Array, share: Array) -> Array:
    """`a` where `share` (h, w) is 0, `b` where it is 1."""
    return a + (b - a) * share[..., None]


def around(points: Array, margin: float, limits: Box) -> Box:
    """The box of whole px around points (N, 2), `margin` px larger, within `limits`; may be empty."""
    low, high = np.floor(points.min(0) - margin).astype(int), np.ceil(points.max(0) + margin).astype(int)
    x0, y0 = max(limits[0], low[0]), max(limits[1], low[1])
    return x0, y0, max(x0, min(limits[2], high[0])), max(y0, min(limits[3], high[1]))


def feather(width: int, height: int, rim: int) -> Array:
    """(height, width): 0 at the border, 1 from `rim` px inside on."""
    x = np.minimum(np.arange(width), np.arange(width)[::-1])
    y = np.minimum(np.arange(height), np.arange(height)[::-1])
    return (smoothstep(x / max(rim, 1))[None] * smoothstep(y / max(rim, 1))[:, None]).astype(np.float32)


def curve(points: Array, count: int) -> Array:
    """`count` points (count, 2) along a Catmull-Rom spline through `points` (N, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    at = np.linspace(0, len(points) - 1, count)
    i = np.minimum(at.astype(int), len(points) - 2)
    t = (at - i)[:, None]
    p0, p1, p2, p3 = (padded[i + k] for k in range(4))
    return p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))


@dataclass(frozen=True)
class Slit:
    """What opens between two contours that run from one corner to the other, as lips and lids do.

    Seen along the line through the corners: `at` px along it, the contours' heights in px across it, downward positive.
    Its middle is the cut between the upper flap and the lower; beyond the corners the two pass softly into each other.
    """

    origin: Array
    along: Array
    below: Array
    length: float
    at: Array
    upper: Array
    lower: Array

    @staticmethod
    def between(upper: Array, lower: Array) -> "Slit":
        """Of two contours (N, 2) px from the same corner to the same corner; where they cross, they meet midway."""
        middle = (upper + lower) / 2
        span = middle[-1] - middle[0]
        length = max(float(np.linalg.norm(span)), 1e-3)
        along = span / length
        below = np.array([-along[1], along[0]])
        top, bottom = (upper - middle[0]) @ below, (lower - middle[0]) @ below
        crossed = np.maximum(top - bottom, 0.0) / 2
        at = np.maximum.accumulate((middle - middle[0]) @ along)
        return Slit(middle[0], along, below, length, at, top - crossed, bottom + crossed)

    @property
    def gap(self) -> float:
        """The widest opening in px."""
        return float((self.lower - self.upper).max())

    def heights(self, points: Array) -> Array:
        """(..., 3) float32 at points (..., 2): px below the upper contour, below the lower, beyond the near corner."""
        away = points - self.origin
        at, height = away @ self.along, away @ self.below
        beyond = np.maximum(np.maximum(-at, at - self.length), 0.0)
        upper, lower = np.interp(at, self.at, self.upper), np.interp(at, self.at, self.lower)
        return np.stack([height - upper, height - lower, beyond], axis=-1).astype(np.float32)


def upper_share(heights: Array, soft: float) -> Array:
    """Share of the upper flap (...,), 1 above the cut and 0 below, from `Slit.heights`; `soft` px wide at the line."""
    below = (heights[..., 0] + heights[..., 1]) / 2
    return smoothstep(0.5 - below / (2.0 * (soft + 0.6 * heights[..., 2])))


def covered(heights: Array, soft: float, grown: float = 0.0) -> Array:
    """How much of a window `soft` px high the slit fills (...,), `grown` px larger; 0 where it is shut."""
    top = np.minimum(heights[..., 0] + grown, soft / 2)
    bottom = np.maximum(heights[..., 1] - grown, -soft / 2)
    return np.clip((top - bottom) / soft, 0.0, 1.0) * (heights[..., 2] <= 0)


def outside(polygon: Array, box: Box, unit: float) -> Array:
    """How far in px each px of `box` lies outside the polygon (N, 2); negative inside, (h, w)."""
    x0, y0, x1, y1 = box
    fine = max(1, round(200 / unit))
    mask = np.zeros(((y1 - y0) * fine, (x1 - x0) * fine), np.uint8)
    at = (polygon - [x0, y0] + 0.5) * fine - 0.5
    cv2.fillPoly(mask, [np.round(at * 256).astype(np.int32)], 1, cv2.LINE_8, 8)
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    within = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return cv2.resize((away - within) / fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)


def flaps(upper: Texture, lower: Texture, above: Array, under: Array, share: Array) -> Array:
    """Two textures read at `above` and `under` (h, w, 2) px, mixed by `share` of the upper: float (h, w, 3)."""
    last = int(np.flatnonzero((share > 0).any(axis=1)).max(initial=-1)) + 1
    first = int(np.flatnonzero((share < 1).any(axis=1)).min(initial=len(share)))
    whole = np.empty((*share.shape, 3), np.float32)
    whole[:first] = upper.read(above[:first]) if first else 0
    whole[last:] = lower.read(under[last:]) if last < len(share) else 0
    if first < last:
        low = lower.read(under[first:last]).astype(np.float32)
        whole[first:last] = mix(low, upper.read(above[first:last]).astype(np.float32), share[first:last])
    return whole


def blend(frame: Pixels, patch: Array, box: Box, limits: Box, rim: int) -> None:
    """Lay `patch` (h, w, 3), 0 … 255, over `box` of `frame`, which shows `limits`; soft along its `rim` px."""
    x0, y0, x1, y1 = (box[i] - limits[i % 2] for i in range(4))
    view = frame[y0:y1, x0:x1]
    mixed = mix(view.astype(np.float32), patch, feather(x1 - x0, y1 - y0, rim))
    view[:] = mixed if view.dtype != np.uint8 else np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
