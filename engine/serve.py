"""The process Blender talks to: requests as JSON lines on stdin, events as JSON lines on stdout (engine/protocol.py).

Jobs run one at a time in order of arrival, on a thread of their own, so that a cancel is heard at once. stdout belongs
to the protocol: whatever any library prints goes to stderr. The end of stdin ends the process. Single frames for the
live picture are answered on a thread of their own, beside the jobs.
"""

import os
import queue
import sys
import threading
import time
import traceback
from typing import Any

from engine import __version__, protocol
from engine.errors import Cancelled, InputError, MissingModel, OutputError, ParlandoError, naming_files
from engine.request import (
    DoctorRequest,
    DubRequest,
    FrameRequest,
    HeadRequest,
    LandmarksRequest,
    PhonesRequest,
    PointsRequest,
    RenderRequest,
    Request,
    RestyleRequest,
    StyleRequest,
    UnitsRequest,
)

_PROGRESS_INTERVAL = 0.1  # s between two progress events of a job
_REQUESTS: dict[str, type[Request]] = {
    "dub": DubRequest,
    "restyle": RestyleRequest,
    "render": RenderRequest,
    "frame": FrameRequest,
    "landmarks": LandmarksRequest,
    "points": PointsRequest,
    "phones": PhonesRequest,
    "style": StyleRequest,
    "units": UnitsRequest,
    "head": HeadRequest,
    "doctor": DoctorRequest,
}
_KINDS = {InputError: "input", MissingModel: "missing_model", OutputError: "output"}


class _Wire:
    """stdout, kept to the protocol: fd 1 is duplicated for us and then pointed at stderr for everybody else."""

    def __init__(self) -> None:
        self.file = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self.lock = threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        with self.lock:
            try:
                self.file.write(protocol.encode({"event": event, **fields}))
                self.file.flush()
            except OSError:
                os._exit(0)  # nobody listens any more: Blender is gone


class _Job:
    """One request under way: its progress events, and its cancel."""

    def __init__(self, number: int, verb: str, params: dict[str, Any], wire: _Wire) -> None:
        self.number, self.verb, self.params, self.wire = number, verb, params, wire
        self.cancelled = threading.Event()
        self.begun = self.told = 0.0
        self.stage = ""
        self.filmed = False  # the portrait is a film

    def progress(self, stage: str, done: int, total: int) -> None:
        from engine.job import FILM_STAGES, STAGES

        if self.cancelled.is_set():
            raise Cancelled
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self.begun, self.told = stage, now, 0.0
        if now - self.told < _PROGRESS_INTERVAL and done < total:
            return
        self.told = now
        self.filmed |= stage == "film"
        stages = FILM_STAGES if self.filmed else STAGES
        before = 0.0
        for name, share in stages.items():
            if name == stage:
                break
            before += share
        fraction = min(1.0, before + stages.get(stage, 0.0) * done / max(1, total))
        if stage not in stages:  # the one stage of a smaller job
            fraction = min(1.0, done / max(1, total))
        left = None
        if done and now - self.begun > 1.0:
            left = (now - self.begun) / done * (total - done)
            if stage in stages and list(stages)[-1] != stage:
                left = None  # what comes after is not known yet
        self.wire.send(
            "progress",
            id=self.number,
            stage=stage,
            done=done,
            total=total,
            fraction=round(fraction, 4),
            seconds_left=None if left is None else round(left, 1),
        )

    def note(self, message: str) -> None:
        self.wire.send("note", id=self.number, message=message)


class _Frames:
    """Single frames, the newest first: one that still waits when the next is asked for is not made any more."""

    def __init__(self, engine: Any, wire: _Wire) -> None:
        self.engine, self.wire = engine, wire
        self.waiting: _Job | None = None
        self.changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True, name="live").start()

    def ask(self, job: _Job) -> None:
        with self.changed:
            older, self.waiting = self.waiting, job
            self.changed.notify()
        if older is not None:
            self.wire.send("cancelled", id=older.number)

    def _work(self) -> None:
        while True:
            with self.changed:
                while self.waiting is None:
                    self.changed.wait()
                job, self.waiting = self.waiting, None
            try:
                self.wire.send("done", id=job.number, result=_run(self.engine, job))
            except Exception as problem:
                _tell(self.wire, job.number, problem)


