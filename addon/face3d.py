"""The same motion on a 3D head: keys of ARKit-named shape keys, and the head's turn on a bone or an object.

The engine turns landmarks into weights (its verb `units`); here they become curves. Keys lie in the action the mesh or
the head has already, or in a new one; only the frames of the take are replaced, so several sounds can drive one head.
The head is expected to look along −Y, as Blender's characters do. Nothing here knows what a unit looks like.
"""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import mathutils as _mathutils
import numpy as np

from . import generate, jobs, landmarks, preferences, pump, strips, takes
from .jobs import Job, NotPlaced
from .problem import Problem

# What 68 landmarks and the gaze can tell of ARKit's 52; squints, cheeks, nose and tongue are not in them.
UNITS = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft",
    "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeWideLeft",
    "eyeWideRight", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft",
    "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
)  # fmt: skip
REST = "parlando_rest"  # on an object whose turn is keyed: its own rotation before, a quaternion
mathutils: Any = _mathutils  # its published types are wrong
_LINEAR = 1
_FREE = 0  # handle type, as foreach_set takes it


def _is_face(self: Any, item: bpy.types.Object) -> bool:
    return item.type == "MESH" and bool(matches(item))


class ParlandoFace(bpy.types.PropertyGroup):
    """Which 3D head speaks."""

    mesh: bpy.props.PointerProperty(
        name="Mesh",
        description="A mesh that has shape keys with ARKit's names, such as jawOpen or mouthSmile_L",
        type=bpy.types.Object,
        poll=_is_face,
    )
    head: bpy.props.PointerProperty(
        name="Head",
        description="What turns with the head: an armature, or an object such as an empty. Without one only the face "
        "moves",
        type=bpy.types.Object,
    )
    bone: bpy.props.StringProperty(name="Bone", description="The armature's bone that turns the head")
    amount: bpy.props.FloatProperty(
        name="Amount",
        description="What the weights are multiplied by: heads are sculpted with stronger or weaker shapes",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )
    head_amount: bpy.props.FloatProperty(
        name="Head Amount",
        description="What the head's turn is multiplied by",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )


def matches(mesh: bpy.types.Object) -> dict[str, str]:
    """Shape key → unit of an object's keys: any case, with _L or Left, behind a prefix and a point."""
    keys = mesh.data.shape_keys if isinstance(mesh.data, bpy.types.Mesh) else None
    if keys is None:
        return {}
    known = {_word(unit): unit for unit in UNITS}
    known |= {_word("browInnerUp") + side: "browInnerUp" for side in "lr"}  # split in some heads
    found = {}
    for block in keys.key_blocks:
        name = re.sub(r"\.\d{3}$", "", block.name)
        unit = known.get(_word(name)) or known.get(_word(name.rpartition(".")[2]))
        if unit is not None and block != keys.reference_key:
            found[block.name] = unit
    return found


def _word(name: str) -> str:
    """mouthSmileLeft, Mouth_Smile_L and mouthSmile.l are one word."""
    word = re.sub(r"[^a-z]", "", name.lower())
    for side in ("left", "right"):
        word = word.removesuffix(side) + side[0] if word.endswith(side) else word
    return word


def why_not(scene: bpy.types.Scene) -> str:
    """Why the face cannot be keyed; empty when it can."""
    if reason := takes.why_not_usable(takes.shown(scene, strips.sound_in_use(scene))):
        return reason
    settings = scene.parlando_face
    if settings.mesh is None:
        return "Choose a mesh that has shape keys with ARKit's names"
    if not matches(settings.mesh):
        return f"“{settings.mesh.name}” has no shape key with one of ARKit's names, such as jawOpen"
    if settings.head is not None and settings.head.type == "ARMATURE":
        if not settings.bone:
            return f"Choose the bone of “{settings.head.name}” that turns the head"
        if settings.bone not in settings.head.data.bones:
            return f"“{settings.head.name}” has no bone “{settings.bone}” any more: choose another"
    if any(item is not None and not item.is_editable for item in (settings.mesh.data, settings.head)):
        return "The mesh or the head is linked from another file: make it local or override it"
    return "" if preferences.engine_python() else preferences.NO_ENGINE


