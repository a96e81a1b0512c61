"""The mouth's square, and Intermediate Style Patterns: what a reference frame's mouth shows, under this frame's pose.

The square is fixed to the skull, so that a mouth moves within it and it does not move with the mouth. A pattern is a
reference's square; for a frame its lips are warped onto the frame's 68 landmarks as two flaps, and between them teeth
stay where skull and jaw carry them. Colours are matched to the portrait's skin. The paper (section 3.3) warps the whole
neutral image to the reference's pose and expression; here the head is the portrait's own, warped by the renderer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import safetensors
from numpy.typing import NDArray

from engine.errors import InputError
from engine.render.field import Grid, upsample
from engine.render.fill import smoothstep
from engine.render.head import Frame
from engine.render.lips import Lips
from engine.render.patch import Box, Slit, around, covered, upper_share
from engine.scattered import interpolation
from engine.take import replacing
from engine.tensors import packed

Array = NDArray[np.floating]
Bytes = NDArray[np.uint8]

FORMAT = "parlando-patterns-1"  # of a take's file
SIZE = 128  # px, the square as the generator sees it
FINE = 256  # px, the square of a reference
SPAN = 1.2  # of the unit: the square's side
BELOW = 0.38  # of the unit: the square's middle below the base of the nose
STEP = 4  # px between the nodes of a warp
COARSE = 1.4  # px of the square for one of the picture, up to which patterns are drawn no finer than the square

JAW, NOSE = list(range(3, 14)), list(range(31, 36))
UPPER = [48, 49, 50, 51, 52, 53, 54, 60, 61, 62, 63, 64]
LOWER = [48, 54, 55, 56, 57, 58, 59, 60, 64, 65, 66, 67]
OUTER, INNER = list(range(48, 60)), list(range(60, 68))
REACH = 0.5  # of the square: how far a landmark's own motion reaches
BEHIND = (0.5, 0.75)  # of the opening's height: between these the upper row of teeth gives way to the lower
OPEN = 0.06  # of the unit: a mouth open so far shows its inside
ENOUGH = 0.85  # of the opening drawn: a mouth open so far has enough inside to fill it …
HALF = 0.4  # … and one open less than this share of that has none


def square_of(landmarks: Array, size: int = SIZE) -> Array:
    """The affine (2, 3) from px of the mouth's square, `size` px wide, to px of the picture, by landmarks (68, 3)."""
    frame = Frame.of(landmarks)
    middle = landmarks[33, :2] + BELOW * frame.unit * frame.down
    each = SPAN * frame.unit / size
    axes = each * np.stack([frame.across, frame.down], axis=1)
    half = (size - 1) / 2
    return np.column_stack([axes, middle - axes @ [half, half]])


def square_within(landmarks: Array, limits: Box) -> tuple[Array, Array]:
    """`square_of` landmarks (68, 3) px, to px of a box of the picture, and where they are in the square (68, 2)."""
    affine = square_of(landmarks)
    affine[:, 2] -= limits[:2]
    return affine, placed(landmarks[:, :2] - limits[:2], inverse(affine))


def inverse(affine: Array) -> Array:
    """The affine (2, 3) that undoes another."""
    return np.asarray(cv2.invertAffineTransform(affine))


def placed(points: Array, affine: Array) -> Array:
    """Points (..., 2) after an affine (2, 3)."""
    return points @ affine[:, :2].T + affine[:, 2]


