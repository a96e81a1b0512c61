"""Builds dist/parlando-VERSION.zip, the extension, with Blender's own tool from the bpy wheel, and validates it.

Only what runs goes in: tests, demo, docs and environments stay out. Standard library only; starts no Blender.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    "__init__.py",
    "blender_manifest.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "addon",
    "operators",
    "ui_panels",
    "engine",
    "demo/source",  # the example of First Steps
)


def blender_tool() -> Path:
    """Blender's `blender_ext.py`, found beside the bpy module without importing it."""
    spec = importlib.util.find_spec("bpy")
    for folder in spec.submodule_search_locations if spec and spec.submodule_search_locations else []:
        for tool in Path(folder).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"):
            return tool
    raise FileNotFoundError("This Python has no bpy with its extension tool: run `make setup`.")


def build(out: Path) -> Path:
    """Stage the parts, build the zip into `out` and validate it. Raises CalledProcessError with the tool's words."""
    stage = ROOT / "build" / "extension"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, stage / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
        else:
            shutil.copy2(ROOT / part, stage / part)
    manifest = tomllib.loads((stage / "blender_manifest.toml").read_text())
    archive = out.resolve() / f"{manifest['id']}-{manifest['version']}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    tool = [sys.executable, str(blender_tool())]
    subprocess.run([*tool, "build", "--source-dir", str(stage), "--output-filepath", str(archive)], check=True)
    subprocess.run([*tool, "validate", str(archive)], check=True)
    return archive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip (dist)")
    try:
        archive = build(parser.parse_args().out)
    except (OSError, subprocess.CalledProcessError) as problem:
        print(f"zip: {problem}", file=sys.stderr)
        return 1
    print(f"zip: {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
