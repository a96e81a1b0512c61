"""The iris of one eye: where it is in the portrait, and the eyeball without it, so that it can look elsewhere.

Two layers, made once: the white of the eye, continued where the iris hides it, and the iris' disc, completed where lids
hide it. An eyeball that turns moves the disc over the white; lids and lashes are drawn over both in `eyes.py`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.fill import pull_push, smoothstep
from engine.render.texture import Pixels, Texture

Array = NDArray[np.floating]

RADIUS = 0.39  # of the eye's width: from the eyeball's centre of rotation to the iris (10.5 mm of 27)
RANGE = (35.0, 25.0)  # degrees: as far as eyes turn sideways, and up or down
EDGE = (1.0, 1.16)  # of the radius: where the disc's soft edge begins and ends
SIZES = (0.12, 0.32)  # of the eye's width: an iris' radius; what is found outside is none
WHITE = 0.012  # of the eye's width², as px: with less white in sight nothing says how the eye would look elsewhere
ARC = np.radians(40)  # the rim is looked for this far above and below the horizontal: lids hide the rest
BY_THE_LID = 0.1  # how much such a pixel says about the white
SHUN = 0.06  # of the eye's width: pixels this close to a lid show its lashes and its shadow


def limited(gaze: Array) -> Array:
    """Degrees (2,) to the picture's right and up, as far as eyes can turn."""
    return np.clip(np.asarray(gaze, np.float64), -np.array(RANGE), RANGE)


class Iris:
    """The disc of one eye and the white behind it. `read` gives the eyeball with the disc moved."""

    def __init__(
        self, own: Pixels, away: Array, centre: Array, radius: float, width: float, pixels: int, drawn: bool
    ) -> None:
        """`own` (h, w, 3) of the eye, `away` (h, w) px outside of its opening, the disc as `found`."""
        self.centre, self.radius, self.width = centre, radius, width
        height, length = away.shape
        x, y = np.meshgrid(np.arange(length) - centre[0], np.arange(height) - centre[1])
        distance = np.hypot(x, y) / radius
        inside = away < -SHUN * width
        self.white = Texture(self._kind(own, continued(own, away, inside, distance)), pixels, drawn)
        self.disc = Texture(self._kind(own, completed(own, inside, x, y, distance)), pixels, drawn)
        alpha = 1.0 - smoothstep((distance - EDGE[0]) / (EDGE[1] - EDGE[0]))
        self.alpha = Texture(alpha.astype(np.float32), pixels, drawn)

    @staticmethod
    def _kind(own: Pixels, made: Array) -> Pixels:
        return np.clip(np.rint(made), 0, 255).astype(np.uint8) if own.dtype == np.uint8 else made

    @staticmethod
    def of(
        own: Pixels, away: Array, guess: Array, radius: float, width: float, pixels: int, drawn: bool
    ) -> "Iris | None":
        """The iris near a `guess` (2,) px with about that radius; None where the picture does not show one."""
        if not SIZES[0] < radius / width < SIZES[1]:
            return None
        centre, radius = found(own, away, guess, radius)
        x, y = np.meshgrid(np.arange(away.shape[1]) - centre[0], np.arange(away.shape[0]) - centre[1])
        white = (away < -SHUN * width) & (np.hypot(x, y) > EDGE[1] * radius)
        if white.sum() < WHITE * width**2 or not (away < -1)[(np.hypot(x, y) < radius)].any():
            return None
        return Iris(own, away, centre, radius, width, pixels, drawn)

    def shift(self, gaze: Array) -> Array:
        """(2,) source px by which the disc moves when the eye turns by `gaze` degrees, to the right and up."""
        turn = np.radians(limited(gaze))
        return RADIUS * self.width * np.sin(turn) * [1.0, -1.0]

    def read(self, where: Array, gaze: Array) -> Array:
        """The eyeball (h, w, 3) at `where` (h, w, 2) px of `own`, turned by `gaze`, 0 … 255 as float32."""
        flat = np.cos(np.radians(limited(gaze)))  # a disc seen from the side
        moved = ((where - self.centre - self.shift(gaze)) / flat + self.centre).astype(np.float32)
        white, disc = self.white.read(where).astype(np.float32), self.disc.read(moved).astype(np.float32)
        alpha = np.clip(self.alpha.read(moved), 0.0, 1.0)[..., None]
        return np.asarray(white + (disc - white) * alpha, np.float32)


