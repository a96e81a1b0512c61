"""The engine's process as Blender holds it: started on first use, kept warm, restarted after a crash, never waited for.

`EngineClient.submit` queues a request, `EngineClient.ask` asks for what the engine answers beside its jobs, and
`pump()`, called often from Blender's main thread, moves everything: it starts the process, sends one request at a time,
hands events to their request, and notices a process that died, is silent or talks nonsense. Nothing here blocks and
nothing here knows Blender (no bpy), so tests drive it the same way.
"""

import collections
import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..engine import protocol

HELLO_TIMEOUT = 180.0  # s from start to hello: a first start on a slow disk compiles all of torch's Python files
CANCEL_TIMEOUT = 15.0  # s after which an engine that does not hear a cancel is ended
ATTEMPTS = 2  # a job whose engine dies is taken up again once
LAST_WORDS = 40  # lines of stderr kept
LONGEST_LINE = 1 << 20  # bytes

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Launch:
    """How the engine's process is started."""

    python: str
    root: Path  # the folder that holds `engine/`
    device: str = "auto"
    extra_environment: tuple[tuple[str, str], ...] = ()

    def argv(self) -> list[str]:
        """The command, without a shell. -B: compiled files must not be written into the extension's folder."""
        return [self.python, "-B", "-m", "engine", "serve", "--device", self.device]

    def environment(self) -> dict[str, str]:
        """Blender's environment without what would lead another Python astray."""
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("PYTHON")}
        return {**kept, **dict(self.extra_environment)}


class LaunchError(RuntimeError):
    """There is no engine to start; the message says what to do."""


@dataclass
class Request:
    """One request and where it stands. `listener` hears its events; the last one is done, error or cancelled."""

    id: int
    verb: str
    params: dict[str, Any]
    listener: Listener
    sent: bool = False
    ended: bool = False
    cancelled_at: float | None = None
    attempts: int = 0


