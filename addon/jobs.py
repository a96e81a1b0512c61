"""Jobs from the click to the strip: what is prepared, asked of the engine, and put into the file at the end.

A job lives here and not in the blend file, so an undo or a load in the middle cannot break it. What it was made for is
found again at its end; if that is gone, the take stays on disk and its place is told.
"""

import collections
import sys
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from . import environment, takes
from .engine_process import EngineClient, Request
from .problem import Problem

STEP_BUDGET = 0.05  # s of preparing in one pump
KEPT_MESSAGES = 8
_READING = {"dub": "reading the sound", "phones": "reading the sound", "style": "reading the pictures"}


class NotPlaced(Exception):
    """The take is made but what it was made for is gone. The message says where the take lies."""


@dataclass(eq=False)
class Job:
    """One Generate or Render Edits."""

    verb: str  # "dub" or "render"
    title: str  # the take's name
    scene_name: str
    scene_uid: int
    session: int  # of the file, see `_session`
    file: str  # the blend file's path, empty if never saved
    folder: Path  # of the take, made for this job
    params: dict[str, Any]
    preparation: Generator[float, None, None]
    deliver: Callable[["Job", bpy.types.Scene, dict[str, Any]], str]  # puts the result into the file, tells it
    words: dict[str, str] = field(default_factory=dict)  # what people call files in `folder`
    number: int = 0
    state: str = "PREPARING"  # then QUEUED, RUNNING; at the end DONE, FAILED or CANCELLED
    stage: str = ""
    progress: float = 0.0
    seconds_left: float = -1.0
    message: str = ""
    notes: list[str] = field(default_factory=list)
    request: Request | None = None
    temporary: bool = False  # nothing in `folder` is worth keeping when it fails
    undo: bool = True  # whether the result is a change of the file

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in {"DONE", "FAILED", "CANCELLED"}

    def in_words(self, message: str) -> str:
        """The engine's message with files of Blender's making called by the strip or image they came from."""
        for name, word in self.words.items():
            message = message.replace(str(self.folder / name), word).replace(name, word)
        return message

    def scene(self) -> bpy.types.Scene | None:
        """The scene it was started in; None once its file is closed or the scene deleted."""
        if self.session != _state.session:
            return None
        same = [scene for scene in bpy.data.scenes if scene.session_uid == self.scene_uid]
        return same[0] if same else bpy.data.scenes.get(self.scene_name)


@dataclass(frozen=True)
class Status:
    """What `window_manager.parlando` tells."""

    status: str
    stage: str
    progress: float
    seconds_left: float
    queued: int
    outcome: str
    message: str
    engine: str
    environment: str


@dataclass
class _State:
    """All that is held while the extension is enabled."""

    client: EngineClient | None = None
    jobs: list[Job] = field(default_factory=list)  # in order, those not over
    last: Job | None = None  # the last that ended
    messages: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=KEPT_MESSAGES))
    check: dict[str, Any] | None = None  # what `doctor` told
    checking: bool = False
    creation: environment.Creation | None = None
    session: int = 0  # counts loads: a job belongs to the file it was started in
    numbers: int = 0


_state = _State()


def client() -> EngineClient:
    """The engine's client. Only while the extension is enabled."""
    assert _state.client is not None
    return _state.client


def active() -> list[Job]:
    """The jobs that are not over, first the one in work."""
    return list(_state.jobs)


def names() -> set[str]:
    """Of the takes that are being made."""
    return {job.folder.name for job in _state.jobs}


def last() -> Job | None:
    """The last job that ended."""
    return _state.last


def creation() -> environment.Creation | None:
    """The environment being made, or the last one that was."""
    return _state.creation


def check_result() -> dict[str, Any] | None:
    """What `doctor` told; {"problems": […]} when it could not be asked."""
    return _state.check


def status() -> Status:
    """All at a glance."""
    head = _state.jobs[0] if _state.jobs else None
    last = _state.last
    engine = _state.client.state if _state.client is not None else "OFF"
    working = head is not None or _state.checking
    stage = head.stage if head else ("asking the engine" if _state.checking else "")
    if head is not None and head.state == "QUEUED" and engine in {"OFF", "STARTING"}:
        stage = "starting the engine"
    return Status(
        status="WORKING" if working else "IDLE",
        stage=stage,
        progress=head.progress if head else 0.0,
        seconds_left=head.seconds_left if head else -1.0,
        queued=max(0, len(_state.jobs) - 1),
        outcome="" if head is not None or last is None else last.state,
        message=_state.messages[-1] if _state.messages else "",
        engine=engine,
        environment=_state.creation.state if _state.creation is not None else "IDLE",
    )


