"""Strips: the sound in use, and where pixels become a strip.

Strips are found by a custom property, never by a pointer kept over time: an undo or a load makes every pointer invalid.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from . import compat
from .problem import Problem

SOUND_ID = "parlando_id"  # on a sound strip: who it is
SOUND_NAME = "parlando_name"  # its name at that time: a duplicate of the strip has another
PICTURE_OF = "parlando_sound"  # on an image strip: the id of the sound it shows
PICTURE_TAKE = "parlando_take"  # the take it shows
PICTURE_BEFORE = "parlando_before"  # the take it showed before that one
HIGHEST_CHANNEL = 128
LONG = 2000  # frames from which adding one by one is slow: 0.05 s for 2000, 16 s for 16000
_PLACEMENT = ("offset_x", "offset_y", "scale_x", "scale_y", "rotation", "origin", "filter")
_CROP = ("min_x", "max_x", "min_y", "max_y")
_LOOK = ("use_flip_x", "use_flip_y", "blend_type", "blend_alpha")


@dataclass(frozen=True)
class SoundRef:
    """A sound strip over time: by its id, else (undone to before the id was there) by its name and sound."""

    id: str
    name: str
    sound: str

    @classmethod
    def of(cls, strip: Any) -> "SoundRef":
        """The strip as it is now."""
        return cls(strip.get(SOUND_ID, ""), strip.name, strip.sound.name_full if strip.sound else "")


def walk(owner: Any) -> Iterator[tuple[Any, Any]]:
    """(owner, strip) of every strip, those in meta strips included. The owner has the collection the strip is in."""
    for strip in compat.strips(owner):
        yield owner, strip
        if strip.type == "META":
            yield from walk(strip)


def in_scene(scene: bpy.types.Scene) -> Iterator[tuple[Any, Any]]:
    """(owner, strip) of every strip of the scene."""
    if scene.sequence_editor is not None:
        yield from walk(scene.sequence_editor)


def sound_in_use(scene: bpy.types.Scene) -> Any | None:
    """The active strip if it is a sound, else the selected sound if there is just one.

    With the picture of a take active, the sound it belongs to.
    """
    active = compat.active_strip(scene)
    if active is not None and active.type == "SOUND":
        return active
    if active is not None and active.get(PICTURE_OF):
        return by_id(scene, active[PICTURE_OF])
    selected = [strip for _, strip in in_scene(scene) if strip.type == "SOUND" and strip.select]
    return selected[0] if len(selected) == 1 else None


def why_linked(scene: bpy.types.Scene) -> str:
    """Why nothing put into the scene would be kept; empty when it would."""
    return "The scene is linked from another file: make it local, or open that file" if scene.library else ""


def why_no_sound(scene: bpy.types.Scene) -> str:
    """Why there is no sound strip in use, for a greyed button; empty when there is one."""
    if reason := why_linked(scene):
        return reason
    if sound_in_use(scene) is not None:
        return ""
    sounds = [strip for _, strip in in_scene(scene) if strip.type == "SOUND"]
    if not sounds:
        return "There is no sound strip: add one to the Sequencer first"
    if sum(strip.select for strip in sounds) > 1:
        return "Several sound strips are selected: make one of them active"
    return "Select a sound strip"


def by_name(scene: bpy.types.Scene, name: str) -> Any | None:
    """The strip of that name."""
    return next((strip for _, strip in in_scene(scene) if strip.name == name), None)


def by_id(scene: bpy.types.Scene, id: str) -> Any | None:
    """The sound strip with that id; of several (duplicates) the one that kept the name."""
    if not id:
        return None
    found = [strip for _, strip in in_scene(scene) if strip.type == "SOUND" and strip.get(SOUND_ID) == id]
    return next((strip for strip in found if strip.name == strip.get(SOUND_NAME)), found[0] if found else None)


def find(scene: bpy.types.Scene, ref: SoundRef) -> Any | None:
    """The strip meant, wherever it was moved; None when it is gone."""
    strip = by_id(scene, ref.id)
    if strip is not None:
        return strip
    strip = by_name(scene, ref.name)
    if strip is None or strip.type != "SOUND" or (strip.sound.name_full if strip.sound else "") != ref.sound:
        return None
    return strip


def identify(scene: bpy.types.Scene, strip: Any) -> str:
    """The sound strip's id, given to it now if it has none or shares it with the strip it was duplicated from."""
    id = strip.get(SOUND_ID, "")
    if not id or by_id(scene, id) != strip:
        id = uuid.uuid4().hex
        strip[SOUND_ID] = id
        strip[SOUND_NAME] = strip.name
    return str(id)


