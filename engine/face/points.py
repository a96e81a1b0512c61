"""The 68 landmarks as somebody placed them: for drawings, animals and faces that are not found or found wrongly.

A file of points is JSON: {"points": [[x, y], …]}, 68 pairs in iBUG order, px of the picture, or triples with z toward
the viewer; what `parlando landmarks PICTURE --out FACE.json` writes. Depth that is not given, and the dense mesh the
renderer bends, come from the face that is found there, else from an average face under the pose that fits the points
best. Does not judge whether points are good, only whether they can be worked with.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import safetensors.numpy

from engine.errors import InputError, ParlandoError
from engine.face import find, image
from engine.face.find import SMALLEST, Face, face_of
from engine.face.image import Picture
from engine.face.mesh import IBUG
from engine.scattered import interpolation
from engine.take import replacing

MESH = Path(__file__).resolve().parents[1] / "weights" / "mesh_base.safetensors"
STEADY = np.array([0, 1, 2, 14, 15, 16, 27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45])  # speech does not move them
MOST_TURN = np.radians([25.0, 35.0])  # up or down, aside: stylised proportions look like turns
PASSES = ((1.0, 0.5), (0.5, 0.2), (0.2, 0.02))  # how far moved points take others along, in eyes' distances; softness
AMIDST = 0.3  # of the picture's shorter side: the eyes' distance of a face that nobody has seen yet
NEAR = 0.35  # of that distance, on average: a face found so near the points is the one they are about


def read(path: Path) -> list[list[float]]:
    """The points of a file. InputError when it holds none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"The file of points {path} does not exist.") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} is not a file of points: {problem}.") from problem
    points: Any = told.get("points") if isinstance(told, dict) else told
    try:
        return [[float(value) for value in point] for point in points]
    except (TypeError, ValueError) as problem:
        raise InputError(f'{path} is not a file of points: {{"points": [[x, y], …]}} with 68 pairs is needed.') from (
            problem
        )


def write(path: Path, placed: dict[str, Any]) -> None:
    """A file of what `points_of` gives, a line for each point, to be edited by hand. OutputError."""
    rows = ",\n".join(f"  [{x:.2f}, {y:.2f}, {z:.2f}]" for x, y, z in placed["points"])
    size = json.dumps(placed["size"])
    with replacing(path) as part:
        part.write_text(f'{{"size": {size}, "points": [\n{rows}\n]}}\n', encoding="utf-8")


def face_at(picture: Picture, points: Sequence[Sequence[float]], which: int = 0) -> Face:
    """The face of a picture whose 68 landmarks lie where somebody placed them. InputError."""
    placed, depth = _checked(picture, points)
    unit = float(np.linalg.norm(placed[45] - placed[36]))
    try:
        face = find.find(picture, which)
        near = np.linalg.norm(face.landmarks[:, :2] - placed, axis=1).mean() < NEAR * unit
    except ParlandoError:
        near = False
    mesh = face.mesh.astype(np.float64) if near else average(placed)
    goal = np.column_stack([placed, depth if depth is not None else mesh[IBUG, 2]])
    moved = mesh.copy()
    for reach, ridge in PASSES:  # smoothly as far as that goes, and what is left close by
        weights = interpolation(mesh[IBUG, :2], np.full(68, reach * unit), mesh[:, :2], ridge)
        moved += weights @ (goal - moved[IBUG])
    moved[IBUG] = goal
    return face_of(moved.astype(np.float32), 1.0)


def points_of(path: Path, which: int = 0) -> dict[str, Any]:
    """Where the landmarks of a picture lie, as JSON takes it: `points` 68 × (x, y, z) px, whether a face was `found`,
    `size`. Where none is found, an average face's points lie in the middle, to be moved. Raises InputError."""
    picture = image.load(path)
    width, height = picture.size
    try:
        points, found = find.find(picture, which).landmarks, True
    except InputError:
        mesh = safetensors.numpy.load_file(MESH)["mesh"][IBUG]
        points, found = mesh * AMIDST * min(width, height) + np.array([width / 2, height / 2, 0.0]), False
    rows = [[round(float(value), 3) for value in point] for point in points]
    return {"points": rows, "found": found, "size": [width, height]}


def _checked(picture: Picture, points: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray | None]:
    """(68, 2) px and depth (68,) px where given."""
    lengths = {len(point) for point in points}
    if len(points) != 68 or lengths not in ({2}, {3}):
        raise InputError(
            f"{len(points)} points are given for {picture.path.name}: 68 are needed, each x, y or x, y, z."
        )
    values = np.array(points, np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"Point {int(np.argwhere(~np.isfinite(values))[0][0])} is not a number: place it again.")
    placed = values[:, :2]
    outside = ((placed < 0) | (placed > np.array(picture.size) - 1)).any(1)
    if outside[17:].any():
        number = 17 + int(np.flatnonzero(outside[17:])[0])
        raise InputError(f"Point {number} lies outside the picture {picture.path.name}: move it into the face.")
    if np.ptp(placed, axis=0).max() < SMALLEST:
        raise InputError(
            f"The points span {np.ptp(placed, axis=0).max():.0f} pixels where at least {SMALLEST:.0f} are needed: "
            "choose a larger version of the picture."
        )
    if np.linalg.norm(placed[45] - placed[36]) < 0.1 * np.ptp(placed, axis=0).max():
        raise InputError("The corners of the eyes, points 36 and 45, lie in one place: move them apart.")
    return placed, values[:, 2] if lengths == {3} else None


def average(placed: np.ndarray) -> np.ndarray:
    """The average face's mesh (478, 3) px, turned, sized and put where it fits points (68, 2) best."""
    mesh = safetensors.numpy.load_file(MESH)["mesh"].astype(np.float64)
    own = mesh[IBUG][STEADY]
    middle = own.mean(0)
    there = placed[STEADY].mean(0)
    camera = np.linalg.lstsq(own - middle, placed[STEADY] - there, rcond=None)[0].T  # (2, 3), weak perspective
    u, spread, vt = np.linalg.svd(camera, full_matrices=False)
    scale = float(spread.mean())
    rows = u @ vt
    turn = np.vstack([rows, np.cross(rows[0], rows[1])])
    roll = np.arctan2(turn[1, 0], turn[0, 0])
    level = _about_z(-roll) @ turn
    yaw = np.clip(np.arctan2(level[0, 2], level[2, 2]), -MOST_TURN[1], MOST_TURN[1])
    pitch = np.clip(np.arctan2(-level[1, 2], level[2, 2]), -MOST_TURN[0], MOST_TURN[0])
    turn = _about_z(roll) @ cv2.Rodrigues(np.array([pitch, 0.0, 0.0]))[0] @ cv2.Rodrigues(np.array([0.0, yaw, 0.0]))[0]
    made = scale * (mesh - middle) @ turn.T
    made[:, :2] += there
    return np.asarray(made)


def _about_z(angle: float) -> np.ndarray:
    return np.asarray(cv2.Rodrigues(np.array([0.0, 0.0, angle]))[0])
