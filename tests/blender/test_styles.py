"""Styles in Blender with the real engine: made from strips and files, kept, renamed, shared, previewed."""

import importlib
import json
import os
import shutil
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
SOURCE = REPO / "demo" / "source"
Wait = Callable[..., None]


@pytest.fixture(scope="session")
def film(engine_python_path: str, astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.5 s at 12 fps of the astronaut speaking, made by the engine: take folder with frames and preview.mp4."""
    folder = tmp_path_factory.mktemp("film")
    with wave.open(str(SOURCE / "jfk.wav")) as file:
        shape, data = file.getparams(), file.readframes(int(2.5 * file.getframerate()))
    with wave.open(str(folder / "words.wav"), "wb") as file:
        file.setparams(shape)
        file.writeframes(data)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    asked = ("--audio", folder / "words.wav", "--image", astronaut, "--fps", "12", "--out", folder / "take")
    command = [engine_python_path, "-m", "engine", "dub", *map(str, asked)]
    subprocess.run(command, cwd=REPO, env=clean, check=True, capture_output=True)
    return folder / "take"


@pytest.fixture
def styles(parlando: SimpleNamespace, tmp_path: Path) -> Any:
    """The library, in the test's own folder."""
    parlando.preferences.get().styles_folder = str(tmp_path / "styles")
    yield importlib.import_module("bl_ext.dev.parlando.addon.styles")
    parlando.preferences.get().styles_folder = ""


@pytest.fixture
def style_preview() -> Any:
    module = importlib.import_module("bl_ext.dev.parlando.addon.style_preview")
    yield module
    module.close()


@pytest.fixture(scope="session")
def made(film: Path, engine_python_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file of the film, made on the command line."""
    path = tmp_path_factory.mktemp("made") / "made.safetensors"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [engine_python_path, "-m", "engine", "style", str(film / "frames"), "--name", "Ann", "--out", str(path)]
    subprocess.run(command, cwd=REPO, env=clean, check=True, capture_output=True)
    return path


@pytest.fixture
def ann(scene: Any, styles: Any, made: Path, tmp_path: Path) -> Path:
    """That style in the library, with pictures beside it, chosen."""
    (tmp_path / "styles").mkdir()
    path = tmp_path / "styles" / "ann.safetensors"
    shutil.copyfile(made, path)
    for name in ("none", "m", "r", "o"):
        shutil.copyfile(SOURCE / "astronaut.png", path.with_name(f"ann.{name}.png"))
    scene.parlando.style_file = str(path)
    return path


def movie(parlando: SimpleNamespace, scene: Any, path: Path) -> Any:
    strip = parlando.compat.strips(scene.sequence_editor).new_movie("clip", str(path), 1, 20)
    scene.sequence_editor.active_strip = strip
    return strip


def trim(strip: Any, left: int, right: int) -> None:
    if hasattr(strip, "left_handle"):
        strip.left_handle += left
        strip.right_handle -= right
    else:
        strip.frame_final_start += left
        strip.frame_final_end -= right


def state() -> Any:
    return bpy.context.window_manager.parlando


def header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return dict(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))


OURS = ["Ballad", "Lively", "Neutral", "Opera", "Rap", "Restrained"]


def choices(scene: Any) -> list[str]:
    """What is offered beside the styles that come with Parlando, which are the last."""
    module = importlib.import_module("bl_ext.dev.parlando.addon.styles")
    names = [item[1] for item in module._offered(scene.parlando_styles, bpy.context)]
    assert names[-len(OURS) :] == OURS
    return names[: -len(OURS)]


def test_styles_that_come_with_parlando(
    parlando: SimpleNamespace, scene: Any, styles: Any, engine: str, astronaut: Path, idle: Wait, tmp_path: Path
) -> None:
    scene.parlando_styles.style = "opera"
    assert scene.parlando.style_file == "opera" and scene.parlando_styles.style == "opera"  # the same on any machine
    style = styles.chosen(scene)
    assert style.name == "Opera" and "open and round" in style.about and not style.damaged
    assert not bpy.ops.parlando.rename_style.poll() and not bpy.ops.parlando.remove_style.poll()
    assert "comes with Parlando" in styles.why_not_in_library(scene)
    assert bpy.ops.parlando.export_style.poll()
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("Kennedy", str(SOURCE / "jfk.wav"), 1, 1)
    trim(strip, 0, parlando.strips.frames_of(strip) - 12)
    scene.sequence_editor.active_strip = strip
    scene.parlando.portrait_file = str(astronaut)
    bpy.ops.parlando.generate()
    idle()
    assert state().outcome == "DONE", state().message
    take = scene.parlando.takes[0]
    request = json.loads((parlando.takes.folder_of(take) / "take.json").read_text())["request"]
    assert Path(request["style"]).name == "opera.safetensors"
    (tmp_path / "styles").mkdir(exist_ok=True)
    shutil.copyfile(styles.SHIPPED / "rap.safetensors", tmp_path / "styles" / "rap.safetensors")
    scene.parlando_styles.style = "rap.safetensors"  # one of the library's own with the same name is another
    assert Path(scene.parlando.style_file) == tmp_path / "styles" / "rap.safetensors"


def test_greyed_with_a_reason(scene: Any, styles: Any, engine: str, parlando: SimpleNamespace) -> None:
    make = importlib.import_module("bl_ext.dev.parlando.addon.style_make")
    assert not bpy.ops.parlando.make_style.poll() and "Select the movie" in make.why_not(scene)
    with pytest.raises(RuntimeError, match="Select the movie"):
        bpy.ops.parlando.make_style()
    scene.parlando_styles.source = "FILE"
    assert not bpy.ops.parlando.make_style.poll() and "Choose a video" in make.why_not(scene)
    for name in ("rename_style", "remove_style", "export_style", "preview_style", "close_style_preview"):
        assert not getattr(bpy.ops.parlando, name).poll(), name
    assert choices(scene) == ["Parlando's Own"] and scene.parlando_styles.style == "OWN"


def test_from_the_visible_part_of_a_movie_strip(
    parlando: SimpleNamespace, scene: Any, styles: Any, engine: str, film: Path, idle: Wait
) -> None:
    scene.render.fps = 12
    trim(movie(parlando, scene, film / "preview.mp4"), 6, 12)  # 12 of its 30 frames, half a second in
    scene.parlando_styles.name = "Astro naut"
    bpy.ops.ed.undo_push(message="Before")
    assert bpy.ops.parlando.make_style() == {"FINISHED"}
    seen: list[float] = []
    while state().status == "WORKING":
        parlando.pump.pump()
        if state().stage == "face":
            seen.append(state().progress)
    assert state().outcome == "DONE", state().message
    assert seen == sorted(seen) and any(0.1 < p < 0.95 for p in seen)
    (one,) = styles.library()
    assert one.name == "Astro naut" and not one.damaged and one.path.name == "Astro naut.safetensors"
    assert scene.parlando.style_file == str(one.path) and scene.parlando_styles.style == one.path.name
    assert list(one.pictures()) == ["None", "M", "R", "O"] and scene.parlando_styles.name == ""
    image = bpy.data.images.load(str(one.pictures()["R"]))
    assert tuple(image.size) == (256, 256)
    data, (begin, end) = one.path.read_bytes(), header(one.path)["frames"]["data_offsets"]
    start = 8 + int.from_bytes(data[:8], "little")
    frames = np.frombuffer(data[start + begin : start + end], np.int32)
    assert len(set(frames)) == 4 and frames.max() < 12  # of the visible part
    assert not list(Path(bpy.app.tempdir).glob("parlando_style_*"))
    assert "“Astro naut”" in state().message
    bpy.ops.ed.undo()
    assert bpy.context.scene.parlando.style_file == "" and one.path.exists()
    bpy.ops.ed.redo()
    with pytest.raises(RuntimeError, match="There is a style “astro NAUT”"):
        bpy.ops.parlando.make_style(name="astro NAUT")


def test_fine_tuned_from_a_movie_but_not_from_pictures(
    parlando: SimpleNamespace, scene: Any, styles: Any, engine: str, film: Path, idle: Wait
) -> None:
    make = importlib.import_module("bl_ext.dev.parlando.addon.style_make")
    scene.render.fps = 12
    strip = movie(parlando, scene, film / "preview.mp4")
    scene.parlando_styles.fit = 3.0
    assert make.why_no_fit(scene, strip) == ""
    bpy.ops.parlando.make_style(name="tuned")
    idle()
    assert state().outcome == "DONE", state().message
    scene.parlando_styles.fit = 0.0
    bpy.ops.parlando.make_style(name="plain")
    idle()
    plain, tuned = (set(header(one.path)) for one in styles.library())
    assert plain < tuned  # the adapter is in the file
    scene.parlando_styles.fit = 3.0
    scene.parlando_styles.source, scene.parlando_styles.file = "FILE", str(film / "frames")
    assert "movie" in make.why_no_fit(scene, None)
    bpy.ops.parlando.make_style(name="folder")
    idle()
    assert state().outcome == "DONE", state().message


def test_seconds_of_a_movie_strip(parlando: SimpleNamespace, scene: Any, film: Path) -> None:
    make = importlib.import_module("bl_ext.dev.parlando.addon.style_make")
    strip = movie(parlando, scene, film / "preview.mp4")  # 12 fps frame by frame, in a scene of 24
    trim(strip, 6, 9)
    assert make.seconds_of(scene, strip) == pytest.approx((0.5, 1.75))
    # As Blender adds movies by hand: 30 frames of 12 fps last 60 frames of the timeline.
    fitted = SimpleNamespace(
        name="fitted", fps=12.0, left_handle=26, right_handle=70, content_start=20.0, content_duration=30,
        content_trim_start=0, left_handle_offset=6.0, right_handle_offset=10.0, duration=44, type="MOVIE",
    )  # fmt: skip
    assert make.seconds_of(scene, fitted) == pytest.approx((0.25, 0.25 + 44 / 24))


def test_from_an_image_strip_and_a_folder(
    parlando: SimpleNamespace, scene: Any, styles: Any, engine: str, film: Path, idle: Wait
) -> None:
    strip = parlando.compat.strips(scene.sequence_editor).new_image("stills", str(film / "frames" / "000001.png"), 1, 1)
    for number in (9, 5, 2, 7):
        strip.elements.append(f"{number:06d}.png")
    trim(strip, 1, 1)
    scene.sequence_editor.active_strip = strip
    before = sorted(path.name for path in film.rglob("*"))
    assert bpy.ops.parlando.make_style() == {"FINISHED"}
    scene.parlando_styles.source, scene.parlando_styles.file = "FILE", str(film / "frames")
    assert bpy.ops.parlando.make_style(name="folder") == {"FINISHED"}  # queues
    idle()
    assert state().outcome == "DONE", state().message
    assert [one.name for one in styles.library()] == ["folder", "stills"]
    assert all(len(one.pictures()) == 4 for one in styles.library())
    assert sorted(path.name for path in film.rglob("*")) == before


def test_errors_name_the_strip(
    parlando: SimpleNamespace, scene: Any, styles: Any, engine: str, film: Path, idle: Wait, tmp_path: Path
) -> None:
    grey = tmp_path / "grey.png"
    image = bpy.data.images.new("grey", 64, 64)
    image.filepath_raw, image.file_format = str(grey), "PNG"
    image.save()
    strip = parlando.compat.strips(scene.sequence_editor).new_image("nobody", str(grey), 1, 1)
    scene.sequence_editor.active_strip = strip
    bpy.ops.parlando.make_style()
    idle()
    assert state().outcome == "FAILED"
    assert "face" in state().message and "grey.png of “nobody”" in state().message
    assert "parlando_style_" not in state().message and not list((tmp_path / "styles").iterdir())
    grey.unlink()
    with pytest.raises(RuntimeError, match="picture of the strip “nobody” is missing"):
        bpy.ops.parlando.make_style()
    empty = tmp_path / "empty.mp4"
    code = "import av, numpy, sys; c = av.open(sys.argv[1], 'w'); s = c.add_stream('libx264', rate=12)\n"
    code += "s.width = s.height = 64; s.pix_fmt = 'yuv420p'; f = numpy.zeros((64, 64, 3), 'u1')\n"
    code += "for _ in range(3): c.mux(s.encode(av.VideoFrame.from_ndarray(f, format='rgb24')))\n"
    code += "c.mux(s.encode()); c.close()"
    subprocess.run([engine, "-c", code, str(empty)], check=True)
    movie(parlando, scene, empty)
    bpy.ops.parlando.make_style()
    idle()
    assert state().outcome == "FAILED" and "No face was found in “clip”" in state().message
    assert not list((tmp_path / "styles").iterdir())
    empty.unlink()
    with pytest.raises(RuntimeError, match="movie of the strip “clip” is missing"):
        bpy.ops.parlando.make_style()
    scene.parlando_styles.source, scene.parlando_styles.file = "FILE", str(tmp_path / "away.mp4")
    with pytest.raises(RuntimeError, match=r"away\.mp4 does not exist"):
        bpy.ops.parlando.make_style()
    (tmp_path / "away.mp4").write_bytes(b"no movie at all")
    bpy.ops.parlando.make_style()
    idle()
    assert state().outcome == "FAILED" and "away.mp4 is not a video that can be read" in state().message
    assert not list(Path(bpy.app.tempdir).glob("parlando_style_*"))


def test_cancel_and_two_of_one_name(
    parlando: SimpleNamespace, scene: Any, styles: Any, engine: str, film: Path, idle: Wait, tmp_path: Path
) -> None:
    movie(parlando, scene, film / "preview.mp4")
    bpy.ops.parlando.make_style()
    with pytest.raises(RuntimeError, match="There is a style “clip”"):  # it is only being made
        bpy.ops.parlando.make_style()
    bpy.ops.parlando.cancel()
    idle()
    assert state().outcome == "CANCELLED" and not list((tmp_path / "styles").iterdir())
    assert not list(Path(bpy.app.tempdir).glob("parlando_style_*"))


def test_a_library_that_cannot_be_written(
    parlando: SimpleNamespace, scene: Any, styles: Any, engine: str, film: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    parlando.preferences.get().styles_folder = str(tmp_path / "file" / "styles")
    movie(parlando, scene, film / "preview.mp4")
    with pytest.raises(RuntimeError, match=r"styles folder .* cannot be written"):
        bpy.ops.parlando.make_style()
    parlando.preferences.get().styles_folder = ""
    assert parlando.preferences.styles_home() == parlando.preferences.own_folder("styles")


def test_rename_keeps_the_file(scene: Any, ann: Path, styles: Any) -> None:
    before, tensors = ann.read_bytes(), header(ann)
    size = int.from_bytes(before[:8], "little")
    assert choices(scene) == ["Parlando's Own", "Ann"]
    assert bpy.ops.parlando.rename_style(name="  Änne „laut“ ") == {"FINISHED"}
    after, renamed = ann.read_bytes(), header(ann)
    assert renamed.pop("__metadata__") == {**tensors.pop("__metadata__"), "name": "Änne „laut“"}
    assert renamed == tensors and after[8 + int.from_bytes(after[:8], "little") :] == before[8 + size :]
    assert choices(scene) == ["Parlando's Own", "Änne „laut“"] and scene.parlando_styles.style == "ann.safetensors"
    with pytest.raises(RuntimeError, match="needs a name"):
        bpy.ops.parlando.rename_style(name=" ")
    assert len(list(ann.parent.iterdir())) == 5


def test_remove(scene: Any, ann: Path, styles: Any, tmp_path: Path) -> None:
    (ann.parent / "notes.txt").write_text("somebody's")
    other = bpy.data.scenes.new("other")
    other.parlando.style_file = str(ann)
    assert bpy.ops.parlando.remove_style() == {"FINISHED"}
    assert [path.name for path in ann.parent.iterdir()] == ["notes.txt"]
    assert scene.parlando.style_file == other.parlando.style_file == ""
    elsewhere = tmp_path / "elsewhere.safetensors"
    elsewhere.write_bytes(b"")
    scene.parlando.style_file = str(elsewhere)
    assert not bpy.ops.parlando.remove_style.poll() and elsewhere.exists()


def test_share(scene: Any, ann: Path, styles: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert bpy.ops.parlando.export_style(filepath=str(out / "gift")) == {"FINISHED"}
    gift = out / "gift.safetensors"
    assert gift.read_bytes() == ann.read_bytes() and (out / "gift.m.png").exists()
    gift.write_bytes(b"mine")
    with pytest.raises(RuntimeError, match="already"):
        bpy.ops.parlando.export_style(filepath=str(gift))
    assert gift.read_bytes() == b"mine"
    with pytest.raises(RuntimeError, match=r"gift\.safetensors cannot be imported"):
        bpy.ops.parlando.import_style(filepath=str(gift))
    shutil.copyfile(ann, gift)
    bpy.ops.parlando.import_style(filepath=str(gift))  # the very same
    assert len(styles.library()) == 1 and scene.parlando.style_file == str(ann)
    bpy.ops.parlando.rename_style(name="Ann B")
    bpy.ops.parlando.import_style(filepath=str(gift))  # Ann again, a file of another content
    assert [one.name for one in styles.library()] == ["Ann", "Ann B"]
    bpy.ops.parlando.remove_style()
    scene.parlando_styles.style = "ann.safetensors"
    data = bytearray(gift.read_bytes())
    data[-1] ^= 1
    gift.write_bytes(data)
    bpy.ops.parlando.rename_style(name="Ann")
    bpy.ops.parlando.import_style(filepath=str(gift))
    assert [one.name for one in styles.library()] == ["Ann", "Ann 2"]
    assert styles.chosen(scene).name == "Ann 2" and len(styles.chosen(scene).pictures()) == 4


def test_the_choice(scene: Any, ann: Path, styles: Any, tmp_path: Path) -> None:
    data = ann.read_bytes()
    for number, broken in enumerate((b"", data[:100], data[:-1], b"\xff" * 64, b"\2\0\0\0\0\0\0\0{}")):
        (ann.parent / f"broken {number}.safetensors").write_bytes(broken)
    assert choices(scene) == ["Parlando's Own", "Ann", *(f"broken {n} (damaged)" for n in range(5))]
    scene.parlando_styles.style = "broken 1.safetensors"
    assert "damaged" in styles.chosen(scene).damaged and not bpy.ops.parlando.export_style.poll()
    with pytest.raises(RuntimeError, match="cannot be renamed"):
        bpy.ops.parlando.rename_style(name="whole")
    scene.parlando_styles.style = "OWN"
    assert scene.parlando.style_file == ""
    outside = tmp_path / "outside.safetensors"
    shutil.copyfile(ann, outside)
    scene.parlando.style_file = str(outside)
    assert scene.parlando_styles.style == "OTHER" and "Ann (not in the library)" in choices(scene)
    assert not bpy.ops.parlando.rename_style.poll() and bpy.ops.parlando.export_style.poll()
    scene.parlando_styles.style = "ann.safetensors"
    assert scene.parlando.style_file == str(ann)


def test_preview(
    parlando: SimpleNamespace, scene: Any, ann: Path, style_preview: Any, engine: str, astronaut: Path, until: Wait
) -> None:
    scene.render.fps = 6
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("voice", str(SOURCE / "jfk.wav"), 1, 5)
    scene.sequence_editor.active_strip = strip
    scene.parlando.portrait_file = str(SOURCE / "astronaut.png")
    scene.frame_current = 9
    assert style_preview.span_of(scene, strip) == (4, 12)
    names = [s.name for _, s in parlando.strips.in_scene(scene)]
    bpy.ops.ed.undo_push(message="Before")
    assert bpy.ops.parlando.preview_style() == {"FINISHED"}
    until(lambda: not parlando.jobs.busy())
    assert state().outcome == "DONE", state().message
    until(lambda: style_preview.shown().read == 12, 20)
    loop = style_preview.shown()
    asked = json.loads((loop.folder / "take.json").read_text())["request"]
    assert asked["style"] == str(ann) and asked["frames"] == 12
    with wave.open(str(loop.folder / "audio.wav")) as heard, wave.open(str(SOURCE / "jfk.wav")) as whole:
        rate = heard.getframerate()
        assert heard.getnframes() == 2 * rate == 2 * whole.getframerate()
        whole.setpos(round(4 / 6 * rate))
        here, there = (np.frombuffer(f.readframes(rate), "<i2").astype(int) for f in (heard, whole))
        assert np.abs(here[: len(there)] - there).max() <= 2
    for number in (0, 11):  # what the icons hold are the frames
        picture = loop.icons[str(number)]
        left, top, right, bottom = loop.box
        assert tuple(picture.image_size) == (right - left, bottom - top)
        assert 80 < right - left < 250 and left < 225 < right and top < 120 < bottom  # the face, not all of her
        image = bpy.data.images.load(str(loop.frames[number]))
        assert tuple(image.size) == (512, 512)
        whole_frame = np.array(image.pixels[:], np.float32).reshape(512, 512, 4)[::-1]
        shown = np.array(picture.image_pixels_float[:], np.float32).reshape(bottom - top, right - left, 4)[::-1]
        assert np.abs(shown - whole_frame[top:bottom, left:right]).max() < 0.01
        bpy.data.images.remove(image)
    first, last = (np.array(loop.icons[str(n)].image_pixels_float[:]) for n in (0, 11))
    assert np.abs(first - last).max() > 0.1
    assert [style_preview.frame_at(loop.begun + t) for t in (0.01, 0.51, 2.01)] == [0, 3, 0]
    # The scene has nothing of it.
    assert not len(scene.parlando.takes) and [s.name for _, s in parlando.strips.in_scene(scene)] == names
    assert "parlando_id" not in strip and not [i for i in bpy.data.images if "0000" in i.name]
    folder = loop.folder
    assert bpy.ops.parlando.close_style_preview() == {"FINISHED"}
    assert style_preview.shown() is None and not folder.exists()


def test_render_edits_goes_on_without_a_removed_style(
    parlando: SimpleNamespace, scene: Any, ann: Path, engine: str, astronaut: Path, idle: Wait
) -> None:
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("voice", str(SOURCE / "jfk.wav"), 1, 5)
    trim(strip, 12, parlando.strips.frames_of(strip) - 15)
    scene.sequence_editor.active_strip = strip
    scene.parlando.portrait_file = str(astronaut)
    bpy.ops.parlando.generate()
    idle()
    assert state().outcome == "DONE", state().message
    bpy.ops.parlando.add_landmarks()
    bpy.ops.parlando.remove_style()
    assert bpy.ops.parlando.render_edits() == {"FINISHED"}
    idle()
    assert state().outcome == "DONE" and "0 of 3 frames rendered again" in state().message
