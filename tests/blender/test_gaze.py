"""The gaze in Blender: an empty that the engine keys, that edits and constraints move, and that older files lack."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

_TAKES = runpy.run_path(str(Path(__file__).with_name("test_landmarks.py")))  # takes of numbers, without an engine
FRAMES, SIZE, face, register, write_take = (
    _TAKES[name] for name in ("FRAMES", "SIZE", "face", "register", "write_take")
)
START = 10


def looks(frames: int = FRAMES) -> np.ndarray:
    """(T, 2) degrees."""
    at = np.arange(frames) / 24
    return np.stack([12 * np.sin(3 * at), 8 * np.cos(2 * at)], axis=-1).astype(np.float32)


def give_gaze(parlando: SimpleNamespace, take: Any, gaze: np.ndarray | None) -> None:
    """The take's landmarks.npz with another gaze, or none."""
    path = parlando.takes.folder_of(take) / "landmarks.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "gaze"}
    np.savez(path, **arrays, **({} if gaze is None else {"gaze": gaze}))


@pytest.fixture
def take(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> Any:
    made = register(parlando, scene, sound, write_take(tmp_path / "voice_001", face(FRAMES)), FRAMES)
    give_gaze(parlando, made, looks())
    return made


@pytest.fixture
def other(parlando: SimpleNamespace, scene: Any, sound: Any, take: Any, tmp_path: Path) -> Any:
    """Another take of the sound, that looks ahead."""
    return register(parlando, scene, sound, write_take(tmp_path / "voice_002", face(FRAMES) + 2), FRAMES)


def read(parlando: SimpleNamespace, scene: Any, rig: Any) -> np.ndarray:
    gaze = parlando.landmarks.read_all(scene, rig, FRAMES, SIZE)[1]
    assert gaze is not None
    return np.asarray(gaze)


def test_keys_give_the_gaze_back(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, START)
    assert rig.gaze.name == "gaze" and rig.gaze.parent == rig.head
    assert np.abs(read(parlando, scene, rig) - looks()).max() < 1e-3
    scene.frame_set(START + 7)
    assert parlando.landmarks.gaze_now(rig) == pytest.approx(looks()[7], abs=1e-3)


def test_an_edit_of_the_gaze_is_read_and_outlives_the_next_take(
    parlando: SimpleNamespace, scene: Any, take: Any, other: Any
) -> None:
    rig = parlando.landmarks.add(scene, take, START)
    scene.frame_set(START + 5)
    rig.gaze.location.x += 0.1
    rig.gaze.keyframe_insert("location", frame=START + 5)
    edited = read(parlando, scene, rig)
    changed = np.abs(edited - looks()).max(axis=1) > 1e-3
    assert np.flatnonzero(changed).tolist() == [5] and edited[5, 0] > looks()[5, 0] + 1
    parlando.landmarks.update(scene, other, START)
    now = read(parlando, scene, rig)
    assert np.flatnonzero(np.abs(now).max(axis=1) > 1e-3).tolist() == [5]
    assert rig.gaze.delta_location.length > 0 or any(
        c.data_path == "delta_location" for c in parlando.compat.curves(rig.gaze)
    )


def test_looking_at_something_while_the_head_moves(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    """A constraint to any object: what the eyes do is asked of Blender."""
    rig = parlando.landmarks.add(scene, take, START)
    target = bpy.data.objects.new("target", None)
    scene.collection.objects.link(target)
    rest = rig.head.matrix_world @ rig.gaze.matrix_parent_inverse.translation
    target.location = (rest.x + 0.3, rest.y, rest.z)
    to = rig.gaze.constraints.new("COPY_LOCATION")
    to.target = target
    gaze = read(parlando, scene, rig)
    assert gaze[:, 0].min() > 3 and gaze[:, 0].std() > 0.05
    scene.frame_set(START + 9)
    bpy.context.view_layer.update()
    assert gaze[9] == pytest.approx(parlando.landmarks.gaze_now(rig), abs=1e-3)


def test_pins_hold_the_gaze(parlando: SimpleNamespace, scene: Any, take: Any, other: Any) -> None:
    rig = parlando.landmarks.add(scene, take, START)
    parlando.pin_frames.pin(scene, rig, START + 10, START + 14)
    parlando.landmarks.update(scene, other, START)
    now = read(parlando, scene, rig)
    assert np.abs(now[10:15] - looks()[10:15]).max() < 1e-3 and np.abs(now[25:]).max() < 1e-3
    pin = scene.parlando.pins[0]  # as it was held before there was gaze
    numbers = parlando.pins.held(pin)
    pin.held = parlando.pins.packed(numbers[:, :210])
    assert parlando.pins.held(pin).shape == (5, 210)
    layer = parlando.landmarks.layer_of(scene, take.sound_id, parlando.landmarks.Data.load(
        parlando.takes.folder_of(other) / "landmarks.npz"))  # fmt: skip
    assert not layer[3].any() and (parlando.pins.rows(layer)[10:15, :210] == numbers[:, :210]).all()


def test_a_file_from_before_there_was_gaze(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, START)
    bpy.data.objects.remove(rig.gaze)
    rig = parlando.landmarks.find(scene, take.sound_id)
    points, gaze = parlando.landmarks.read_all(scene, rig, FRAMES, SIZE)
    assert rig.gaze is None and gaze is None and parlando.landmarks.gaze_now(rig) is None
    data = parlando.landmarks.Data.load(parlando.takes.folder_of(take) / "landmarks.npz")
    assert (data.edited(points, gaze)["gaze"] == looks()).all()  # the engine's own stays
    again = parlando.landmarks.add(scene, take, START)
    assert np.abs(read(parlando, scene, again) - looks()).max() < 1e-3