def pictures(scene: bpy.types.Scene, id: str) -> list[Any]:
    """The image strips that show takes of that sound: several after a cut. What is seen comes first."""
    found = [strip for _, strip in in_scene(scene) if strip.type == "IMAGE" and strip.get(PICTURE_OF) == id]
    return sorted(found, key=lambda strip: (strip.mute, -strip.channel))


def covers(strip: Any, other: Any) -> bool:
    """Whether a strip hides all of another below it."""
    return not strip.mute and compat.left(strip) <= compat.left(other) and compat.right(strip) >= compat.right(other)


def frames_of(strip: Any) -> int:
    """Frames of the visible part."""
    return compat.right(strip) - compat.left(strip)


def free_channel(owner: Any, above: int, start: int, end: int) -> int:
    """The first channel over `above` where nothing lies between frames `start` and `end`. Blender itself lets strips
    lie on each other."""
    taken = {s.channel for s in compat.strips(owner) if compat.left(s) < end and compat.right(s) > start}
    for channel in range(above + 1, HIGHEST_CHANNEL + 1):
        if channel not in taken:
            return channel
    raise Problem(f"All {HIGHEST_CHANNEL} channels above the sound are taken: free one and show the take again.")


def show(
    strip: Any,
    take: str,
    frames_folder: Path,
    count: int,
    start: int | None = None,
    seen: tuple[int, int] | None = None,
) -> None:
    """Lets an image strip show a take of `count` frames in `frames_folder`, from timeline frame `start` on (where its
    content begins now) and visible over `seen` (as now)."""
    start = round(compat.content_start(strip)) if start is None else start
    seen = seen or (compat.left(strip), compat.right(strip))
    strip.directory = as_stored(frames_folder) + "/"
    elements, suffix = strip.elements, suffix_in(frames_folder)
    if len(elements) and not elements[0].filename.endswith(suffix):  # a take of another format
        for index, element in enumerate(elements):
            element.filename = frame_name(index, suffix)
        _read_as(strip, suffix)
    while len(elements) < count:
        elements.append(frame_name(len(elements), suffix))
    while len(elements) > count:
        elements.pop(len(elements) - 1)
    compat.lay(strip, start, *seen)
    if strip.name == strip.get(PICTURE_TAKE):  # not if the user gave it another
        strip.name = take
    if strip.get(PICTURE_TAKE, take) != take:
        strip[PICTURE_BEFORE] = strip[PICTURE_TAKE]
    strip[PICTURE_TAKE] = take
    compat.forget_pixels(strip)


def insert(
    scene: bpy.types.Scene, sound: Any, take: str, frames_folder: Path, count: int, like: Any | None, begin: int
) -> Any:
    """A new image strip above the sound with exactly its visible range, the take's first frame at `begin`. `like` is
    the portrait's strip, which it replaces in the picture: same place, above it."""
    start, end = compat.left(sound), compat.right(sound)
    owner = next(owner for owner, strip in in_scene(scene) if strip == sound)
    above = sound.channel
    if like is not None and compat.left(like) < end and compat.right(like) > start:
        above = max(above, like.channel)
    channel = free_channel(owner, above, start, end)
    strip = None
    if count > LONG and owner == scene.sequence_editor and len(owner.meta_stack) == 0:
        strip = _add_at_once(scene, frames_folder, count, channel, start)
    if strip is None:
        strip = compat.strips(owner).new_image(
            name=take, filepath=str(first_in(frames_folder)), channel=channel, frame_start=start, fit_method="FIT"
        )
    strip.name = take
    strip[PICTURE_OF] = sound[SOUND_ID]
    _read_as(strip, suffix_in(frames_folder))
    show(strip, take, frames_folder, count, begin, (start, end))
    if like is not None:
        _copy_look(like, strip)
    return strip


