"""Finds faces in a picture: 68 landmarks and the dense mesh of each, the largest face first.

The detector sees the whole picture, then tiles and turned copies of it; each candidate goes twice through the mesh net,
the second time in crops that the first pass centred, levelled and sized. Runs on the CPU, as `mesh.py` does. Does not
follow faces through video: see `track.py`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch

from engine.errors import InputError
from engine.face import nets
from engine.face.canonical import misfit
from engine.face.image import Picture
from engine.face.mesh import IBUG, MARGIN, Crop, crop_around, cut, points_in

SMALLEST = 40.0  # px of face width below which there are too few pixels in the mouth to work with
DETECTION_SCORE = 0.35  # below the usual 0.5, for paintings: what is found is confirmed later
FACE_SCORE = 0.5  # of the mesh net, which alone is sure of grass and gravel too
# What mesh net times detector must say of a face brought level and to the size it knows best. Photos reach 0.8 even at
# 22 pixels, stylised portraits 0.68, drawings 0.2 to 0.5; textures up to 0.71, but those are small in the picture.
CONFIRMED_LARGE, CONFIRMED_SMALL = 0.25, 0.75
LARGE, LARGE_PIXELS = 0.2, 64  # of the picture's shorter side, and at least
CONFIRMING_ZOOMS = (1.0, 1.5, 2.2)
LIKENESS = 0.07  # misfit to a head's shape: real faces reach 0.045
OVERLAP = 0.3
FEWEST = 16  # px of the shorter side below which nothing is looked for
MOST_WINDOWS = 600  # a panorama has more, and takes minutes
SEARCHED = 768  # px of the shorter side that the detector's smallest tiles need
DETECTOR_SIZE = 128
BATCH = 16
TURNS = (45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0)  # degrees tried where no upright face is found


@dataclass(frozen=True)
class Face:
    """One face, in source pixels: x right, y down, z toward the viewer positive at the same scale.

    landmarks: (68, 3) float32, iBUG order. mesh: (478, 3) float32. box: (4,) float32 x0 y0 x1 y1 around the mesh.
    score: 0 … 1, how surely this is a face.
    """

    landmarks: np.ndarray
    mesh: np.ndarray
    box: np.ndarray
    score: float

    @property
    def width(self) -> float:
        """The larger side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


def find(picture: Picture, which: int = 0) -> Face:
    """The face to work with: the largest unless `which` names another. InputError when it cannot be."""
    found = faces(picture.rgb)
    if not found:
        raise InputError(
            f"No face was found in {picture.path}: choose a picture where the face is seen from the front and not "
            "covered, crop it around the head, or place its points by hand."
        )
    if not 0 <= which < len(found):
        many = f"{len(found)} faces" if len(found) > 1 else "one face"
        raise InputError(
            f"Face {which} is not in {picture.path}, where {many} can be seen: choose 0 for the largest"
            + (f", up to {len(found) - 1} for the smallest." if len(found) > 1 else ".")
        )
    face = found[which]
    if face.width < SMALLEST:
        raise InputError(
            f"The face in {picture.path} is too small, {face.width:.0f} pixels across where at least {SMALLEST:.0f} "
            "are needed: choose a larger version of the picture or one taken closer."
        )
    return face


def faces(rgb: np.ndarray) -> list[Face]:
    """All faces of a (H, W, 3) uint8 picture, the largest first; small ones only where nothing larger is found."""
    for candidates in _searches(rgb):
        found = _refine_all(rgb, candidates)
        if found:
            return found
    return []


def faces_at_a_glance(rgb: np.ndarray) -> list[Face]:
    """What one quick look at the whole picture finds, the largest first: enough for most video frames."""
    return _refine_all(rgb, _keep_best(_look(rgb, _windows(rgb, 1))))


def face_of(mesh: np.ndarray, score: float) -> Face:
    """A `Face` from its mesh."""
    box = np.concatenate([mesh[:, :2].min(0), mesh[:, :2].max(0)])
    return Face(mesh[IBUG], mesh, box.astype(np.float32), score)


def _refine_all(rgb: np.ndarray, candidates: list[Crop]) -> list[Face]:
    """Faces among candidates: twice through the mesh net, and each face once."""
    found: list[Face] = []
    for crop in candidates:
        mesh, score = points_in(rgb, crop)
        if score < FACE_SCORE / 2:
            continue
        mesh, score = points_in(rgb, crop_around(mesh), views=4)
        if score < FACE_SCORE or misfit(mesh[IBUG]) > LIKENESS:
            continue
        face = face_of(mesh, score * confirmation(rgb, mesh))
        large = face.width >= max(LARGE_PIXELS, LARGE * min(rgb.shape[:2]))
        if face.score >= (CONFIRMED_LARGE if large else CONFIRMED_SMALL):
            found.append(face)
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: -face.score):
        if not any(_overlap(face.box, other.box) > OVERLAP or _within(face.box, other.box) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.width)


def confirmation(rgb: np.ndarray, mesh: np.ndarray) -> float:
    """The detector's best score, 0 … 1, for a face where the mesh (478, 3) lies, seen level and well framed."""
    around = crop_around(mesh)
    crops = [Crop(around.centre, around.side * zoom, around.turn) for zoom in CONFIRMING_ZOOMS]
    values, scores = _detect(rgb, crops)
    off = np.abs(values[..., :2] / DETECTOR_SIZE + _anchors() - 0.5).max(-1)
    near = off * np.array(CONFIRMING_ZOOMS)[:, None] < 0.25
    return float((scores * near).max())


