"""Takes as Blender knows them: where their folders lie, and which the scene has. What is in a folder is the engine's.

A job's inputs that exist only in Blender are written into the take too: `audio.wav`, `portrait.png`, `edited.npz`.
"""

import contextlib
import filecmp
import glob
import itertools
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from . import compat, strips
from .problem import Problem

DEFAULT_HOME = "//parlando_takes"
_SAME = (
    "style",
    "strength",
    "frames",
    "seed",
    "head",
    "blinks",
    "brows",
    "shoulders",
    "gaze",
    "face",
    "points",
    "mouth",
    "since",
    "format",
    "linear",
    "mattes",
)  # what makes two requests one, see `interrupted`
INPUTS = ("audio.wav", "portrait.png", "edited.npz")  # and portrait.<suffix> of a packed picture


@dataclass(frozen=True)
class TakeInfo:
    """What the scene keeps of a take; paths absolute."""

    name: str
    folder: Path
    sound_id: str
    sound_name: str
    frames: int
    fps: tuple[int, int]
    size: tuple[int, int]
    image: Path
    style: Path | None
    face: int  # from 0
    base: str  # the take whose landmarks the engine made, this one's unless it was rendered from edits
    note: str
    offset: float | None = None  # frames from where the sound's content begins to the take's first


def home(setting: str, own: Path) -> Path:
    """The folder takes are made in: the setting, or `own` where that is relative and the file was never saved."""
    setting = setting or DEFAULT_HOME
    if setting.startswith("//") and not bpy.data.filepath:
        return own
    return Path(bpy.path.abspath(setting))


def stem_of(strip_name: str) -> str:
    """What the names of a strip's take folders begin with."""
    return re.sub(r"[^\w.\- ]+", "_", strip_name).strip(" .")[:60] or "take"


def create_folder(parent: Path, strip_name: str, coming: Iterable[str] = ()) -> Path:
    """A new folder `<strip>_001`, `_002`, …, named like none of the file's takes, wherever those lie, nor like those
    `coming`. Raises Problem when it cannot be written."""
    stem = stem_of(strip_name)
    known = {take.name for scene in bpy.data.scenes for take in scene.parlando.takes} | set(coming)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = parent / f"{stem}_{number:03d}"
            if folder.name not in known:
                with contextlib.suppress(FileExistsError):
                    folder.mkdir()
                    break
    except OSError as problem:
        raise Problem(
            f"The takes folder {parent} cannot be written ({problem.strerror}): "
            "choose another in the preferences of Parlando."
        ) from problem
    return folder


def interrupted(folder: Path, strip_name: str, params: dict[str, Any]) -> Path | None:
    """Beside `folder`, a take of the same request that was never finished: Blender or the disk gave up on it.

    The same sound and picture are asked for by content, all else by value. None when there is none.
    """
    wanted = {name: params[name] for name in _SAME} | {"fps": str(Fraction(*params["fps"]))}
    for old in sorted(folder.parent.glob(f"{glob.escape(stem_of(strip_name))}_[0-9][0-9][0-9]*")):
        if old == folder or not (old / "take.json").is_file():
            continue
        try:
            data = json.loads((old / "take.json").read_text(encoding="utf-8"))
            asked = data["request"]
            if data["finished"] or any(asked[name] != value for name, value in wanted.items()):
                continue
            image = Path(params["image"])
            old_image = old / image.name if image.parent == folder else image
            pairs = ((folder / "audio.wav", old / "audio.wav"), (image, old_image))
            if all(filecmp.cmp(new, there, shallow=False) for new, there in pairs) and asked["image"] == str(old_image):
                return old
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not a take of ours: left alone
    return None


def output(format: str, mattes: bool) -> dict[str, Any]:
    """What the engine is asked to write, for the scene's `format` and `mattes`. EXR is linear, as Blender takes it."""
    return {"format": format.lower(), "linear": format == "EXR", "mattes": mattes}


