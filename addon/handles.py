"""Handles above the points: ten empties that move whole parts of the face, on top of whatever the points are keyed to.

They are children of the head, at rest where their `location` is zero (Alt+G), and are keyed like anything else: on the
same action as the landmarks. What each pulls, and by how much, is the table below; `pulls.py` says how. Sides are the
speaker's own. Nothing here renders.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from . import compat, landmarks, pulls
from .landmarks import Rig

ROLE = "handle"
NAME = "parlando_handle"  # on the empty: its name in HANDLES
COLOUR = (0.2, 0.9, 0.9, 1.0)
SIZE = 0.07  # of the distance between the outer eye corners

_CHIN = (0.0, 0.0, 0.05, 0.2, 0.45, 0.7, 0.85, 0.95, 1.0)  # jaw points 0–8; 9–16 mirror them
_RIGHT_LIPS = (48, 49, 50, 58, 59, 60, 61, 67)  # the speaker's right half, the middle left out
_LEFT_LIPS = (54, 53, 52, 56, 55, 64, 63, 65)  # the same, mirrored
_SPREAD = (1.0, 0.6, 0.25, 0.25, 0.6, 1.0, 0.5, 0.5)  # how far each follows its corner
_UPPER = {49: 0.4, 50: 0.9, 51: 1.0, 52: 0.9, 53: 0.4, 61: 0.8, 62: 1.0, 63: 0.8}
_LOWER = {59: 0.4, 58: 0.9, 57: 1.0, 56: 0.9, 55: 0.4, 67: 0.8, 66: 1.0, 65: 0.8}


@dataclass(frozen=True)
class Handle:
    """What a handle is for, where it rests, and what it pulls. X to the picture's right, Y into it, Z up."""

    label: str
    near: tuple[int, ...]  # it rests at the middle of these landmarks,
    beside: tuple[float, float, float]  # moved by this, in distances between the outer eye corners
    axes: str  # it can be moved along
    pulls: Mapping[int, np.ndarray]


def _same(weights: Mapping[int, float], axes: str) -> dict[int, np.ndarray]:
    """The points follow the handle along `axes`, each by its weight."""
    along = np.diag([float(axis in axes) for axis in "XYZ"])
    return {index: weight * along for index, weight in weights.items() if weight}


def _of(row_x: float = 0.0, row_y: float = 0.0, row_z: float = 0.0, *, source: str) -> np.ndarray:
    """A pull along (x, y, z) by what the handle moves along one axis."""
    matrix = np.zeros((3, 3))
    matrix[:, "XYZ".index(source)] = row_x, row_y, row_z
    return matrix


def _jaw() -> dict[int, np.ndarray]:
    weights = {index: _CHIN[min(index, 16 - index)] for index in range(17)}
    weights |= {index: 0.55 + 0.4 * share for index, share in _LOWER.items()}
    weights |= {48: 0.45, 54: 0.45, 60: 0.45, 64: 0.45}
    return _same(weights, "XYZ")


def _open() -> dict[int, np.ndarray]:
    made = {index: _of(row_z=share, source="Z") for index, share in _LOWER.items()}
    return made | {index: _of(row_z=-0.35 * share, source="Z") for index, share in _UPPER.items()}


def _wide() -> dict[int, np.ndarray]:
    made = {index: _of(-share, source="X") for index, share in zip(_RIGHT_LIPS, _SPREAD, strict=True)}
    return made | {index: _of(share, source="X") for index, share in zip(_LEFT_LIPS, _SPREAD, strict=True)}


def _round() -> dict[int, np.ndarray]:
    """Corners inward, lips forward and a little apart, by moving it towards the mouth: to the picture's right."""
    made = {}
    for points, side in ((_RIGHT_LIPS, 1.0), (_LEFT_LIPS, -1.0)):
        for index, share in zip(points, _SPREAD, strict=True):
            made[index] = _of(
                side * share, -0.5, 0.2 * _UPPER.get(index, 0.0) - 0.2 * _LOWER.get(index, 0.0), source="X"
            )
    for index, lift in ((51, 0.2), (62, 0.2), (57, -0.2), (66, -0.2)):
        made[index] = _of(0.0, -0.5, lift, source="X")
    return made


def _corner(points: Iterable[int]) -> dict[int, np.ndarray]:
    return _same(dict(zip(points, _SPREAD, strict=True)), "XYZ")


