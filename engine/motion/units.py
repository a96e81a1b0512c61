"""Landmarks → weights of ARKit's face units, for shape keys of 3D heads.

Each frame alone: the weights, 0 to 1, whose units together come nearest to how the landmarks lie from the face at rest
(regularised least squares within bounds); lids by their opening alone, so that a shut eye is a whole blink. A pure
function of the frame's landmarks and the rest: no smoothing, no state. The units are displacements of the 68 points on
a 3D head (`engine/weights/face_units.md`), scaled to this mouth and these eyes; where eyes look comes from the gaze.
Knows no mesh and no Blender.
"""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from engine.errors import InputError
from engine.face.canonical import rotation_matrix, rotation_vector, to_canonical
from engine.motion.gaze import look_units
from engine.motion.net import mouth_width, rest_of
from engine.motion.place import SIZES, at_rest
from engine.progress import Progress, silent
from engine.take import Landmarks, replacing

FORMAT = "parlando-units-1"
PATH = Path(__file__).parent.parent / "weights" / "face_units.safetensors"
LIDS = {"Right": ((37, 41), (38, 40)), "Left": ((43, 47), (44, 46))}  # upper, lower lid
LID_SIZES = (0.4, 2.5)  # smallest and largest eye compared with the 3D head's
DEPTH = 0.2  # trust in z compared with x and y: found in a picture it is a guess
RIDGE = 0.003  # cost of a weight's square, canonical units²
LASSO = 0.003  # cost of moving points by one unit instead of another, canonical units: few units do the work
STEPS = 400  # of the projected gradient
CHUNK = 2048  # frames solved at once


def _trust() -> np.ndarray:
    """(68, 3) how much each point and axis counts. The outline beside the ears follows the picture, not the bone."""
    trust = np.ones(68)
    trust[:17] = 0.3
    trust[[5, 6, 7, 8, 9, 10, 11]] = 0.6
    trust[27:48] = 0.0  # the nose does not speak, lids are measured
    return trust[:, None] * np.array([1.0, 1.0, DEPTH])