# ---------------------------------------------------------------------------------------------------- the detector


def _searches(rgb: np.ndarray) -> Iterator[list[Crop]]:
    """Candidates of ever more thorough searches; the caller stops at the first that holds a face."""
    if min(rgb.shape[:2]) < FEWEST:
        return
    scale = max(1.0, min(rgb.shape[:2]) / SEARCHED)
    size = (max(1, round(rgb.shape[1] / scale)), max(1, round(rgb.shape[0] / scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale > 1 else rgb

    def best(found: list[tuple[float, np.ndarray, Crop]]) -> list[Crop]:
        return [Crop((crop.centre + 0.5) * scale - 0.5, crop.side * scale, crop.turn) for crop in _keep_best(found)]

    yield best(_look(small, _windows(small, 1) + _windows(small, 2)))
    yield best([one for turn in TURNS for one in _look(small, _windows(small, 1), math.radians(turn))])
    for parts in (4, 8):
        windows = _windows(small, parts)
        if min(size) / parts >= SMALLEST / 2 and len(windows) <= MOST_WINDOWS:
            yield best(_look(small, windows))


def _windows(rgb: np.ndarray, parts: int) -> list[tuple[float, float, float]]:
    """Squares (centre x, centre y, side) to look at: the whole picture and a wider view of it, or overlapping tiles."""
    height, width = rgb.shape[:2]
    if parts == 1:
        # A face that fills the frame is larger than any the detector was shown: the wider view makes it smaller.
        return [(width / 2, height / 2, max(width, height) * zoom) for zoom in (1.0, 1.8)]
    side = min(width, height) / parts * 1.5
    if max(width, height) <= side:
        return []
    across, down = (max(1, math.ceil((length - side) / (side / 2)) + 1) for length in (width, height))
    return [
        (x, y, side)
        for y in np.linspace(min(side, height) / 2, height - min(side, height) / 2, down)
        for x in np.linspace(min(side, width) / 2, width - min(side, width) / 2, across)
    ]


def _look(
    rgb: np.ndarray, windows: list[tuple[float, float, float]], turn: float = 0.0
) -> list[tuple[float, np.ndarray, Crop]]:
    """(score, box, crop for the mesh net) of each detection in these windows of the picture."""
    found = []
    for start in range(0, len(windows), BATCH):
        crops = [Crop(np.array([x - 0.5, y - 0.5]), side, turn) for x, y, side in windows[start : start + BATCH]]
        for crop, value, score in zip(crops, *_detect(rgb, crops), strict=True):
            for anchor in np.flatnonzero(score >= DETECTION_SCORE):
                found.append((float(score[anchor]), *_placed(crop, value[anchor], _anchors()[anchor])))
    return found


def _detect(rgb: np.ndarray, crops: list[Crop]) -> tuple[np.ndarray, np.ndarray]:
    """The detector's (n, 896, 16) numbers about each anchor, in its own pixels, and (n, 896) scores 0 … 1."""
    pixels = np.stack([cut(rgb, crop, DETECTOR_SIZE, cv2.BORDER_CONSTANT) for crop in crops])
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        boxes, logits = _net()(batch)
    return boxes.numpy(), torch.sigmoid(logits[..., 0]).numpy()


def _placed(crop: Crop, value: np.ndarray, anchor: np.ndarray) -> tuple[np.ndarray, Crop]:
    """A detection (16 numbers about its anchor) as box (4,) in the picture and as crop for the mesh net."""
    affine = crop.affine(DETECTOR_SIZE)
    places = np.concatenate([value[:2], value[4:8]]).reshape(3, 2) + anchor * DETECTOR_SIZE - 0.5
    centre, right_eye, left_eye = places @ affine[:, :2].T + affine[:, 2]
    side = float(value[2:4].max()) * crop.side / DETECTOR_SIZE
    turn = math.atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])
    return np.concatenate([centre - side / 2, centre + side / 2]), Crop(centre, side * MARGIN, turn)


def _keep_best(found: list[tuple[float, np.ndarray, Crop]], most: int = 24) -> list[Crop]:
    """The best detection of each place, by non-maximum suppression."""
    kept: list[tuple[float, np.ndarray, Crop]] = []
    for one in sorted(found, key=lambda one: -one[0]):
        if len(kept) < most and all(_overlap(one[1], other[1]) < OVERLAP for other in kept):
            kept.append(one)
    return [crop for _, _, crop in kept]


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    common = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(common / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common, 1e-9))


def _within(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether the middle of a box lies in another."""
    middle = (inner[:2] + inner[2:]) / 2
    return bool((middle > outer[:2]).all() and (middle < outer[2:]).all())


@lru_cache(maxsize=1)
def _anchors() -> np.ndarray:
    """(896, 2) anchor centres in 0 … 1: two in each cell of a 16² grid, then six in each cell of an 8² grid."""
    centres = []
    for cells, each in ((16, 2), (8, 6)):
        along = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(along, along, indexing="ij")
        centres.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), each, 0))
    return np.concatenate(centres)


@lru_cache(maxsize=1)
def _net() -> nets.GraphNet:
    return nets.load("face", "detector")
