"""Making the engine's Python environment: venv, pip, models, as a child process that can be watched and cancelled.

Not a package manager: it runs the few commands that `steps` lists, one after the other, without a shell. No bpy here.
"""

import collections
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

LOG_LINES = 200
PINNED_FOR = (3, 11)  # the Python that engine/requirements.txt is pinned for
_TORCH = "https://download.pytorch.org/whl"
_CUDA = "cu128"


def python_of(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def default_base() -> str:
    """The Python environments are made with unless another is chosen: 3.11, which the engine's pins are for."""
    if sys.version_info[:2] == PINNED_FOR:
        return sys.executable
    return shutil.which(f"python{PINNED_FOR[0]}.{PINNED_FOR[1]}") or sys.executable


def steps(base: str, folder: Path, root: Path, kind: str, wheels: Path | None) -> list[list[str]]:
    """The commands that make the environment in `folder`.

    `kind` is 'CPU' or 'CUDA'; with `wheels` everything comes from that folder and nothing from the network.
    """
    python = str(python_of(folder))
    install = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    fetch = [python, "-B", "-m", "engine", "doctor", "--fetch"]
    if wheels is not None:
        install += ["--no-index", "--find-links", str(wheels)]
        fetch += ["--wheels", str(wheels)]
    elif kind == "CPU" and sys.platform != "darwin":
        install += [
            "--extra-index-url",
            f"{_TORCH}/cpu",
        ]  # "+cpu" sorts above the plain version, which is CUDA on Linux
    elif kind == "CUDA" and sys.platform == "win32":
        install += ["--extra-index-url", f"{_TORCH}/{_CUDA}"]  # the plain version there is for the CPU
    return [
        [base, "-m", "venv", "--clear", str(folder)],
        [*install, "-r", str(root / "engine" / "requirements.txt")],
        fetch,
    ]


@dataclass
class Creation:
    """One environment being made. `pump` moves it; `state` is 'WORKING', 'DONE', 'FAILED' or 'CANCELLED'."""

    steps: list[list[str]]
    folder: Path
    root: Path
    offline: bool = False
    log: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=LOG_LINES))
    state: str = "WORKING"
    _at: int = -1
    _popen: subprocess.Popen[bytes] | None = None
    _lines: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)

    @property
    def working(self) -> bool:
        """Whether it goes on."""
        return self.state == "WORKING"

    def cancel(self) -> None:
        """Ends it and removes what was made so far."""
        if self.working:
            self.state = "CANCELLED"
            self._end()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.log.append("Cancelled.")

    def pump(self) -> bool:
        """One step; whether anything happened. Never blocks."""
        if not self.working:
            return False
        if self._popen is None:
            self._next()
            return True
        happened = False
        while not self._lines.empty():
            happened = True
            line = self._lines.get()
            if line is not None:
                self.log.append(line)
                continue
            code = self._popen.wait()
            self._popen = None
            if code != 0:
                self.state = "FAILED"
                self.log.append(f"Ended with status {code}: {' '.join(self.steps[self._at][:6])} …")
            break
        return happened

    def _next(self) -> None:
        self._at += 1
        if self._at == len(self.steps):
            self.state = "DONE"
            self.log.append("The engine's environment is ready.")
            return
        command = self.steps[self._at]
        self.log.append("$ " + " ".join(command))
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("PYTHON")}
        if self.offline:
            kept["PIP_NO_INDEX"] = "1"
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._popen = subprocess.Popen(
                command,
                cwd=self.root,
                env={**kept, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=sys.platform != "win32",  # pip starts children, a cancel ends them all
                creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
            )
        except OSError as problem:
            self.state = "FAILED"
            self.log.append(f"{command[0]} could not be started: {problem.strerror or problem}.")
            return
        threading.Thread(target=self._read, args=(self._popen,), daemon=True, name="parlando-environment").start()

    def _read(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdout is not None
        with popen.stdout:
            for line in popen.stdout:
                if text := line.decode("utf-8", "replace").rstrip():
                    self._lines.put(text[:500])
        self._lines.put(None)

    def _end(self) -> None:
        popen, self._popen = self._popen, None
        if popen is None or popen.poll() is not None:
            return
        if sys.platform == "win32":
            popen.kill()
        else:
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
