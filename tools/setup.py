"""Makes a folder ready to work in: `.venv` with the engine, bpy and the test tools, and with `--blender-5.2` also
`.venv-5.2` with the Python module of Blender 5.2. Says each step and its time; does nothing when nothing changed.

Run by `make` with a bare Python 3.11: standard library only. Does not fetch model weights (`engine/models.py` does)
and changes nothing outside the repo, except that it installs missing Debian packages when run as root.
"""

import argparse
import configparser
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = (".venv", "3.11", ("engine/requirements.txt", "requirements-dev.txt"))
BLENDER_52 = (".venv-5.2", "3.13", ("requirements-blender-5.2.txt",))

PIP_WHEEL = "pip-26.2-py3-none-any.whl"
PIP_SHA256 = "931c303696af6fa3417112103b1cad26890e5a07eccb5b99783700e33f2b8aad"

# What the bpy wheels link to and do not bring along, and where Debian keeps it.
DEBIAN_PACKAGE = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libICE.so.6": "libice6",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXrender.so.1": "libxrender1",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libxkbcommon.so.0": "libxkbcommon0",
}


class SetupError(Exception):
    """Setup cannot go on; the message says what to do."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what is being done, and how long it took."""
    print(f"setup: {what} …", flush=True)
    start = time.monotonic()
    yield
    print(f"setup: {what}: {time.monotonic() - start:.1f} s", flush=True)


def run(*command: str | Path, env: dict[str, str] | None = None, stdout: Path | None = None) -> None:
    """Run a command; its output is shown, or what is not an error goes to a file. Raises SetupError when it fails."""
    with open(stdout, "ab") if stdout else nullcontext() as log:
        answer = subprocess.run(list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, env=env)
    if answer.returncode:
        raise SetupError(f"`{' '.join(map(str, command))}` failed with status {answer.returncode}: see above.")


