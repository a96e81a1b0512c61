"""What the mouth's and the eyes' patches share: a cut line between two flaps, and sampling a texture along a field."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.fill import smoothstep

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Box = tuple[int, int, int, int]


def sample(texture: Bytes, where: Array, corner: tuple[int, int] = (0, 0)) -> Bytes:
    """`texture` (h, w[, C]) whose first pixel lies at `corner` px, read at picture px `where` (…, 2). Sharp (cubic)."""
    where = where - np.array(corner, np.float32)
    return cv2.remap(texture, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


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
class Cut:
    """A line from one corner of a mouth or eye to the other, above which the upper flap shows and below it the lower.

    Beyond the corners the two flaps pass softly into each other.
    """

    origin: Array
    along: Array
    below: Array
    length: float
    at: Array
    height: Array

    @staticmethod
    def between(upper: Array, lower: Array) -> "Cut":
        """Midway between two contours (N, 2) px that run from the same corner to the same corner."""
        middle = (upper + lower) / 2
        span = middle[-1] - middle[0]
        length = max(float(np.linalg.norm(span)), 1e-3)
        along = span / length
        below = np.array([-along[1], along[0]])
        if (lower - upper).sum(0) @ below < 0 and np.abs((lower - upper) @ below).max() > 0.2 * length:
            below = -below
        away = middle - middle[0]
        return Cut(middle[0], along, below, length, np.maximum.accumulate(away @ along), away @ below)

    def sides(self, points: Array) -> tuple[Array, Array]:
        """Of points (..., 2) px: px below the line (negative above), and px beyond the nearer corner (0 between them)."""
        away = points - self.origin
        at = away @ self.along
        beyond = np.maximum(np.maximum(-at, at - self.length), 0.0)
        height = np.interp(at, self.at, self.height)
        return (away @ self.below - height).astype(np.float32), beyond.astype(np.float32)

    def upper(self, points: Array, soft: float) -> Array:
        """Share of the upper flap at points (..., 2) px: 1 above, 0 below, `soft` px wide at the line."""
        below, beyond = self.sides(points)
        return share(below, beyond, soft)


def share(below: Array, beyond: Array, soft: float) -> Array:
    """See `Cut.upper`."""
    return smoothstep(0.5 - below / (2.0 * (soft + 0.6 * beyond)))


def cover(polygon: Array, box: Box, blur: float) -> Array:
    """How much of each px of `box` the polygon (N, 2) px covers, (h, w) in [0, 1]."""
    x0, y0, x1, y1 = box
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    at = np.round((polygon - [x0, y0]) * 256).astype(np.int32)
    cv2.fillPoly(mask, [at], 255, cv2.LINE_AA, 8)
    covered = mask.astype(np.float32) / 255
    return cv2.GaussianBlur(covered, (0, 0), blur) if blur > 0.3 else covered
