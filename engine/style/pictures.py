"""The reference frames of a style as four small pictures beside its file: which face the style was taken from.

They are for people to look at; nothing reads them to speak. Which frames they are is found in `reference.py`.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

import engine.style.file as style_file
from engine import __version__
from engine.face import image
from engine.face.track import frames_at
from engine.png import encode_png
from engine.render.pattern import Pattern
from engine.style.file import Style
from engine.style.reference import NAMES
from engine.take import replacing

SIDE = 256  # px
AROUND = 1.7  # of the landmarks' longer side: the whole head
RAISED = 0.1  # of the same: the forehead has no landmarks


def paths(style: Path) -> list[Path]:
    """Where the pictures of a style file lie, in the order of NAMES."""
    return [style.with_name(f"{style.stem}.{name.lower()}.png") for name in NAMES]


def write_pictures(source: Path, style: Path, part: tuple[float, float] | None = None) -> list[Path]:
    """Writes the pictures of a style just made from `source` (as `job.style_of`). Raises InputError, OutputError."""
    made = style_file.load(style)
    frames = _frames(source, made, part)
    texts = {"Software": f"Parlando {__version__}", "Description": "A reference frame of a style"}
    written = []
    for path, rgb, points in zip(paths(style), frames, made.references, strict=True):
        with replacing(path) as beside:
            beside.write_bytes(encode_png(face_crop(rgb, points), texts))
        written.append(path)
    return written


def _frames(source: Path, style: Style, part: tuple[float, float] | None) -> list[np.ndarray]:
    """The style's reference frames, RGB."""
    from engine.job import pictures_in

    numbers = [int(number) for number in style.frames]
    if there := pictures_in(source):
        return [image.load(there[number]).rgb for number in numbers]
    return frames_at(source, numbers, part)


def with_mouths(style: Style, source: Path, part: tuple[float, float] | None = None) -> Style:
    """The style with what its reference frames' mouths show. Raises InputError."""
    if not len(style.frames):
        return style
    shown = [Pattern.of(*pair) for pair in zip(_frames(source, style, part), style.references, strict=True)]
    mouths, points = (np.stack(values) for values in zip(*((one.pixels, one.landmarks) for one in shown), strict=True))
    return replace(style, mouths=mouths, mouth_points=points)


def face_crop(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8: the square around the face's landmarks (68, 3), what lies outside of the picture is its
    nearest edge."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    size = float((high - low).max())
    middle = (low + high) / 2 - np.array([0, RAISED * size])
    scale = SIDE / (AROUND * size)
    if scale < 0.5:  # shrunk first, or single pixels would be picked
        factor = 2 * scale
        rgb = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        middle, scale = middle * factor, 0.5
    to_crop = np.array([[scale, 0, SIDE / 2 - scale * middle[0]], [0, scale, SIDE / 2 - scale * middle[1]]])
    crop = cv2.warpAffine(rgb, to_crop, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)
