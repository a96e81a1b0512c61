"""The main job seen in a window: starts a Blender, lets `gui_driver.py` press the buttons, keeps the pictures.

BLENDER names any Blender's command; it needs an X display (or one that its command brings, as
`../shared/tools/blender_gui.sh run sid` does) and ImageMagick's `import` for the pictures. Needs `make zip`.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--blender", default="blender", help="the command that starts a Blender with a window")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder for the pictures (docs/pictures)")
    parser.add_argument("--timeout", type=float, default=900, help="seconds until it is given up (900)")
    options = parser.parse_args()
    archive = max((ROOT / "dist").glob("parlando-*.zip"), key=lambda file: file.stat().st_mtime, default=None)
    if archive is None:
        print("gui: no dist/parlando-*.zip: run `make zip` first.", file=sys.stderr)
        return 1
    work = ROOT / "build" / "gui"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    result = work / "result.json"
    # A Blender in a chroot sees the repo, this Python and the models at the same paths (see blender_gui.sh).
    cache = Path(os.environ.get("PARLANDO_CACHE") or Path.home() / ".cache" / "parlando")
    inside = {str(ROOT), str(cache)} | ({sys.base_prefix} if not sys.base_prefix.startswith("/usr") else set())
    env = {
        **os.environ,
        "BIND": os.environ.get("BIND") or " ".join(sorted(inside)),
        "BLENDER_USER_RESOURCES": str(work / "user"),
        "PARLANDO_CACHE": str(cache),
    }
    driver = ROOT / "tools" / "gui_driver.py"
    command = [*shlex.split(options.blender), "--factory-startup", "--python-exit-code", "3", "--python", str(driver)]
    command += ["--", str(archive), sys.executable, str(work)]
    print(f"gui: {shlex.join(command)}", flush=True)
    try:
        subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, timeout=options.timeout)
    except FileNotFoundError:
        print(f"gui: no command {command[0]!r}: name a Blender with `make gui BLENDER=...`.", file=sys.stderr)
        return 1
    except subprocess.TimeoutExpired:
        print(f"gui: Blender was not done after {options.timeout:.0f} s and was stopped.", file=sys.stderr)
        return 1
    outcome = json.loads(result.read_text()) if result.exists() else {"error": "Blender ended without a result."}
    if outcome.get("error"):
        print(f"gui: {outcome['error']}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    for name in outcome["pictures"]:
        shutil.copyfile(work / name, options.out / name)
        print(f"gui: {options.out / name}")
    print(f"gui: {outcome['message']} In Blender {outcome['blender']}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
