"""Where pixels become a strip: exact place, a free channel, long takes, cut strips, meta strips; strips found again."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A take's frames folder; Blender looks at the first only."""
    folder = tmp_path / "voice_001" / "frames"
    folder.mkdir(parents=True)
    image = bpy.data.images.new("frame", 16, 9)
    image.filepath_raw, image.file_format = str(folder / "000001.png"), "PNG"
    image.save()
    return folder


def test_exactly_above_the_sound(parlando: SimpleNamespace, scene: Any, sound: Any, frames: Path) -> None:
    strips, compat = parlando.strips, parlando.compat
    other = compat.strips(scene.sequence_editor).new_image("other", str(frames / "000001.png"), 2, 50)
    strips.identify(scene, sound)
    made = strips.insert(scene, sound, "voice_001", frames, 96, None, 10)
    assert (compat.left(made), compat.right(made), made.channel) == (10, 106, 3)
    assert (made.name, len(made.elements), made.elements[95].filename) == ("voice_001", 96, "000096.png")
    assert made.strip_elem_from_frame(10).filename == "000001.png"
    assert made.strip_elem_from_frame(105).filename == "000096.png"
    assert other.channel == 2 and scene.sequence_editor.active_strip == sound


def test_a_long_take(parlando: SimpleNamespace, scene: Any, sound: Any, frames: Path) -> None:
    """Twenty minutes: Blender's API takes 16 s for 16000 frames one by one, and grows worse."""
    strips, compat = parlando.strips, parlando.compat
    scene.view_settings.view_transform = "AgX"
    before = scene.view_settings.view_transform
    kinds = [area.type for window in bpy.context.window_manager.windows for area in window.screen.areas]
    strips.identify(scene, sound)
    compat.set_right(sound, 30010)
    start = time.process_time()
    made = strips.insert(scene, sound, "voice_001", frames, 30000, None, 10)
    assert time.process_time() - start < 5
    assert (compat.left(made), compat.right(made), made.channel) == (10, 30010, 2)
    assert (made.name, len(made.elements), made.elements[29999].filename) == ("voice_001", 30000, "030000.png")
    assert Path(bpy.path.abspath(made.directory)) == frames and made[strips.PICTURE_TAKE] == "voice_001"
    assert scene.view_settings.view_transform == before and scene.sequence_editor.active_strip == sound
    assert kinds == [area.type for window in bpy.context.window_manager.windows for area in window.screen.areas]
    assert [s.name for _, s in strips.in_scene(scene) if s.type == "IMAGE"] == ["voice_001"]


def test_inside_a_meta_strip(parlando: SimpleNamespace, scene: Any, tone: Path, frames: Path) -> None:
    strips, compat = parlando.strips, parlando.compat
    meta = compat.strips(scene.sequence_editor).new_meta("meta", 4, 1)
    sound = compat.strips(meta).new_sound("inner", str(tone), 2, 20)
    assert strips.by_name(scene, "inner") == sound
    strips.identify(scene, sound)
    made = strips.insert(scene, sound, "inner_001", frames, 96, None, 20)
    assert [s.name for s in compat.strips(meta) if s.type == "IMAGE"] == ["inner_001"]
    assert made.channel == 3 and strips.fits(made, sound)


def test_all_channels_taken(parlando: SimpleNamespace, scene: Any, sound: Any, frames: Path) -> None:
    for channel in range(2, 129):
        parlando.compat.strips(scene.sequence_editor).new_image("x", str(frames / "000001.png"), channel, 20)
    with pytest.raises(parlando.problem.Problem, match="channels above the sound are taken"):
        parlando.strips.free_channel(scene.sequence_editor, 1, 10, 106)


def test_another_take_of_another_length(parlando: SimpleNamespace, scene: Any, sound: Any, frames: Path) -> None:
    strips = parlando.strips
    strips.identify(scene, sound)
    made = strips.insert(scene, sound, "voice_001", frames, 96, None, 10)
    strips.show(made, "voice_002", frames, 40)
    assert (len(made.elements), made.name) == (40, "voice_002")
    made.name = "my own"
    strips.show(made, "voice_003", frames, 60)
    assert (len(made.elements), made.name, made[strips.PICTURE_TAKE]) == (60, "my own", "voice_003")


@pytest.mark.parametrize("first", [10, 46])
def test_sound_and_picture_trimmed_together(
    parlando: SimpleNamespace, scene: Any, sound: Any, frames: Path, first: int
) -> None:
    """The strip's handles stay, and frames lie where their sound is, whichever take it shows."""
    strips, compat = parlando.strips, parlando.compat
    strips.identify(scene, sound)
    made = strips.insert(scene, sound, "voice_001", frames, 96, None, 10)
    for strip in (sound, made):
        compat.lay(strip, 10, first, 56)
    strips.show(made, "voice_002", frames, 56 - first, first)
    assert (compat.left(made), compat.right(made), len(made.elements)) == (first, 56, 56 - first)
    assert made.strip_elem_from_frame(first).filename == "000001.png"
    assert made.strip_elem_from_frame(55).filename == f"{56 - first:06d}.png"
    strips.show(made, "voice_001", frames, 96, 10)
    assert (compat.left(made), compat.right(made), len(made.elements)) == (first, 56, 96)
    assert made.strip_elem_from_frame(first).filename == f"{first - 9:06d}.png"


def test_a_strip_is_found_again(parlando: SimpleNamespace, scene: Any, sound: Any, tone: Path) -> None:
    strips, compat = parlando.strips, parlando.compat
    id = strips.identify(scene, sound)
    ref = strips.SoundRef.of(sound)
    assert strips.identify(scene, sound) == id
    sound.name = "renamed"
    assert strips.find(scene, ref) == sound
    compat.strips(scene.sequence_editor).remove(sound)
    assert strips.find(scene, ref) is None
    stranger = compat.strips(scene.sequence_editor).new_image("voice", str(tone), 1, 1)
    assert strips.find(scene, ref) is None and stranger.name == "voice"


def test_the_sound_in_use(parlando: SimpleNamespace, scene: Any, sound: Any, tone: Path, frames: Path) -> None:
    strips, compat = parlando.strips, parlando.compat
    editor = scene.sequence_editor
    assert strips.sound_in_use(scene) == sound
    other = compat.strips(editor).new_sound("other", str(tone), 5, 10)
    strips.identify(scene, sound)
    editor.active_strip = strips.insert(scene, sound, "voice_001", frames, 96, None, 10)
    assert strips.sound_in_use(scene) == sound  # by its picture
    editor.active_strip = None
    sound.select, other.select = False, True
    assert strips.sound_in_use(scene) == other
    sound.select = True
    assert strips.sound_in_use(scene) is None and "Several" in strips.why_no_sound(scene)
    sound.select = other.select = False
    assert "Select a sound strip" in strips.why_no_sound(scene)
