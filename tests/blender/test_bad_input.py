"""What cannot be used is told in one sentence, changes nothing and leaves nothing behind. Engines that break, too."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

Wait = Callable[..., None]


@pytest.fixture
def ready(parlando: SimpleNamespace, scene: Any, sound: Any, portrait_file: Path, worker: Any) -> Any:
    """All that Generate needs; the engine is one that answers nothing."""
    worker("hello()\nfor m in lines: send('started', id=m['id'])\n")
    return sound


def refused(tmp_path: Path, match: str, **arguments: Any) -> str:
    """The sentence Generate refuses with; nothing may have changed."""
    strips = bpy.context.scene.sequence_editor.strips_all if bpy.app.version >= (5, 0) else None
    count = len(strips) if strips is not None else 0
    with pytest.raises(RuntimeError, match=match) as told:
        bpy.ops.parlando.generate(**arguments)
    home = tmp_path / "takes"
    assert not home.exists() or list(home.iterdir()) == []
    assert strips is None or len(strips) == count
    assert bpy.context.window_manager.parlando.status == "IDLE"
    assert len(bpy.context.scene.parlando.takes) == 0
    return str(told.value)


def test_no_sound_in_use(parlando: SimpleNamespace, scene: Any, ready: Any, tmp_path: Path) -> None:
    scene.sequence_editor.active_strip = None
    ready.select = False
    refused(tmp_path, "Select a sound strip")


def test_no_such_strip(parlando: SimpleNamespace, scene: Any, ready: Any, tmp_path: Path) -> None:
    refused(tmp_path, "There is no sound strip “nobody”", strip="nobody")


def test_missing_sound_file(parlando: SimpleNamespace, ready: Any, tone: Path, tmp_path: Path) -> None:
    tone.unlink()
    assert str(tone) in refused(tmp_path, "sound file of the strip “voice” is missing")


def test_corrupt_sound_file(parlando: SimpleNamespace, ready: Any, tone: Path, tmp_path: Path) -> None:
    tone.write_bytes(os.urandom(5000))
    refused(tmp_path, "“voice” has no sound that can be read")


def test_muted_strip(parlando: SimpleNamespace, ready: Any, tmp_path: Path) -> None:
    ready.mute = True
    refused(tmp_path, "“voice” is muted")


def test_no_portrait(parlando: SimpleNamespace, scene: Any, ready: Any, tmp_path: Path) -> None:
    scene.parlando.portrait_file = ""
    refused(tmp_path, "Choose a portrait")
    scene.parlando.portrait_source = "STRIP"
    refused(tmp_path, "Choose the image strip")
    scene.parlando.portrait_source = "IMAGE"
    refused(tmp_path, "Choose the portrait's image")


def test_missing_portrait(
    parlando: SimpleNamespace, scene: Any, ready: Any, portrait_file: Path, tmp_path: Path
) -> None:
    portrait_file.unlink()
    refused(tmp_path, "portrait.png does not exist")


def test_missing_picture_of_a_strip(
    parlando: SimpleNamespace, scene: Any, ready: Any, portrait_file: Path, tmp_path: Path
) -> None:
    parlando.compat.strips(scene.sequence_editor).new_image("still", str(portrait_file), 4, 1)
    scene.parlando.portrait_source, scene.parlando.portrait_strip = "STRIP", "still"
    portrait_file.unlink()
    refused(tmp_path, "picture of the strip “still” is missing")


def test_a_movie_is_no_portrait(parlando: SimpleNamespace, scene: Any, ready: Any, tmp_path: Path) -> None:
    image = bpy.data.images.new("film", 8, 8)
    image.source = "MOVIE"
    scene.parlando.portrait_source, scene.parlando.portrait_image = "IMAGE", image
    refused(tmp_path, "“film” is not a still picture")


def test_missing_style(parlando: SimpleNamespace, scene: Any, ready: Any, tmp_path: Path) -> None:
    scene.parlando.style_file = str(tmp_path / "away.safetensors")
    refused(tmp_path, "style file .* does not exist")


def test_a_takes_folder_that_cannot_be_written(parlando: SimpleNamespace, ready: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    parlando.preferences.get().takes_folder = str(tmp_path / "file" / "takes")
    refused(tmp_path, "takes folder .* cannot be written")


def test_no_engine(parlando: SimpleNamespace, ready: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARLANDO_ENGINE_PYTHON")
    monkeypatch.setattr(parlando.preferences, "environment_folder", lambda: tmp_path / "none")
    refused(tmp_path, "no environment yet")


def failed(parlando: SimpleNamespace, idle: Wait, tmp_path: Path) -> str:
    """What is told after a Generate that fails in the engine; nothing may have changed."""
    assert bpy.ops.parlando.generate() == {"FINISHED"}
    idle()
    state = bpy.context.window_manager.parlando
    assert state.outcome == "FAILED"
    assert list((tmp_path / "takes").iterdir()) == []
    assert len(bpy.context.scene.parlando.takes) == 0
    return str(state.message)


def test_the_engines_python_is_gone(
    parlando: SimpleNamespace, ready: Any, idle: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLANDO_ENGINE_PYTHON", str(tmp_path / "gone"))
    assert "could not be started" in failed(parlando, idle, tmp_path)


def test_an_engine_without_its_packages(
    parlando: SimpleNamespace, ready: Any, worker: Any, idle: Wait, tmp_path: Path
) -> None:
    worker("raise ModuleNotFoundError(\"No module named 'torch'\")\n")
    assert "No module named 'torch'" in failed(parlando, idle, tmp_path)
    assert parlando.jobs.client().last_words


def test_an_engine_that_dies_each_time(
    parlando: SimpleNamespace, ready: Any, worker: Any, idle: Wait, tmp_path: Path
) -> None:
    worker("hello()\nfor m in lines:\n    send('started', id=m['id']); os.kill(os.getpid(), 9)\n")
    assert "was killed (signal 9) twice" in failed(parlando, idle, tmp_path)


def test_an_engine_that_answers_garbage(
    parlando: SimpleNamespace, ready: Any, worker: Any, idle: Wait, tmp_path: Path
) -> None:
    worker(
        "hello()\nfor m in lines:\n"
        "    print('{{{'); send('progress', id=m['id'], stage=7, fraction='x', seconds_left={}); print([1, 2])\n"
        "    send('note', id=m['id']); send('done', id=m['id'], result='all of it')\n"
    )
    assert "was not understood" in failed(parlando, idle, tmp_path)


def test_bad_input_found_by_the_engine(
    parlando: SimpleNamespace, ready: Any, worker: Any, idle: Wait, tmp_path: Path
) -> None:
    worker(
        "hello()\nfor m in lines:\n"
        "    send('error', id=m['id'], kind='input', message='There is no face in portrait.png.', details=None)\n"
    )
    assert failed(parlando, idle, tmp_path) == "There is no face in portrait.png."


def test_files_are_called_by_their_strip_and_image(
    parlando: SimpleNamespace, scene: Any, ready: Any, worker: Any, idle: Wait, tmp_path: Path
) -> None:
    scene.parlando.portrait_source = "IMAGE"
    scene.parlando.portrait_image = bpy.data.images.new("Mona", 8, 8)
    worker(
        "hello()\nfor m in lines:\n"
        "    send('note', id=m['id'], message=f\"{pathlib.Path(m['params']['audio']).name} is silent.\")\n"
        "    send('error', id=m['id'], kind='input', message=f\"No face in {m['params']['image']}.\", details=None)\n"
    )
    assert failed(parlando, idle, tmp_path) == "No face in “Mona”."
    assert "“voice” is silent." in list(parlando.jobs._state.messages)


def test_a_full_disk_keeps_what_is_finished(
    parlando: SimpleNamespace, ready: Any, worker: Any, idle: Wait, tmp_path: Path
) -> None:
    worker(
        "hello()\nfor m in lines:\n"
        "    out = pathlib.Path(m['params']['out'])\n"
        "    (out / 'frames').mkdir(); (out / 'take.json').write_text('{}'); (out / 'frames' / '000001.png').touch()\n"
        "    send('error', id=m['id'], kind='output', message='The disk is full.', details=None)\n"
    )
    bpy.ops.parlando.generate()
    idle()
    told = bpy.context.window_manager.parlando.message
    assert told == f"The disk is full. What was finished lies in {tmp_path / 'takes' / 'voice_001'}."
    assert (tmp_path / "takes" / "voice_001" / "frames" / "000001.png").exists()


def test_take_names(parlando: SimpleNamespace, tmp_path: Path) -> None:
    create = parlando.takes.create_folder
    names = [create(tmp_path, name).name for name in ("Voice", "Voice", "a/b\\c:d", "..", "Ünï – 日本", "x" * 300)]
    assert names[:2] == ["Voice_001", "Voice_002"] and names[2] == "a_b_c_d_001" and names[3] == "take_001"
    assert names[4] == "Ünï _ 日本_001" and len(names[5]) == 64


def test_no_two_takes_of_a_file_share_a_name(parlando: SimpleNamespace, scene: Any, tmp_path: Path) -> None:
    """A file's takes lie in two folders once it is saved; landmarks, strips and edits know a take by its name."""
    first = parlando.takes.create_folder(tmp_path / "before it was saved", "Voice")
    scene.parlando.takes.add().name = first.name
    queued = parlando.takes.create_folder(tmp_path / "beside the file", "Voice")
    assert (first.name, queued.name) == ("Voice_001", "Voice_002")
    assert parlando.takes.create_folder(tmp_path / "a third", "Voice", {queued.name}).name == "Voice_003"


