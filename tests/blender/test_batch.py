"""The batch in Blender: entries of their own, one after another, failures, cancel, undo, a crash and a new start."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

REPO = Path(__file__).resolve().parents[2]
SOURCE = REPO / "demo" / "source"
Wait = Callable[..., None]


@pytest.fixture
def batch(parlando: SimpleNamespace) -> Any:
    module = importlib.import_module("bl_ext.dev.parlando.addon.batch")
    module._run = module._Run()
    yield module
    module._run = module._Run()


def trim_to(strip: Any, frames: int) -> None:
    if hasattr(strip, "left_handle"):
        strip.left_handle += 12
        strip.right_handle = strip.left_handle + frames
    else:
        strip.frame_final_start += 12
        strip.frame_final_end = strip.frame_final_start + frames


@pytest.fixture
def voices(parlando: SimpleNamespace, scene: Any, engine: str, astronaut: Path) -> list[Any]:
    """Three sounds of 3, 4 and 5 frames, all selected."""
    strips = parlando.compat.strips(scene.sequence_editor)
    made = []
    for number in range(3):
        strip = strips.new_sound(f"voice {number}", str(SOURCE / "jfk.wav"), 1 + 3 * number, 5)
        trim_to(strip, 3 + number)
        strip.select = True
        made.append(strip)
    scene.parlando.portrait_file = str(astronaut)
    return made


def finish(batch: Any, until: Wait) -> None:
    until(lambda: not batch.working())


def states(scene: Any) -> list[str]:
    return [item.state for item in scene.parlando_batch.items]


def told() -> str:
    return str(bpy.context.window_manager.parlando.message)


def test_greyed_with_a_reason(scene: Any, batch: Any) -> None:
    assert not bpy.ops.parlando.batch_add.poll() and "Select" in batch.why_no_add(scene)
    assert not bpy.ops.parlando.batch_start.poll() and "Add" in batch.why_no_start(scene)
    assert not bpy.ops.parlando.batch_cancel.poll() and not bpy.ops.parlando.batch_remove.poll()


def test_each_with_its_own(
    parlando: SimpleNamespace, scene: Any, voices: list[Any], batch: Any, until: Wait, tmp_path: Path
) -> None:
    assert bpy.ops.parlando.batch_add() == {"FINISHED"}
    items = scene.parlando_batch.items
    assert [item.name for item in items] == ["voice 0", "voice 1", "voice 2"]
    other = tmp_path / "other.png"
    other.write_bytes(Path(scene.parlando.portrait_file).read_bytes())
    items[1].portrait_file, items[1].seed, items[1].head = str(other), 7, 0.0
    scene.parlando.seed = 99  # the scene's own settings are not the batch's
    assert bpy.ops.parlando.batch_start() == {"FINISHED"}
    assert [batch.stage_of(item)[0] for item in items] == ["WORKING", "QUEUED", "QUEUED"]
    parlando.jobs.active()[0].seconds_left = 12.0
    assert [batch.seconds_left_of(item) for item in items] == [12.0, -1, -1]
    assert scene.parlando.seed == 99 and scene.parlando.portrait_file != str(other)
    seen = set()
    deadline = time.monotonic() + 300
    while batch.working():
        assert time.monotonic() < deadline
        parlando.pump.pump()
        seen |= {(n, round(batch.progress_of(item), 1)) for n, item in enumerate(scene.parlando_batch.items)}
        time.sleep(0.01)
    assert all(len({value for n, value in seen if n == number}) > 1 for number in range(3))
    assert states(scene) == ["DONE"] * 3 and "3 done, 0 failed" in told()
    asked = [json.loads((tmp_path / "takes" / f"voice {n}_001" / "take.json").read_text())["request"] for n in range(3)]
    assert [one["seed"] for one in asked] == [0, 7, 0] and [one["frames"] for one in asked] == [3, 4, 5]
    assert asked[1]["image"] == str(other) and asked[1]["head"] == 0.0 and asked[0]["image"] != str(other)
    pictures = [s for _, s in parlando.strips.in_scene(scene) if s.get("parlando_take")]
    assert sorted(s.name for s in pictures) == ["voice 0_001", "voice 1_001", "voice 2_001"]
    assert not bpy.ops.parlando.batch_start.poll() and "done" in batch.why_no_start(scene)


def test_added_twice_is_there_once(scene: Any, voices: list[Any], batch: Any) -> None:
    bpy.ops.parlando.batch_add()
    bpy.ops.parlando.batch_add()
    assert len(scene.parlando_batch.items) == 3
    scene.parlando_batch.items[0].state = "DONE"
    bpy.ops.parlando.batch_add()
    assert states(scene) == ["WAITING"] * 3
    bpy.ops.parlando.batch_remove(index=1)
    assert [item.name for item in scene.parlando_batch.items] == ["voice 0", "voice 2"]


def test_a_bad_entry_stops_no_other(scene: Any, voices: list[Any], batch: Any, until: Wait, tmp_path: Path) -> None:
    bpy.ops.parlando.batch_add()
    items = scene.parlando_batch.items
    items[0].portrait_file = str(tmp_path / "gone.png")
    grey = tmp_path / "grey.png"
    image = bpy.data.images.new("grey", 64, 64)
    image.filepath_raw, image.file_format = str(grey), "PNG"
    image.save()
    items[1].portrait_file = str(grey)  # a picture without a face: the engine's to say
    bpy.ops.parlando.batch_start()
    finish(batch, until)
    assert states(scene) == ["FAILED", "FAILED", "DONE"]
    assert "gone.png" in items[0].message and "face" in items[1].message
    assert "1 done, 2 failed" in told()
    items[0].portrait_file = items[2].portrait_file
    bpy.ops.parlando.batch_start()  # tries what failed again, and only that
    finish(batch, until)
    assert states(scene) == ["DONE", "FAILED", "DONE"] and len(scene.parlando.takes) == 2


def test_cancel(scene: Any, voices: list[Any], batch: Any, until: Wait, tmp_path: Path) -> None:
    bpy.ops.parlando.batch_add()
    bpy.ops.parlando.batch_start()
    bpy.ops.parlando.batch_cancel(index=1)
    finish(batch, until)
    assert states(scene) == ["DONE", "CANCELLED", "DONE"]
    bpy.ops.parlando.batch_start()
    bpy.ops.parlando.batch_cancel()
    finish(batch, until)
    assert states(scene) == ["DONE", "CANCELLED", "DONE"]
    assert sorted(p.name for p in (tmp_path / "takes").iterdir()) == ["voice 0_001", "voice 2_001"]


def test_a_deleted_strip_is_told(
    parlando: SimpleNamespace, scene: Any, voices: list[Any], batch: Any, until: Wait
) -> None:
    bpy.ops.parlando.batch_add()
    parlando.compat.strips(scene.sequence_editor).remove(voices[1])
    bpy.ops.parlando.batch_start()
    finish(batch, until)
    assert states(scene) == ["DONE", "FAILED", "DONE"] and "deleted" in scene.parlando_batch.items[1].message


def test_undo(scene: Any, voices: list[Any], batch: Any, until: Wait) -> None:
    bpy.ops.parlando.batch_add()
    bpy.ops.parlando.batch_remove(index=2)
    bpy.ops.parlando.batch_remove(index=1)
    bpy.ops.ed.undo_push(message="One entry")
    bpy.ops.parlando.batch_start()
    bpy.ops.ed.undo_push(message="Started")
    finish(batch, until)
    scene = bpy.context.scene
    assert states(scene) == ["DONE"] and len(scene.parlando.takes) == 1
    bpy.ops.ed.undo()  # the take and its mark, together
    scene = bpy.context.scene
    assert len(scene.parlando.takes) == 0
    assert batch.stage_of(scene.parlando_batch.items[0])[0] == "CUT_OFF" and bpy.ops.parlando.batch_start.poll()
    bpy.ops.ed.redo()
    assert states(bpy.context.scene) == ["DONE"]


CRASH = """
import os, sys, time
sys.path[:0] = [{repo!r} + "/tests", {repo!r} + "/tests/blender"]
import bpy, addon_utils
folder = {folder!r} + "/extensions"
os.makedirs(folder, exist_ok=True)
os.symlink({repo!r}, folder + "/parlando", target_is_directory=True)
bpy.context.preferences.extensions.repos.new(name="dev", module="dev", custom_directory=folder)
addon_utils.enable("bl_ext.dev.parlando", default_set=True)
import importlib
pump = importlib.import_module("bl_ext.dev.parlando.addon.pump").pump
bpy.ops.wm.open_mainfile(filepath={blend!r})
bpy.context.preferences.addons["bl_ext.dev.parlando"].preferences.takes_folder = "//takes"
bpy.ops.parlando.batch_start()
bpy.ops.wm.save_mainfile()
while True:
    pump()
    time.sleep(0.01)
