"""The zip that an animator installs: what is in it, and that Blender installs, enables and disables it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

INSTALL = """
import json, sys
import bpy
import addon_utils  # there once bpy is
package = "bl_ext.user_default.parlando"
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
on = {
    "enabled": package in bpy.context.preferences.addons,
    "scene": hasattr(bpy.types.Scene, "parlando"),
    "generate": "generate" in dir(bpy.ops.parlando),
    "preferences": hasattr(bpy.context.preferences.addons[package].preferences, "engine_python"),
    "torch": "torch" in sys.modules,
}
addon_utils.disable(package)
off = {"scene": hasattr(bpy.types.Scene, "parlando"), "generate": "generate" in dir(bpy.ops.parlando)}
print(json.dumps({"on": on, "off": off}))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, str(ROOT / "tools" / "build_zip.py"), "--out", str(out)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (made,) = out.glob("*.zip")
    return made


def test_holds_what_runs_and_nothing_else(archive: Path) -> None:
    names = zipfile.ZipFile(archive).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"__init__.py", "blender_manifest.toml", "LICENSE", "addon", "operators", "ui_panels", "engine"} <= tops
    assert {"demo/source/jfk.wav", "demo/source/astronaut.png"} <= set(names)  # the example of First Steps
    assert not [name for name in names if name.startswith("demo/") and not name.startswith("demo/source/")]
    assert not tops & {"tests", "docs", "tools", "benchmarks", "build", "dist", ".venv", ".git"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    weights = [path.relative_to(ROOT).as_posix() for path in (ROOT / "engine").rglob("*.safetensors")]
    assert weights, "the engine ships with no weights"
    assert set(weights) <= set(names)
    assert archive.stat().st_size < 100e6


def test_installs_into_a_fresh_blender(archive: Path, tmp_path: Path) -> None:
    env = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path / "user")}
    command = [sys.executable, "-c", INSTALL, str(archive)]
    answer = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    state = json.loads(answer.stdout.strip().splitlines()[-1])
    assert state["on"] == {"enabled": True, "scene": True, "generate": True, "preferences": True, "torch": False}
    assert state["off"] == {"scene": False, "generate": False}
    assert "Traceback" not in answer.stderr