def _lid(upper: tuple[int, int], lower: tuple[int, int]) -> dict[int, np.ndarray]:
    """Down closes: the lower lid comes a little towards the upper."""
    return {i: _of(row_z=1.0, source="Z") for i in upper} | {i: _of(row_z=-0.15, source="Z") for i in lower}


def _brow(points: Iterable[int]) -> dict[int, np.ndarray]:
    return _same(dict(zip(points, (0.7, 0.9, 1.0, 1.0, 0.9), strict=True)), "XZ")  # from the temple inwards


HANDLES: dict[str, Handle] = {
    "jaw": Handle("Jaw", (8,), (0.0, -0.1, -0.2), "XYZ", _jaw()),
    "mouth_open": Handle("Mouth Open", (57,), (0.0, -0.25, -0.12), "Z", _open()),
    "mouth_wide": Handle("Mouth Wide", (54,), (0.45, -0.1, 0.0), "X", _wide()),
    "mouth_round": Handle("Mouth Round", (48,), (-0.45, -0.1, 0.0), "X", _round()),
    "corner_r": Handle("Right Corner", (48,), (-0.18, -0.1, 0.0), "XYZ", _corner(_RIGHT_LIPS)),
    "corner_l": Handle("Left Corner", (54,), (0.18, -0.1, 0.0), "XYZ", _corner(_LEFT_LIPS)),
    "brow_r": Handle("Right Brow", (18, 19, 20), (0.0, -0.1, 0.2), "XZ", _brow(range(17, 22))),
    "brow_l": Handle("Left Brow", (23, 24, 25), (0.0, -0.1, 0.2), "XZ", _brow(range(26, 21, -1))),
    "lid_r": Handle("Right Eyelid", (37, 38), (0.0, -0.15, 0.06), "Z", _lid((37, 38), (41, 40))),
    "lid_l": Handle("Left Eyelid", (43, 44), (0.0, -0.15, 0.06), "Z", _lid((43, 44), (47, 46))),
}


def find(rig: Rig) -> dict[str, bpy.types.Object]:
    """The handles of these landmarks by name."""
    return {item[NAME]: item for item in rig.collection.all_objects if item.get(landmarks.ROLE) == ROLE}


def why_none(rig: Rig) -> str:
    """Why no handles can be added; empty when they can."""
    return "The landmarks have their handles already" if len(find(rig)) == len(HANDLES) else ""


def add(rig: Rig, data: landmarks.Data) -> list[bpy.types.Object]:
    """Adds the handles that are not there; where they rest comes from the take's landmarks."""
    local = landmarks.local_motion(data)[2]
    rest = local.mean(axis=0).astype(np.float64)
    eyes = float(np.linalg.norm(rest[45] - rest[36]))
    there = find(rig)
    made = []
    for name, handle in HANDLES.items():
        if name in there:
            continue
        item = bpy.data.objects.new(f"handle_{name}", None)
        item[landmarks.ROLE], item[NAME] = ROLE, name
        item.parent = rig.head
        item.matrix_parent_inverse = Matrix.Translation(
            rest[list(handle.near)].mean(axis=0) + np.multiply(handle.beside, eyes)
        )
        item.empty_display_type, item.empty_display_size = "CUBE", SIZE * eyes
        item.color, item.show_in_front, item.show_name = COLOUR, True, True
        item.lock_location = tuple(axis not in handle.axes for axis in "XYZ")
        item.lock_rotation = item.lock_scale = (True, True, True)
        rig.collection.objects.link(item)
        landmarks.show_in_local_views(rig, item)
        landmarks.give_slot(rig, item)
        for index, matrix in handle.pulls.items():
            _forget(rig.points[index], name)
            pulls.add(rig.points[index], item, name, matrix)
        made.append(item)
    return made


def rest(rig: Rig, chosen: Iterable[str], frame: int) -> int:
    """Brings handles back to where they pull nothing, with a key where they have keys; how many moved."""
    moved = 0
    for name, item in find(rig).items():
        if name not in chosen:
            continue
        moved += item.location.length > 0.0
        item.location = (0.0, 0.0, 0.0)
        if any(curve.data_path == "location" for curve in compat.curves(item)):
            item.keyframe_insert("location", frame=frame)
    return moved


def _forget(point: bpy.types.Object, name: str) -> None:
    """Takes away pulls of a handle that was deleted."""
    for constraint in list(point.constraints):
        if constraint.name.startswith(f"{pulls.PREFIX}{name}") and getattr(constraint, "target", None) is None:
            point.constraints.remove(constraint)