def serve(device_name: str) -> int:
    """Answers until stdin ends; the exit status."""
    wire = _Wire()
    try:
        from engine.job import Engine

        engine = Engine(device_name)
    except ParlandoError as problem:
        wire.send("error", id=None, kind="input", message=str(problem), details=None)
        return 2
    jobs: queue.Queue[_Job | None] = queue.Queue()
    known: dict[int, _Job] = {}  # queued and running
    worker = threading.Thread(target=_work, args=(engine, jobs, known, wire), daemon=True)
    worker.start()
    frames = _Frames(engine, wire)
    wire.send(
        "hello", protocol=protocol.PROTOCOL_VERSION, engine=__version__, device=str(engine.device), pid=os.getpid()
    )
    for line in sys.stdin.buffer:  # bytes: one that is not UTF-8 is a bad line, not the end
        if not line.strip():
            continue
        try:
            number, verb, params = protocol.decode_request(line)
        except protocol.ProtocolError as problem:
            wire.send(
                "error", id=None, kind="input", message=f"The engine did not understand: {problem}.", details=None
            )
            continue
        if verb == "shutdown":
            break
        if verb == "ping":
            wire.send("done", id=number, result={})
        elif verb == "cancel":
            job = known.get(params["job"])
            if job is not None:
                job.cancelled.set()
            wire.send("done", id=number, result={"found": job is not None})
        elif verb == "frame":
            frames.ask(_Job(number, verb, params, wire))
        else:
            job = known[number] = _Job(number, verb, params, wire)
            if len(known) > 1:
                wire.send("queued", id=number, ahead=len(known) - 1)
            jobs.put(job)
    for job in list(known.values()):
        job.cancelled.set()
    jobs.put(None)
    worker.join(timeout=2.0)
    wire.file.flush()
    os._exit(0)  # a job deep in a library must not keep the process of a closed Blender alive


def _work(engine: Any, jobs: "queue.Queue[_Job | None]", known: dict[int, _Job], wire: _Wire) -> None:
    while (job := jobs.get()) is not None:
        try:
            if job.cancelled.is_set():
                raise Cancelled
            wire.send("started", id=job.number)
            result = _run(engine, job)
            known.pop(job.number, None)
            wire.send("done", id=job.number, result=result)
        except Cancelled:
            known.pop(job.number, None)
            wire.send("cancelled", id=job.number)
        except Exception as problem:
            known.pop(job.number, None)
            _tell(wire, job.number, problem)


def _tell(wire: _Wire, number: int, problem: Exception) -> None:
    """A failure as an event."""
    kind = next((name for cls, name in _KINDS.items() if isinstance(problem, cls)), "internal")
    told = isinstance(problem, ParlandoError)
    message = str(problem) if told else f"The engine failed ({type(problem).__name__}: {problem})."
    details = None if told else "".join(traceback.format_exception(problem))
    if details:
        print(details, file=sys.stderr, flush=True)
    wire.send("error", id=number, kind=kind, message=message, details=details)


@naming_files()
def _run(engine: Any, job: _Job) -> dict[str, Any]:
    """One job's result, as JSON takes it."""
    from engine import doctor
    from engine.audio.phones import write_phones
    from engine.face.points import points_of
    from engine.head_mesh import write_head
    from engine.job import landmarks_of
    from engine.motion.units import write_units

    asked = _REQUESTS[job.verb].of(job.params)
    match asked:
        case DubRequest():
            return dict(engine.dub(asked, job.progress, job.note).as_dict())
        case RenderRequest():
            return dict(engine.render(asked, job.progress, job.note).as_dict())
        case RestyleRequest():
            return dict(engine.restyle(asked, job.progress, job.note))
        case FrameRequest():
            return dict(engine.frame(asked))
        case LandmarksRequest():
            found = landmarks_of(asked.source, asked.face, job.progress)
            found.save(asked.out)
            return {"landmarks": str(asked.out), "frames": len(found.landmarks), "size": list(found.size)}
        case PointsRequest():
            return points_of(asked.image, asked.face)
        case PhonesRequest():
            return write_phones(asked.audio, asked.out, asked.words, job.progress)
        case StyleRequest():
            return _style(asked, job)
        case UnitsRequest():
            return write_units(asked.landmarks, asked.out, job.progress)
        case HeadRequest():
            return write_head(asked.out, asked.wheels, job.progress)
        case DoctorRequest():
            return doctor.examine(str(engine.device), asked.fetch, asked.wheels, job.progress)
    raise ValueError(job.verb)


def _style(asked: StyleRequest, job: _Job) -> dict[str, Any]:
    from engine.job import style_of
    from engine.style.pictures import write_pictures

    style_of(asked.source, asked.name, asked.out, job.progress, asked.part, asked.fit, asked.audio)
    pictures = []
    try:
        pictures = [str(path) for path in write_pictures(asked.source, asked.out, asked.part)]
    except ParlandoError as problem:  # the style itself is whole
        job.note(f"{problem} The style has no pictures of its reference frames.")
    return {"style": str(asked.out), "name": asked.name, "pictures": pictures}
