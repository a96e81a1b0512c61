"""The live picture with the real engine: asked for when landmarks move, right to the pixel, and never in the way."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"
FRAMES = 6
START = 5
Wait = Callable[..., None]


def speak(parlando: SimpleNamespace, scene: Any, portrait: Path, idle: Wait) -> Any:
    """A take of six frames from frame 5 on, its landmarks, and the live picture listening."""
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("Kennedy", str(SOURCE / "jfk.wav"), 1, START)
    if hasattr(strip, "left_handle"):
        strip.left_handle += 12
        strip.right_handle = strip.left_handle + FRAMES
    else:
        strip.frame_final_start += 12
        strip.frame_final_end = strip.frame_final_start + FRAMES
    scene.sequence_editor.active_strip = strip
    scene.parlando.portrait_file = str(portrait)
    bpy.ops.parlando.generate()
    idle()
    bpy.ops.parlando.add_landmarks()
    parlando.live.in_background = True
    scene.frame_set(parlando.compat.left(strip) + 2)
    return parlando.landmarks.find(scene, scene.parlando.takes[0].sound_id)


@pytest.fixture
def rig(parlando: SimpleNamespace, scene: Any, engine: str, astronaut: Path, idle: Wait) -> Any:
    return speak(parlando, scene, astronaut, idle)


@pytest.fixture
def settle(parlando: SimpleNamespace, until: Wait) -> Wait:
    """As in a window after a change: Blender updates, then the pump runs until nothing is asked any more."""

    def wait() -> None:
        bpy.context.view_layer.update()
        until(lambda: not parlando.live.waiting(), 60)

    return wait


def plane(rig: Any) -> Any | None:
    """The live plane where it is shown."""
    return next((o for o in rig.collection.all_objects if o.get("parlando_role") == "live" and o.scale.x == 1), None)


def assert_same(saved: Any, live: Any) -> None:
    """The same picture: Blender's matrices and curves differ in the last bits, which may round a number otherwise."""
    apart = abs(saved - live)
    assert apart.max() <= 1.01 / 255 and (apart > 0).mean() < 1e-4


def pixels(image: Any) -> np.ndarray:
    values = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], 4)


def shown(rig: Any) -> np.ndarray:
    there = plane(rig)
    assert there is not None
    return pixels(there.material_slots[0].material.node_tree.nodes.active.image)


def test_what_is_shown_is_what_render_edits_gives(
    parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait, idle: Wait
) -> None:
    settle()
    assert plane(rig) is None and parlando.live._state.shown is None  # the take's own frame is right
    takes, undo_safe = len(scene.parlando.takes), rig.picture.active_material.node_tree.nodes.active.image
    rig.points[57].delta_location.z = -0.05
    settle()
    live = shown(rig)
    assert len(scene.parlando.takes) == takes and parlando.jobs.status().status == "IDLE"
    assert rig.picture.active_material.node_tree.nodes.active.image == undo_safe
    bpy.ops.parlando.render_edits()
    idle()
    folder = parlando.takes.folder_of(scene.parlando.takes[-1])
    image = bpy.data.images.load(str(folder / "frames" / "000003.png"))
    assert_same(pixels(image), live)
    settle()
    assert plane(rig) is None  # the new take has that frame


def test_render_edits_keys_what_was_moved_without_a_key(
    parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait, idle: Wait
) -> None:
    """Somebody presses G, then Render Edits: the picture they saw is in the take."""
    settle()
    rig.points[57].location.z -= 0.05
    settle()
    live = shown(rig)
    bpy.ops.parlando.render_edits()
    idle()
    told = list(parlando.jobs._state.messages)
    assert any("was moved was keyed on frame" in words for words in told)
    folder = parlando.takes.folder_of(scene.parlando.takes[-1])
    image = bpy.data.images.load(str(folder / "frames" / "000003.png"))
    assert_same(pixels(image), live)


def test_the_picture_comes_within_150_ms(
    parlando: SimpleNamespace, scene: Any, engine: str, idle: Wait, settle: Wait
) -> None:
    """At 512², from the change to the picture in Blender; drawing comes on top. Printed with -s."""
    rig = speak(parlando, scene, SOURCE / "astronaut.png", idle)
    taken = []
    for number in range(8):
        rig.points[57].delta_location.z = -0.01 - 0.003 * number
        began = time.perf_counter()
        settle()
        taken.append(time.perf_counter() - began)
        assert plane(rig) is not None
    print(f"a moved landmark's picture: {1000 * np.median(taken):.0f} ms, at best {1000 * min(taken):.0f}")
    assert min(taken) < 0.15


def test_a_moved_gaze_is_shown_alone(parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait) -> None:
    settle()
    assert plane(rig) is None
    rig.gaze.delta_location.x = 0.15
    settle()
    aside = shown(rig)
    take = parlando.takes.by_name(scene, rig.picture["parlando_take"])
    own = bpy.data.images.load(str(parlando.takes.frames_folder(take) / "000003.png"))
    changed = np.argwhere((np.abs(pixels(own) - aside) > 1.01 / 255).any(axis=-1))  # more than a rounding
    assert len(changed) > 20 and np.ptp(changed[:, 0]) < 50  # of 256 rows: the eyes
    rig.gaze.delta_location.x = 0.0
    settle()
    assert plane(rig) is None