def found(own: Pixels, away: Array, guess: Array, radius: float) -> tuple[Array, float]:
    """Centre (2,) px and radius of the circle near the guess across which it gets lighter the most outward.

    After Daugman (1993), on the arcs left and right that lids do not hide. Red tells iris from white best.
    """
    grey = cv2.GaussianBlur(np.ascontiguousarray(own[..., 0], np.float32), (0, 0), max(0.5, 0.06 * radius))
    angles = np.concatenate([np.linspace(-ARC, ARC, 17), np.pi + np.linspace(-ARC, ARC, 17)])
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    best: tuple[float, Array, float] = (-np.inf, guess, radius)
    for scale in (0.88, 0.94, 1.0, 1.06):
        for dx in np.linspace(-0.4, 0.4, 17):
            for dy in np.linspace(-0.25, 0.25, 7):
                centre, size = guess + radius * np.array([dx, dy]), scale * radius
                inner, outer = centre + 0.86 * size * rays, centre + 1.14 * size * rays
                seen = _at(away, outer) < -0.5
                if seen[:17].sum() < 4 or seen[17:].sum() < 4:
                    continue
                step = (_at(grey, outer) - _at(grey, inner))[seen]
                likely = 1.0 - 0.25 * float(np.hypot(dx, dy)) - abs(scale - 1.0)
                score = float(np.clip(step, -20, 60).mean()) * likely
                if score > best[0]:
                    best = score, centre, size
    return best[1], best[2]


def _at(values: Array, points: Array) -> Array:
    """Values (h, w) at points (n, 2) px."""
    at = points.astype(np.float32)[None]
    return cv2.remap(values.astype(np.float32), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def continued(own: Pixels, away: Array, inside: NDArray[np.bool_], distance: Array) -> Array:
    """`own` (h, w, 3) float32 with the white of the eye in place of the disc. Pixels along the lids, in their shadow,
    stay as they are and say little about the rest."""
    kept = smoothstep((distance - EDGE[1]) / 0.08) * (away < -0.5)
    filled = pull_push(own, kept * np.where(inside, 1.0, BY_THE_LID))
    return filled + (own.astype(np.float32) - filled) * kept[..., None]


def completed(own: Pixels, seen: NDArray[np.bool_], x: Array, y: Array, distance: Array) -> Array:
    """`own` (h, w, 3) float32 with the disc whole: where it is not `seen`, its mirror image below or above; where that
    is hidden as well, what it is like at this distance from the centre."""
    picture = own.astype(np.float32)
    known = seen & (distance < EDGE[1])
    if not known.any():
        return picture
    centre = np.array([-x[0, 0], -y[0, 0]])
    mirrored_at = np.stack([x + centre[0], centre[1] - y], axis=-1).astype(np.float32)
    mirrored = cv2.remap(picture, mirrored_at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    there = cv2.remap(known.astype(np.float32), mirrored_at, None, cv2.INTER_LINEAR, borderValue=0)
    rings = np.minimum((distance * 8).astype(int), 15)
    sums = np.stack([np.bincount(rings[known], picture[..., c][known], 16) for c in range(3)], axis=-1)
    counts = np.bincount(rings[known], minlength=16).astype(np.float64)
    rows = np.flatnonzero(counts)
    at = np.clip(distance * 8 - 0.5, rows[0], rows[-1])
    means = sums[rows] / counts[rows, None]
    radial = np.stack([np.interp(at, rows, means[:, c]) for c in range(3)], axis=-1)
    hidden = radial + (mirrored - radial) * there[..., None]
    soft = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 1.0) * seen
    return np.asarray(hidden + (picture - hidden) * soft[..., None], np.float32)