def test_generated_and_float_images_keep_their_colour(parlando: SimpleNamespace, scene: Any, tmp_path: Path) -> None:
    scene.view_settings.view_transform = "AgX"  # must not matter
    byte = bpy.data.images.new("byte", 4, 2, alpha=True)
    byte.pixels.foreach_set(np.tile(np.array([200, 50, 50, 255], np.float32) / 255, 8))
    linear = bpy.data.images.new("linear", 4, 2, alpha=True, float_buffer=True)
    value = np.array([200, 50, 50], np.float64) / 255
    held = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear.pixels.foreach_set(np.tile(np.array([*held * 0.5, 0.5], np.float32), 8))
    for image, alpha in ((byte, 255), (linear, 128)):
        scene.parlando.portrait_source, scene.parlando.portrait_image = "IMAGE", image
        path = parlando.portrait.file_of(scene, tmp_path)
        back = bpy.data.images.load(str(path))
        pixels = np.array(back.pixels[:]).reshape(2, 4, 4) * 255
        assert back.size[:] == (4, 2)
        assert np.abs(pixels[0, 0] - (200, 50, 50, alpha)).max() <= 1.0
        bpy.data.images.remove(back)


def test_the_image_is_upright(parlando: SimpleNamespace, scene: Any, tmp_path: Path) -> None:
    image = bpy.data.images.new("two rows", 2, 2)
    image.pixels.foreach_set([1, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1])  # red below, blue above
    pixels = parlando.portrait.displayed(image)
    assert pixels[0, 0].tolist() == [0, 0, 255, 255] and pixels[1, 0].tolist() == [255, 0, 0, 255]
    (tmp_path / "out.png").write_bytes(parlando.portrait.png(pixels))
    back = bpy.data.images.load(str(tmp_path / "out.png"))
    assert np.array(back.pixels[:4]).tolist() == [1, 0, 0, 1]


def test_render_edits_needs_landmarks(parlando: SimpleNamespace, scene: Any, ready: Any) -> None:
    assert not bpy.ops.parlando.render_edits.poll() and not bpy.ops.parlando.add_landmarks.poll()
    with pytest.raises(RuntimeError, match="Generate a take first"):
        bpy.ops.parlando.render_edits()


def test_a_take_whose_folder_is_gone(parlando: SimpleNamespace, scene: Any, ready: Any, tmp_path: Path) -> None:
    take = scene.parlando.takes.add()
    take.name, take.folder = "lost", str(tmp_path / "lost")
    take.sound_id = parlando.strips.identify(scene, ready)
    with pytest.raises(RuntimeError, match="“lost” is not there any more"):
        bpy.ops.parlando.add_landmarks()
    with pytest.raises(RuntimeError, match="“lost” is not there any more"):
        bpy.ops.parlando.use_take(take="lost")
    with pytest.raises(RuntimeError, match="There is no take “found”"):
        bpy.ops.parlando.use_take(take="found")