def fits(strip: Any, sound: Any) -> bool:
    """Whether an image strip has exactly the sound's visible range."""
    return compat.left(strip) == compat.left(sound) and compat.right(strip) == compat.right(sound)


def frame_name(index: int, suffix: str = ".png") -> str:
    """File name of frame `index`, from 0."""
    return f"{index + 1:06d}{suffix}"


def suffix_in(frames_folder: Path) -> str:
    """Of the frames in a folder."""
    return ".exr" if (frames_folder / frame_name(0, ".exr")).is_file() else ".png"


def first_in(frames_folder: Path) -> Path:
    """The first frame in a folder."""
    return frames_folder / frame_name(0, suffix_in(frames_folder))


def _read_as(strip: Any, suffix: str) -> None:
    """Takes are straight in any format, which Blender would not think of an EXR; Blender's takes in EXR are linear."""
    strip.alpha_mode = "STRAIGHT"
    with contextlib.suppress(TypeError):  # a colour configuration of the user's own has other names: its choice stays
        strip.colorspace_settings.name = "Linear Rec.709" if suffix == ".exr" else "sRGB"


def as_stored(path: Path) -> str:
    """The path as a blend file keeps it: relative to it where that is possible."""
    if not bpy.data.filepath:
        return str(path)
    try:
        return bpy.path.relpath(str(path)).replace("\\", "/")
    except ValueError:  # another drive on Windows
        return str(path)


def muted_by(scene: bpy.types.Scene, strip: Any) -> str:
    """What mutes the strip: 'strip', 'channel' or ''."""
    if strip.mute:
        return "strip"
    owner = next((owner for owner, other in in_scene(scene) if other == strip), None)
    channels: Iterable[Any] = getattr(owner, "channels", ())
    return "channel" if any(i == strip.channel and c.mute for i, c in enumerate(channels)) else ""


def _add_at_once(scene: bpy.types.Scene, folder: Path, count: int, channel: int, start: int) -> Any | None:
    """A long image strip by Blender's own operator, which adds all frames at once; None where there is no window.

    It wants a Sequencer: one that is open, else an area becomes one for the moment.
    """
    windows = list(bpy.context.window_manager.windows)
    places = [(window, area) for window in windows for area in window.screen.areas]
    if not places:
        return None
    window, area = next((p for p in places if p[1].type == "SEQUENCE_EDITOR"), places[0])
    editor, kind, active = scene.sequence_editor, area.type, compat.active_strip(scene)
    before = {strip.name for strip in compat.strips(editor)}
    suffix = suffix_in(folder)
    files: Any = [{"name": frame_name(index, suffix)} for index in range(count)]
    area.type = "SEQUENCE_EDITOR"
    try:
        with compat.shown_in_sequencer(window, scene), bpy.context.temp_override(window=window, area=area, scene=scene):
            bpy.ops.sequencer.image_strip_add(
                directory=str(folder),
                files=files,
                frame_start=start,
                channel=channel,
                fit_method="FIT",
                set_view_transform=False,
                replace_sel=False,
            )
    finally:
        area.type = kind
    editor.active_strip = active
    added = [strip for strip in compat.strips(editor) if strip.name not in before]
    if len(added) != 1:  # Blender saw several sequences
        for strip in added:
            compat.strips(editor).remove(strip)
        return None
    added[0].channel = channel
    return added[0]


def _copy_look(source: Any, target: Any) -> None:
    for name in _PLACEMENT:
        setattr(target.transform, name, getattr(source.transform, name))
    for name in _CROP:
        setattr(target.crop, name, getattr(source.crop, name))
    for name in _LOOK:
        setattr(target, name, getattr(source, name))
