"""Draws surface samples of the mouth proxy into small RGBA layers with a z-buffer. It does not place them in a face.

A layer is a picture in millimetres of the face plane: `Layer.rgba` premultiplied linear RGB and coverage, with the
affine from millimetres to its pixels, and `Layer.depth`, how deep (z, mm) its surface lies at each column.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.proxy import Surface

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """`rgba` (h, w, 4) float32; pixel (x, y)'s centre lies at ((x, y) - origin) / scale mm; `depth` (w,) mm."""

    rgba: Array
    depth: Array
    origin: tuple[float, float]
    scale: float


def draw(
    surface: Surface,
    rotation: Array,
    scale: float,
    span: tuple[float, float, float, float],
    sub: int = 2,
    fade: float = 30.0,
) -> Layer:
    """Seen orthographically after `rotation` (3, 3), at `scale` px per mm, over `span` = x0, y0, x1, y1 in mm.

    Light falls off into the mouth by e for each `fade` mm. `sub` splits a pixel that many times each way.
    """
    x0, y0, x1, y1 = span
    w, h = int(np.ceil((x1 - x0) * scale)), int(np.ceil((y1 - y0) * scale))
    seen = surface.points @ rotation.T.astype(np.float32)
    column = np.floor((seen[:, 0] - x0) * scale * sub).astype(np.int32)
    row = np.floor((seen[:, 1] - y0) * scale * sub).astype(np.int32)
    inside = np.flatnonzero((column >= 0) & (column < w * sub) & (row >= 0) & (row < h * sub))
    # In steps of 1/400 mm they are sorted in linear time.
    near = np.clip((seen[inside, 2] + 80.0) * 400.0, 0, 65535).astype(np.uint16)
    order = inside[np.argsort(near, kind="stable")]
    canvas = np.zeros((h * sub * w * sub, 5), np.float32)
    # The last sample written to a pixel is the nearest, so find which one that is before touching colours.
    winner = np.full(h * sub * w * sub, -1, np.int64)
    winner[row[order] * (w * sub) + column[order]] = order
    hit = np.flatnonzero(winner >= 0)
    chosen = winner[hit]
    dim = np.exp(np.clip(surface.points[chosen, 2], -60.0, 0.0) / fade)
    warm = 1.0 + (1.0 - dim[:, None]) * np.array([0.20, -0.04, -0.08], np.float32)  # lit by the mouth's red walls
    canvas[hit, :3] = surface.color[chosen] * dim[:, None] * warm
    canvas[hit, 3] = 1.0
    canvas[hit, 4] = seen[chosen, 2]
    big = canvas.reshape(h * sub, w * sub, 5)
    rgba = cv2.resize(big[:, :, :4], (w, h), interpolation=cv2.INTER_AREA)
    weight = big[:, :, 3].sum(0)
    nearest = np.where(big[:, :, 3] > 0, big[:, :, 4], -np.inf).max(0, initial=-np.inf)
    nearest = nearest.reshape(w, sub).max(1)
    known = np.flatnonzero(weight.reshape(w, sub).sum(1) > 0)
    profile = np.interp(np.arange(w), known, nearest[known]).astype(np.float32)
    profile = cv2.blur(profile[None], (max(3, int(2 * scale) | 1), 1), borderType=cv2.BORDER_REPLICATE)[0]
    return Layer(rgba, profile, (-x0 * scale - 0.5, -y0 * scale - 0.5), scale)