def find_python(version: str) -> Path | None:
    """A Python of this minor version that really runs (a pyenv shim may be there and fail)."""
    candidates = [shutil.which(f"python{version}"), f"/usr/bin/python{version}"]
    candidates += map(str, sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python{version}"), reverse=True))
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            answer = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
            if answer.stdout.strip() == version:
                return Path(candidate)
    return None


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def install_debian(packages: list[str], why: str) -> None:
    """Install Debian packages as root; otherwise say the command that does."""
    if not (is_root() and shutil.which("apt-get")):
        raise SetupError(f"{why}: run `sudo apt-get install -y {' '.join(packages)}` and try again.")
    with step(f"Debian packages {' '.join(packages)}"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if not any(Path("/var/lib/apt/lists").glob("*Packages*")):
            run("apt-get", "update", "-qq", env=env)
        options = ["-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends"]
        run("apt-get", "install", "-y", *options, *packages, env=env, stdout=ROOT / "build" / "apt.log")


def pip_settings() -> dict[str, str]:
    """pip's own settings that say where packages come from, as pip reads them: files first, then the environment."""
    files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"]
    files.append(os.environ.get("PIP_CONFIG_FILE", ""))
    settings: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    parser.read([str(Path(name).expanduser()) for name in files if name])
    if parser.has_section("global"):
        settings.update(parser["global"])
    settings.update({k[4:].lower().replace("_", "-"): v for k, v in os.environ.items() if k.startswith("PIP_")})
    return settings


def bootstrap_pip(python: Path) -> None:
    """Install pip into an environment without ensurepip: its wheel, verified, from where pip is told to look."""
    settings = pip_settings()
    places = settings.get("find-links", "").split()
    indexes = [settings.get("index-url", ""), *settings.get("extra-index-url", "").split()]
    places += [index.rstrip("/") + "/pip/" for index in indexes if index]
    context = ssl.create_default_context(cafile=settings.get("cert"))
    for place in places:
        page = place if "://" in place else Path(place).resolve().as_uri()
        folder = Path(urllib.parse.unquote(urllib.parse.urlparse(page).path)) if page.startswith("file:") else None
        if folder is not None and (folder / PIP_WHEEL).exists():
            link = (folder / PIP_WHEEL).as_uri()
        elif folder is not None:
            continue
        else:
            with urllib.request.urlopen(page, timeout=60, context=context) as answer:
                found = re.search(rf'href="([^"]*{re.escape(PIP_WHEEL)})[#"]', answer.read().decode())
            if not found:
                continue
            link = urllib.parse.urljoin(page, found[1])
        with urllib.request.urlopen(link, timeout=60, context=context) as answer:
            wheel = answer.read()
        if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
            raise SetupError(f"{PIP_WHEEL} from {place} is not the file it should be; its checksum differs.")
        file = ROOT / "build" / PIP_WHEEL
        file.write_bytes(wheel)
        run(python, f"{file}/pip", "install", "--quiet", "--no-index", file)
        return
    raise SetupError("This Python has no ensurepip: run `sudo apt-get install -y python3.11-venv` and try again.")


def make_environment(folder: Path, python: Path) -> None:
    """An empty virtual environment with pip. Of several ways the first that this machine allows."""
    if folder.exists():
        shutil.rmtree(folder)
    has_ensurepip = subprocess.run([str(python), "-c", "import ensurepip"], capture_output=True).returncode == 0
    if not has_ensurepip and is_root() and shutil.which("apt-get"):
        install_debian([f"{python.name}-venv"], "This Python has no ensurepip")
        has_ensurepip = True
    with step(f"virtual environment {folder.name}"):
        if has_ensurepip:
            run(python, "-m", "venv", folder)
        else:
            run(python, "-m", "venv", "--without-pip", folder)
            bootstrap_pip(folder / "bin" / "python")


def missing_libraries(folder: Path) -> list[str]:
    """Shared libraries that the environment's bpy links to and this machine lacks."""
    missing: set[str] = set()
    if not sys.platform.startswith("linux"):
        return []
    for module in folder.glob("lib/python*/site-packages/bpy/__init__*.so"):
        text = subprocess.run(["ldd", str(module)], capture_output=True, text=True, check=True).stdout
        missing.update(re.findall(r"^\s*(\S+) => not found", text, re.MULTILINE))
    return sorted(missing)


def install_libraries(folder: Path) -> None:
    """Install the shared libraries that bpy lacks."""
    missing = missing_libraries(folder)
    if not missing:
        return
    packages = [DEBIAN_PACKAGE.get(name, "") for name in missing]
    if not all(packages):
        raise SetupError(f"bpy needs {', '.join(missing)}: install the packages of this system that have them.")
    install_debian(sorted(set(packages)), f"bpy needs {', '.join(missing)}")


def runs(python: Path, version: str) -> bool:
    """Whether an environment's Python is there with its pip and of this minor version."""
    if not python.exists():
        return False
    answer = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, text=True)
    return answer.returncode == 0 and f"(python {version})" in answer.stdout


def prepare(environment: tuple[str, str, tuple[str, ...]]) -> bool:
    """Make one environment ready. False when this machine has no such Python."""
    name, version, requirements = environment
    folder, stamp = ROOT / name, ROOT / name / "parlando-setup"
    python = Path(sys.executable) if version == f"{sys.version_info[0]}.{sys.version_info[1]}" else find_python(version)
    if python is None:
        return False
    wanted = hashlib.sha256(str(ROOT).encode())
    for file in requirements:
        wanted.update((ROOT / file).read_bytes())
    if stamp.exists() and stamp.read_text() == wanted.hexdigest() and not missing_libraries(folder):
        return True
    inside = folder / "bin" / "python"
    if not runs(inside, version):
        make_environment(folder, python)
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    with step(f"packages of {' and '.join(requirements)} (over 1 GB the first time)"):
        arguments = [part for file in requirements for part in ("-r", file)]
        run(inside, "-m", "pip", "install", "--disable-pip-version-check", *quiet, *arguments)
        if environment is ENGINE:
            editable = ["--no-deps", "--no-build-isolation", "-e", "."]
            run(inside, "-m", "pip", "install", "--disable-pip-version-check", *quiet, *editable)
    install_libraries(folder)
    with step("a first import of bpy"):
        run(inside, "-c", "import bpy; print('setup: Blender', bpy.app.version_string)")
    stamp.write_text(wanted.hexdigest())
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--blender-5.2", action="store_true", dest="blender_52", help="also .venv-5.2")
    options = parser.parse_args()
    start = time.monotonic()
    try:
        (ROOT / "build").mkdir(exist_ok=True)
        if not prepare(ENGINE):
            raise SetupError("Parlando's engine needs Python 3.11: run `sudo apt-get install -y python3.11`.")
        if options.blender_52 and not prepare(BLENDER_52):
            print("setup: no Python 3.13 on this machine: Blender 5.2's module is left out")
    except (SetupError, OSError, subprocess.CalledProcessError) as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    if time.monotonic() - start > 5:
        print(f"setup: ready after {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
