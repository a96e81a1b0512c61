"""The batch: a list of sound strips, each with its own portrait and style, made one after another.

The list is the scene's (`scene.parlando_batch`) and saved with the file; which of its entries are asked for is known
only here. An entry that was asked for and is neither in work nor waiting here was cut off by a crash or a restart: it
is offered again, and Generate finds its interrupted take. One job at a time is handed to `addon.jobs`, so nothing of
the entries behind it lies about on disk. Generates nothing itself.
"""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import bpy

from . import compat, generate, jobs, portrait, preferences, pump, strips
from .jobs import Job
from .problem import Problem
from .properties import ParlandoScene

# What an entry has of its own, as the scene's settings have it for Generate.
OWN = (
    "portrait_source", "portrait_strip", "portrait_image", "portrait_file", "face", "style_file", "strength", "mouth",
    "seed", "head", "blinks", "brows", "shoulders", "gaze",
)  # fmt: skip


class ParlandoBatchItem(bpy.types.PropertyGroup):
    """One sound strip of the batch. Its name is the strip's when it was added."""

    __annotations__ = {name: ParlandoScene.__annotations__[name] for name in OWN} | {
        "uid": bpy.props.StringProperty(name="Entry", description="Who this entry is"),
        "sound_id": bpy.props.StringProperty(name="Sound", description="The id of its sound strip"),
        "state": bpy.props.EnumProperty(
            name="State",
            description="How far it is",
            items=(
                ("WAITING", "Not Started", "Start makes it"),
                ("QUEUED", "Started", "In work, or waiting behind another"),
                ("DONE", "Done", "Its take is there"),
                ("FAILED", "Failed", "Its message says why; Start tries it again"),
                ("CANCELLED", "Cancelled", "Start makes it again"),
            ),
        ),
        "message": bpy.props.StringProperty(name="Message", description="How it came out"),
    }


class ParlandoBatch(bpy.types.PropertyGroup):
    """The list."""

    items: bpy.props.CollectionProperty(name="Batch", description="Sound strips to make", type=ParlandoBatchItem)
    index: bpy.props.IntProperty(name="Entry", description="The entry selected in the list")


@dataclass
class _Run:
    """What this Blender was asked for since it started."""

    asked: list[str] = field(default_factory=list)  # uids, in order
    uid: str = ""  # of the entry in work
    job: Job | None = None
    done: int = 0
    failed: int = 0


_run = _Run()


def selected(scene: bpy.types.Scene) -> list[Any]:
    """The selected sound strips, as they come in time."""
    found = [strip for _, strip in strips.in_scene(scene) if strip.type == "SOUND" and strip.select]
    return sorted(found, key=lambda strip: (compat.left(strip), strip.channel))


def why_no_add(scene: bpy.types.Scene) -> str:
    """Why nothing can be added; empty when something can."""
    return strips.why_linked(scene) or ("" if selected(scene) else "Select the sound strips to add")


def add(scene: bpy.types.Scene) -> str:
    """Adds the selected sound strips with the settings of Generate as they are now; tells it."""
    batch, settings = scene.parlando_batch, scene.parlando
    known = {item.sound_id: item for item in batch.items}
    new = 0
    for strip in selected(scene):
        id = strips.identify(scene, strip)
        if (item := known.get(id)) is not None:
            if stage_of(item)[0] in {"DONE", "FAILED", "CANCELLED"}:
                item.state, item.message = "WAITING", ""
            continue
        item = batch.items.add()
        item.name, item.uid, item.sound_id = strip.name, uuid.uuid4().hex, id
        for name in OWN:
            setattr(item, name, getattr(settings, name))
        new += 1
    batch.index = len(batch.items) - 1
    return f"{new} sound strips added, {len(batch.items)} in the batch."


def remove(scene: bpy.types.Scene, index: int) -> None:
    """Takes an entry off the list, cancelling it if it is in work."""
    batch = scene.parlando_batch
    cancel(scene, index)
    batch.items.remove(index)
    batch.index = max(0, min(batch.index, len(batch.items) - 1))


def stage_of(item: Any) -> tuple[str, str]:
    """(what it is, for people): NOT_STARTED, WORKING, QUEUED, CUT_OFF, DONE, FAILED or CANCELLED, and a sentence."""
    if item.state == "QUEUED":
        if item.uid == _run.uid and _run.job is not None:
            return "WORKING", _run.job.stage
        return ("QUEUED", "Waits") if item.uid in _run.asked else ("CUT_OFF", "Not finished: Start goes on with it")
    if item.state == "WAITING":
        return "NOT_STARTED", why_not_item(item) or "Not started"
    return item.state, item.message


def progress_of(item: Any) -> float:
    """0 to 1."""
    if item.state == "DONE":
        return 1.0
    return _run.job.progress if _run.job is not None and item.uid == _run.uid else 0.0


def seconds_left_of(item: Any) -> float:
    """s, negative where nobody knows."""
    return _run.job.seconds_left if _run.job is not None and item.uid == _run.uid else -1.0


