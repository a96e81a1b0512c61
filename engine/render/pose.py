"""From 68 landmarks: the head's rigid motion since the source picture, and what is left after it.

The rigid motion is fitted on points that speech does not move. What is left is kept within what a face can do: a
landmark dragged far by an animator pulls its neighbours along instead of folding the picture.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError

Array = NDArray[np.floating]

RIGID = np.array([36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35, 0, 1, 15, 16])
CONTOURS = (
    [list(range(17)), list(range(17, 22)), list(range(22, 27)), list(range(27, 31)), list(range(31, 36))]
    + [[36, 37, 38, 39], [36, 41, 40, 39], [42, 43, 44, 45], [42, 47, 46, 45]]
    + [[48, 60], [50, 61], [51, 62], [52, 63], [54, 64], [56, 65], [57, 66], [58, 67]]
    + [[48, 49, 50, 51, 52, 53, 54], [48, 59, 58, 57, 56, 55, 54], [60, 61, 62, 63, 64], [60, 67, 66, 65, 64]]
)


@dataclass(frozen=True)
class Pose:
    """Where the head went: a source point (x, y, z) px goes to `matrix` (2, 3) times it plus `shift` (2,) px."""

    matrix: Array
    shift: Array

    def apply(self, points: Array) -> Array:
        """Source points (..., 3) px to target (..., 2) px."""
        return points @ self.matrix.T + self.shift


def checked(landmarks: Array) -> Array:
    """The 68 points as float64 (68, 3), or an InputError that says what is wrong with the frame's landmarks."""
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 3):
        raise InputError(f"A frame needs 68 landmarks with x, y and z, but these have the shape {points.shape}.")
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise InputError(
            f"Landmark {bad[0]} of this frame has no finite position: delete its broken keys or generate again."
        )
    return points


def fit(source: Array, target: Array) -> Pose:
    """Rotation, uniform scale and translation that best take `source` to `target` (68, 3), seen from the front.

    Reweighted so that one displaced landmark does not turn the head. Identical landmarks give exactly the identity.
    """
    a, b = source[RIGID].astype(np.float64), target[RIGID].astype(np.float64)
    tolerance = 0.03 * np.linalg.norm(source[45] - source[36])
    weight = np.ones(len(RIGID))
    matrix, shift = np.eye(3), np.zeros(3)
    if np.array_equal(a, b):
        return Pose(matrix[:2], shift[:2])
    for _ in range(6):
        share = weight / weight.sum()
        mean_a, mean_b = share @ a, share @ b
        da, db = a - mean_a, b - mean_b
        u, spread, vt = np.linalg.svd((db * share[:, None]).T @ da)
        flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        scale = (spread * flip).sum() / max((share @ (da**2)).sum(), 1e-9)
        matrix = np.clip(scale, 0.4, 2.5) * (u * flip) @ vt
        shift = mean_b - matrix @ mean_a
        error = np.linalg.norm((a @ matrix.T + shift - b)[:, :2], axis=1)
        weight = 1.0 / (1.0 + (error / tolerance) ** 2)
    return Pose(matrix[:2], shift[:2])


def _adjacent() -> Array:
    """(68, 68): 1 where two landmarks are neighbours along a contour."""
    table = np.zeros((68, 68))
    for contour in CONTOURS:
        for a, b in pairwise(contour):
            table[a, b] = table[b, a] = 1.0
    return table


ADJACENT = _adjacent()
# How far, in units, a landmark moves against its neighbours in speech (99.9 % of the frames of real talk), and overall.
APART = np.array([0.05] * 17 + [0.04] * 10 + [0.03] * 9 + [0.06] * 12 + [0.09] * 20)
FAR = 0.35


def _held(vectors: Array, free: Array | float, more: float = 0.6) -> Array:
    """Vectors (N, 2) untouched up to length `free` (N,), longer ones pressed smoothly below (1 + `more`) · `free`."""
    length = np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
    over = np.maximum(length / free - 1.0, 0.0)
    return vectors * ((np.minimum(length, free) + free * more * np.tanh(over / more)) / length)[:, None]


def residual(source: Array, target: Array, pose: Pose, unit: float) -> Array:
    """What the landmarks (68, 2) px do beyond the head's motion. `unit`: distance of the outer eye corners in px.

    A landmark that leaves all its neighbours behind does not count in their mean, and is held near it.
    """
    far, near = np.full(68, FAR), APART.copy()
    for eye in (36, 42):  # a drawn eye may be as high as it is wide, and shuts all the same
        high = (
            float(np.linalg.norm(source[[eye + 1, eye + 2], :2] - source[[eye + 5, eye + 4], :2], axis=1).max()) / unit
        )
        far[eye : eye + 6], near[eye : eye + 6] = max(FAR, 1.2 * high), max(APART[eye], 0.6 * high)
    left = _held((target[:, :2] - pose.apply(source)) / unit, far)
    steps = np.linalg.norm(left[:, None] - left[None], axis=-1)
    alone = np.where(ADJACENT > 0, steps, np.inf).min(axis=1)
    weight = ADJACENT / (1.0 + (alone / near) ** 4)
    around = weight @ left / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    return (around + _held(left - around, near)) * unit
