"""A 3D head keyed from a take: names, curves, the head's turn, edits, undo, Add Head, with the real engine."""

import json
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Quaternion

REPO = Path(__file__).resolve().parents[2]
Wait = Callable[..., None]
FRAMES = 12


@pytest.fixture
def face3d(parlando: SimpleNamespace) -> Any:
    import importlib

    return importlib.import_module("bl_ext.dev.parlando.addon.face3d")


def head_mesh(scene: Any, names: tuple[str, ...]) -> Any:
    """A mesh with shape keys of these names; what they move does not matter here."""
    mesh = bpy.data.meshes.new("Head")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    item = bpy.data.objects.new("Head", mesh)
    scene.collection.objects.link(item)
    item.shape_key_add(name="Basis")
    for name in names:
        item.shape_key_add(name=name).value = 0.0  # 1 from Blender 5.0 on
    return item


@pytest.fixture
def mesh(scene: Any, face3d: Any) -> Any:
    return head_mesh(scene, (*face3d.UNITS, "tongueOut"))


@pytest.fixture
def take(parlando: SimpleNamespace, scene: Any, sound: Any, engine: str, tmp_path: Path) -> Any:
    """A take whose head nods 0.2 rad and whose mouth opens and closes, on the demo portrait's own points."""
    points = np.load(Path(__file__).with_name("astronaut_68.npy")).astype(np.float64)
    moved = np.repeat(points[None], FRAMES, 0)
    height = np.linalg.norm(points[36] - points[45])
    opened = 0.3 * height * np.sin(np.pi * np.arange(FRAMES) / (FRAMES - 1))
    moved[:, 55:60, 1] += opened[:, None]
    moved[:, 65:68, 1] += opened[:, None]
    moved[:, 6:11, 1] += 0.8 * opened[:, None]
    folder = tmp_path / "takes" / "voice_001"
    folder.mkdir(parents=True)
    np.savez(
        folder / "landmarks.npz",
        landmarks=moved.astype(np.float32),
        pose=np.zeros((FRAMES, 6), np.float32),
        fps=np.array([24, 1]),
        size=np.array([512, 512]),
        source_landmarks=points.astype(np.float32),
        source_mesh=np.zeros((478, 3), np.float32),
        image_sha256=np.zeros(0, np.uint8),
    )
    (folder / "frames").mkdir()
    image = bpy.data.images.new("frame", 8, 8)
    image.filepath_raw, image.file_format = str(folder / "frames" / "000001.png"), "PNG"
    image.save()
    id = parlando.strips.identify(scene, sound)
    info = parlando.takes.TakeInfo(
        "voice_001", folder, id, "voice", FRAMES, (24, 1), (512, 512), Path("x.png"), None, 0, "voice_001", ""
    )
    return parlando.takes.register_in(scene, info)


def values(parlando: SimpleNamespace, owner: Any, path: str, index: int = 0) -> np.ndarray:
    """Frame and value of each key of a curve, (n, 2)."""
    curve = next(c for c in parlando.compat.curves(owner) if c.data_path == path and c.array_index == index)
    return np.array([tuple(key.co) for key in curve.keyframe_points])


def key_face(idle: Wait) -> str:
    assert bpy.ops.parlando.key_face() == {"FINISHED"}
    idle()
    state = bpy.context.window_manager.parlando
    assert state.outcome == "DONE", state.message
    return str(state.message)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("jawOpen", "jawOpen"), ("JawOpen", "jawOpen"), ("jaw_open", "jawOpen"), ("mouthSmile_L", "mouthSmileLeft"),
        ("mouthSmile.R", "mouthSmileRight"), ("blendShape1.mouthSmileLeft", "mouthSmileLeft"),
        ("eyeBlink_R.001", "eyeBlinkRight"), ("mouthLeft", "mouthLeft"), ("jawRight", "jawRight"),
        ("browInnerUp_L", "browInnerUp"), ("browInnerUp", "browInnerUp"), ("tongueOut", None), ("mouth", None),
        ("Smile", None),
    ],
)  # fmt: skip
def test_names(scene: Any, face3d: Any, name: str, unit: str | None) -> None:
    assert face3d.matches(head_mesh(scene, (name,))) == ({name: unit} if unit else {})


