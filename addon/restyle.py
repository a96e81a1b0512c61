"""Blend to Style: the landmarks of a range of frames are brought towards how the same words go in another style.

The engine speaks the take's sound in that style, without frames; the difference goes into `delta_location` like every
touch-up. Numbers only pass through here: motion is the engine's, keys are `touch.py`'s.
"""

import shutil
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import generate, jobs, landmarks, preferences, pump, takes, touch
from .jobs import Job, NotPlaced
from .landmarks import Data, Rig
from .problem import Problem
from .touch import Span


def blend(
    scene: bpy.types.Scene, rig: Rig, style: str, span: Span, region: Sequence[int], amount: float, told: str
) -> Job:
    """Queues it: `style` is a style file's path, '' is Parlando's own manner; `amount` 1 is that style, 0 changes
    nothing. `told` names the style. Raises Problem."""
    if not preferences.engine_python():
        raise Problem(f"{preferences.NO_ENGINE}.")
    file = generate.style_file(style)
    base = touch.take_of(scene, rig)
    if reason := takes.why_not_usable(base):
        raise Problem(f"{reason}.")
    sound_id, name = rig.collection[landmarks.OWNER], base.name
    folder = Path(tempfile.mkdtemp(prefix="parlando_restyle_", dir=bpy.app.tempdir))
    params: dict[str, Any] = {
        "take": str(takes.folder_of(base)),
        "style": str(file) if file else None,
        "strength": 1.0,
        "out": str(folder / "landmarks.npz"),
    }

    def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
        try:
            there = landmarks.find(scene, sound_id)
            take = takes.by_name(scene, name)
            if there is None or take is None or there.collection.get(landmarks.BASE) != name:
                raise NotPlaced(f"The landmarks show another take than {name} now: nothing was blended.")
            data = Data.load(takes.folder_of(take) / "landmarks.npz")
            count = touch.toward(there, data, Data.load(Path(job.params["out"])), span, region, amount)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return f"Frames {span.start}–{span.end} are blended to {told}: {count} landmarks changed."

    job = jobs.begin(scene, "restyle", folder, params, _nothing(), deliver)
    job.title, job.temporary = f"Blend to {told}", True
    pump.wake()
    return job


def _nothing() -> Generator[float, None, None]:
    """There is nothing to prepare."""
    yield 1.0
