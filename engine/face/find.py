"""Finds faces in a picture: 68 landmarks and the dense mesh of each, the largest face first.

The detector sees the whole picture, then tiles and turned copies of it; each candidate goes twice through the mesh net,
the second time in a crop that the first pass centred, levelled and sized. Runs on the CPU everywhere, so that the same
picture has the same landmarks on every machine. Does not follow faces through video: see `track.py`.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch

from engine.errors import InputError
from engine.face import nets
from engine.face.image import Picture

# The mesh's point for each iBUG point. The mesh has no jaw line of its own: 0 … 16 follow its outer rim.
# fmt: off
IBUG = np.array([
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,                                      # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,                                                # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,                          # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,                                # outer lips
    78, 82, 13, 312, 308, 317, 14, 87,                                                  # inner lips
])
# fmt: on
MESH_POINTS = 478
MESH_EYES = (33, 263)

SMALLEST = 40.0  # px of face width below which there are too few pixels in the mouth to work with
DETECTION_SCORE = 0.35  # below the usual 0.5, for paintings: the mesh net's own score decides
FACE_SCORE = 0.5
OVERLAP = 0.3
CROP_MARGIN = 1.5  # the mesh net was trained on crops this much larger than the face
DETECTOR_SIZE = 128
MESH_SIZE = 256
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


@dataclass(frozen=True)
class Crop:
    """A square of the picture: centre (2,) and side in pixels, turn in radians (clockwise as seen in the image)."""

    centre: np.ndarray
    side: float
    turn: float

    def affine(self, size: int) -> np.ndarray:
        """(2, 3): crop pixels (of `size` across) → picture pixels, both with pixel centres at whole numbers."""
        scale = self.side / size
        axes = np.array([[math.cos(self.turn), -math.sin(self.turn)], [math.sin(self.turn), math.cos(self.turn)]]) * scale
        middle = np.full(2, (size - 1) / 2)
        return np.column_stack([axes, self.centre - axes @ middle])


def find(picture: Picture, which: int = 0) -> Face:
    """The face to work with: the largest unless `which` names another. InputError when it cannot be."""
    found = faces(picture.rgb)
    if not found:
        raise InputError(
            f"No face was found in {picture.path}: choose a picture where the face is seen from the front and not covered, "
            "or crop it around the head."
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
            f"The face in {picture.path} is too small, {face.width:.0f} pixels across where at least {SMALLEST:.0f} are "
            "needed: choose a larger version of the picture or one taken closer."
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


# ---------------------------------------------------------------------------------------------------- the mesh net


def mesh_in(rgb: np.ndarray, crop: Crop) -> tuple[np.ndarray, float]:
    """The mesh net's (478, 3) points in picture pixels, z toward the viewer, and its score, from one crop."""
    pixels = _cut(rgb, crop, MESH_SIZE, cv2.BORDER_REPLICATE)
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        points, presence, _ = _net("landmarks")(batch)
    points = points.reshape(MESH_POINTS, 3).numpy().astype(np.float64)
    affine = crop.affine(MESH_SIZE)
    # The net counts from the crop's corner; pixel centres here are whole numbers.
    flat = (points[:, :2] - 0.5) @ affine[:, :2].T + affine[:, 2]
    mesh = np.column_stack([flat, -points[:, 2] * crop.side / MESH_SIZE])
    return mesh.astype(np.float32), float(torch.sigmoid(presence))


def crop_around(mesh: np.ndarray) -> Crop:
    """The level square around a mesh (478, 3) in which the mesh net sees best."""
    right, left = mesh[MESH_EYES[0], :2], mesh[MESH_EYES[1], :2]
    turn = math.atan2(left[1] - right[1], left[0] - right[0])
    axes = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    level = mesh[:, :2].astype(np.float64) @ axes
    low, high = level.min(0), level.max(0)
    return Crop(axes @ ((low + high) / 2), float((high - low).max()) * CROP_MARGIN, turn)


def face_of(mesh: np.ndarray, score: float) -> Face:
    """A `Face` from its mesh."""
    box = np.concatenate([mesh[:, :2].min(0), mesh[:, :2].max(0)])
    return Face(mesh[IBUG], mesh, box.astype(np.float32), score)