def busy() -> bool:
    """Whether `pump` is needed."""
    creating = _state.creation is not None and _state.creation.working
    return bool(_state.jobs) or _state.checking or creating or (_state.client is not None and _state.client.busy)


def tell(message: str) -> None:
    """Keeps a message for the panels."""
    _state.messages.append(message)


def begin(
    scene: bpy.types.Scene,
    verb: str,
    folder: Path,
    params: dict[str, Any],
    preparation: Generator[float, None, None],
    deliver: Callable[[Job, bpy.types.Scene, dict[str, Any]], str],
    words: dict[str, str] | None = None,
) -> Job:
    """Queues a job. Its first step of preparing is done now, so bad input is told at once (Problem)."""
    job = Job(
        verb=verb,
        title=folder.name,
        scene_name=scene.name,
        scene_uid=scene.session_uid,
        session=_state.session,
        file=bpy.data.filepath,
        folder=folder,
        params=params,
        preparation=preparation,
        deliver=deliver,
        words=words or {},
        stage=_READING.get(verb, "reading the landmarks"),
    )
    try:
        finished = _prepare(job)
    except BaseException:
        takes.remove_inputs(folder)
        raise
    _state.numbers += 1
    job.number = _state.numbers
    _state.jobs.append(job)
    if finished:
        _submit(job)
    return job


def continue_in(params: dict[str, Any], folder: Path, old: Path) -> None:
    """A job that is being prepared turns out to be one that was interrupted: it goes on in that one's folder."""
    for name in ("audio", "image", "out"):
        if Path(params[name]) == folder or Path(params[name]).parent == folder:
            params[name] = str(old / Path(params[name]).relative_to(folder))
    takes.remove_inputs(folder)
    for job in _state.jobs:
        if job.folder == folder:
            job.folder, job.title = old, old.name


def cancel(number: int = -1) -> bool:
    """Cancels the job of that number, the one in work for −1; whether there was one."""
    job = next((job for job in _state.jobs if number in (-1, job.number)), None)
    if job is None:
        return False
    if job.request is not None:
        job.stage = "cancelling"
        client().cancel(job.request)
        return True
    job.preparation.close()
    _cancelled(job)
    return True


def check(params: dict[str, Any]) -> None:
    """Asks the engine's `doctor`."""
    _state.check, _state.checking = None, True

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "done":
            _state.check = event.get("result", {})
        elif event["event"] in {"error", "cancelled"}:
            _state.check = {"problems": [event.get("message", "Cancelled.")], "healthy": False}
        else:
            return
        _state.checking = False

    client().submit("doctor", params, hear)


def create(made: environment.Creation) -> None:
    """Starts making an environment."""
    _state.creation = made


def pump() -> bool:
    """Moves everything one step; whether anything changed. Never blocks for long."""
    happened = False
    deadline = time.monotonic() + STEP_BUDGET
    while time.monotonic() < deadline:
        job = next((job for job in _state.jobs if job.state == "PREPARING"), None)
        if job is None:
            break
        happened = True
        before = job.progress
        try:
            finished = _prepare(job)
        except Problem as problem:
            _failed(job, str(problem))
            continue
        except Exception as problem:
            _unexpected(job, problem)
            continue
        if finished:
            _submit(job)
        elif job.progress == before:
            break  # it waits for Blender
    if _state.client is not None:
        happened |= _state.client.pump()
    if _state.creation is not None:
        was_working = _state.creation.working
        happened |= _state.creation.pump()
        if was_working and not _state.creation.working and _state.client is not None:
            _state.client.refresh()
    return happened


def _prepare(job: Job) -> bool:
    """One step; whether that was the last."""
    try:
        job.progress = 0.02 * next(job.preparation)
    except StopIteration:
        return True
    return False


def _submit(job: Job) -> None:
    job.state = "QUEUED"
    job.stage = "waiting"
    engine = client()
    engine.refresh()
    job.request = engine.submit(job.verb, job.params, lambda event: _hear(job, event))


