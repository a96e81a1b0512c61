"""The main job in Blender with the real engine: strips in, an image strip and landmarks out, whatever happens."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"
FRAMES = 14
Wait = Callable[..., None]


def trim_to(strip: Any, first: int, frames: int) -> None:
    """Leaves `frames` frames of the strip from its frame `first` on."""
    if hasattr(strip, "left_handle"):
        strip.left_handle += first
        strip.right_handle = strip.left_handle + frames
    else:
        strip.frame_final_start += first
        strip.frame_final_end = strip.frame_final_start + frames


@pytest.fixture
def speech(parlando: SimpleNamespace, scene: Any, engine: str, astronaut: Path) -> Any:
    """Kennedy, trimmed to some frames of speech, and the astronaut as the portrait."""
    strips = parlando.compat.strips(scene.sequence_editor)
    strip = strips.new_sound("Kennedy", str(SOURCE / "jfk.wav"), 1, 5)
    trim_to(strip, 12, FRAMES)
    scene.sequence_editor.active_strip = strip
    scene.parlando.portrait_file = str(astronaut)
    bpy.ops.ed.undo_push(message="Before")
    return strip


def pictures(parlando: SimpleNamespace) -> list[Any]:
    """The image strips Parlando made, in the scene as it is now."""
    return [s for _, s in parlando.strips.in_scene(bpy.context.scene) if s.get("parlando_take")]


def told(parlando: SimpleNamespace) -> str:
    return str(bpy.context.window_manager.parlando.message)


def test_generate(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, tmp_path: Path) -> None:
    blocker = parlando.compat.strips(scene.sequence_editor).new_image(
        "in the way", str(SOURCE / "astronaut.png"), 2, parlando.compat.left(speech)
    )
    assert bpy.ops.parlando.generate() == {"FINISHED"}
    state = bpy.context.window_manager.parlando
    assert state.status == "WORKING"
    stages = set()
    while state.status == "WORKING":
        parlando.pump.pump()
        time.sleep(0.01)
        stages.add(state.stage)
        assert 0.0 <= state.progress <= 1.0
    assert state.outcome == "DONE", state.message
    assert {"starting the engine", "frames"} <= stages or "frames" in stages
    (strip,) = pictures(parlando)
    compat = parlando.compat
    assert (compat.left(strip), compat.right(strip)) == (compat.left(speech), compat.right(speech))
    assert strip.channel == 3 and blocker.channel == 2
    assert strip.name == "Kennedy_001" and len(strip.elements) == FRAMES
    folder = Path(bpy.path.abspath(strip.directory))
    assert folder == tmp_path / "takes" / "Kennedy_001" / "frames"
    assert sorted(p.name for p in folder.iterdir()) == [f"{n:06d}.png" for n in range(1, FRAMES + 1)]
    take = scene.parlando.takes["Kennedy_001"]
    assert (take.frames, tuple(take.fps), tuple(take.size)) == (FRAMES, (24, 1), (256, 256))
    asked = json.loads((folder.parent / "take.json").read_text())
    assert asked["frames"] == FRAMES and asked["finished"]


def test_23_976_in_a_saved_file(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, tmp_path: Path) -> None:
    scene.render.fps_base = 1.001
    trim_to(speech, 0, 9)
    parlando.preferences.get().takes_folder = "//parlando_takes"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.parlando.generate()
    idle()
    (strip,) = pictures(parlando)
    take = scene.parlando.takes[0]
    assert take.folder == "//parlando_takes/Kennedy_001"
    assert strip.directory == "//parlando_takes/Kennedy_001/frames/"
    asked = json.loads((tmp_path / "parlando_takes" / "Kennedy_001" / "take.json").read_text())
    assert asked["fps"] == "24000/1001" and asked["frames"] == 9
    with np.load(tmp_path / "parlando_takes" / "Kennedy_001" / "landmarks.npz") as file:
        assert file["landmarks"].shape == (9, 68, 3) and file["fps"].tolist() == [24000, 1001]
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert bpy.context.scene.parlando.takes[0].name == "Kennedy_001"
    assert bpy.ops.parlando.add_landmarks() == {"FINISHED"}


def test_an_unsaved_file_keeps_takes_in_the_users_folder(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait
) -> None:
    parlando.preferences.get().takes_folder = "//parlando_takes"
    trim_to(speech, 0, 2)
    bpy.ops.parlando.generate()
    idle()
    folder = parlando.takes.folder_of(scene.parlando.takes[0])
    assert folder.parent == parlando.preferences.own_folder("takes") and (folder / "frames" / "000002.png").exists()


def test_one_undo_takes_back_one_generate(parlando: SimpleNamespace, speech: Any, idle: Wait) -> None:
    trim_to(speech, 0, 3)
    bpy.ops.ed.undo_push(message="Trim")
    bpy.ops.parlando.generate()
    idle()
    assert len(pictures(parlando)) == 1 and len(bpy.context.scene.parlando.takes) == 1
    bpy.ops.ed.undo()
    assert pictures(parlando) == [] and len(bpy.context.scene.parlando.takes) == 0
    sound = parlando.strips.by_name(bpy.context.scene, "Kennedy")
    assert parlando.strips.frames_of(sound) == 3  # nothing else was taken back
    bpy.ops.ed.redo()
    assert len(pictures(parlando)) == 1


def test_undo_in_the_middle(parlando: SimpleNamespace, speech: Any, idle: Wait, until: Wait) -> None:
    speech.name = "renamed"
    bpy.ops.ed.undo_push(message="Rename")
    bpy.ops.parlando.generate()
    until(lambda: parlando.jobs.status().stage == "frames")
    bpy.ops.ed.undo()  # every pointer is another one now, and the strip's id is gone
    idle()
    assert "deleted" in told(parlando)  # there is no strip of that name


def test_the_strip_moved_in_the_middle(parlando: SimpleNamespace, speech: Any, idle: Wait, until: Wait) -> None:
    bpy.ops.parlando.generate()
    until(lambda: parlando.jobs.status().stage == "frames")
    speech = parlando.strips.by_name(bpy.context.scene, "Kennedy")
    speech.channel = 6
    parlando.compat.move_to(speech, 100)
    idle()
    (strip,) = pictures(parlando)
    assert parlando.compat.left(strip) == 100 and strip.channel == 7


def test_sound_and_picture_trimmed_together(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait) -> None:
    compat = parlando.compat
    bpy.ops.parlando.generate()
    idle()
    speech, (strip,) = parlando.strips.by_name(scene, "Kennedy"), pictures(parlando)
    first, end = compat.left(speech) + 4, compat.right(speech) - 7
    compat.lay(speech, int(compat.content_start(speech)), first, end)
    compat.lay(strip, int(compat.content_start(strip)), first, end)
    bpy.ops.parlando.generate()
    idle()
    (strip,) = pictures(parlando)
    assert (compat.left(strip), compat.right(strip), strip.name) == (first, end, "Kennedy_002")
    assert [strip.strip_elem_from_frame(f).filename for f in (first, end - 1)] == ["000001.png", "000003.png"]
    assert bpy.ops.parlando.use_take(take="Kennedy_001") == {"FINISHED"}
    assert (compat.left(strip), compat.right(strip)) == (first, end)
    assert [strip.strip_elem_from_frame(f).filename for f in (first, end - 1)] == ["000005.png", "000007.png"]


def test_the_strip_trimmed_in_the_middle(parlando: SimpleNamespace, speech: Any, idle: Wait, until: Wait) -> None:
    bpy.ops.parlando.generate()
    until(lambda: parlando.jobs.status().stage == "frames")
    speech, compat = parlando.strips.by_name(bpy.context.scene, "Kennedy"), parlando.compat
    first, end = compat.left(speech), compat.right(speech)
    compat.lay(speech, int(compat.content_start(speech)), first + 5, end)
    idle()
    (strip,) = pictures(parlando)
    assert (compat.left(strip), compat.right(strip)) == (first + 5, end)
    assert strip.strip_elem_from_frame(first + 5).filename == "000006.png"


def test_the_strip_deleted_in_the_middle(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, until: Wait, tmp_path: Path
) -> None:
    bpy.ops.parlando.generate()
    until(lambda: parlando.jobs.status().stage == "frames")
    parlando.compat.strips(scene.sequence_editor).remove(speech)
    idle()
    assert pictures(parlando) == [] and len(scene.parlando.takes) == 0
    folder = tmp_path / "takes" / "Kennedy_001"
    assert "“Kennedy” was deleted" in told(parlando) and str(folder) in told(parlando)
    assert len(list((folder / "frames").glob("*.png"))) == FRAMES


def test_another_file_in_the_middle(
    parlando: SimpleNamespace, speech: Any, idle: Wait, until: Wait, tmp_path: Path
) -> None:
    bpy.ops.parlando.generate()
    until(lambda: parlando.jobs.status().stage == "frames")
    bpy.ops.wm.read_homefile(use_empty=True)
    sound = parlando.compat.strips(bpy.context.scene.sequence_editor_create()).new_sound(
        "Kennedy", str(SOURCE / "jfk.wav"), 1, 1
    )
    assert sound.name == "Kennedy"  # a strip of that name must not be mistaken for it
    idle()
    assert pictures(parlando) == [] and "is closed" in told(parlando)
    folder = tmp_path / "takes" / "Kennedy_001"
    assert str(folder) in told(parlando) and len(list((folder / "frames").glob("*.png"))) == FRAMES


def test_the_same_file_again_in_the_middle(
    parlando: SimpleNamespace, speech: Any, idle: Wait, until: Wait, tmp_path: Path
) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.parlando.generate()
    until(lambda: parlando.jobs.status().stage == "frames")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    idle()
    assert len(pictures(parlando)) == 1


def test_cancel(parlando: SimpleNamespace, speech: Any, idle: Wait, until: Wait, tmp_path: Path) -> None:
    bpy.ops.parlando.generate()
    bpy.ops.parlando.generate()
    first, second = parlando.jobs.active()
    assert second.title == "Kennedy_002" and bpy.context.window_manager.parlando.queued == 1
    assert bpy.ops.parlando.cancel(job=second.number) == {"FINISHED"}
    assert second.state == "CANCELLED"
    until(lambda: first.stage == "frames")
    pid = parlando.jobs.client().pid
    bpy.ops.parlando.cancel()
    idle()
    assert first.state == "CANCELLED" and pictures(parlando) == []
    assert list((tmp_path / "takes").iterdir()) == []
    assert not bpy.ops.parlando.cancel.poll()
    assert parlando.jobs.client().pid == pid  # warm for the next


def test_several_jobs_one_after_the_other(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait) -> None:
    trim_to(speech, 0, 2)
    bpy.ops.parlando.generate()
    scene.parlando.seed = 1
    bpy.ops.parlando.generate()
    assert len(parlando.jobs.active()) == 2
    idle()
    assert [take.name for take in scene.parlando.takes] == ["Kennedy_001", "Kennedy_002"]
    (strip,) = pictures(parlando)  # the second is shown in the strip of the first
    assert strip["parlando_take"] == strip.name == "Kennedy_002"
    bpy.ops.parlando.use_take(take="Kennedy_001")
    assert strip["parlando_take"] == "Kennedy_001" and "Kennedy_001" in strip.directory


@pytest.mark.parametrize("stage", ["starting the engine", "motion", "frames"])
def test_the_engine_killed_in_the_middle(
    parlando: SimpleNamespace, speech: Any, idle: Wait, until: Wait, tmp_path: Path, stage: str
) -> None:
    parlando.jobs.client().stop()
    bpy.ops.parlando.generate()
    client = parlando.jobs.client()
    frames = tmp_path / "takes" / "Kennedy_001" / "frames"
    seen = until
    seen(lambda: client.pid is not None and parlando.jobs.status().stage == stage)
    if stage == "frames":
        seen(lambda: len(list(frames.glob("*.png"))) > 2)
    before = {path.name: path.stat().st_mtime_ns for path in frames.glob("*.png")} if frames.exists() else {}
    pid = client.pid
    os.kill(pid, signal.SIGKILL)
    idle()
    assert bpy.context.window_manager.parlando.outcome == "DONE", told(parlando)
    assert client.pid != pid and len(pictures(parlando)) == 1
    assert len(list(frames.glob("*.png"))) == FRAMES
    after = {path.name: path.stat().st_mtime_ns for path in frames.glob("*.png")}
    assert all(after[name] == moment for name, moment in before.items())  # finished frames were kept


def test_what_a_closed_blender_left_is_taken_up_again(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, until: Wait, tmp_path: Path
) -> None:
    bpy.ops.parlando.generate()
    first = tmp_path / "takes" / "Kennedy_001"
    until(lambda: len(list((first / "frames").glob("0*.png"))) > 2)
    parlando.jobs.client().stop()  # as Blender does when it closes
    parlando.jobs._state.jobs.clear()
    kept = len(list((first / "frames").glob("0*.png")))
    assert kept < FRAMES
    scene.parlando.seed = 3  # another request
    bpy.ops.parlando.generate()
    idle()
    assert scene.parlando.takes[0].name == "Kennedy_002"
    scene.parlando.seed = 0  # the same again
    bpy.ops.parlando.generate()
    idle()
    assert scene.parlando.takes[1].name == "Kennedy_001"
    assert f"{kept} of them were there" in told(parlando)
    assert sorted(path.name for path in (tmp_path / "takes").iterdir()) == ["Kennedy_001", "Kennedy_002"]
    bpy.ops.parlando.generate()  # that one is finished now
    idle()
    assert scene.parlando.takes[2].name == "Kennedy_003"


def test_render_edits(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait) -> None:
    bpy.ops.parlando.generate()
    idle()
    bpy.ops.parlando.add_landmarks()
    sound_id = scene.parlando.takes[0].sound_id
    rig = parlando.landmarks.find(scene, sound_id)
    assert rig.collection.name == "Parlando Kennedy"

    bpy.ops.parlando.render_edits()  # nothing moved: nothing is made again
    idle()
    assert f"0 of {FRAMES} frames rendered again, {FRAMES} reused" in told(parlando), told(parlando)

    start = parlando.compat.left(speech)
    rig = parlando.landmarks.find(scene, sound_id)
    lip = rig.points[57]
    for frame, z in ((start + 6, 0.0), (start + 7, -0.05), (start + 8, 0.0)):
        lip.delta_location.z = z
        lip.keyframe_insert("delta_location", frame=frame)
    bpy.ops.ed.undo_push(message="Edit")
    bpy.ops.parlando.render_edits()
    idle()
    assert f"1 of {FRAMES} frames rendered again, {FRAMES - 1} reused" in told(parlando), told(parlando)
    (strip,) = pictures(parlando)
    assert strip["parlando_take"] == "Kennedy_003"
    old, new = (parlando.takes.folder_of(scene.parlando.takes[i]) / "frames" for i in (0, 2))
    names = sorted(path.name for path in new.iterdir())
    changed = [name for name in names if (old / name).read_bytes() != (new / name).read_bytes()]
    assert changed == ["000008.png"]
    assert not (new.parent / "edited.npz").exists() and (new.parent / "audio.wav").exists()
    assert rig.picture["parlando_take"] == "Kennedy_003"

    bpy.ops.ed.undo()
    (strip,) = pictures(parlando)
    assert strip["parlando_take"] == "Kennedy_002"


def test_the_portrait_from_a_strip_is_replaced_in_place(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, astronaut: Path
) -> None:
    trim_to(speech, 0, 2)
    strips = parlando.compat.strips(scene.sequence_editor)
    portrait = strips.new_image("Portrait", str(astronaut), 4, 1)
    parlando.compat.set_right(portrait, 200)
    portrait.transform.offset_x, portrait.transform.scale_x, portrait.use_flip_x = 40, 0.5, True
    scene.parlando.portrait_source, scene.parlando.portrait_strip = "STRIP", "Portrait"
    bpy.ops.parlando.generate()
    idle()
    (strip,) = pictures(parlando)
    assert strip.channel == 5  # over the portrait
    assert (strip.transform.offset_x, strip.transform.scale_x, strip.use_flip_x) == (40, 0.5, True)


def test_the_portrait_from_a_packed_image(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, astronaut: Path
) -> None:
    trim_to(speech, 0, 2)
    image = bpy.data.images.load(str(astronaut))
    image.pack()
    image.filepath = "//nowhere.png"
    scene.parlando.portrait_source, scene.parlando.portrait_image = "IMAGE", image
    bpy.ops.parlando.generate()
    idle()
    folder = parlando.takes.folder_of(scene.parlando.takes[0])
    assert (folder / "portrait.png").read_bytes() == astronaut.read_bytes()


def test_a_duplicate_of_the_strip_has_takes_of_its_own(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait
) -> None:
    trim_to(speech, 0, 2)
    bpy.ops.parlando.generate()
    idle()
    strips = parlando.compat.strips(scene.sequence_editor)
    copy = strips.new_sound("Kennedy.001", str(SOURCE / "jfk.wav"), 1, 300)
    for name in ("parlando_id", "parlando_name"):
        copy[name] = speech[name]  # as Shift D does
    trim_to(copy, 0, 3)
    bpy.ops.parlando.generate(strip="Kennedy.001")
    idle()
    assert copy["parlando_id"] != speech["parlando_id"]
    assert sorted(parlando.compat.left(s) for s in pictures(parlando)) == [parlando.compat.left(speech), 300]


def test_the_picture_has_no_face(
    parlando: SimpleNamespace, scene: Any, speech: Any, portrait_file: Path, idle: Wait, tmp_path: Path
) -> None:
    bpy.ops.parlando.generate()
    idle()
    assert bpy.context.window_manager.parlando.outcome == "FAILED"
    assert "portrait.png" in told(parlando) and "face" in told(parlando)
    assert pictures(parlando) == [] and list((tmp_path / "takes").iterdir()) == []


def test_a_face_that_is_not_there(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, tmp_path: Path
) -> None:
    scene.parlando.face = 3
    bpy.ops.parlando.generate()
    idle()
    assert bpy.context.window_manager.parlando.outcome == "FAILED"
    assert told(parlando).startswith("Face 3 is not in")
    assert list((tmp_path / "takes").iterdir()) == []


def test_silence_is_told_by_the_strips_name(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait) -> None:
    trim_to(speech, 0, 3)
    speech.volume = 0.0
    bpy.ops.parlando.generate()
    idle()
    assert bpy.context.window_manager.parlando.outcome == "DONE"
    assert told(parlando).startswith("“Kennedy” is silent"), told(parlando)


def test_check(parlando: SimpleNamespace, engine: str, idle: Wait) -> None:
    assert bpy.ops.parlando.check_engine() == {"FINISHED"}
    idle()
    found = parlando.jobs.check_result()
    assert found is not None and found["device"] == "cpu" and "torch" in found["packages"], found