def test_scrubbing_shows_each_frame_or_the_takes_own(
    parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait
) -> None:
    point, now = rig.points[57], scene.frame_current
    for frame, z in ((now - 1, 0.0), (now, -0.05), (now + 1, 0.0)):
        point.delta_location.z = z
        point.keyframe_insert("delta_location", frame=frame)
    scene.frame_set(now)
    settle()
    assert plane(rig) is not None
    scene.frame_set(now + 1)
    settle()
    assert plane(rig) is None
    scene.frame_set(now)
    settle()
    assert plane(rig) is not None
    scene.frame_set(now + 100)  # beyond the take
    settle()
    assert plane(rig) is None


def test_the_switch_and_background(parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait) -> None:
    rig.points[8].delta_location.z = -0.05
    settle()
    assert plane(rig) is not None
    scene.parlando.live = False
    assert plane(rig) is None
    before = parlando.live._state.asked
    rig.points[8].delta_location.z = -0.08
    bpy.context.view_layer.update()
    for _ in range(20):
        parlando.pump.pump()
    assert plane(rig) is None
    scene.parlando.live = True
    parlando.live.in_background = False
    for _ in range(20):
        parlando.pump.pump()
    assert parlando.live._state.asked == before and plane(rig) is None
    parlando.live.in_background = True
    settle()
    assert plane(rig) is not None


def test_nothing_live_is_saved_or_rendered(
    parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait, tmp_path: Path
) -> None:
    rig.points[8].delta_location.z = -0.05
    settle()
    there = plane(rig)
    assert there is not None and there.hide_render and there.hide_select
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    assert plane(rig) is None and not [i for i in bpy.data.images if i.name.startswith("Parlando live")]
    settle()
    assert plane(rig) is not None  # it came back by itself
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    assert not [o for o in bpy.data.objects if o.get("parlando_role") == "live"]
    rig = parlando.landmarks.find(bpy.context.scene, bpy.context.scene.parlando.takes[0].sound_id)
    settle()
    assert plane(rig) is not None and bpy.context.scene.parlando.live


def test_undo_and_redo(parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait) -> None:
    settle()
    id = scene.parlando.takes[0].sound_id
    bpy.ops.ed.undo_push(message="before")
    pictures = []
    for z in (-0.03, -0.06):
        parlando.landmarks.find(bpy.context.scene, id).points[57].delta_location.z = z
        bpy.ops.ed.undo_push(message="moved")
        settle()
        pictures.append(shown(parlando.landmarks.find(bpy.context.scene, id)))
    assert (pictures[0] != pictures[1]).any()
    bpy.ops.ed.undo()
    settle()
    rig = parlando.landmarks.find(bpy.context.scene, id)
    assert rig.points[57].delta_location.z == pytest.approx(-0.03) and (shown(rig) == pictures[0]).all()
    bpy.ops.ed.undo()
    settle()
    rig = parlando.landmarks.find(bpy.context.scene, id)
    assert rig.points[57].delta_location.z == 0 and plane(rig) is None
    bpy.ops.ed.redo()
    settle()
    assert (shown(parlando.landmarks.find(bpy.context.scene, id)) == pictures[0]).all()


def test_an_engine_that_dies_and_none_at_all(
    parlando: SimpleNamespace, scene: Any, rig: Any, settle: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.points[8].delta_location.z = -0.05
    bpy.context.view_layer.update()
    parlando.pump.pump()
    parlando.jobs.client()._process.popen.kill()
    settle()
    state = bpy.context.window_manager.parlando
    assert "was killed" in state.live or plane(rig) is not None
    rig.points[8].delta_location.z = -0.06
    settle()
    assert plane(rig) is not None and state.live == ""
    parlando.takes.folder_of(scene.parlando.takes[0]).joinpath("landmarks.npz").rename(
        parlando.takes.folder_of(scene.parlando.takes[0]) / "away.npz"
    )
    rig.points[8].delta_location.z = -0.07
    settle()
    assert plane(rig) is None


def test_how_long_it_takes_at_512(parlando: SimpleNamespace, scene: Any, engine: str, idle: Wait, settle: Wait) -> None:
    """From a moved landmark to its picture in Blender, the steps of the timer included."""
    rig = speak(parlando, scene, SOURCE / "astronaut.png", idle)
    rig.points[57].delta_location.z = -0.02
    settle()
    taken = []
    for number in range(12):
        begun = time.perf_counter()
        rig.points[57].delta_location.z = -0.02 - 0.003 * number
        rig.points[8].delta_location.z = -0.002 * number
        bpy.context.view_layer.update()
        time.sleep(parlando.live.INTERVAL)  # the timer may just have looked
        while parlando.live.waiting():
            parlando.pump.pump()
            time.sleep(parlando.live.WAITING)
        shown(rig)[0, 0]  # decoded
        taken.append(time.perf_counter() - begun)
    taken.sort()
    print(f"512²: least {taken[0] * 1000:.0f} ms, median {taken[6] * 1000:.0f} ms, most {taken[-1] * 1000:.0f} ms; "
          f"engine {parlando.live._state.seconds * 1000:.0f} ms")  # fmt: skip
    assert taken[0] < 0.15