def key_face(scene: bpy.types.Scene, take_name: str = "") -> Job:
    """Queues the keying of the chosen head from a take (the shown one for ''). Raises Problem.

    With landmarks in the scene it is the motion as they have it now, edits and all.
    """
    if reason := why_not(scene):
        raise Problem(f"{reason}.")
    take = generate.take_named(scene, take_name)
    settings = scene.parlando_face
    base = takes.by_name(scene, take.base) or take
    rig = landmarks.find(scene, take.sound_id)
    begin = takes.begin_of(scene, take)
    start = scene.frame_start if begin is None else begin
    source = takes.folder_of(take) / "landmarks.npz"
    arrays = None
    if rig is not None and rig.collection.get(landmarks.BASE) == base.name:
        start = int(rig.picture[landmarks.START])
        known = landmarks.Data.load(takes.folder_of(base) / "landmarks.npz")
        arrays = known.edited(*landmarks.read_all(scene, rig, len(known.landmarks), known.size))
    folder = Path(tempfile.mkdtemp(prefix="parlando_face_", dir=bpy.app.tempdir))
    if arrays is not None:
        source = folder / "edited.npz"
    params = {"landmarks": str(source), "out": str(folder / "units.npz")}
    mesh = settings.mesh.session_uid, settings.mesh.name
    head = (settings.head.session_uid, settings.head.name) if settings.head is not None else None
    bone, amount, head_amount, name = settings.bone, settings.amount, settings.head_amount, take.name

    def prepare() -> Generator[float, None, None]:
        if arrays is not None:
            np.savez(source, **arrays)
        yield 1.0

    def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
        try:
            units = Units.load(Path(job.params["out"]))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        face = _object(*mesh)
        told = f"“{face.name}”: {key_shapes(face, units, start, amount)} shape keys over {len(units.weights)} frames"
        if head is not None:
            key_head(_object(*head), bone, units.head * head_amount, start)
            told += ", and the head's turn"
        return f"{told}, from {name}."

    job = jobs.begin(scene, "units", folder, params, prepare(), deliver)
    job.title = f"Face of {settings.mesh.name}"
    pump.wake()
    return job


def _object(uid: int, name: str) -> bpy.types.Object:
    """The object meant: after an undo by its name."""
    found = next((o for o in bpy.data.objects if o.session_uid == uid), None) or bpy.data.objects.get(name)
    if found is None:
        raise NotPlaced(f"“{name}” was deleted in the meantime: nothing was keyed.")
    return found


class Units:
    """What the engine's file of units holds: names, weights (T, U), head (T, 3) rotation vectors."""

    def __init__(self, names: list[str], weights: np.ndarray, head: np.ndarray) -> None:
        self.names, self.weights, self.head = names, weights, head

    @classmethod
    def load(cls, path: Path) -> "Units":
        """Reads it. Raises Problem."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls([str(n) for n in file["names"]], file["weights"], file["head"].astype(np.float64))
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as problem:
            raise Problem(f"The face units {path} cannot be read: key the face again.") from problem


def key_shapes(mesh: bpy.types.Object, units: Units, start: int, amount: float) -> int:
    """Keys the values of the mesh's shape keys, one key a frame from `start` on; how many shape keys."""
    found = matches(mesh)
    if not found:
        raise Problem(f"“{mesh.name}” has no shape key with one of ARKit's names: nothing was keyed.")
    keys: Any = mesh.data
    bag = landmarks.channelbag(keys.shape_keys, f"{mesh.name} face")
    times = np.arange(start, start + len(units.weights), dtype=np.float32)
    for block, unit in found.items():
        values = units.weights[:, units.names.index(unit)] * amount
        path = f'key_blocks["{bpy.utils.escape_identifier(block)}"].value'
        replace_keys(bag, path, 0, times, values.astype(np.float32))
    return len(found)


