"""Blender's side is tested as Blender runs it: the repo as an installed extension, in the wheel or a real one."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="Blender is not here: pip install bpy")

REPO = Path(__file__).resolve().parents[2]
PACKAGE = "bl_ext.dev.parlando"
DATA = REPO.parent / "shared" / "data"


def _enable() -> None:
    import addon_utils

    folder = tempfile.mkdtemp(prefix="parlando-extensions-")
    os.symlink(REPO, os.path.join(folder, "parlando"), target_is_directory=True)
    repos = bpy.context.preferences.extensions.repos
    repos.new(name="dev", module="dev", custom_directory=folder)
    assert addon_utils.enable(PACKAGE, default_set=True) is not None


@pytest.fixture(scope="session")
def parlando() -> Iterator[SimpleNamespace]:
    """The add-on's modules by name, once it is enabled."""
    _enable()
    names = (
        "audio", "compat", "engine_process", "environment", "generate", "handles", "jobs", "landmarks", "live",
        "pin_frames", "pins", "placing", "portrait", "preferences", "problem", "pump", "strips", "takes",
    )  # fmt: skip
    yield SimpleNamespace(**{name: importlib.import_module(f"{PACKAGE}.addon.{name}") for name in names})
    sys.modules[f"{PACKAGE}.addon.jobs"].stop()


@pytest.fixture(autouse=True)
def fresh_file(parlando: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty file, takes in the test's own folder, no job left over from the test before."""
    monkeypatch.delenv("PARLANDO_ENGINE_PYTHON", raising=False)
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = 24, 1.0
    chosen = parlando.preferences.get()
    chosen.takes_folder = str(tmp_path / "takes")
    chosen.device = "cpu"
    yield
    if parlando.jobs.active() or parlando.jobs.client().requests:
        parlando.jobs.client().stop()  # else it stays warm for the next test
    parlando.jobs._state.jobs.clear()
    parlando.jobs._state.messages.clear()
    parlando.jobs._state.last = parlando.jobs._state.creation = parlando.jobs._state.check = None
    parlando.jobs._state.checking = False
    parlando.live._state = parlando.live._State()
    parlando.live.in_background = False


@pytest.fixture
def scene() -> Any:
    """The scene, with a Sequencer."""
    scene = bpy.context.scene
    scene.sequence_editor_create()
    return scene


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Four seconds, 48 kHz, stereo, every sample another: a ramp, so that an offset shows in the numbers."""
    path = tmp_path / "tone.wav"
    ramp = (np.arange(4 * 48000) // 8).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 48000, 0, "NONE", ""))
        file.writeframes(np.stack([ramp, -ramp], axis=1).tobytes())
    return path


@pytest.fixture
def sound(parlando: SimpleNamespace, scene: Any, tone: Path) -> Any:
    """A sound strip of 96 frames from frame 10 on, active."""
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("voice", str(tone), 1, 10)
    scene.sequence_editor.active_strip = strip
    return strip


@pytest.fixture
def portrait_file(tmp_path: Path) -> Path:
    """A picture of nobody, for tests that do not ask the real engine."""
    path = tmp_path / "portrait.png"
    image = bpy.data.images.new("grey", 32, 32)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    bpy.context.scene.parlando.portrait_file = str(path)
    return path


@pytest.fixture(scope="session")
def astronaut(parlando: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real face, 256²: small enough to be quick."""
    whole = bpy.data.images.load(str(REPO / "demo" / "source" / "astronaut.png"))
    pixels = np.array(whole.pixels[:], np.float32).reshape(512, 512, 4)[-256:, 100:356]
    part = bpy.data.images.new("astronaut", 256, 256)
    part.pixels.foreach_set(np.ascontiguousarray(pixels).ravel())
    path = tmp_path_factory.mktemp("portrait") / "astronaut.png"
    part.filepath_raw, part.file_format = str(path), "PNG"
    part.save()
    return path


@pytest.fixture
def until(parlando: SimpleNamespace) -> Callable[..., None]:
    """Pumps until a condition holds."""

    def wait(condition: Callable[[], bool], seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"still waiting: {parlando.jobs.status()}"
            parlando.pump.pump()
            time.sleep(0.01)

    return wait


@pytest.fixture
def idle(parlando: SimpleNamespace, until: Callable[..., None]) -> Callable[..., None]:
    """Pumps until no job is left."""

    def wait(seconds: float = 300.0) -> None:
        until(lambda: not parlando.jobs.busy(), seconds)

    return wait


def _runs_the_engine(python: str) -> bool:
    code = "import torch, cv2, safetensors, soundfile, av"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run([python, "-c", code], env=clean, capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def engine_python_path() -> str:
    """A Python the engine runs on: this one, or PARLANDO_ENGINE_PYTHON."""
    for python in (os.environ.get("PARLANDO_ENGINE_PYTHON"), sys.executable):
        if python and _runs_the_engine(python):
            return python
    pytest.skip("no Python with the engine's packages: set PARLANDO_ENGINE_PYTHON")


@pytest.fixture
def engine(engine_python_path: str, fresh_file: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The real engine."""
    monkeypatch.setenv("PARLANDO_ENGINE_PYTHON", engine_python_path)
    return engine_python_path


@pytest.fixture
def worker(tmp_path: Path, fresh_file: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a broken engine: a script in the place of its Python. `send` and `lines` there speak the protocol."""

    def make(body: str) -> Path:
        script = tmp_path / "worker.py"
        script.write_text(
            "import json, os, sys, time, pathlib\n"
            f"HERE = pathlib.Path({str(tmp_path)!r})\n"
            "def send(event, **fields):\n"
            "    sys.stdout.write(json.dumps({'event': event, **fields}) + '\\n'); sys.stdout.flush()\n"
            "def hello(protocol=1):\n"
            "    send('hello', protocol=protocol, engine='test', device='cpu', pid=os.getpid())\n"
            "lines = (json.loads(line) for line in sys.stdin)\n" + body,
            encoding="utf-8",
        )
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n', encoding="utf-8")
        python.chmod(0o755)
        monkeypatch.setenv("PARLANDO_ENGINE_PYTHON", str(python))
        return script

    if sys.platform == "win32":
        pytest.skip("the broken engines are shell scripts")
    return make