def _hear(job: Job, event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "started":
        job.state, job.stage = "RUNNING", "starting"
    elif kind == "progress":
        job.state = "RUNNING"
        if job.request is not None and job.request.cancelled_at is None:
            job.stage = str(event.get("stage", ""))
        fraction, left = event.get("fraction"), event.get("seconds_left")
        job.progress = min(1.0, max(0.0, float(fraction))) if isinstance(fraction, int | float) else job.progress
        job.seconds_left = float(left) if isinstance(left, int | float) else -1.0
    elif kind == "note":
        job.notes.append(job.in_words(str(event.get("message", ""))))
        tell(job.notes[-1])
    elif kind == "cancelled":
        _cancelled(job)
    elif kind == "error":
        _failed(job, job.in_words(str(event.get("message") or "The engine failed without a word.")))
    elif kind == "done":
        _done(job, event.get("result"))


def _end(job: Job, state: str, message: str) -> None:
    job.state, job.message = state, message
    if job in _state.jobs:
        _state.jobs.remove(job)
    _state.last = job
    tell(message)


def _cancelled(job: Job) -> None:
    takes.remove(job.folder)
    _end(job, "CANCELLED", f"{job.title} was cancelled.")


def _failed(job: Job, message: str) -> None:
    takes.remove(job.folder) if job.temporary else takes.remove_inputs(job.folder)
    if job.folder.exists():
        message = f"{message} What was finished lies in {job.folder}."
    _end(job, "FAILED", message)


def _unexpected(job: Job, problem: Exception) -> None:
    traceback.print_exc(file=sys.stderr)
    _failed(job, f"{job.title} failed ({type(problem).__name__}: {problem}): please report it.")


def _done(job: Job, result: Any) -> None:
    if not isinstance(result, dict) or (job.verb in {"dub", "render"} and not isinstance(result.get("frames"), int)):
        _failed(job, "The engine's answer was not understood: create its environment again in the preferences.")
        return
    scene = job.scene()
    if scene is None:
        _end(job, "DONE", f"The file {job.title} was made for is closed: it lies in {job.params['out']}.")
        return
    try:
        message = job.deliver(job, scene, result)
    except NotPlaced as problem:
        _end(job, "DONE", str(problem))
        return
    except Problem as problem:
        if job.undo:
            push_undo(f"Parlando: {job.title}")
        _end(job, "DONE", str(problem))
        return
    except Exception as problem:
        traceback.print_exc(file=sys.stderr)
        _end(job, "FAILED", f"{job.title} lies in {job.folder}, showing it failed ({problem}): please report it.")
        return
    if job.undo:
        push_undo(f"Parlando: {job.title}")
    _end(job, "DONE", " ".join([*job.notes, message]))


def push_undo(message: str) -> None:
    """One undo step that takes back what was just put into the file."""
    context = bpy.context
    if context.window is None and context.window_manager.windows:
        with context.temp_override(window=context.window_manager.windows[0]):
            bpy.ops.ed.undo_push(message=message)
    else:
        bpy.ops.ed.undo_push(message=message)


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Another file is open now: jobs of the old one must not put their results into it, unless it is the same again."""
    _state.session += 1
    for job in _state.jobs:
        if job.file and job.file == bpy.data.filepath:
            job.session = _state.session


@bpy.app.handlers.persistent
def _on_save(*_: Any) -> None:
    """The file has a path now, or another one."""
    for job in _state.jobs:
        if job.session == _state.session:
            job.file = bpy.data.filepath


def register(engine: EngineClient) -> None:
    """Takes the engine and listens for loads and saves."""
    global _state
    _state = _State(client=engine)
    bpy.app.handlers.load_post.append(_on_load)
    bpy.app.handlers.save_post.append(_on_save)


def unregister() -> None:
    """Ends the engine and forgets everything."""
    global _state
    bpy.app.handlers.load_post.remove(_on_load)
    bpy.app.handlers.save_post.remove(_on_save)
    stop()
    _state = _State()


def stop() -> None:
    """Ends every child process: Blender closes or the extension goes."""
    if _state.creation is not None:
        _state.creation.cancel()
    for job in _state.jobs:
        if job.request is None:
            job.preparation.close()
    if _state.client is not None:
        _state.client.stop()