def key_head(head: Any, bone: str, vectors: np.ndarray, start: int) -> None:
    """Keys the turn (T, 3), rotation vectors in canonical axes, of an armature's bone or of an object itself."""
    turns = [mathutils.Quaternion((x, -z, y), float(np.linalg.norm((x, y, z)))) for x, y, z in vectors]
    target: Any = head
    prefix = ""
    if head.type == "ARMATURE" and bone:
        pose: Any = head.pose
        if bone not in pose.bones:
            raise Problem(f"“{head.name}” has no bone “{bone}” any more: its turn was not keyed.")
        target = pose.bones[bone]
        prefix = f'pose.bones["{bpy.utils.escape_identifier(bone)}"].'
        rest = target.bone.matrix_local.to_quaternion()
        turns = [rest.inverted() @ turn @ rest for turn in turns]
    else:
        if REST not in head:
            head[REST] = list(_basis(head))
        own = mathutils.Quaternion(head[REST])
        turns = [turn @ own for turn in turns]
    times = np.arange(start, start + len(turns), dtype=np.float32)
    if target.rotation_mode == "AXIS_ANGLE":
        target.rotation_mode = "QUATERNION"
    for index in range(1, len(turns)):
        turns[index].make_compatible(turns[index - 1])
    if target.rotation_mode == "QUATERNION":
        path, values = "rotation_quaternion", np.array([tuple(turn) for turn in turns], np.float32)
    else:
        path = "rotation_euler"
        angles: list[Any] = []
        for turn in turns:
            angles.append(turn.to_euler(target.rotation_mode, *angles[-1:]))
        values = np.array([tuple(angle) for angle in angles], np.float32)
    bag = landmarks.channelbag(head, f"{head.name} head")
    for axis in range(values.shape[1]):
        replace_keys(bag, prefix + path, axis, times, values[:, axis])


def _basis(item: Any) -> Any:
    """The object's own rotation, without its deltas."""
    if item.rotation_mode == "QUATERNION":
        return item.rotation_quaternion.copy()
    if item.rotation_mode == "AXIS_ANGLE":
        angle, *axis = item.rotation_axis_angle
        return mathutils.Quaternion(axis, angle)
    return item.rotation_euler.to_quaternion()


def replace_keys(bag: Any, path: str, index: int, times: np.ndarray, values: np.ndarray) -> None:
    """One linear key at each of `times` (n,) float32, frames in order; keys before and after them stay as they are."""
    curve = bag.fcurves.find(path, index=index) or bag.fcurves.new(path, index=index)
    points = curve.keyframe_points
    count = len(points)
    wide = {name: np.empty(2 * count, np.float32) for name in ("co", "handle_left", "handle_right")}
    codes = {
        name: np.empty(count, np.int32) for name in ("interpolation", "easing", "handle_left_type", "handle_right_type")
    }
    for name, array in (*wide.items(), *codes.items()):
        points.foreach_get(name, array)
    frames = wide["co"][::2]
    before, after = frames < times[0] - 0.5, frames > times[-1] + 0.5
    new = np.stack([times, values], axis=1)
    fresh = {"interpolation": _LINEAR, "easing": 0, "handle_left_type": _FREE, "handle_right_type": _FREE}
    reach = np.array([1 / 3, 0], np.float32)
    beside = {"co": new, "handle_left": new - reach, "handle_right": new + reach}
    points.clear()
    points.add(int(before.sum() + len(times) + after.sum()))
    for name, codes_of in codes.items():
        middle = np.full(len(times), fresh[name], np.int32)
        points.foreach_set(name, np.concatenate([codes_of[before], middle, codes_of[after]]))
    for name, pairs in wide.items():
        pairs = pairs.reshape(-1, 2)
        whole = np.concatenate([pairs[before], beside[name], pairs[after]])
        points.foreach_set(name, np.ascontiguousarray(whole, np.float32).ravel())
    curve.update()


CLASSES = (ParlandoFace,)


def register() -> None:
    """Adds `scene.parlando_face`."""
    bpy.types.Scene.parlando_face = bpy.props.PointerProperty(type=ParlandoFace)


def unregister() -> None:
    """Takes it away again."""
    del bpy.types.Scene.parlando_face
