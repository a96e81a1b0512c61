"""A movie as the portrait, in Blender with the real engine: its mouth says the sound, all else is the movie's."""

import json
import os
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

_LIVE = runpy.run_path(str(Path(__file__).with_name("test_live.py")))
pixels, shown, assert_same, settle = (_LIVE[name] for name in ("pixels", "shown", "assert_same", "settle"))
REPO = Path(__file__).resolve().parents[2]
SOURCE = REPO / "demo" / "source"
FRAMES, EARLIER = 12, 5
Wait = Callable[..., None]


@pytest.fixture(scope="module")
def film(engine_python_path: str, astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half of the astronaut speaking, 36 frames at 24 fps."""
    out = tmp_path_factory.mktemp("film") / "take"
    command = [engine_python_path, "-m", "engine", "dub", "--audio", str(SOURCE / "jfk.wav"), "--image", str(astronaut)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    asked = [*command, "--fps", "24", "--frames", "36", "--out", str(out), "--device", "cpu"]
    subprocess.run(asked, cwd=REPO, env=clean, check=True, capture_output=True)
    return out / "preview.mp4"


@pytest.fixture
def movie(parlando: SimpleNamespace, scene: Any, engine: str, film: Path) -> Any:
    """The film on the timeline, twelve frames of speech that begin five frames later, and the film as the portrait."""
    strips = parlando.compat.strips(scene.sequence_editor)
    strip = strips.new_movie("shot", str(film), 2, 10)
    sound = strips.new_sound("Kennedy", str(SOURCE / "jfk.wav"), 1, 3)
    parlando.compat.lay(sound, 3, 10 + EARLIER, 10 + EARLIER + FRAMES)
    scene.sequence_editor.active_strip = sound
    scene.parlando.portrait_source, scene.parlando.portrait_strip = "STRIP", "shot"
    return strip


def test_a_movie_strip_says_the_sound(
    parlando: SimpleNamespace, scene: Any, movie: Any, film: Path, idle: Wait
) -> None:
    movie.transform.scale_x = 0.5
    assert parlando.generate.why_not_generate(scene) == ""
    bpy.ops.parlando.generate()
    idle()
    state = bpy.context.window_manager.parlando
    assert state.outcome == "DONE", state.message
    (strip,) = [s for _, s in parlando.strips.in_scene(scene) if s.get("parlando_take")]
    compat = parlando.compat
    assert (compat.left(strip), compat.right(strip), strip.channel) == (15, 27, 3)
    assert strip.transform.scale_x == 0.5  # as the movie lies in the picture
    take = scene.parlando.takes[0]
    folder = parlando.takes.folder_of(take)
    asked = json.loads((folder / "take.json").read_text())["request"]
    assert asked["since"] == pytest.approx(EARLIER / 24, abs=1e-5) and Path(take.image) == film.resolve()
    with np.load(folder / "plate.npz") as plate:
        assert plate["numbers"].tolist() == list(range(FRAMES))


def test_edits_and_the_live_picture(
    parlando: SimpleNamespace, scene: Any, movie: Any, idle: Wait, settle: Wait
) -> None:
    bpy.ops.parlando.generate()
    idle()
    bpy.ops.parlando.add_landmarks()
    parlando.live.in_background = True
    rig = parlando.landmarks.find(scene, scene.parlando.takes[0].sound_id)
    scene.frame_set(20)
    settle()
    rig.points[57].delta_location.z = -0.03
    settle()
    assert parlando.live.message() == ""
    seen = shown(rig)
    for frame, z in ((19, 0.0), (20, -0.03), (21, 0.0)):
        rig.points[57].delta_location.z = z
        rig.points[57].keyframe_insert("delta_location", frame=frame)
    bpy.ops.parlando.render_edits()
    idle()
    take = scene.parlando.takes[1]
    assert take.note == f"1 of {FRAMES} frames rendered again, {FRAMES - 1} reused"
    edited, before = (
        pixels(bpy.data.images.load(str(parlando.takes.folder_of(one) / "frames" / "000006.png")))
        for one in reversed(scene.parlando.takes)
    )
    assert_same(edited, seen)
    assert abs(before - seen).max() > 20 / 255


def test_a_movie_file_begins_with_the_sound(
    parlando: SimpleNamespace, scene: Any, movie: Any, film: Path, idle: Wait
) -> None:
    scene.parlando.portrait_source, scene.parlando.portrait_file = "FILE", str(film)
    assert parlando.portrait.is_movie(scene)
    assert "the portrait is a movie" in parlando.placing.why_not(scene)
    bpy.ops.parlando.generate()
    idle()
    folder = parlando.takes.folder_of(scene.parlando.takes[0])
    assert json.loads((folder / "take.json").read_text())["request"]["since"] == 0.0


def test_a_movie_that_is_gone(parlando: SimpleNamespace, scene: Any, movie: Any, tmp_path: Path) -> None:
    movie.filepath = str(tmp_path / "gone.mp4")
    with pytest.raises(parlando.problem.Problem, match=r"movie of the strip “shot” is missing"):
        parlando.generate.generate(scene)