@dataclass(frozen=True)
class FaceUnits:
    """names: U, ARKit's. basis: (U, 68, 3) canonical displacement at weight 1. neutral: (68, 3) of the head they are
    from."""

    names: tuple[str, ...]
    basis: np.ndarray
    neutral: np.ndarray

    @classmethod
    def load(cls, path: Path = PATH) -> "FaceUnits":
        """The units that come with Parlando."""
        try:
            with safetensors.safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                basis, neutral = file.get_tensor("basis"), file.get_tensor("neutral")
        except (safetensors.SafetensorError, OSError) as problem:
            raise InputError(f"The face units {path} are missing or damaged: install Parlando again.") from problem
        if metadata.get("format") != FORMAT:
            raise InputError(f"The face units {path} are of another version: install Parlando again.")
        return cls(tuple(json.loads(metadata["names"])), basis.astype(np.float64), neutral.astype(np.float64))

    def scaled(self, rest: np.ndarray) -> np.ndarray:
        """(U, 68, 3) the units on this face (68, 3) canonical at rest."""
        basis = self.basis.copy()
        size = float(np.clip(mouth_width(rest) / mouth_width(self.neutral), *SIZES))
        basis[:, :17] *= size
        basis[:, 48:] *= size
        for lids in LIDS.values():
            points = [point for pair in lids for point in pair]
            basis[:, points] *= np.clip(_opening(rest, lids) / _opening(self.neutral, lids), *LID_SIZES)
        return basis

    def solve(self, offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Weights (T, U) float32 of offsets (T, 68, 3) from the face at rest (68, 3), canonical."""
        trust = _trust().ravel()
        units = self.scaled(rest).reshape(len(self.names), -1) * trust
        gram = units @ units.T + RIDGE * np.eye(len(units))
        cost = LASSO * np.linalg.norm(units, axis=1)
        step = 1.0 / float(np.linalg.eigvalsh(gram)[-1])
        weights = np.empty((len(offsets), len(units)), np.float32)
        for start in range(0, len(offsets), CHUNK):
            part = offsets[start : start + CHUNK].reshape(-1, trust.size) * trust
            weights[start : start + CHUNK] = _descend(gram, part @ units.T - cost, step)
        for side in LIDS:
            weights[:, self.names.index(f"eyeBlink{side}")] = self._lids(f"eyeBlink{side}", offsets, rest)
            weights[:, self.names.index(f"eyeWide{side}")] = self._lids(f"eyeWide{side}", offsets, rest)
        return weights

    def _lids(self, unit: str, offsets: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """(T,) the unit's weight that opens or shuts the lids as far, as shares of this eye's and of the head's own."""
        lids = next(pairs for side, pairs in LIDS.items() if unit.endswith(side))
        change = _opening(rest + offsets, lids) / _opening(rest, lids) - 1
        whole = _opening(self.neutral + self.basis[self.names.index(unit)], lids) / _opening(self.neutral, lids) - 1
        return np.clip(change / whole, 0.0, 1.0)

    def offsets(self, weights: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """(T, 68, 3) what weights (T, U) do to the face at rest."""
        return np.einsum("tu,unk->tnk", weights.astype(np.float64), self.scaled(rest))


def _descend(gram: np.ndarray, pull: np.ndarray, step: float) -> np.ndarray:
    """Minimises ½ w·gram·w − pull·w over 0 ≤ w ≤ 1 for each row of `pull` (n, U), after Beck and Teboulle (2009)."""
    weights = ahead = np.zeros_like(pull)
    momentum = 1.0
    for _ in range(STEPS):
        before = weights
        weights = np.clip(ahead - step * (ahead @ gram - pull), 0.0, 1.0)
        next_momentum = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = weights + (momentum - 1) / next_momentum * (weights - before)
        momentum = next_momentum
    return weights


def _opening(face: np.ndarray, lids: tuple[tuple[int, int], ...]) -> np.ndarray:
    """(...) height between the lids of (..., 68, 3), never none, so that it can be divided by."""
    heights = [face[..., upper, 1] - face[..., lower, 1] for upper, lower in lids]
    return np.maximum(np.mean(heights, axis=0), 1e-3)


@dataclass(frozen=True)
class Units:
    """names: U. weights: (T, U) float32, 0 to 1. head: (T, 3) float32 rotation vectors in radians, canonical axes (x
    right as seen, y up, z toward the viewer), from the portrait's own pose, or from facing the viewer in a film."""

    names: tuple[str, ...]
    weights: np.ndarray
    head: np.ndarray
    fps: Fraction

    def save(self, path: Path) -> None:
        """Writes names, weights, head and fps (2,), whole or not at all. Raises OutputError."""
        fps = np.array([self.fps.numerator, self.fps.denominator], np.int64)
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(file, names=np.array(self.names), weights=self.weights, head=self.head, fps=fps)


def rest_of_film(canonical: np.ndarray) -> np.ndarray:
    """(68, 3) the face at rest in a film (T, 68, 3): lips closed, brows and lids where they mostly are."""
    rest = rest_of(canonical).astype(np.float64)
    rest[17:48] = np.median(canonical[:, 17:48], axis=0)
    return rest


def offsets_of(made: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """(T, 68, 3) canonical offsets from the face at rest, and that face (68, 3): the portrait's, or the film's own."""
    canonical, _ = to_canonical(made.landmarks)
    if made.source_landmarks is None:
        rest = rest_of_film(canonical)
    else:
        rest = at_rest(to_canonical(made.source_landmarks)[0].astype(np.float64))
    return canonical - rest, rest


def head_of(made: Landmarks) -> np.ndarray:
    """(T, 3) float32 rotation vectors of the head, as `Units.head` has them."""
    turn = rotation_matrix(to_canonical(made.landmarks)[1].rotation)
    if made.source_landmarks is not None:
        turn = np.einsum("ji,tjk->tik", rotation_matrix(to_canonical(made.source_landmarks)[1].rotation), turn)
    return rotation_vector(turn).astype(np.float32)


def units_of(made: Landmarks, progress: Progress = silent) -> Units:
    """The units of a take's or a film's landmarks."""
    progress("units", 0, 1)
    units = FaceUnits.load()
    weights = units.solve(*offsets_of(made))
    looks = look_units(made.looks)
    progress("units", 1, 1)
    names = (*units.names, *looks)
    return Units(names, np.column_stack([weights, *looks.values()]), head_of(made), made.fps)


def write_units(landmarks: Path, out: Path, progress: Progress = silent) -> dict[str, Any]:
    """The verb `units`: landmarks.npz → a file of units; what is told of it. Raises InputError, OutputError."""
    made = units_of(Landmarks.load(landmarks), progress)
    made.save(out)
    return {"units": str(out), "frames": len(made.weights), "names": list(made.names)}