def why_not_item(item: Any) -> str:
    """What an entry lacks; empty when nothing."""
    seen: Any = SimpleNamespace(parlando=item, sequence_editor=item.id_data.sequence_editor)  # a scene set as the entry
    return portrait.why_none(seen)


def unfinished(scene: bpy.types.Scene) -> list[Any]:
    """The entries Start would make."""
    return [item for item in scene.parlando_batch.items if stage_of(item)[0] not in {"DONE", "WORKING", "QUEUED"}]


def working() -> bool:
    """Whether an entry is in work or waits."""
    return _run.job is not None or bool(_run.asked)


def why_no_start(scene: bpy.types.Scene) -> str:
    """Why Start is greyed; empty when it is not."""
    if not len(scene.parlando_batch.items):
        return "Add sound strips first"
    if not unfinished(scene):
        return "The batch is at work" if working() else "All of it is done"
    return "" if preferences.engine_python() else preferences.NO_ENGINE


def start(scene: bpy.types.Scene) -> str:
    """Asks for everything that is not done; tells it."""
    if reason := why_no_start(scene):
        raise Problem(f"{reason}.")
    if not working():
        _run.done = _run.failed = 0
    wanted = unfinished(scene)
    for item in wanted:
        item.state, item.message = "QUEUED", ""
        _run.asked.append(item.uid)
    step()
    pump.wake()
    return f"{len(wanted)} sound strips are being made."


def cancel(scene: bpy.types.Scene, index: int = -1) -> bool:
    """Cancels an entry, all for −1; whether there was one."""
    items = list(scene.parlando_batch.items)
    found = False
    for item in items if index < 0 else items[index : index + 1]:
        if item.uid in _run.asked:
            _run.asked.remove(item.uid)
            item.state, item.message, found = "CANCELLED", "Cancelled", True
        elif _run.job is not None and item.uid == _run.uid:
            found |= jobs.cancel(_run.job.number)
    return found


def step() -> bool:
    """Takes note of the entry that ended and begins the next; whether anything happened. `addon.pump` calls it."""
    happened = False
    if _run.job is not None:
        if _run.job in jobs.active():
            return False
        happened = True
        job, uid, _run.job, _run.uid = _run.job, _run.uid, None, ""
        _run.done += job.state == "DONE"
        _run.failed += job.state == "FAILED"
        _mark(uid, job.state, job.message)
    while _run.job is None and _run.asked:
        happened = True
        uid = _run.asked.pop(0)
        scene, item = _find(uid)
        if scene is None or item.state != "QUEUED":  # another file, or undone
            continue
        try:
            _run.job, _run.uid = _begin(scene, item), uid
        except Problem as problem:
            _run.failed += 1
            item.state, item.message = "FAILED", str(problem)
            jobs.tell(str(problem))
    if happened and not working() and _run.done + _run.failed > 1:
        jobs.tell(f"Batch: {_run.done} done, {_run.failed} failed.")
    return happened


def _begin(scene: bpy.types.Scene, item: Any) -> Job:
    """Generate with the entry's own settings."""
    strip = strips.by_id(scene, item.sound_id)
    if strip is None:
        raise Problem(f"The sound strip “{item.name}” was deleted: take it off the batch or bring it back.")
    uid = str(item.uid)
    with _settings_of(scene, item):
        job = generate.generate(scene, strip.name)
    deliver = job.deliver

    def deliver_and_mark(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
        message = deliver(job, scene, result)
        _mark(uid, "DONE", message)  # here, so that one undo takes back both
        return message

    job.deliver = deliver_and_mark
    return job


@contextlib.contextmanager
def _settings_of(scene: bpy.types.Scene, item: Any) -> Iterator[None]:
    """For the moment the scene's settings are the entry's."""
    settings = scene.parlando
    before = {name: getattr(settings, name) for name in OWN}
    try:
        for name in OWN:
            setattr(settings, name, getattr(item, name))
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


def _find(uid: str) -> tuple[Any, Any]:
    """(scene, entry) of a uid; None, None when it is gone."""
    for scene in bpy.data.scenes:
        for item in scene.parlando_batch.items:
            if item.uid == uid:
                return scene, item
    return None, None


def _mark(uid: str, state: str, message: str) -> None:
    _, item = _find(uid)
    if item is not None:
        item.state, item.message = state, message


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Offers what an earlier Blender did not finish."""
    cut_off = [item for scene in bpy.data.scenes for item in unfinished(scene) if item.state == "QUEUED"]
    if cut_off:
        jobs.tell(f"The batch was cut off: {len(cut_off)} sound strips are not finished. Start goes on with them.")


CLASSES = (ParlandoBatchItem, ParlandoBatch)


def register() -> None:
    """Adds `scene.parlando_batch`."""
    global _run
    _run = _Run()
    bpy.types.Scene.parlando_batch = bpy.props.PointerProperty(type=ParlandoBatch)
    bpy.app.handlers.load_post.append(_on_load)
    pump.steps.append(step)


def unregister() -> None:
    """Takes it away again."""
    pump.steps.remove(step)
    bpy.app.handlers.load_post.remove(_on_load)
    del bpy.types.Scene.parlando_batch