def cut(picture: NDArray[np.generic], affine: Array, size: int) -> NDArray[np.generic]:
    """The square (size, size, C) of a picture (H, W, C); averaged where the picture is finer."""
    each = float(np.hypot(affine[0, 0], affine[1, 0]))
    corners = placed(np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64), affine)
    reach = 2 + round(2 * each)
    low = np.clip(np.floor(corners.min(0)).astype(int) - reach, 0, np.array(picture.shape[1::-1]) - 1)
    high = np.clip(np.ceil(corners.max(0)).astype(int) + reach, low + 1, picture.shape[1::-1])
    part = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
    own = affine.copy()
    own[:, 2] -= low
    if each > 1.3:
        shrunk = (max(2, round(part.shape[1] / each)), max(2, round(part.shape[0] / each)))
        scale = np.array([shrunk[0] / part.shape[1], shrunk[1] / part.shape[0]])
        part = cv2.resize(part, shrunk, interpolation=cv2.INTER_AREA)
        own = np.column_stack([own[:, :2] * scale[:, None], (own[:, 2] + 0.5) * scale - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(part, own, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))


@dataclass(frozen=True)
class Pattern:
    """One reference frame: `pixels` (n, n, 3) uint8 its square of the mouth, n = FINE unless a film is finer;
    `landmarks` (68, 2) px of that square. `lips`: whether they and the skin around them may be seen too, or only what
    is between them (`inside.py`)."""

    pixels: Bytes
    landmarks: Array
    lips: bool = True

    @staticmethod
    def of(rgb: Bytes, landmarks: Array, size: int = FINE) -> "Pattern":
        """From a picture (H, W, 3) uint8 and its landmarks (68, 3) px."""
        affine = square_of(landmarks, size)
        pixels = np.asarray(cut(rgb, affine, size), np.uint8)
        return Pattern(pixels, placed(landmarks[:, :2], inverse(affine)).astype(np.float32))

    @property
    def opening(self) -> float:
        """The widest opening of its lips in units of the face."""
        return Lips.slit(self.in_square).gap / (SIZE / SPAN)

    @property
    def in_square(self) -> Array:
        """(68, 2) landmarks in px of a square of SIZE."""
        return (np.asarray(self.landmarks, np.float64) + 0.5) * (SIZE / len(self.pixels)) - 0.5

    @property
    def skin(self) -> Array:
        """Mean RGB (3,) of the skin beside and below the lips."""
        return skin_of(self.pixels, self.landmarks)

    @property
    def fingerprint(self) -> str:
        kind = b"" if self.lips else b"inside"
        told = self.pixels.tobytes() + self.landmarks.astype(np.float32).tobytes() + kind
        return hashlib.sha256(told).hexdigest()[:16]


def save(patterns: Sequence[Pattern], path: Path) -> None:
    """Keeps patterns in a file, whole or not at all. OutputError."""
    tensors = {
        "mouths": np.stack([pattern.pixels for pattern in patterns]),
        "mouth_points": np.stack([pattern.landmarks for pattern in patterns]).astype(np.float32),
    }
    about = {"format": FORMAT, "seen": "lips" if all(pattern.lips for pattern in patterns) else "inside"}
    with replacing(path) as part:
        part.write_bytes(packed(tensors, about))


def load(path: Path) -> list[Pattern]:
    """What `save` kept; none where there is no such file. InputError when it is damaged."""
    if not path.exists():
        return []
    try:
        with safetensors.safe_open(path, "np") as file:
            lips = file.metadata().get("seen", "lips") == "lips"
            mouths, points = file.get_tensor("mouths"), file.get_tensor("mouth_points")
        if mouths.shape[1:] != (FINE, FINE, 3) or points.shape != (len(mouths), 68, 2):
            raise ValueError("shapes")
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, AttributeError) as problem:
        raise InputError(f"{path} is damaged: generate the take again.") from problem
    return [Pattern(*pair, lips) for pair in zip(mouths, points, strict=True)]


def skin_of(square: Bytes, landmarks: Array) -> Array:
    """Mean RGB (3,) of a mouth's square between lips, nose and jaw; landmarks (68, 2) in its px."""
    size = square.shape[0]
    mask = np.zeros((size, size), np.uint8)
    ring = np.concatenate([landmarks[4:13], landmarks[[35, 33, 31]]])
    middle = ring.mean(0)
    cv2.fillPoly(mask, [np.round(middle + 0.85 * (ring - middle)).astype(np.int32)], 1)
    lips = landmarks[OUTER]
    centre = lips.mean(0)
    cv2.fillPoly(mask, [np.round(centre + 1.25 * (lips - centre)).astype(np.int32)], 0)
    pixels = square[mask > 0]
    return pixels.mean(0) if len(pixels) > 50 else np.array([128.0, 128.0, 128.0])


