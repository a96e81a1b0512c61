"""What of the picture moves with the head, and how deep it lies.

Made once per portrait. The head is carried whole; the neck follows less and less down to the shoulders. These, where
they are asked to, go a part of the head's way, and the waist stands still again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.render.fill import smoothstep

Array = NDArray[np.floating]

OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152]
OVAL += [148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]


SHOULDERS, WAIST = 4.2, 4.0  # units: how far to a side, and below the chin, shoulders carry the picture along


@dataclass(frozen=True)
class Frame:
    """The face's axes in the picture: origin between the outer eye corners, `across` and `down` unit vectors (2,)."""

    origin: Array
    across: Array
    down: Array
    unit: float

    @staticmethod
    def of(landmarks: Array) -> "Frame":
        """`unit` is the distance of the outer eye corners in px, in depth too, for a turned head."""
        line = landmarks[45] - landmarks[36]
        across = line[:2] / max(float(np.linalg.norm(line[:2])), 1e-6)
        origin = (landmarks[45, :2] + landmarks[36, :2]) / 2
        return Frame(origin, across, np.array([-across[1], across[0]]), float(np.linalg.norm(line)))

    def to(self, points: Array) -> Array:
        """Points (..., 2) px in units from the origin, across and down."""
        away = (points - self.origin) / self.unit
        return np.stack([away @ self.across, away @ self.down], axis=-1)

    def out(self, points: Array) -> Array:
        """The way back, to px."""
        return self.origin + self.unit * (points[..., :1] * self.across + points[..., 1:] * self.down)


class Shape:
    """How much each point of the picture follows the head (0 to 1), and its depth (px, toward the viewer)."""

    def __init__(self, landmarks: Array, mesh: Array, elastic: bool) -> None:
        self.frame = Frame.of(landmarks)
        self.elastic = elastic
        oval = self.frame.to(mesh[OVAL, :2])
        self.chin = float(oval[:, 1].max())
        self.middle = float((oval[:, 0].max() + oval[:, 0].min()) / 2)
        self.half = float(np.ptp(oval[:, 0]) / 2)
        self._fit_depth(mesh)

    def _fit_depth(self, mesh: Array) -> None:
        """A smooth sheet through the face and a ring of hair, ears and neck that lies as deep as the ears."""
        some = np.unique(np.concatenate([np.arange(0, 468, 4), OVAL]))
        face = self.frame.to(mesh[some, :2])
        depth = mesh[some, 2] / self.frame.unit
        ears = float((mesh[234, 2] + mesh[454, 2]) / 2 / self.frame.unit)
        turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        radii = np.stack([self.half * 1.45 * np.cos(turn), (self.chin + 0.55) * np.sin(turn)], axis=-1)
        ring = radii + [self.middle, -0.1]
        self.centres = np.concatenate([face, ring, ring * 1.35]).astype(np.float64)
        values = np.concatenate([depth, np.full(len(ring), ears - 0.05), np.full(len(ring), ears - 0.1)])
        size = len(self.centres)
        system = np.zeros((size + 3, size + 3))
        system[:size, :size] = self._plate(self.centres) + 1e-2 * np.eye(size)
        system[:size, size:] = np.concatenate([np.ones((size, 1)), self.centres], axis=1)
        system[size:, :size] = system[:size, size:].T
        self.solution = np.linalg.solve(system, np.concatenate([values, np.zeros(3)]))

    def _plate(self, at: Array) -> Array:
        """Cubed distances of points (N, 2) to the centres."""
        squared = (at**2).sum(1)[:, None] + (self.centres**2).sum(1) - 2.0 * at @ self.centres.T
        return np.maximum(squared, 0.0) ** 1.5

    def depth(self, points: Array) -> Array:
        """Depth px at points (N, 2) px. Beyond the ring it stays what it is on the ring."""
        at = self.frame.to(points.astype(np.float64)) - [self.middle, -0.1]
        reach = np.hypot(at[:, 0] / (self.half * 1.9), at[:, 1] / ((self.chin + 0.55) * 1.3))
        at = at / np.maximum(reach, 1.0)[:, None] + [self.middle, -0.1]
        size = len(self.centres)
        values = self._plate(at) @ self.solution[:size] + self.solution[size] + at @ self.solution[size + 1 :]
        return values * self.frame.unit

    def follow(self, points: Array) -> Array:
        """How much points (N, 2) px follow the head: 1 on it, falling from the jaw down to the shoulders."""
        across, down = self.frame.to(points.astype(np.float64)).T
        away = np.abs(across - self.middle)
        beside = smoothstep((away / self.half - 0.6) / 0.7)
        start = self.chin + 0.02 - beside * 0.85
        length = 0.95 - 0.1 * beside
        neck = 1.0 - smoothstep((down - start) / length)
        if self.elastic:
            ellipse = np.hypot(away / (self.half * 1.35), (down + 0.15) / (self.chin + 0.25)) - 1.0
            return neck * (1.0 - smoothstep(ellipse / 0.75))
        edge = np.maximum(away / 2.6, -down / 2.9)
        return neck * (1.0 - smoothstep((edge - 0.75) / 0.22))

    def shoulders(self, points: Array) -> Array:
        """How much points (N, 2) px go the shoulders' way beyond what they follow the head: 1 at the shoulders."""
        across, down = self.frame.to(points.astype(np.float64)).T
        below = smoothstep((down - self.chin) / 0.6)
        beside = smoothstep((SHOULDERS - np.abs(across - self.middle)) / 0.8)
        return (1.0 - self.follow(points)) * below * beside * smoothstep((self.chin + WAIST - down) / (WAIST - 1.0))

    def middle_of_head(self) -> Array:
        """(3,) px: between eyes and chin, as deep as the ears: what shoulders follow. About the neck's top a head turns
        in place, so a point there would hardly tell its lean."""
        middle = self.frame.out(np.array([[self.middle, 0.5 * self.chin], [self.middle, self.chin + 0.5]]))
        return np.append(middle[0], self.depth(middle)[1])

    def box(self, width: int, height: int, shoulders: bool) -> tuple[int, int, int, int]:
        """x0 y0 x1 y1 px, within the picture: outside it nothing ever moves, be it that the shoulders do."""
        side, below = (SHOULDERS, WAIST) if shoulders else (2.6, 1.2)
        corners = np.array([[-side, -2.9], [side, -2.9], [side, self.chin + below], [-side, self.chin + below]])
        corners[:, 0] += self.middle
        at = self.frame.out(corners)
        low, high = np.floor(at.min(0)).astype(int), np.ceil(at.max(0)).astype(int)
        return max(0, low[0]), max(0, low[1]), min(width, high[0]), min(height, high[1])