class _Process:
    """One child process. Two threads read its pipes so that nobody else has to wait for them."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.events: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # a line of stdout; None at its end
        self.last_words: collections.deque[str] = collections.deque(maxlen=LAST_WORDS)
        self.started = time.monotonic()
        self.ready = False
        self.popen = subprocess.Popen(
            launch.argv(),
            cwd=launch.root,
            env=launch.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
        )
        assert self.popen.stdout is not None and self.popen.stderr is not None
        self.dead_since: float | None = None
        self.readers = [
            threading.Thread(target=work, args=(pipe,), daemon=True, name="parlando-engine")
            for work, pipe in ((self._read_events, self.popen.stdout), (self._read_words, self.popen.stderr))
        ]
        for reader in self.readers:
            reader.start()

    def _read_events(self, pipe: BinaryIO) -> None:
        with pipe:
            while line := pipe.readline(LONGEST_LINE):
                self.events.put(line)
        self.events.put(None)

    def _read_words(self, pipe: BinaryIO) -> None:
        with pipe:
            while line := pipe.readline(LONGEST_LINE):
                if text := line.decode("utf-8", "replace").rstrip():
                    self.last_words.append(text[:500])

    def send(self, message: dict[str, Any]) -> bool:
        """Whether it could be written: False once the process is gone."""
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write(protocol.encode(message).encode())
            self.popen.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def end(self, patience: float = 0.3) -> None:
        """Ends the process: by the end of its stdin, else by force. Takes are whole at every moment."""
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):  # it is gone already, which is what we want
            self.popen.stdin.close()
        try:
            self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for reader in self.readers:
            reader.join(0.2)  # what it said last is on its way

    @property
    def dead(self) -> bool:
        """Whether it has ended and had a second for its last lines to arrive."""
        if self.popen.poll() is None:
            return False
        self.dead_since = self.dead_since or time.monotonic()
        return time.monotonic() - self.dead_since > 1.0


@dataclass
class EngineClient:
    """The queue in front of the engine, and the engine's life."""

    launcher: Callable[[], Launch]  # asked at every start; raises LaunchError
    hello_timeout: float = HELLO_TIMEOUT
    cancel_timeout: float = CANCEL_TIMEOUT
    requests: collections.deque[Request] = field(default_factory=collections.deque)
    asked: list[Request] = field(default_factory=list)  # beside the jobs, see `ask`
    hello: Mapping[str, Any] | None = None  # of the running engine
    last_words: list[str] = field(default_factory=list)  # of an engine that died
    _process: _Process | None = None
    _numbers: int = 0
    _garbage: int = 0

    @property
    def state(self) -> str:
        """'OFF', 'STARTING', 'READY' or 'WORKING'."""
        if self._process is None:
            return "OFF"
        if not self._process.ready:
            return "STARTING"
        return "WORKING" if self.requests else "READY"

    @property
    def busy(self) -> bool:
        """Whether `pump` has anything to wait for."""
        return bool(self.requests or self.asked) or (self._process is not None and not self._process.ready)

    @property
    def pid(self) -> int | None:
        """The process's id, for tests and reports."""
        return None if self._process is None else self._process.popen.pid

    def submit(self, verb: str, params: dict[str, Any], listener: Listener) -> Request:
        """Queues a request; `listener` hears of it during `pump`."""
        self._numbers += 1
        request = Request(self._numbers, verb, params, listener)
        self.requests.append(request)
        return request

    def ask(self, verb: str, params: dict[str, Any], listener: Listener) -> Request:
        """Asks for what does not wait behind jobs. It is asked once: if the engine dies, that is an error."""
        self._numbers += 1
        request = Request(self._numbers, verb, params, listener)
        self.asked.append(request)
        return request

    def cancel(self, request: Request) -> None:
        """A waiting request is cancelled at once, a running one when the engine says so."""
        if request.ended or request.cancelled_at is not None:
            return
        request.cancelled_at = time.monotonic()
        if not request.sent:
            self._finish(request, {"event": "cancelled"})
        elif self._process is not None:
            self._numbers += 1
            self._process.send(protocol.request(self._numbers, "cancel", job=request.id))

    def stop(self) -> None:
        """Ends the process. Requests are dropped without a word: Blender is closing or the extension goes."""
        self.requests.clear()
        self.asked.clear()
        self._drop()

    def refresh(self) -> None:
        """Ends an idle process that was started in another way than it would be now (device or Python changed)."""
        if self._process is None or self.requests or self.asked:
            return
        try:
            wanted = self.launcher()
        except LaunchError:
            return
        if wanted != self._process.launch:
            self._drop()

    def pump(self) -> bool:
        """Moves everything one step; whether anything happened. Never blocks."""
        happened = False
        if (self.requests or self.asked) and self._process is None:
            happened = True
            if not self._start():
                return True
        process = self._process
        if process is None:
            return happened
        alive = True
        while not process.events.empty():
            line = process.events.get()
            happened = True
            if line is None:
                alive = False
                break
            self._hear(process, line)
            if self._process is not process:  # given up while listening
                return True
        if not alive or process.dead:
            self._mourn(process)
            return True
        now = time.monotonic()
        if not process.ready and now - process.started > self.hello_timeout:
            self._give_up(f"The engine did not answer within {self.hello_timeout:.0f} s of its start")
            return True
        for request in self.asked if process.ready else ():
            if not request.sent:
                request.sent = process.send(protocol.request(request.id, request.verb, **request.params))
                happened = True
        if process.ready and self.requests:
            head = self.requests[0]
            if not head.sent:
                head.sent = process.send(protocol.request(head.id, head.verb, **head.params))
                head.attempts += head.sent
                happened = True
            elif head.cancelled_at is not None and now - head.cancelled_at > self.cancel_timeout:
                self._drop()  # it does not listen
                self._unsend()
                self._finish(head, {"event": "cancelled"})
                happened = True
        return happened

    def _start(self) -> bool:
        try:
            launch = self.launcher()
            self._process = _Process(launch)
        except LaunchError as problem:
            self._fail_all(str(problem))
            return False
        except OSError as problem:
            self._fail_all(
                f"The engine's Python could not be started ({problem.strerror or problem}): "
                "check it in the preferences of Parlando."
            )
            return False
        self._garbage = 0
        return True

    def _hear(self, process: _Process, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        try:
            event = protocol.decode_event(text)
        except protocol.ProtocolError:
            self._garbage += 1
            process.last_words.append(f"(unreadable answer) {text[:200]}")
            return
        kind = event["event"]
        if kind == "hello":
            if event.get("protocol") != protocol.PROTOCOL_VERSION:
                self._give_up(
                    f"The engine speaks version {event.get('protocol')} of the protocol, this extension version "
                    f"{protocol.PROTOCOL_VERSION}"
                )
                return
            process.ready = True
            self.hello = event
            return
        number = event.get("id")
        request = next((r for r in (*self.requests, *self.asked) if r.id == number and r.sent), None)
        if request is None:
            if number is None and kind == "error" and isinstance(event.get("message"), str):
                process.last_words.append(event["message"])
            return  # the answer to a cancel, or to a request that is over
        if kind in ("done", "error", "cancelled"):
            self._finish(request, event)
        else:
            request.listener(event)

    def _finish(self, request: Request, event: dict[str, Any]) -> None:
        request.ended = True
        if request in self.requests:
            self.requests.remove(request)
        if request in self.asked:
            self.asked.remove(request)
        request.listener(event)

    def _fail_all(self, message: str) -> None:
        for request in [*self.requests, *self.asked]:
            self._finish(request, {"event": "error", "kind": "engine", "message": message, "details": None})

    def _unsend(self) -> None:
        for request in self.requests:
            request.sent = False

    def _drop(self) -> None:
        """Lets go of the process, ending it."""
        process, self._process, self.hello = self._process, None, None
        if process is not None:
            process.end()
            self.last_words = list(process.last_words)

    def _give_up(self, reason: str) -> None:
        """The process is of no use: ends it and fails what waits."""
        self._drop()
        self._fail_all(f"{reason}: create its environment again in the preferences of Parlando.{self._words()}")

    def _words(self) -> str:
        """The engine's last line, as the end of a message."""
        return f" Its last words: {self.last_words[-1]}" if self.last_words else ""

    def _mourn(self, process: _Process) -> None:
        """The process died on its own. The job it was at is taken up again once, then given up; others go on."""
        was_ready = process.ready
        self._drop()
        code = process.popen.returncode
        how = f"was killed (signal {-code})" if code < 0 else f"ended with status {code}"
        for request in list(self.asked):
            self._finish(request, {"event": "error", "kind": "crash", "message": f"The engine {how}.{self._words()}"})
        if not self.requests:
            return
        head = self.requests[0]
        if not was_ready:
            head.attempts += 1  # it died before anything could be sent
        self._unsend()
        if head.cancelled_at is not None:
            self._finish(head, {"event": "cancelled"})
        elif head.attempts < ATTEMPTS:
            head.listener({"event": "note", "message": f"The engine {how} and was started again: the job goes on."})
        else:
            message = f"The engine {how} twice: check it in the preferences of Parlando.{self._words()}"
            details = "\n".join(self.last_words) or None
            if was_ready:
                self._finish(head, {"event": "error", "kind": "crash", "message": message, "details": details})
            else:
                self._fail_all(message)
