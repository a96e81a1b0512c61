"""The sounds of a strip on the timeline: a marker or a muted text strip where each phone begins, to snap keys to.

The engine hears them (`engine/audio/phones.py`); here they are put in and taken out. Which markers are ours is noted in
the scene by name and frame, so one that the animator renamed or moved is the animator's and stays.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import bpy

from . import audio, compat, jobs, preferences, pump, strips
from .generate import sound_named
from .jobs import Job, NotPlaced
from .problem import Problem
from .strips import SoundRef

NOTED = "parlando_marks"  # of the scene: JSON, by sound id the [name, frame] of each marker
MARK_OF = "parlando_mark_of"  # of a text strip: the sound's id
MARK = "parlando_mark"  # of a text strip: [text, frame] as it was put in


def why_not(scene: bpy.types.Scene) -> str:
    """Why Mark Sounds is greyed; empty when it is not."""
    return strips.why_no_sound(scene) or ("" if preferences.engine_python() else preferences.NO_ENGINE)


def why_no_clear(scene: bpy.types.Scene) -> str:
    """Why Clear Marks is greyed; empty when it is not."""
    if reason := strips.why_no_sound(scene):
        return reason
    sound = strips.sound_in_use(scene)
    id = sound.get(strips.SOUND_ID, "") if sound is not None else ""
    return "" if _noted(scene).get(id) or _texts(scene, id) else "This sound has no marks"


def mark(scene: bpy.types.Scene, kind: str, place: str, words: str = "", strip_name: str = "") -> Job:
    """Queues it: `kind` PHONE or VISEME, `place` MARKER or STRIP, of the sound strip in use. Raises Problem."""
    strip = sound_named(scene, strip_name)
    if not preferences.engine_python():
        raise Problem(f"{preferences.NO_ENGINE}.")
    audio.check(scene, strip)
    id, ref, fps = strips.identify(scene, strip), SoundRef.of(strip), audio.fps_of(scene)
    folder = Path(tempfile.mkdtemp(prefix="parlando_phones_", dir=bpy.app.tempdir))
    out = folder / "phones.json"

    def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
        heard = json.loads(out.read_text(encoding="utf-8"))["phones"]
        shutil.rmtree(folder, ignore_errors=True)
        sound = strips.find(scene, ref)
        if sound is None:
            raise NotPlaced(f"The strip “{ref.name}” was deleted in the meantime: its sounds are not marked.")
        return put(scene, sound, id, heard, float(fps), kind, place)

    try:
        params = {"audio": str(folder / "audio.wav"), "words": words.strip() or None, "out": str(out)}
        job = jobs.begin(
            scene, "phones", folder, params, audio.extract(scene, strip, folder / "audio.wav"), deliver,
            {"audio.wav": f"“{strip.name}”"},
        )  # fmt: skip
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    job.title, job.temporary = f"Sounds of {strip.name}", True
    pump.wake()
    return job


def put(
    scene: bpy.types.Scene, sound: Any, id: str, heard: list[dict[str, Any]], fps: float, kind: str, place: str
) -> str:
    """Marks of `heard` (the engine's list) in place of those of before; tells it. Of several sounds that begin on one
    frame the longest is marked; visemes that stay the same are one."""
    clear(scene, id)
    if not heard:
        return f"Nobody speaks in “{sound.name}”: nothing is marked."
    start, end = compat.left(sound), compat.right(sound)
    spans: list[tuple[int, int, str, float]] = []  # frame, frame after its last, name, seconds
    for phone in heard:
        name = str(phone["viseme"] if kind == "VISEME" else phone["name"])
        first = start + round(phone["start"] * fps)
        after, length = max(first + 1, start + round(phone["end"] * fps)), phone["end"] - phone["start"]
        if first >= end:
            continue
        if spans and spans[-1][0] == first:
            if spans[-1][3] >= length:
                continue
            spans.pop()
        if spans and kind == "VISEME" and spans[-1][2] == name and spans[-1][1] >= first:
            spans[-1] = (spans[-1][0], after, name, spans[-1][3] + length)
            continue
        spans.append((first, after, name, length))
    if place == "MARKER":
        for frame, _, name, _ in spans:
            scene.timeline_markers.new(name, frame=frame)
        _note(scene, id, [[name, frame] for frame, _, name, _ in spans])
    else:
        owner = next(owner for owner, strip in strips.in_scene(scene) if strip == sound)
        channel = strips.free_channel(owner, sound.channel, start, end + 1)
        for number, (frame, after, name, _) in enumerate(spans):
            following = spans[number + 1][0] if number + 1 < len(spans) else end
            text = compat.new_text(owner, name, channel, frame, max(frame + 1, min(after, following)))
            text.text, text.mute = name, True  # a label on the timeline, not a part of the picture
            text[MARK_OF], text[MARK] = id, json.dumps([name, frame])
    what = "visemes" if kind == "VISEME" else "phones"
    return f"{len(spans)} {what} of “{sound.name}” are marked."


def clear(scene: bpy.types.Scene, id: str) -> int:
    """Takes away the marks of a sound that are still as they were put in; how many."""
    count = 0
    noted = {(str(name), int(frame)) for name, frame in _noted(scene).get(id, [])}
    for marker in [m for m in scene.timeline_markers if (m.name, m.frame) in noted]:
        scene.timeline_markers.remove(marker)
        count += 1
    _note(scene, id, [])
    for owner, text in _texts(scene, id):
        if json.loads(text[MARK]) == [text.text, compat.left(text)]:
            compat.strips(owner).remove(text)
            count += 1
        else:
            del text[MARK_OF]  # the animator's from now on
    return count


def _texts(scene: bpy.types.Scene, id: str) -> list[tuple[Any, Any]]:
    """(owner, text strip) of a sound's marks."""
    return [(owner, s) for owner, s in strips.in_scene(scene) if id and s.type == "TEXT" and s.get(MARK_OF) == id]


def _noted(scene: bpy.types.Scene) -> dict[str, list[list[Any]]]:
    noted = json.loads(scene.get(NOTED, "{}"))
    return noted if isinstance(noted, dict) else {}


def _note(scene: bpy.types.Scene, id: str, marks: list[list[Any]]) -> None:
    noted = _noted(scene)
    noted.pop(id, None)
    if marks:
        noted[id] = marks
    scene[NOTED] = json.dumps(noted)