"""


def test_blender_is_killed_and_the_next_one_goes_on(
    parlando: SimpleNamespace, scene: Any, voices: list[Any], batch: Any, engine: str, until: Wait, tmp_path: Path
) -> None:
    """The other Blender dies in the second entry, with the file as it was when the batch was started."""
    if bpy.app.binary_path:
        pytest.skip("starts another Blender as a Python module")
    if hasattr(voices[1], "right_handle"):
        voices[1].right_handle = voices[1].left_handle + 60
    else:
        voices[1].frame_final_end = voices[1].frame_final_start + 60
    parlando.preferences.get().takes_folder = "//takes"
    bpy.ops.parlando.batch_add()
    blend = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    script = tmp_path / "crash.py"
    script.write_text(CRASH.format(repo=str(REPO), folder=str(tmp_path / "other"), blend=str(blend)))
    env = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path / "other"), "PARLANDO_ENGINE_PYTHON": engine}
    child = subprocess.Popen([sys.executable, str(script)], env=env, stdout=subprocess.DEVNULL)
    frame = tmp_path / "takes" / "voice 1_001" / "frames" / "000005.png"
    deadline = time.monotonic() + 200
    while not frame.exists():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.005)
    child.kill()
    child.wait()
    kept = frame.stat().st_mtime_ns

    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    assert [batch.stage_of(item)[0] for item in scene.parlando_batch.items] == ["CUT_OFF"] * 3
    assert "3 sound strips are not finished" in told()
    bpy.ops.parlando.batch_start()
    finish(batch, until)
    scene = bpy.context.scene
    assert states(scene) == ["DONE"] * 3
    take = next(take for take in scene.parlando.takes if take.sound_name == "voice 1")
    assert take.name == "voice 1_001" and take.frames == 60  # the interrupted take, not a new one
    assert frame.stat().st_mtime_ns == kept
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert states(bpy.context.scene) == ["DONE"] * 3


def test_everything_has_a_tooltip(scene: Any, batch: Any) -> None:
    groups = (scene.parlando_batch, scene.parlando_batch.items.add())
    for prop in [prop for group in groups for prop in group.bl_rna.properties]:
        assert prop.description or prop.identifier in {"rna_type", "name"}, prop.identifier
    for name in ("add", "remove", "start", "cancel"):
        assert getattr(bpy.ops.parlando, f"batch_{name}").get_rna_type().description
