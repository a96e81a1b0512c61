"""Landmarks in scenes as animators leave them: NLA, cleared keys, hidden collections, other parents, copies."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

_TAKES = runpy.run_path(str(Path(__file__).with_name("test_landmarks.py")))  # takes of numbers, without an engine
FRAMES, SIZE, face, register, write_take, world = (
    _TAKES[name] for name in ("FRAMES", "SIZE", "face", "register", "write_take", "world")
)
START = 10


@pytest.fixture
def rig(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> Any:
    """Landmarks of a first take; a second lies there too."""
    first = register(parlando, scene, sound, write_take(tmp_path / "voice_001", face(FRAMES)), FRAMES)
    register(parlando, scene, sound, write_take(tmp_path / "voice_002", face(FRAMES, seed=3)), FRAMES)
    bpy.ops.parlando.use_take(take="voice_001")
    return parlando.landmarks.add(scene, first, START)


def curves(parlando: SimpleNamespace, rig: Any) -> list[tuple[str, int, int, float]]:
    """What is keyed on the landmarks' own actions."""
    found = []
    for item in rig.keyed:
        for curve in parlando.compat.curves(item):
            found.append((f"{item.name} {curve.data_path}", curve.array_index, len(curve.keyframe_points),
                          sum(key.co.y for key in curve.keyframe_points)))  # fmt: skip
    return found


def push_down(item: Any) -> Any:
    """The action becomes an NLA strip, as the button Push Down does it."""
    data = item.animation_data
    track = data.nla_tracks.new()
    strip = track.strips.new("down", START, data.action)
    strip.action_slot = data.action_slot
    data.action = None
    return track