def test_the_units_are_the_engines(face3d: Any) -> None:
    data = (REPO / "engine" / "weights" / "face_units.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    looks = re.findall(r'"(eyeLook\w+)":', (REPO / "engine" / "motion" / "gaze.py").read_text(encoding="utf-8"))
    assert len(looks) == 8 and {*json.loads(header["__metadata__"]["names"]), *looks} == set(face3d.UNITS)


def test_greyed_with_a_reason(scene: Any, face3d: Any, take: Any, mesh: Any) -> None:
    assert "Choose a mesh" in face3d.why_not(scene) and not bpy.ops.parlando.key_face.poll()
    scene.parlando_face.mesh = head_mesh(scene, ("Smile",))
    assert "no shape key" in face3d.why_not(scene)
    scene.parlando_face.mesh = mesh
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    scene.collection.objects.link(armature)
    scene.parlando_face.head = armature
    assert "bone" in face3d.why_not(scene)
    scene.parlando_face.head = None
    assert face3d.why_not(scene) == "" and bpy.ops.parlando.key_face.poll()


def test_key_face(parlando: SimpleNamespace, scene: Any, take: Any, mesh: Any, idle: Wait) -> None:
    scene.parlando_face.mesh = mesh
    bpy.ops.ed.undo_push(message="Before")
    assert "43 shape keys over 12 frames" in key_face(idle)
    keys = mesh.data.shape_keys
    jaw = values(parlando, keys, 'key_blocks["jawOpen"].value')
    assert jaw[:, 0].tolist() == list(range(10, 10 + FRAMES))  # from the sound's first frame on
    assert jaw[0, 1] < 0.02 and jaw[FRAMES // 2, 1] > 0.2 and jaw[-1, 1] < 0.02
    scene.frame_set(10 + FRAMES // 2)
    assert keys.key_blocks["jawOpen"].value == pytest.approx(jaw[FRAMES // 2, 1])
    assert keys.key_blocks["tongueOut"].value == 0
    assert not list(Path(bpy.app.tempdir).glob("parlando_face_*"))
    bpy.ops.ed.undo()
    keys = bpy.data.objects["Head"].data.shape_keys
    assert keys.animation_data is None or keys.animation_data.action is None
    bpy.ops.ed.redo()
    assert bpy.data.objects["Head"].data.shape_keys.animation_data.action is not None


def test_amount(parlando: SimpleNamespace, scene: Any, take: Any, mesh: Any, idle: Wait) -> None:
    scene.parlando_face.mesh = mesh
    key_face(idle)
    once = values(parlando, mesh.data.shape_keys, 'key_blocks["jawOpen"].value')[:, 1]
    scene.parlando_face.amount = 0.5
    key_face(idle)
    assert values(parlando, mesh.data.shape_keys, 'key_blocks["jawOpen"].value')[:, 1] == pytest.approx(once / 2)


def test_other_keys_and_curves_stay(parlando: SimpleNamespace, scene: Any, take: Any, mesh: Any, idle: Wait) -> None:
    keys = mesh.data.shape_keys
    jaw, tongue = keys.key_blocks["jawOpen"], keys.key_blocks["tongueOut"]
    for frame, value in ((2, 0.7), (12, 0.9), (90, 0.3)):
        jaw.value = tongue.value = value
        jaw.keyframe_insert("value", frame=frame)
        tongue.keyframe_insert("value", frame=frame)
    action = keys.animation_data.action
    first = next(c for c in parlando.compat.curves(keys) if "jawOpen" in c.data_path).keyframe_points[0]
    first.interpolation, first.handle_left_type = "BEZIER", "ALIGNED"
    scene.parlando_face.mesh = mesh
    key_face(idle)
    assert keys.animation_data.action == action
    held = values(parlando, keys, 'key_blocks["jawOpen"].value')
    assert held[:, 0].tolist() == [2, *range(10, 10 + FRAMES), 90]
    assert held[[0, -1], 1] == pytest.approx([0.7, 0.3]) and held[3, 1] != pytest.approx(0.9)
    curve = next(c for c in parlando.compat.curves(keys) if "jawOpen" in c.data_path)
    assert curve.keyframe_points[0].handle_left_type == "ALIGNED"
    assert curve.keyframe_points[0].interpolation == "BEZIER" and curve.keyframe_points[1].interpolation == "LINEAR"
    assert curve.keyframe_points[1].handle_right_type == "FREE"
    assert len(values(parlando, keys, 'key_blocks["tongueOut"].value')) == 3


def test_edited_landmarks_are_what_is_keyed(
    parlando: SimpleNamespace, scene: Any, take: Any, mesh: Any, idle: Wait
) -> None:
    scene.parlando_face.mesh = mesh
    key_face(idle)
    path = 'key_blocks["mouthSmileLeft"].value'
    before = values(parlando, mesh.data.shape_keys, path)
    rig = parlando.landmarks.add(scene, take, 10)
    corner = rig.points[54]
    for frame, up in ((13, 0.0), (14, 0.03), (15, 0.0)):
        corner.delta_location = (up, 0, up)
        corner.keyframe_insert("delta_location", frame=frame)
    key_face(idle)
    after = values(parlando, mesh.data.shape_keys, path)
    changed = np.flatnonzero(np.abs(after[:, 1] - before[:, 1]) > 1e-3)
    assert changed.tolist() == [4] and after[4, 1] > before[4, 1] + 0.02


def turned(angle: float) -> np.ndarray:
    """(5, 3) rotation vectors: a look to the picture's right, growing."""
    return np.linspace(0, angle, 5)[:, None] * np.array([0.0, 1.0, 0.0])


def test_the_turn_of_an_object(parlando: SimpleNamespace, scene: Any, face3d: Any) -> None:
    empty = bpy.data.objects.new("Turn", None)
    scene.collection.objects.link(empty)
    empty.rotation_euler = (math.pi / 2, 0, 0)
    own = empty.rotation_euler.to_quaternion()
    for _ in range(2):  # a second time from the same rest
        face3d.key_head(empty, "", turned(0.4), 1)
        scene.frame_set(5)
        expected = Quaternion((0, 0, 1), 0.4) @ own  # about Blender's Z: up
        assert empty.rotation_euler.to_quaternion().rotation_difference(expected).angle < 1e-4
    scene.frame_set(1)
    assert empty.rotation_euler.to_quaternion().rotation_difference(own).angle < 1e-4


@pytest.mark.parametrize("mode", ["QUATERNION", "XYZ", "ZXY", "AXIS_ANGLE"])
def test_the_turn_of_a_bone(parlando: SimpleNamespace, scene: Any, face3d: Any, mode: str) -> None:
    armature = bpy.data.armatures.new("Rig")
    item = bpy.data.objects.new("Rig", armature)
    scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    bone = armature.edit_bones.new("head")
    bone.head, bone.tail, bone.roll = (0, 0, 1), (0, 0.2, 1.4), 0.3
    bpy.ops.object.mode_set(mode="OBJECT")
    item.pose.bones["head"].rotation_mode = mode
    face3d.key_head(item, "head", turned(0.4), 1)
    scene.frame_set(5)
    bpy.context.view_layer.update()
    posed = item.pose.bones["head"].matrix.to_quaternion()
    rest = armature.bones["head"].matrix_local.to_quaternion()
    expected = Quaternion((0, 0, 1), 0.4) @ rest
    assert posed.rotation_difference(expected).angle < 1e-3


def test_two_sounds_drive_one_head(parlando: SimpleNamespace, scene: Any, face3d: Any, mesh: Any) -> None:
    weights = np.full((5, len(face3d.UNITS)), 0.5, np.float32)
    units = face3d.Units(list(face3d.UNITS), weights, np.zeros((5, 3)))
    face3d.key_shapes(mesh, units, 1, 1.0)
    face3d.key_shapes(mesh, units, 20, 0.5)
    held = values(parlando, mesh.data.shape_keys, 'key_blocks["jawOpen"].value')
    assert held[:, 0].tolist() == [1, 2, 3, 4, 5, 20, 21, 22, 23, 24]
    assert held[:, 1] == pytest.approx([0.5] * 5 + [0.25] * 5)


def test_ten_thousand_frames_are_quick(face3d: Any, mesh: Any) -> None:
    import time

    weights = np.random.default_rng(0).random((10000, len(face3d.UNITS))).astype(np.float32)
    units = face3d.Units(list(face3d.UNITS), weights, np.zeros((10000, 3)))
    begun = time.monotonic()
    face3d.key_shapes(mesh, units, 1, 1.0)
    assert time.monotonic() - begun < 3.0


def test_a_deleted_head_is_told(scene: Any, take: Any, mesh: Any, idle: Wait) -> None:
    scene.parlando_face.mesh = mesh
    assert bpy.ops.parlando.key_face() == {"FINISHED"}
    bpy.data.objects.remove(mesh)
    idle()
    assert "deleted" in bpy.context.window_manager.parlando.message


def test_everything_has_a_tooltip(scene: Any) -> None:
    for prop in scene.parlando_face.bl_rna.properties:
        assert prop.description or prop.identifier in {"rna_type", "name"}, prop.identifier
    assert bpy.ops.parlando.key_face.get_rna_type().description


# Add Head


def add(idle: Wait) -> Any:
    bpy.ops.ed.undo_push(message="Before")
    assert bpy.ops.parlando.add_head() == {"FINISHED"}
    idle()
    state = bpy.context.window_manager.parlando
    if "could not be fetched" in state.message:
        pytest.skip(state.message)
    assert state.outcome == "DONE", state.message
    return bpy.context.scene.parlando_face.mesh


def evaluated(head: Any) -> np.ndarray:
    mesh = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def test_a_take_moves_the_chin(parlando: SimpleNamespace, scene: Any, take: Any, idle: Wait) -> None:
    scene.cursor.location = (1, 2, 3)
    head = add(idle)
    blocks = head.data.shape_keys.key_blocks
    assert len(blocks) == 53 and all(block.value == 0 for block in blocks[1:])
    assert scene.parlando_face.head == head.parent and head.parent.type == "EMPTY"
    bpy.context.view_layer.update()
    lowest = min((head.matrix_world @ vertex.co).z for vertex in head.data.vertices)
    assert lowest == pytest.approx(3, abs=1e-4) and head.parent.location.x == pytest.approx(1)
    rest = evaluated(head)
    front = np.flatnonzero(rest[:, 1] < -0.09)
    chin, top = front[rest[front, 2].argmin()], rest[:, 2].argmax()
    key_face(idle)
    heights = []
    for frame in range(10, 10 + FRAMES):
        scene.frame_set(frame)
        heights.append(evaluated(head)[[chin, top], 2])
    fall = rest[[chin, top], 2] - np.array(heights)
    opening = np.sin(np.pi * np.arange(FRAMES) / (FRAMES - 1))
    assert np.corrcoef(fall[:, 0], opening)[0, 1] > 0.8
    assert np.ptp(fall[:, 0]) > 0.002 and np.ptp(fall[:, 1]) < 1e-5


def test_undo_takes_it_away_and_redo_brings_it(scene: Any, engine: str, idle: Wait) -> None:
    add(idle)
    bpy.ops.ed.undo()
    assert "Parlando Head" not in bpy.data.objects and bpy.context.scene.parlando_face.mesh is None
    bpy.ops.ed.redo()
    assert bpy.data.objects["Parlando Head"].parent == bpy.context.scene.parlando_face.head


def test_greyed_without_an_engine(parlando: SimpleNamespace, scene: Any) -> None:
    assert not bpy.ops.parlando.add_head.poll()
    with pytest.raises(RuntimeError, match="no environment"):
        bpy.ops.parlando.add_head()


def test_offline_is_told(scene: Any, engine: str, idle: Wait, tmp_path: Any, monkeypatch: Any, parlando: Any) -> None:
    parlando.jobs.client().stop()
    monkeypatch.setenv("PARLANDO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PARLANDO_OFFLINE", "1")
    before = len(bpy.data.objects)
    assert bpy.ops.parlando.add_head() == {"FINISHED"}
    idle()
    state = bpy.context.window_manager.parlando
    parlando.jobs.client().stop()
    assert state.outcome == "FAILED" and "anny==0.6.2" in state.message and len(bpy.data.objects) == before