def output_of(folder: Path) -> dict[str, Any]:
    """The same of a take there is: from its edits, frames of the same kind are rendered."""
    usual = output("PNG", False)
    try:
        asked = json.loads((folder / "take.json").read_text(encoding="utf-8")).get("request", {})
    except (OSError, ValueError) as problem:
        raise Problem(f"{folder / 'take.json'} cannot be read: generate the take again.") from problem
    return {name: asked.get(name, value) for name, value in usual.items()}


def remove_inputs(folder: Path) -> None:
    """After a job that made nothing: removes what Blender wrote, and the folder if nothing else is in it."""
    if (folder / "take.json").exists():
        return
    for path in (*(folder / name for name in INPUTS), *folder.glob("portrait.*"), *folder.glob(".*.part")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: something of somebody else's stays
        (folder / "frames").rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


def remove(folder: Path) -> None:
    """After a cancel: removes the unfinished take this job began."""
    shutil.rmtree(folder, ignore_errors=True)


def register_in(scene: bpy.types.Scene, info: TakeInfo) -> Any:
    """Adds the take to the scene's list and selects it."""
    settings = scene.parlando
    take = settings.takes.add()
    take.name = info.name
    take.folder = strips.as_stored(info.folder)
    take.sound_id, take.sound_name = info.sound_id, info.sound_name
    take.frames, take.fps, take.size = info.frames, info.fps, info.size
    take.image = strips.as_stored(info.image)
    take.style = strips.as_stored(info.style) if info.style else ""
    take.face, take.base, take.note = info.face, info.base, info.note
    if info.offset is not None:
        take.offset = info.offset
    settings.take_index = len(settings.takes) - 1
    return take


def offset_of(take: Any) -> float | None:
    """Frames from where the sound's content begins to the take's first; None of takes from before that was kept."""
    return float(take.offset) if take.is_property_set("offset") else None


def between(one: Any, other: Any) -> int:
    """Frames from one take's first to the other's, both of one sound; 0 where that is not known."""
    first, second = offset_of(one), offset_of(other)
    return 0 if first is None or second is None else round(second - first)


def begin_of(scene: bpy.types.Scene, take: Any) -> int | None:
    """Timeline frame of the take's first, wherever its sound was moved or trimmed to; None when the sound is gone."""
    sound = strips.by_id(scene, take.sound_id)
    offset = offset_of(take)
    if sound is None:
        return None
    return compat.left(sound) if offset is None else round(compat.content_start(sound) + offset)


def by_name(scene: bpy.types.Scene, name: str) -> Any | None:
    """The scene's take of that name."""
    return next((take for take in scene.parlando.takes if take.name == name), None)


def of_sound(scene: bpy.types.Scene, id: str) -> list[Any]:
    """The takes of a sound strip, oldest first."""
    return [take for take in scene.parlando.takes if take.sound_id == id] if id else []


def shown(scene: bpy.types.Scene, sound: Any | None = None) -> Any | None:
    """The take in use: what the sound's image strip shows; without a sound the one selected in the list."""
    id = sound.get(strips.SOUND_ID, "") if sound is not None else ""
    if sound is not None and not id:
        return None
    for picture in strips.pictures(scene, id) if id else []:
        if (take := by_name(scene, picture.get(strips.PICTURE_TAKE, ""))) is not None:
            return take
    settings = scene.parlando
    if 0 <= settings.take_index < len(settings.takes):
        take = settings.takes[settings.take_index]
        if not id or take.sound_id == id:
            return take
    mine = of_sound(scene, id) if id else list(settings.takes)
    return mine[-1] if mine else None


def folder_of(take: Any) -> Path:
    """The take's folder, absolute."""
    return Path(bpy.path.abspath(take.folder))


def frames_folder(take: Any) -> Path:
    """Where its frames lie."""
    return folder_of(take) / "frames"


def why_not_usable(take: Any | None) -> str:
    """Why a take cannot be shown or rendered from; empty when it can."""
    if take is None:
        return "Generate a take first"
    if reason := strips.why_linked(take.id_data):
        return reason
    if not (folder_of(take) / "landmarks.npz").is_file():
        return f"The folder of the take “{take.name}” is not there any more"
    return ""