def test_an_action_pushed_down_to_the_nla(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    track = push_down(rig.points[57])
    before = curves(parlando, rig)
    told = parlando.generate.use_take(scene, "voice_002")
    assert "Its landmarks stay as they were" in told and "“lip_outer_09” was pushed down to the NLA" in told
    with pytest.raises(RuntimeError, match="pushed down to the NLA"):
        bpy.ops.parlando.pin_frames(start=12, end=14)
    assert curves(parlando, rig) == before and rig.collection["parlando_base"] == "voice_001"
    assert len(scene.parlando.pins) == 0
    track.mute = True
    assert "stay" not in parlando.generate.use_take(scene, "voice_002")
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert np.abs(back - face(FRAMES, seed=3)).max() < 0.01  # nothing of the difference went into the deltas


@pytest.mark.parametrize("how", ["cleared", "unlinked", "another", "muted"])
def test_keys_that_are_gone_are_no_edit(parlando: SimpleNamespace, scene: Any, rig: Any, how: str) -> None:
    point = rig.points[57]
    scene.frame_set(START + 5)
    if how == "cleared":
        point.animation_data_clear()
    elif how == "unlinked":
        point.animation_data.action = None
    elif how == "another":
        point.animation_data.action = bpy.data.actions.new("mine")
    else:
        for curve in parlando.compat.curves(point):
            curve.mute = True
    assert "stay" not in parlando.generate.use_take(scene, "voice_002")
    for curve in parlando.compat.curves(point):
        curve.mute = False
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert np.abs(back - face(FRAMES, seed=3)).max() < 0.01


def test_the_base_of_a_take_is_gone(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    edited = register(parlando, scene, sound, write_take(tmp_path / "voice_003", face(FRAMES)), FRAMES)
    edited.base = "voice_002"
    (tmp_path / "voice_002" / "landmarks.npz").unlink()
    before = curves(parlando, rig)
    told = parlando.generate.use_take(scene, "voice_003")
    assert "Its landmarks stay as they were" in told and "voice_002" in told
    assert curves(parlando, rig) == before


def test_frames_that_are_gone(parlando: SimpleNamespace, scene: Any, rig: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "voice_002" / "frames").iterdir():
        path.unlink()
    with pytest.raises(parlando.problem.Problem, match=r"frames of the take “voice_002” are not there"):
        parlando.generate.use_take(scene, "voice_002")


def test_excluded_from_a_view_layer(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    """Where Blender has to evaluate, it must not be a layer that leaves the landmarks out."""
    target = bpy.data.objects.new("up", None)
    scene.collection.objects.link(target)
    constraint = rig.points[30].constraints.new("LIMIT_LOCATION")
    constraint.use_max_z, constraint.max_z = False, 0.0
    second = scene.view_layers.new("Second")
    scene.view_layers[0].layer_collection.children[rig.collection.name].exclude = True
    moved = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert np.abs(moved - face(FRAMES)).max() < 0.05
    second.layer_collection.children[rig.collection.name].exclude = True
    with pytest.raises(parlando.problem.Problem, match="is excluded from the view layer"):
        parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    second.layer_collection.children[rig.collection.name].exclude = False
    rig.points[8].hide_viewport = True
    with pytest.raises(parlando.problem.Problem, match=r"“jaw_08”.*disabled in viewports"):
        parlando.landmarks.read(scene, rig, FRAMES, SIZE)


@pytest.mark.parametrize("how", ["above", "inverse"])
def test_a_control_above_the_head(parlando: SimpleNamespace, scene: Any, rig: Any, how: str) -> None:
    if how == "above":
        control = bpy.data.objects.new("control", None)
        scene.collection.objects.link(control)
        control.parent = rig.picture
        control.location.x = 0.25
        rig.head.parent = control
    else:
        rig.head.matrix_parent_inverse.translation.x = 0.25
    moved = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert np.abs((moved - face(FRAMES))[..., 0] - 0.25 * max(SIZE) / 2).max() < 0.05


def test_a_duplicated_landmark_is_not_read(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    twin = rig.points[57].copy()  # Shift D
    rig.collection.objects.link(twin)
    twin.delta_location.z = 1.0
    again = parlando.landmarks.in_use(scene)
    assert again.points[57] == rig.points[57]
    assert np.abs(parlando.landmarks.read(scene, again, FRAMES, SIZE) - face(FRAMES)).max() < 0.01


def test_a_copied_scene_shows_its_own_take(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    bpy.ops.scene.new(type="FULL_COPY")
    other = bpy.context.scene
    assert other != scene
    mine = parlando.landmarks.find(other, rig.collection["parlando_sound"])
    assert mine.picture != rig.picture
    parlando.generate.use_take(other, "voice_002")

    def shown(plane: Any) -> str:
        return str(plane.active_material.node_tree.nodes.active.image.name)

    assert (shown(mine.picture), shown(rig.picture)) == ("Parlando voice_002", "Parlando voice_001")


def test_two_pictures_over_each_other(parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any) -> None:
    """An animator lays a copy of the picture above the other: what is seen is what is flipped."""
    (below,) = parlando.strips.pictures(scene, rig.collection["parlando_sound"])
    above = parlando.strips.insert(scene, sound, "voice_002", Path(bpy.path.abspath(below.directory)), FRAMES, None, 10)
    bpy.ops.parlando.use_take(take="voice_002")
    assert parlando.takes.shown(scene, sound).name == "voice_002"
    seen = []
    for _ in range(3):
        bpy.ops.parlando.compare_take()
        seen.append((above["parlando_take"], below["parlando_take"]))
    assert seen == [("voice_001", "voice_001"), ("voice_002", "voice_001"), ("voice_001", "voice_001")]
    above.mute = True
    bpy.ops.parlando.use_take(take="voice_002")
    assert below["parlando_take"] == "voice_002"


def test_a_linked_scene(parlando: SimpleNamespace, scene: Any, rig: Any, tmp_path: Path, monkeypatch: Any) -> None:
    scene.name = "shot"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "shot.blend"), link=True) as (_, wanted):
        wanted.scenes = ["shot"]
    (linked,) = wanted.scenes
    bpy.context.window.scene = linked
    reason = "The scene is linked from another file"
    assert reason in parlando.generate.why_not_generate(linked)
    assert reason in parlando.takes.why_not_usable(linked.parlando.takes[0])
    with pytest.raises(parlando.problem.Problem, match=reason):
        parlando.generate.use_take(linked, "voice_002")
    with pytest.raises(parlando.problem.Problem, match=reason):
        parlando.generate.generate(linked, "voice")


def test_remove_a_take(parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path) -> None:
    edited = register(parlando, scene, sound, write_take(tmp_path / "voice_003", face(FRAMES)), FRAMES)
    edited.base = "voice_002"
    for name in ("voice_001", "voice_002", "voice_003"):
        (tmp_path / name / "take.json").write_text("{}")
    reasons = [parlando.generate.why_not_remove(scene, take) for take in scene.parlando.takes]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "“voice_001” is shown in the Sequencer", "Other takes were rendered from edits of “voice_002”", ""
    ]  # fmt: skip
    scene.parlando.take_index = 0
    assert not bpy.ops.parlando.remove_take.poll()
    scene.parlando.take_index = 2
    assert bpy.ops.parlando.remove_take() == {"FINISHED"}
    assert [take.name for take in scene.parlando.takes] == ["voice_001", "voice_002"]
    assert (tmp_path / "voice_003" / "landmarks.npz").is_file() and scene.parlando.take_index == 1
    bpy.ops.scene.new(type="FULL_COPY")
    other = bpy.context.scene
    with pytest.raises(parlando.problem.Problem, match="Another scene has the take “voice_002” too"):
        parlando.generate.remove_take(other, "voice_002", files=True)
    parlando.generate.remove_take(other, "voice_002")
    parlando.generate.remove_take(scene, "voice_002", files=True)
    assert not (tmp_path / "voice_002").exists() and (tmp_path / "voice_001").exists()