def own_skin(rgb: Bytes, landmarks: Array) -> Array:
    """Mean RGB (3,) of the skin about the mouth of a picture (H, W, 3) with landmarks (68, 3) px."""
    affine, at = square_within(landmarks, (0, 0, rgb.shape[1], rgb.shape[0]))
    return skin_of(np.asarray(cut(rgb, affine, SIZE), np.uint8), at)


class Patterns:
    """The style reference images' mouths, for one portrait. `draw` warps them onto a frame's landmarks."""

    def __init__(self, patterns: Sequence[Pattern], skin: Array, alike: bool = False) -> None:
        """`skin`: mean RGB (3,) of the portrait's own, which the patterns' colours are matched to. `alike`: frames are
        shown those whose mouths are nearly theirs, and what is between their lips goes with these as a whole."""
        self.patterns = list(patterns)
        self.alike = alike
        self.colours = []
        for pattern in self.patterns:
            gain = np.clip((skin + 1.0) / (pattern.skin + 1.0), 0.4, 2.5)
            self.colours.append(np.clip(pattern.pixels * gain, 0, 255).astype(np.uint8))
        self.openings = [pattern.opening for pattern in self.patterns]

    def draw(self, landmarks: Array, size: int = SIZE, which: Sequence[int] | None = None) -> Bytes:
        """(n, size, size, 4) uint8 for landmarks (68, 2) px of the frame's square of SIZE: RGB and how far it is known.
        `which` of the patterns, else all.

        Unknown is what lies between the lips where the reference's are shut.
        """
        which = range(len(self.patterns)) if which is None else which
        if not len(which):
            return np.zeros((0, size, size, 4), np.uint8)
        grid = Grid.of_pixels(0, 0, SIZE, SIZE, STEP)
        nodes = grid.nodes()
        flat = nodes.reshape(-1, 2).astype(np.float64)
        slit = Lips.slit(landmarks)
        heights = slit.heights(nodes)
        between = depth(heights)[..., None]
        inside = covered(heights, 2.0)[..., None]
        share = upper_share(heights, 2.0)[..., None]
        base = [
            (used, interpolation(landmarks[used], np.full(len(used), REACH * SIZE), flat))
            for used in (JAW + NOSE + UPPER, JAW + NOSE + LOWER)
        ]
        opened = covered(upsample(heights, STEP, SIZE, SIZE), 1.0)
        if not self.alike:
            # Between the lips: the upper teeth stay with the skull, the lower go with the chin and pass behind them;
            # neither leaves the reference's lips.
            lower_share = inside * smoothstep((between - BEHIND[0]) / (BEHIND[1] - BEHIND[0]))
            behind = upsample(lower_share.astype(np.float32), STEP, SIZE, SIZE)
            behind = cv2.resize(behind, (size, size))[..., None]
        made = np.empty((len(which), size, size, 4), np.uint8)
        for index, one in enumerate(which):
            own, colours = self.patterns[one].in_square, self.colours[one]
            away = own - landmarks
            upper, lower = ((weights @ away[used]).reshape(nodes.shape) for used, weights in base)
            where = nodes + lower + (upper - lower) * share
            if self.alike:
                whole = nodes + upper + (lower - upper) * between
                made[index, ..., :3] = seen(colours, where + (whole - where) * inside, size)
            else:
                jaw = away[[7, 8, 9]].mean(0)
                rows = (self._within(Lips.slit(own), nodes + shift) for shift in (np.zeros(2), jaw))
                high, low = (seen(colours, where + (row - where) * inside, size).astype(np.float32) for row in rows)
                made[index, ..., :3] = np.rint(high + (low - high) * behind)
            far = shown(self.openings[one], slit.gap)
            known = np.clip(255 * (1.0 - opened * (1.0 - far)), 0, 255).astype(np.uint8)
            made[index, ..., 3] = known if size == SIZE else cv2.resize(known, (size, size))
        return made

    @staticmethod
    def _within(slit: Slit, at: Array) -> Array:
        """Places (h, w, 2) px, those above or below the opening brought to its rim."""
        heights = slit.heights(at)
        low = np.maximum(0.5 - heights[..., 0], 0.0) - np.maximum(heights[..., 1] + 0.5, 0.0)
        return np.asarray(at + slit.below * low[..., None])


