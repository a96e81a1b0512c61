"""Pin and unpin frames of landmarks, and how many frames of a take's picture pins make another.

What a pin is and how it eases is in `pins.py`. Nothing here renders: `generate.py` does after a new take.
"""

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

from . import landmarks, pins, strips, takes
from .landmarks import Rig
from .problem import Problem

AROUND = 3  # frames on either side of the current one, when nothing says which


def range_meant(scene: bpy.types.Scene) -> tuple[int, int]:
    """The preview range where it is used, else the current frame and a few around it."""
    if scene.use_preview_range:
        return scene.frame_preview_start, scene.frame_preview_end
    return scene.frame_current - AROUND, scene.frame_current + AROUND


def pin(scene: bpy.types.Scene, rig: Rig, start: int, end: int, ease: int = pins.EASE) -> str:
    """Keeps timeline frames `start` to `end` as they are; tells it. Raises Problem."""
    data = _data(scene, rig)
    sound_id, begin = rig.collection[landmarks.OWNER], int(rig.picture[landmarks.START])
    first, last = max(start - begin, 0), min(end - begin, len(data.landmarks) - 1)
    if first > last:
        raise Problem(
            f"Frames {start} to {end} lie outside of “{rig.collection.name}”, which has {begin} to "
            f"{begin + len(data.landmarks) - 1}."
        )

    def change() -> None:
        numbers = pins.rows(landmarks.layer_of(scene, sound_id, data))[first : last + 1]
        made = scene.parlando.pins.add()
        made.sound_id, made.first, made.last, made.ease = sound_id, first, last, ease
        made.take = rig.picture.get(strips.PICTURE_TAKE, "")
        made.held, made.face = pins.packed(numbers), pins.packed(pins.face_of(data.arrays))
        made.name = made.take
        scene.parlando.pin_index = len(scene.parlando.pins) - 1

    _and_key(scene, rig, data, change)
    return f"Frames {first + begin} to {last + begin} stay as they are when a new take comes."


def unpin(scene: bpy.types.Scene, rig: Rig, start: int, end: int) -> str:
    """Gives timeline frames `start` to `end` back to the take; what else their pins hold stays. Raises Problem."""
    sound_id, begin = rig.collection[landmarks.OWNER], int(rig.picture[landmarks.START])
    first, last = start - begin, end - begin
    if not any(p.first <= last and p.last >= first for p in pins.of(scene, sound_id)):
        raise Problem(f"None of the frames {start} to {end} is pinned.")

    def change() -> None:
        every = scene.parlando.pins
        for index in reversed(range(len(every))):
            old = every[index]
            if old.sound_id != sound_id or old.first > last or old.last < first:
                continue
            numbers = pins.held(old)
            for part in ((last + 1, old.last), (old.first, first - 1)):
                if part[0] > part[1] or len(numbers) == 0:
                    continue
                left = every.add()
                old = every[index]  # adding may have moved it
                left.name, left.sound_id, left.take = old.name, old.sound_id, old.take
                left.ease, left.face, (left.first, left.last) = old.ease, old.face, part
                left.held = pins.packed(numbers[part[0] - old.first : part[1] + 1 - old.first])
                every.move(len(every) - 1, index + 1)
            every.remove(index)
        scene.parlando.pin_index = min(scene.parlando.pin_index, len(every) - 1)

    _and_key(scene, rig, _data(scene, rig), change)
    return f"Frames {start} to {end} follow the take again. Render Edits shows it."


def chosen(scene: bpy.types.Scene, rig: Rig) -> Any | None:
    """The pin selected in the list, of these landmarks."""
    mine = pins.of(scene, rig.collection[landmarks.OWNER])
    index = scene.parlando.pin_index
    if 0 <= index < len(scene.parlando.pins) and scene.parlando.pins[index] in mine:
        return scene.parlando.pins[index]
    return mine[-1] if mine else None


def frames_of(rig: Rig, pin: Any) -> tuple[int, int]:
    """First and last timeline frame of a pin."""
    begin = int(rig.picture[landmarks.START])
    return begin + pin.first, begin + pin.last


def against(scene: bpy.types.Scene, take: Any) -> tuple[int, int]:
    """(frames pins make another than the take's picture shows them, pins that rest: they were made on another face).

    Of a take that was rendered from edits nothing is said: it was rendered with the pins of its time.
    """
    mine = pins.of(scene, take.sound_id)
    if not mine or take.base != take.name or landmarks.find(scene, take.sound_id) is None:
        return 0, 0
    data = landmarks.Data.load(takes.folder_of(take) / "landmarks.npz")
    engine = landmarks.local_motion(data)
    differing = np.count_nonzero(pins.changed(pins.hold(engine, mine, data.arrays), engine))
    return int(differing), sum(bool(pins.why_not(pin, data.arrays)) for pin in mine)


def _data(scene: bpy.types.Scene, rig: Rig) -> landmarks.Data:
    """Of the take whose motion the landmarks are keyed with. Raises Problem."""
    base = takes.by_name(scene, rig.collection.get(landmarks.BASE, ""))
    if base is None:
        raise Problem(f"The take of the landmarks “{rig.collection.name}” is not in this scene: add them again.")
    return landmarks.Data.load(takes.folder_of(base) / "landmarks.npz")


def _and_key(scene: bpy.types.Scene, rig: Rig, data: landmarks.Data, change: Callable[[], None]) -> None:
    """Changes the pins and keys what follows from it; an edit in `location` stays an edit. Raises Problem."""
    landmarks.check(rig)
    sound_id = rig.collection[landmarks.OWNER]
    before = landmarks.layer_of(scene, sound_id, data)
    change()
    after = landmarks.layer_of(scene, sound_id, data)
    if pins.changed(after, before).any():
        landmarks.keep_edits(rig, before)
        landmarks.set_motion(rig, after, int(rig.picture[landmarks.START]))
