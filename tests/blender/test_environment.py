"""The engine's environment is really made, from a folder of wheels; watched, cancelled, and refused with a reason."""

import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    """A root with an engine that needs one small package, whose wheel is in `wheels`."""
    root = tmp_path / "root"
    (root / "engine").mkdir(parents=True)
    (root / "engine" / "requirements.txt").write_text("tinything==1.0\n")
    (root / "engine" / "__init__.py").write_text("")
    (root / "engine" / "__main__.py").write_text(
        "import sys, tinything\nprint('doctor', tinything.WORD, sys.argv[1:])\n"
    )
    wheels = root / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tinything-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinything.py", "WORD = 'here'\n")
        wheel.writestr("tinything-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinything\nVersion: 1.0\n")
        wheel.writestr(
            "tinything-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tinything-1.0.dist-info/RECORD", "")
    return root


def pump_until(creation: Any, condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, list(creation.log)
        creation.pump()
        time.sleep(0.02)


def can_make_environments() -> bool:
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return False
    return Path(sys.executable).name.startswith("python")


needs_venv = pytest.mark.skipif(not can_make_environments(), reason="this Python has no venv and ensurepip")


@needs_venv
def test_made_from_a_folder_of_wheels(parlando: SimpleNamespace, extension: Path, tmp_path: Path) -> None:
    environment, folder, wheels = parlando.environment, tmp_path / "made", extension / "wheels"
    commands = environment.steps(sys.executable, folder, extension, "CPU", wheels)
    creation = environment.Creation(commands, folder, extension, offline=True)
    pump_until(creation, lambda: not creation.working)
    log = "\n".join(creation.log)
    assert creation.state == "DONE", log
    assert "Successfully installed tinything-1.0" in log
    assert f"doctor here ['doctor', '--fetch', '--wheels', '{wheels}']" in log
    assert environment.python_of(folder).exists()
    assert not list(extension.rglob("__pycache__"))  # nothing is written into the extension


@needs_venv
def test_what_is_missing_is_told(parlando: SimpleNamespace, extension: Path, tmp_path: Path) -> None:
    shutil.rmtree(extension / "wheels")
    (extension / "wheels").mkdir()
    environment, folder = parlando.environment, tmp_path / "made"
    commands = environment.steps(sys.executable, folder, extension, "CPU", extension / "wheels")
    creation = environment.Creation(commands, folder, extension, offline=True)
    pump_until(creation, lambda: not creation.working)
    assert creation.state == "FAILED" and "tinything" in "\n".join(creation.log)


def test_cancel_ends_all_of_it(parlando: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    code = (
        "import subprocess, sys, time, pathlib\n"
        f"pathlib.Path({str(folder)!r}).mkdir()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('child', child.pid, flush=True)\ntime.sleep(600)\n"
    )
    python = sys.executable if Path(sys.executable).name.startswith("python") else "python3"
    creation = parlando.environment.Creation([[python, "-c", code]], folder, tmp_path)
    pump_until(creation, lambda: any(line.startswith("child") for line in creation.log))
    pid = int(next(line for line in creation.log if line.startswith("child")).split()[1])
    creation.cancel()
    assert creation.state == "CANCELLED" and not folder.exists()
    gone = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 10
    while gone.exists() and gone.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_python_that_is_not_there(parlando: SimpleNamespace, tmp_path: Path) -> None:
    creation = parlando.environment.Creation([[str(tmp_path / "no"), "-m", "venv"]], tmp_path / "made", tmp_path)
    pump_until(creation, lambda: not creation.working)
    assert creation.state == "FAILED" and "could not be started" in creation.log[-1]


def test_the_network_is_used_only_with_blenders_leave(parlando: SimpleNamespace, extension: Path) -> None:
    chosen = parlando.preferences.get()
    chosen.wheels_folder = ""
    if bpy.app.online_access:
        bpy.context.preferences.system.use_online_access = False
    assert not bpy.app.online_access
    assert "Online Access" in parlando.preferences.why_no_creation()
    assert not bpy.ops.parlando.create_environment.poll()
    chosen.wheels_folder = str(extension / "wheels")
    assert bpy.ops.parlando.create_environment.poll()
    chosen.wheels_folder = ""


def test_commands(parlando: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = parlando.environment.steps
    monkeypatch.setattr(parlando.environment.sys, "platform", "linux")
    cpu = steps("python3", tmp_path / "e", tmp_path, "CPU", None)[1]
    assert cpu[cpu.index("--extra-index-url") + 1].endswith("/cpu")
    assert "--extra-index-url" not in steps("python3", tmp_path / "e", tmp_path, "CUDA", None)[1]
    wheels = steps("python3", tmp_path / "e", tmp_path, "CUDA", tmp_path / "w")[1]
    assert "--no-index" in wheels and str(tmp_path / "w") in wheels


@needs_venv
def test_the_operators(
    parlando: SimpleNamespace, extension: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    chosen = parlando.preferences.get()
    monkeypatch.setattr(parlando.preferences, "ROOT", extension)
    chosen.wheels_folder = str(extension / "wheels")
    assert bpy.ops.parlando.create_environment() == {"FINISHED"}
    assert not bpy.ops.parlando.create_environment.poll()  # one at a time
    assert parlando.preferences.engine_python() == ""  # not before it is whole
    until(lambda: bpy.context.window_manager.parlando.environment != "WORKING", 120)
    assert bpy.context.window_manager.parlando.environment == "DONE"
    assert Path(parlando.preferences.engine_python()).exists()
    assert bpy.ops.parlando.create_environment() == {"FINISHED"}
    assert bpy.ops.parlando.cancel_environment() == {"FINISHED"}
    assert parlando.preferences.engine_python() == ""
    chosen.wheels_folder = ""


def test_an_offline_blender_tells_its_engine(parlando: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLANDO_ENGINE_PYTHON", "/some/python")
    offline = ("PARLANDO_OFFLINE", "1") in parlando.preferences.launch().extra_environment
    assert offline == (not bpy.app.online_access)