def seen(colours: Bytes, where: Array, size: int) -> Bytes:
    """(size, size, 3) of a reference's square (n, n, 3), read at coarse places (h, w, 2) in px of a square of
    SIZE, `STEP` apart."""
    fine = upsample(where.astype(np.float32), STEP, SIZE, SIZE)
    if size != SIZE:
        fine = cv2.resize(fine, (size, size), interpolation=cv2.INTER_LINEAR)
    at = (fine + np.float32(0.5)) * np.float32(len(colours) / SIZE) - np.float32(0.5)
    return np.asarray(cv2.remap(colours, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def lay(frame: NDArray[Any], affine: Array, own: Array, more: Array) -> None:
    """Into a frame (h, w, 3), 0 … 255, at the square that `affine` tells (`square_of`): `own` (size, size) of what is
    there stays, and `more` (size, size, 3), of white, is added."""
    size = own.shape[0]
    corners = placed(np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]], np.float64), affine)
    x0, y0, x1, y1 = around(corners, 1.0, (0, 0, frame.shape[1], frame.shape[0]))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    back = inverse(affine)
    scale = size / SIZE
    back = np.column_stack([back[:, :2], placed(np.array([x0, y0], np.float64), back)])
    back = np.column_stack([back[:, :2] * scale, (back[:, 2] + 0.5) * scale - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    whole = np.dstack([own - 1.0, more])
    laid = cv2.warpAffine(whole, back, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    view = frame[y0:y1, x0:x1]
    mixed = view * (1.0 + laid[..., :1]) + 255.0 * laid[..., 1:]
    if view.dtype == np.uint8:
        view[:] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    else:
        view[:] = np.maximum(mixed, 0.0)


def depth(heights: Array) -> Array:
    """How deep points are in an opening, 0 at the upper lip and 1 at the lower, from `Slit.heights` (..., 3)."""
    return np.asarray(np.clip(heights[..., 0] / np.maximum(heights[..., 0] - heights[..., 1], 1e-3), 0.0, 1.0))


def shown(opening: float, gap: float) -> float:
    """How far a reference whose lips are `opening` units apart has an inside to fill a gap, px of a square of SIZE."""
    needed = max(OPEN, ENOUGH * gap / (SIZE / SPAN))
    return float(smoothstep((opening / needed - HALF) / (1 - HALF)))


def apart(own: Array, landmarks: Array) -> float:
    """How far a mouth is from a frame's, in units of the face: the mean distance of the 20 mouth landmarks, of (68, 2)
    each in px of its own square of SIZE."""
    return float(np.linalg.norm(own[48:68] - landmarks[48:68], axis=1).mean()) / (SIZE / SPAN)


def facial_map(landmarks: Array) -> Bytes:
    """(SIZE, SIZE, 3) uint8 of landmarks (68, 2) px of the square: the opening, the lips, and the face's lines."""
    made = np.zeros((3, SIZE, SIZE), np.uint8)
    rows = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1).astype(np.float32)
    made[0] = np.rint(255 * covered(Lips.slit(landmarks).heights(rows), 1.0, grown=0.5))
    at = np.round(landmarks * 16).astype(np.int32)
    cv2.fillPoly(made[1], [at[OUTER]], 255, cv2.LINE_AA, 4)
    made[1] = cv2.subtract(made[1], made[0])
    lines = [at[1:16], at[31:36], at[[48, 49, 50, 51, 52, 53, 54]], at[[48, 59, 58, 57, 56, 55, 54]]]
    cv2.polylines(made[2], lines + [at[[60, 61, 62, 63, 64]], at[[60, 67, 66, 65, 64]]], False, 255, 1, cv2.LINE_AA, 4)
    return np.ascontiguousarray(made.transpose(1, 2, 0))


def support(landmarks: Array) -> Array:
    """(SIZE, SIZE) float32: where the generator may change anything, 1 on the lips, 0 from 0.16 units off them on."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [cv2.convexHull(np.round(landmarks[OUTER]).astype(np.int32))], 1)
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) / (SIZE / SPAN)
    rim = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]) / (0.08 * SIZE)
    edge = np.minimum(smoothstep(rim)[None], smoothstep(rim)[:, None])
    return ((1.0 - smoothstep((away - 0.02) / 0.16)) * edge).astype(np.float32)
