"""Takes of 16 bits and of half floats in Blender: the strip shows them as they are meant, and edits keep the format."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"
FRAMES = 2
Wait = Callable[..., None]


@pytest.fixture
def speech(parlando: SimpleNamespace, scene: Any, engine: str, astronaut: Path, tmp_path: Path) -> Any:
    """Two frames of Kennedy, and the astronaut with a soft edge as the portrait."""
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("Kennedy", str(SOURCE / "jfk.wav"), 1, 5)
    parlando.compat.set_right(strip, parlando.compat.left(strip) + FRAMES)
    scene.sequence_editor.active_strip = strip
    image = bpy.data.images.load(str(astronaut))
    width, height = image.size
    pixels = np.array(image.pixels[:]).reshape(height, width, 4)
    pixels[..., 3] = np.clip(np.abs(np.arange(height) - height / 2) * -0.02 + 2.3, 0, 1)[:, None]
    path = tmp_path / "soft.png"
    path.write_bytes(parlando.portrait.png((pixels[::-1] * 255 + 0.5).astype(np.uint8)))
    scene.parlando.portrait_file = str(path)
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    return strip


def seen(scene: Any, path: Path) -> np.ndarray:
    """What the Sequencer renders of its first frame: (H, W, 4) as displayed, straight."""
    render = scene.render
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    render.filepath = str(path)
    scene.view_settings.view_transform = "Standard"
    scene.frame_set(5)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    return np.array(image.pixels[:]).reshape(image.size[1], image.size[0], 4)


def made(parlando: SimpleNamespace, scene: Any, idle: Wait, format: str) -> Any:
    """Generates in this format; the strip that shows it."""
    scene.parlando.format = format
    assert bpy.ops.parlando.generate() == {"FINISHED"}
    idle()
    assert bpy.context.window_manager.parlando.outcome == "DONE", bpy.context.window_manager.parlando.message
    (strip,) = [s for _, s in parlando.strips.in_scene(scene) if s.get("parlando_take")]
    return strip


def test_every_format_looks_the_same(
    parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait, tmp_path: Path
) -> None:
    shown = {}
    for format, suffix, space in (("EXR", "exr", "Linear Rec.709"), ("PNG", "png", "sRGB"), ("PNG16", "png", "sRGB")):
        strip = made(parlando, scene, idle, format)
        assert [e.filename for e in strip.elements] == [f"{n:06d}.{suffix}" for n in range(1, FRAMES + 1)]
        assert strip.colorspace_settings.name == space and strip.alpha_mode == "STRAIGHT"
        assert all((Path(bpy.path.abspath(strip.directory)) / e.filename).is_file() for e in strip.elements)
        shown[format] = seen(scene, tmp_path / f"{format}.png")
    size = len(shown["PNG"])
    share = np.clip(np.abs(np.arange(size) - size / 2) * -0.02 + 2.3, 0, 1)  # the portrait's alpha, row by row
    soft = (share > 0.1) & (share < 0.9)
    assert soft.sum() > 40 and np.ptp(shown["PNG"][soft, :, 3]) > 0.5
    assert shown["PNG"][share == 0, :, 3].max() == 0
    for format in ("EXR", "PNG16"):
        off = np.abs(shown[format] - shown["PNG"])[share > 0]  # what lies under no alpha, Blender drops
        assert off.mean() < 0.004 and off[soft[share > 0]].mean() < 0.004
    bpy.ops.parlando.use_take(take="Kennedy_001")
    (strip,) = [s for _, s in parlando.strips.in_scene(scene) if s.get("parlando_take")]
    assert strip.elements[0].filename == "000001.exr" and strip.colorspace_settings.name == "Linear Rec.709"


def test_edits_keep_the_format_and_mattes(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait) -> None:
    scene.parlando.mattes = True
    made(parlando, scene, idle, "EXR")
    assert bpy.ops.parlando.add_landmarks() == {"FINISHED"}
    plane = next(image for image in bpy.data.images if image.name == "Parlando Kennedy_001")
    assert plane.filepath.endswith("000001.exr") and plane.alpha_mode == "STRAIGHT"
    scene.parlando.format, scene.parlando.mattes = "PNG", False
    assert bpy.ops.parlando.render_edits() == {"FINISHED"}
    idle()
    take = scene.parlando.takes[-1]
    folder = parlando.takes.folder_of(take)
    assert f"{FRAMES} reused" in take.note, take.note
    for name in ("frames", "mattes/head", "mattes/face", "mattes/mouth"):
        assert sorted(p.name for p in (folder / name).iterdir()) == [f"{n:06d}.exr" for n in range(1, FRAMES + 1)]
    asked = json.loads((folder / "take.json").read_text())["request"]
    assert (asked["format"], asked["linear"], asked["mattes"]) == ("exr", True, True)


def test_16_bits_are_in_the_file(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait) -> None:
    strip = made(parlando, scene, idle, "PNG16")
    data = (Path(bpy.path.abspath(strip.directory)) / "000001.png").read_bytes()
    assert data[12:16] == b"IHDR" and struct.unpack(">IIBB", data[16:26])[2] == 16
    assert zlib.crc32(data[12:29]) == struct.unpack(">I", data[29:33])[0]
