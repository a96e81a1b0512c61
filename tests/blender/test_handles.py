"""Handles pull landmarks as their table says, on top of every key, in Blender and as numbers, and cost little."""

import runpy
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

_TAKES = runpy.run_path(str(Path(__file__).with_name("test_landmarks.py")))  # takes of numbers, without an engine
FRAMES, SIZE, face, register, world, write_take = (
    _TAKES[name] for name in ("FRAMES", "SIZE", "face", "register", "world", "write_take")
)


@pytest.fixture
def take(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> Any:
    return register(parlando, scene, sound, write_take(tmp_path / "voice_001", face(FRAMES)), FRAMES)


@pytest.fixture
def rig(parlando: SimpleNamespace, scene: Any, take: Any) -> Any:
    parlando.landmarks.add(scene, take, 10)
    assert bpy.ops.parlando.add_handles() == {"FINISHED"}
    return parlando.landmarks.find(scene, take.sound_id)


def local(parlando: SimpleNamespace, rig: Any) -> np.ndarray:
    """(68, 3) in the head's axes, as Blender has it."""
    bpy.context.view_layer.update()
    inverse = np.array(rig.head.matrix_world.inverted())
    return np.array([p.matrix_world.translation for p in rig.points]) @ inverse[:3, :3].T + inverse[:3, 3]


def test_at_rest_nothing_is_pulled(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, SIZE) - face(FRAMES)).max() < 0.01
    assert np.abs(parlando.landmarks.to_pixels(world(rig, 25), SIZE) - face(FRAMES)[15]).max() < 0.01


def test_each_pulls_what_its_table_says(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    scene.frame_set(20)
    still = local(parlando, rig)
    for name, item in parlando.handles.find(rig).items():
        handle = parlando.handles.HANDLES[name]
        for axis in handle.axes:
            item.location["XYZ".index(axis)] = 0.3
            moved = local(parlando, rig) - still
            want = np.zeros((68, 3))
            for index, matrix in handle.pulls.items():
                want[index] = 0.3 * matrix[:, "XYZ".index(axis)]
            assert np.abs(moved - want).max() < 1e-5 and np.abs(want).max() > 0.1, name
            item.location = (0, 0, 0)


def test_both_sides_alike(parlando: SimpleNamespace) -> None:
    mirror = parlando.landmarks.MIRROR
    flip = np.diag([-1.0, 1.0, 1.0])
    table = parlando.handles.HANDLES
    for name, other in (("corner_r", "corner_l"), ("brow_r", "brow_l"), ("lid_r", "lid_l"), ("jaw", "jaw")):
        assert set(table[name].pulls) == {mirror[i] for i in table[other].pulls}
        for index, matrix in table[name].pulls.items():
            assert np.allclose(matrix, flip @ table[other].pulls[mirror[index]] @ flip), (name, index)
    for name in ("mouth_open", "mouth_wide", "mouth_round"):  # one handle for both sides
        for index, matrix in table[name].pulls.items():
            assert np.allclose(matrix, flip @ table[name].pulls[mirror[index]]), (name, index)


def test_keyed_and_edited_together(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    """Handles' keys, a landmark's delta, the head's: the numbers are Blender's own."""
    jaw, corner = (parlando.handles.find(rig)[name] for name in ("jaw", "corner_l"))
    for frame, z in ((14, 0.0), (20, -0.2), (30, 0.0)):
        jaw.location.z = z
        jaw.keyframe_insert("location", frame=frame)
    corner.location = (0.1, -0.05, 0.08)
    corner.delta_location = (0.02, 0.0, 0.0)
    rig.points[54].delta_location = (0.0, 0.0, 0.05)
    rig.points[8].constraints[0].influence = 0.5
    rig.head.delta_rotation_euler = (0.1, 0.0, 0.2)
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    for frame in (10, 17, 20, 26, 40):
        assert np.abs(parlando.landmarks.to_pixels(world(rig, frame), SIZE) - back[frame - 10]).max() < 0.01
    assert jaw.animation_data.action == rig.head.animation_data.action
    rig.points[8].constraints[0].mix_mode = "REPLACE"  # somebody makes more of it: Blender is asked
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert np.abs(parlando.landmarks.to_pixels(world(rig, 20), SIZE) - back[10]).max() < 0.01


def test_rest(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    there = parlando.handles.find(rig)
    scene.frame_set(20)
    for name in ("jaw", "lid_l"):
        there[name].location.z = -0.2
    there["jaw"].keyframe_insert("location", frame=15)
    there["lid_l"].select_set(True)
    bpy.ops.parlando.rest_handles()
    assert there["lid_l"].location.z == 0 and there["jaw"].location.z == pytest.approx(-0.2)
    there["lid_l"].select_set(False)
    bpy.ops.parlando.rest_handles()
    keys = [c for c in parlando.compat.curves(there["jaw"]) if c.data_path == "location"]
    assert [[tuple(k.co) for k in c.keyframe_points][-1] for c in keys] == [(20.0, 0.0)] * 3
    assert not any(c.data_path == "location" for c in parlando.compat.curves(there["lid_l"]))


def test_undo_save_and_load(parlando: SimpleNamespace, scene: Any, take: Any, rig: Any, tmp_path: Path) -> None:
    id = take.sound_id
    bpy.ops.ed.undo_push(message="handles")
    parlando.handles.find(rig)["jaw"].location.z = -0.2
    bpy.ops.ed.undo_push(message="jaw")
    moved = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    rig = parlando.landmarks.find(scene, id)
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, SIZE) - face(FRAMES)).max() < 0.01
    bpy.ops.ed.redo()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    scene = bpy.context.scene
    rig = parlando.landmarks.find(scene, id)
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, SIZE) - moved).max() < 1e-3
    assert np.abs(moved - face(FRAMES)).max() > 20
    assert parlando.handles.find(rig)["jaw"].location.z == pytest.approx(-0.2)


