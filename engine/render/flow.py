"""The displacement of every point of the head, as a matrix times 4 + 68 + 1 + 4 coefficients.

Four columns carry the rigid motion, with depth, weighted by how much a point follows the head; 68 carry what each
landmark does beyond it, smoothly and only nearby; one carries the shoulders along; the last four are the lips' edges
beside the corners of the mouth, which landmarks do not mark. There are two such fields: one
that does not know the lower lip and one that does not know the upper, so that the lips part along a cut. Lids are moved
on top of this, in `eyes.py`.
"""

import numpy as np
from numpy.typing import NDArray

from engine.render.head import Shape
from engine.render.mouth import BESIDE, beside_corners
from engine.render.pose import Pose
from engine.scattered import interpolation

Array = NDArray[np.floating]

LIDS = (37, 38, 40, 41, 43, 44, 46, 47)
UPPER_LIP = (49, 50, 51, 52, 53, 61, 62, 63)
LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)
ALONG = 0.2  # of the head's way that shoulders go along, at an amount of 1
HALFWAY = 1  # of `beside_corners`: that point of each side's three
LINE = 0.1  # units outside a drawing's jaw up to which its outline goes along whole
RADII = {range(0, 17): 0.95, range(17, 27): 0.55, range(27, 36): 0.6, range(36, 48): 0.5, range(48, 68): 0.8}


class Flow:
    """`basis(points) @ coefficients(...)` is the displacement of source points, in px."""

    def __init__(self, landmarks: Array, shape: Shape, shoulders: float = 0.0, drawn: bool = False) -> None:
        """`shoulders`: amount by which they follow the head, 0 for not at all, 1 as in life. `drawn`: the jaw is a
        line, which keeps its width."""
        self.landmarks = landmarks
        self.shape = shape
        self.along = ALONG * shoulders
        self.head = shape.middle_of_head()
        self.radii = np.zeros(68)
        for indices, radius in RADII.items():
            self.radii[list(indices)] = radius * shape.frame.unit
        self.beside = self._beside()
        self.outside = self._outside() if drawn else np.zeros((0, 2))

    def _beside(self) -> Array:
        """(4, 3) px: the lips' edges halfway from the corners, upper lip first."""
        depth = self.landmarks[[60, 64, 60, 64], 2]
        depth = depth + BESIDE[HALFWAY] * (self.landmarks[[61, 63, 67, 65], 2] - depth)
        return np.column_stack([beside_corners(self.landmarks[:, :2])[:, HALFWAY], depth])

    def _outside(self) -> Array:
        """(17, 2): LINE outside each point of the jaw."""
        jaw = self.landmarks[:17, :2]
        along = np.gradient(jaw, axis=0)
        out = np.column_stack([-along[:, 1], along[:, 0]])
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
        inward = ((jaw - self.shape.frame.origin) * out).sum(1) < 0
        return jaw + LINE * self.shape.frame.unit * np.where(inward, -1, 1)[:, None] * out

    def upper(self, points: Array) -> Array:
        """(N, 77) float32 at source points (…, 2) px, as the upper lip's side of the face moves."""
        points = points.reshape(-1, 2).astype(np.float64)
        return self._whole(points, self._rigid(points), LOWER_LIP, 0)

    def both(self, points: Array) -> tuple[Array, Array]:
        """As the upper lip's side moves, and as the lower's: (N, 77) float32 each."""
        points = points.reshape(-1, 2).astype(np.float64)
        rigid = self._rigid(points)
        return self._whole(points, rigid, LOWER_LIP, 0), self._whole(points, rigid, UPPER_LIP, 2)

    def _rigid(self, points: Array) -> Array:
        """(N, 4): x, y, depth and 1, each times how much the point follows the head."""
        away = points - self.shape.frame.origin
        whole = np.column_stack([away, self.shape.depth(points), np.ones(len(points))])
        return whole * self.shape.follow(points)[:, None]

    def _whole(self, points: Array, rigid: Array, left_out: tuple[int, ...], lip: int) -> Array:
        used = [k for k in range(68) if k not in LIDS and k not in left_out]
        centres = [*used, *LIDS]  # lids stay where they are whatever the jaw does
        matrix = np.zeros((len(points), 77), np.float32)
        matrix[:, :4] = rigid
        if self.along:
            matrix[:, 72] = self.shape.shoulders(points)
        beyond = range(len(self.outside))
        edge = self.beside[lip : lip + 2, :2]
        places = np.concatenate([self.landmarks[centres, :2], edge, self.outside])
        radii = np.concatenate([self.radii[centres], self.radii[[60, 64]], self.radii[beyond]])
        parts = np.array_split(points, len(points) // 2000 + 1)
        weights = np.concatenate([interpolation(places, radii, part) for part in parts])
        weights[:, : len(beyond)] += weights[:, len(centres) + 2 :]  # the jaw's points come first
        matrix[:, [4 + k for k in used]] = weights[:, : len(used)] * rigid[:, 3:]
        matrix[:, 73 + lip : 75 + lip] = weights[:, len(centres) : len(centres) + 2] * rigid[:, 3:]
        return matrix

    def coefficients(self, pose: Pose, residual: Array) -> Array:
        """(77, 2) float32 from the head's motion and the landmarks' residual (68, 2) px."""
        turn = pose.matrix[:, :2] - np.eye(2)
        shift = pose.shift + turn @ self.shape.frame.origin
        torso = self.along * (pose.apply(self.head) - self.head[:2])
        reached = pose.apply(self.landmarks) + residual
        beside = beside_corners(reached)[:, HALFWAY] - pose.apply(self.beside)
        whole = [turn.T, pose.matrix[:, 2:].T, shift[None], residual, torso[None], beside]
        return np.concatenate(whole).astype(np.float32)
