"""A file saved elsewhere still finds what it named relative to itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest


@pytest.fixture
def saved(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> Any:
    """A saved file that names files beside it in each of Parlando's settings."""
    home = tmp_path / "shot"
    home.mkdir()
    for name in ("face.png", "one.safetensors"):
        (home / name).touch()
    (home / "takes" / "voice_001").mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "shot.blend"))
    scene.parlando.portrait_file, scene.parlando.style_file = "//face.png", "//one.safetensors"
    scene.parlando_styles.file = "//one.safetensors"
    sound.select = True
    bpy.ops.parlando.batch_add()
    take = scene.parlando.takes.add()
    take.name, take.folder, take.image, take.style = "voice_001", "//takes/voice_001", "//face.png", ""
    bpy.ops.wm.save_mainfile()
    return scene


def named(scene: Any) -> list[Path]:
    """What the settings name, absolute."""
    take, entry = scene.parlando.takes[0], scene.parlando_batch.items[0]
    texts = [take.folder, take.image, scene.parlando.portrait_file, scene.parlando.style_file]
    texts += [entry.portrait_file, entry.style_file, scene.parlando_styles.file]
    return [Path(bpy.path.abspath(text)).resolve() for text in texts]


def test_save_as_elsewhere(saved: Any, tmp_path: Path) -> None:
    before = named(saved)
    assert all(path.exists() for path in before)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    other = tmp_path / "deep" / "er" / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(other))
    assert named(bpy.context.scene) == before and bpy.context.scene.parlando.portrait_file.startswith("//")
    bpy.ops.wm.open_mainfile(filepath=str(other))
    assert named(bpy.context.scene) == before and bpy.context.scene.parlando.takes[0].style == ""


def test_a_copy_elsewhere(saved: Any, tmp_path: Path) -> None:
    """The copy names the same files, and so does the file that stays open."""
    before, texts = named(saved), saved.parlando.takes[0].folder
    (tmp_path / "copies").mkdir()
    copy = tmp_path / "copies" / "copy.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(copy), copy=True)
    assert named(bpy.context.scene) == before and bpy.context.scene.parlando.takes[0].folder == texts
    bpy.ops.wm.open_mainfile(filepath=str(copy))
    assert named(bpy.context.scene) == before


def test_a_save_that_fails(saved: Any, tmp_path: Path) -> None:
    before, texts = named(saved), saved.parlando.takes[0].folder
    with pytest.raises(RuntimeError):
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "nowhere" / "x.blend"))
    assert named(bpy.context.scene) == before and bpy.context.scene.parlando.takes[0].folder == texts