def _refine_all(rgb: np.ndarray, candidates: list[Crop]) -> list[Face]:
    """Faces among candidates: twice through the mesh net, and each face once."""
    found: list[Face] = []
    for crop in candidates:
        mesh, score = mesh_in(rgb, crop)
        if score < FACE_SCORE / 2:
            continue
        mesh, score = mesh_in(rgb, crop_around(mesh))
        if score >= FACE_SCORE:
            found.append(face_of(mesh, score))
    found.sort(key=lambda face: -face.score)
    kept: list[Face] = []
    for face in found:
        if all(_overlap(face.box, other.box) < OVERLAP for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.width)


# ---------------------------------------------------------------------------------------------------- the detector


def _searches(rgb: np.ndarray):  # noqa: ANN202
    """Candidates of ever more thorough searches; the caller stops at the first that holds a face."""
    first = _look(rgb, _windows(rgb, 1) + _windows(rgb, 2))
    yield _keep_best(first)
    yield _keep_best([one for turn in TURNS for one in _look(rgb, _windows(rgb, 1), math.radians(turn))])
    shortest = min(rgb.shape[:2])
    for parts in (4, 8):
        if shortest / parts >= SMALLEST / 2:
            yield _keep_best(_look(rgb, _windows(rgb, parts)))


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
        pixels = np.stack([_cut(rgb, crop, DETECTOR_SIZE, cv2.BORDER_CONSTANT) for crop in crops])
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            boxes, logits = _net("detector")(batch)
        scores = torch.sigmoid(logits[..., 0]).numpy()
        values = boxes.numpy()
        for crop, score, value in zip(crops, scores, values, strict=True):
            for anchor in np.flatnonzero(score >= DETECTION_SCORE):
                found.append((float(score[anchor]), *_placed(crop, value[anchor], _anchors()[anchor])))
    return found


def _placed(crop: Crop, value: np.ndarray, anchor: np.ndarray) -> tuple[np.ndarray, Crop]:
    """A detection (16 numbers about its anchor) as box (4,) in the picture and as crop for the mesh net."""
    affine = crop.affine(DETECTOR_SIZE)
    places = np.concatenate([value[:2], value[4:8]]).reshape(3, 2) + anchor * DETECTOR_SIZE - 0.5
    centre, right_eye, left_eye = places @ affine[:, :2].T + affine[:, 2]
    side = float(value[2:4].max()) * crop.side / DETECTOR_SIZE
    turn = math.atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])
    return np.concatenate([centre - side / 2, centre + side / 2]), Crop(centre, side * CROP_MARGIN, turn)


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


@lru_cache(maxsize=1)
def _anchors() -> np.ndarray:
    """(896, 2) anchor centres in 0 … 1: two in each cell of a 16² grid, then six in each cell of an 8² grid."""
    centres = []
    for cells, each in ((16, 2), (8, 6)):
        along = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(along, along, indexing="ij")
        centres.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), each, 0))
    return np.concatenate(centres)


@lru_cache(maxsize=2)
def _net(name: str) -> nets.GraphNet:
    return nets.load("face", name)


def _cut(rgb: np.ndarray, crop: Crop, size: int, border: int) -> np.ndarray:
    """The crop as (size, size, 3) uint8, averaged rather than skipped over where it shrinks."""
    affine = crop.affine(size)
    shrink = int(crop.side / size)
    if shrink >= 2:
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ affine[:, :2].T + affine[:, 2]
        height, width = rgb.shape[:2]
        low = np.clip(np.floor(corners.min(0)).astype(int) - shrink, 0, (width - 1, height - 1))
        high = np.clip(np.ceil(corners.max(0)).astype(int) + shrink, low + 1, (width, height))
        part = rgb[low[1] : high[1], low[0] : high[0]]
        small = np.maximum((high - low) // shrink, 1)
        factor = small / (high - low)
        rgb = cv2.resize(part, tuple(int(n) for n in small), interpolation=cv2.INTER_AREA)
        # The picture's pixel centre p is the small one's (p + 0.5 - low) * factor - 0.5.
        affine = np.column_stack([affine[:, :2] * factor[:, None], (affine[:, 2] + 0.5 - low) * factor - 0.5])
    return cv2.warpAffine(rgb, affine, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)