def test_a_new_take_keeps_them_and_moves_their_keys_with_the_sound(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    jaw = parlando.handles.find(rig)["jaw"]
    for frame, z in ((19, 0.0), (20, -0.2), (21, 0.0)):
        jaw.location.z = z
        jaw.keyframe_insert("location", frame=frame)
    again = register(parlando, scene, sound, write_take(tmp_path / "voice_002", face(50, seed=5)), 50)
    parlando.landmarks.update(scene, again, 16)
    rig = parlando.landmarks.find(scene, again.sound_id)
    moved = np.abs(parlando.landmarks.read(scene, rig, 50, SIZE) - face(50, seed=5)).max(axis=(1, 2))
    assert np.flatnonzero(moved > 0.02).tolist() == [10] and moved[10] == pytest.approx(0.2 * 320, abs=6)


def test_a_deleted_handle_comes_back(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    with pytest.raises(RuntimeError, match="already"):
        bpy.ops.parlando.add_handles()
    count = sum(len(p.constraints) for p in rig.points)
    bpy.data.objects.remove(parlando.handles.find(rig)["jaw"])
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, SIZE) - face(FRAMES)).max() < 0.01
    bpy.ops.parlando.add_handles()
    assert len(parlando.handles.find(rig)) == 10 and sum(len(p.constraints) for p in rig.points) == count


def test_without_landmarks_it_says_why(parlando: SimpleNamespace, scene: Any) -> None:
    for operator in (bpy.ops.parlando.add_handles, bpy.ops.parlando.rest_handles):
        with pytest.raises(RuntimeError, match="landmarks of the take first"):
            operator()


def test_ten_thousand_frames(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    """What is read and scrubbed with handles, at the length the add-on is meant for."""
    take = register(parlando, scene, sound, write_take(tmp_path / "long", face(10000)), 10000)
    begun = time.perf_counter()
    rig = parlando.landmarks.add(scene, take, 1)
    added = time.perf_counter() - begun

    def scrub() -> float:
        taken = []
        for frame in range(4000, 4040):
            begun = time.perf_counter()
            scene.frame_set(frame)
            taken.append(time.perf_counter() - begun)
        return sorted(taken)[len(taken) // 2]

    without = scrub()
    bpy.ops.parlando.add_handles()
    parlando.handles.find(rig)["jaw"].location.z = -0.1
    with_handles = scrub()
    begun = time.perf_counter()
    parlando.landmarks.read(scene, rig, 10000, SIZE)
    read = time.perf_counter() - begun
    print(f"10000 frames: added in {added:.2f} s, read with handles in {read:.2f} s, a frame scrubbed in "
          f"{without * 1000:.1f} ms, with handles {with_handles * 1000:.1f} ms")  # fmt: skip
    assert with_handles < 1 / 24 and read < 1.5
