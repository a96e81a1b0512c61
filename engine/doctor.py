"""What this engine runs on, which weights are here and whole, and the one command that mends what is missing."""

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from engine import __version__, device, models
from engine.errors import ParlandoError
from engine.progress import Progress, silent
from engine.take import sha256

PACKAGES = ("torch", "numpy", "opencv-python-headless", "soundfile", "av", "safetensors", "pillow", "tflite", "tqdm")
WEIGHTS = Path(__file__).parent / "weights"


def examine(
    device_name: str = "auto", fetch: bool = False, wheels: Path | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Everything `doctor` tells, as JSON takes it; with `fetch`, what is missing is fetched first.

    `healthy` says whether the main job can run; `problems` lists what is wrong, each with the way out.
    """
    problems = []
    if fetch:
        try:
            models.fetch(wheels=wheels, progress=progress)
        except ParlandoError as problem:
            problems.append(str(problem))
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
            if package != "opencv-python-headless" or not _has("opencv-python"):
                problems.append(f"The package {package} is missing: run `{sys.executable} -m pip install {package}`.")
    third_party = models.status()
    if not problems:
        problems += [
            f"The {m.what} ({m.package} {m.version}) is not here or damaged: run `{m.mend}`."
            for m in third_party
            if m.mend and not m.optional
        ]
    shipped = {}
    for file in sorted(WEIGHTS.glob("*.safetensors")):
        try:
            with safe_open(file, "np") as weights:
                shipped[file.name] = {"sha256": sha256(file), "tensors": len(weights.keys())}
        except (SafetensorError, OSError) as problem:
            problems.append(f"{file} is damaged ({problem}): install Parlando again.")
    chosen = ""
    try:
        chosen = str(device.pick(device_name))
    except ParlandoError as problem:
        problems.append(str(problem))
    return {
        "parlando": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "device": chosen,
        "packages": versions,
        "cache": str(models.cache_folder()),
        "models": [
            {
                "name": m.name,
                "package": f"{m.package}=={m.version}",
                "licence": m.licence,
                "sha256": m.sha256,
                "ok": m.verified,
                "optional": m.optional,
            }
            for m in third_party
        ],
        "weights": shipped,
        "problems": problems,
        "healthy": not problems,
    }


def _has(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def report(found: dict[str, Any]) -> str:
    """`examine`'s findings for people."""
    lines = [
        f"Parlando {found['parlando']}, Python {found['python']}, {found['platform']}",
        f"device   {found['device']}",
        "packages " + ", ".join(f"{name} {version or 'missing'}" for name, version in found["packages"].items()),
        f"cache    {found['cache']}",
    ]
    for model in found["models"]:
        state = "ok" if model["ok"] else "fetched when first asked for" if model["optional"] else "MISSING"
        lines.append(
            f"model    {model['name']}: {state}, {model['package']}, {model['licence']}, sha256 {model['sha256'][:12]}…"
        )
    for name, weights in found["weights"].items():
        lines.append(f"weights  {name}: sha256 {weights['sha256'][:12]}…")
    lines += [f"problem  {problem}" for problem in found["problems"]] or ["All is well."]
    return "\n".join(lines)
