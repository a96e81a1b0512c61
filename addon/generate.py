"""The two jobs of the add-on, from what the file says to what comes back into it.

generate      a sound strip and a portrait → a take → an image strip above the sound
render_edits  the landmarks as they are now → a take that shares the unchanged frames → shown in the same strip
"""

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import (
    audio,
    compat,
    jobs,
    landmarks,
    pin_frames,
    placing,
    portrait,
    preferences,
    pump,
    strips,
    styles,
    takes,
    touch,
)
from .jobs import Job, NotPlaced
from .problem import Problem
from .strips import SoundRef
from .takes import TakeInfo


def why_not_generate(scene: bpy.types.Scene) -> str:
    """Why Generate is greyed; empty when it is not."""
    if reason := strips.why_no_sound(scene):
        return reason
    if reason := portrait.why_none(scene):
        return reason
    return "" if preferences.engine_python() else preferences.NO_ENGINE


def sound_named(scene: bpy.types.Scene, name: str) -> Any:
    """The sound strip of that name, the one in use for ''. Raises Problem."""
    if not name:
        strip = strips.sound_in_use(scene)
        if strip is None:
            raise Problem(f"{strips.why_no_sound(scene)}.")
        return strip
    if reason := strips.why_linked(scene):
        raise Problem(f"{reason}.")
    strip = strips.by_name(scene, name)
    if strip is None or strip.type != "SOUND":
        raise Problem(f"There is no sound strip “{name}”.")
    return strip


def generate(scene: bpy.types.Scene, strip_name: str = "") -> Job:
    """Queues a Generate of that sound strip (the one in use for ''). Raises Problem."""
    strip = sound_named(scene, strip_name)
    if not preferences.engine_python():
        raise Problem(f"{preferences.NO_ENGINE}.")
    audio.check(scene, strip)
    settings = scene.parlando
    style = style_file(settings.style_file)
    if settings.mouth != "OWN" and (reason := styles.why_no_mouth(scene)):
        raise Problem(f"{reason}: choose another style, or Mouth “Portrait”.")
    folder = takes.create_folder(preferences.takes_home(), strip.name, jobs.names())
    try:
        image = portrait.file_of(scene, folder)
        id = strips.identify(scene, strip)
        fps = audio.fps_of(scene)
        offset = compat.left(strip) - compat.content_start(strip)
        ref = SoundRef.of(strip)
        like = portrait.strip_of(scene)
        like_name = like.name if like is not None else ""
        params = {
            "audio": str(folder / "audio.wav"),
            "image": str(image),
            "style": str(style) if style else None,
            "strength": round(settings.strength, 4),
            "fps": [fps.numerator, fps.denominator],
            "frames": strips.frames_of(strip),
            "seed": settings.seed,
            "head": round(settings.head, 4),
            "blinks": round(settings.blinks, 4),
            "brows": round(settings.brows, 4),
            "shoulders": round(settings.shoulders, 4),
            "gaze": round(settings.gaze, 4),
            "face": settings.face,
            "points": placing.points_of(scene),
            "mouth": settings.mouth.lower(),
            "since": round(portrait.second_of(scene, strip, compat.left(strip)), 6),
            "preview": False,
            "out": str(folder),
            **takes.output(settings.format, settings.mattes),
        }

        def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
            info = TakeInfo(
                name=job.folder.name,
                folder=job.folder,
                sound_id=id,
                sound_name=ref.name,
                frames=result["frames"],
                fps=(fps.numerator, fps.denominator),
                size=_size(result),
                image=Path(job.params["image"]),
                style=style,
                face=params["face"],
                base=job.folder.name,
                note="",
                offset=offset,
            )
            kept = int(result.get("reused", 0))
            resumed = f" {kept} of them were there from an interrupted run." if kept else ""
            return _deliver_generate(scene, ref, info, like_name) + resumed

        # The engine knows files, the animator strips and images.
        words = {"audio.wav": f"“{strip.name}”"}
        if image.parent == folder and settings.portrait_image is not None:
            words[image.name] = f"“{settings.portrait_image.name}”"
        taken = {job.folder for job in jobs.active()} | {takes.folder_of(take) for take in settings.takes}

        def prepare() -> Generator[float, None, None]:
            yield from audio.extract(scene, strip, folder / "audio.wav")
            old = takes.interrupted(folder, ref.name, params)
            if old is not None and old not in taken:
                jobs.continue_in(params, folder, old)

        job = jobs.begin(scene, "dub", folder, params, prepare(), deliver, words)
    except BaseException:
        takes.remove_inputs(folder)
        raise
    pump.wake()
    return job


def _deliver_generate(scene: bpy.types.Scene, ref: SoundRef, info: TakeInfo, like_name: str) -> str:
    """Puts a new take into the file: into the strip that shows the sound's takes already, else into a new one."""
    sound = strips.find(scene, ref)
    if sound is None:
        raise NotPlaced(f"The strip “{ref.name}” was deleted in the meantime: its take lies in {info.folder}.")
    sound[strips.SOUND_ID], sound[strips.SOUND_NAME] = info.sound_id, sound.name
    take = takes.register_in(scene, info)
    begin = takes.begin_of(scene, take)
    assert begin is not None
    mine = [strip for strip in strips.pictures(scene, info.sound_id) if strips.fits(strip, sound)]
    folder = info.folder / "frames"
    if mine:
        strips.show(mine[0], info.name, folder, info.frames, begin)
    else:
        like = strips.by_name(scene, like_name) if like_name else None
        strips.insert(scene, sound, info.name, folder, info.frames, like, begin)
    told = _update_landmarks(scene, take, begin) or _render_pinned(scene, take)
    return f"{take.name}: {take.frames} frames.{told}"


def _update_landmarks(scene: bpy.types.Scene, take: Any, begin: int | None) -> str:
    """Brings the sound's landmarks to the take; where that is not possible, tells why."""
    try:
        landmarks.update(scene, take, begin)
    except Problem as problem:
        return f" Its landmarks stay as they were. {problem}"
    return ""


def _render_pinned(scene: bpy.types.Scene, take: Any) -> str:
    """A new take's frames know nothing of pins: those that pins make another are queued to be rendered; tells it."""
    differing, resting = pin_frames.against(scene, take)
    told = f" {resting} pinned ranges are of another portrait and rest." if resting else ""
    if not differing:
        return told
    try:
        job = render_edits(scene, take.name, pinned=differing)
    except Problem as problem:
        take.note = f"{differing} frames at pins are not as in the picture: Render Edits renders them"
        return f"{told} {differing} frames at pins are not rendered: {problem}"
    take.note = f"{differing} frames at pins are not as in this picture: {job.title} was begun with them"
    return f"{told} {differing} frames at pins follow as {job.title}."


def render_edits(scene: bpy.types.Scene, take_name: str = "", pinned: int = 0) -> Job:
    """Queues a rendering of the landmarks as they are now (of the shown take for ''). Raises Problem.

    `pinned`: that many frames are rendered for pins, right after a new take, which it then stands for.
    """
    take = take_named(scene, take_name)
    if not preferences.engine_python():
        raise Problem(f"{preferences.NO_ENGINE}.")
    rig = landmarks.find(scene, take.sound_id)
    if rig is None:
        raise Problem(f"The take “{take.name}” has no landmarks here: add them first.")
    old = takes.folder_of(take)
    image = Path(bpy.path.abspath(take.image))
    if not image.is_file():
        raise Problem(f"The portrait {image} of the take “{take.name}” is gone: put it back there.")
    if not pinned:
        key_moved(scene, rig)
    style = Path(bpy.path.abspath(take.style)) if take.style else None
    if style is not None and not style.is_file():  # taken out of the library: the landmarks have it already
        style = None
    base = takes.by_name(scene, take.base) or take
    known = landmarks.Data.load(takes.folder_of(base) / "landmarks.npz")
    moved, gaze = landmarks.read_all(scene, rig, len(known.landmarks), known.size)
    folder = takes.create_folder(preferences.takes_home(), take.sound_name, jobs.names())
    info = TakeInfo(
        name=folder.name,
        folder=folder,
        sound_id=take.sound_id,
        sound_name=take.sound_name,
        frames=take.frames,
        fps=tuple(take.fps),
        size=tuple(take.size),
        image=image,
        style=style,
        face=take.face,
        base=base.name,
        note="",
        offset=takes.offset_of(take),
    )
    take_of_pins = str(take.name)
    params = {
        "landmarks": str(folder / "edited.npz"),
        "image": str(image),
        "style": str(style) if style else None,
        "take": str(old),
        "face": take.face,
        "preview": False,
        "out": str(folder),
        **takes.output_of(old),
    }

    def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
        return _deliver_edits(scene, info, result, take_of_pins if pinned else "", pinned)

    job = jobs.begin(scene, "render", folder, params, _write_edits(folder, old, known, moved, gaze), deliver)
    pump.wake()
    return job


def key_moved(scene: bpy.types.Scene, rig: landmarks.Rig) -> int:
    """Keys landmarks that were moved on this frame and not keyed, with an undo step of its own; how many. Raises
    Problem."""
    count = touch.key_moved(scene, rig, touch.take_of(scene, rig))
    if count:
        what = "A landmark that was moved was" if count == 1 else f"{count} landmarks that were moved were"
        jobs.tell(f"{what} keyed on frame {scene.frame_current}.")
        jobs.push_undo("Parlando: Key Moved Landmarks")
    return count


def _write_edits(
    folder: Path, old: Path, known: landmarks.Data, moved: np.ndarray, gaze: np.ndarray | None
) -> Generator[float, None, None]:
    """`edited.npz`, and the older take's sound, which is this one's too."""
    arrays = known.edited(moved, gaze)
    try:
        np.savez(folder / "edited.npz", **arrays)
        heard = old / "audio.wav"
        if heard.exists():
            try:
                os.link(heard, folder / "audio.wav")
            except OSError:  # a file system without links
                shutil.copyfile(heard, folder / "audio.wav")
    except OSError as problem:
        raise Problem(f"The landmarks cannot be written to {folder} ({problem.strerror}).") from problem
    yield 1.0


def _deliver_edits(
    scene: bpy.types.Scene, info: TakeInfo, result: dict[str, Any], stands_for: str = "", pinned: int = 0
) -> str:
    """Shows the re-rendered take wherever the sound's takes are shown. Curves stay as they are: they are its source."""
    (info.folder / "edited.npz").unlink(missing_ok=True)  # landmarks.npz has it now
    take = takes.register_in(scene, info)
    rendered, reused = int(result.get("rendered", 0)), int(result.get("reused", 0))
    take.note = f"{rendered} of {info.frames} frames rendered again, {reused} reused"
    if pinned:
        take.note += f"; {pinned} of them at pins"
    _show_in_strips(scene, take, stands_for)
    rig = landmarks.find(scene, take.sound_id)
    if rig is not None:
        landmarks.show(rig, take)
    return f"{take.name}: {take.note}."


def take_named(scene: bpy.types.Scene, name: str) -> Any:
    """The scene's take of that name, the one in use for ''. Raises Problem when it cannot be used."""
    take = takes.by_name(scene, name) if name else takes.shown(scene, strips.sound_in_use(scene))
    if take is None and name:
        raise Problem(f"There is no take “{name}” in this scene.")
    if reason := takes.why_not_usable(take):
        raise Problem(f"{reason}.")
    return take


def use_take(scene: bpy.types.Scene, name: str) -> str:
    """Shows a take in its sound's strip, in a new one if that was deleted, and on the picture plane; tells it."""
    take = take_named(scene, name)
    if not strips.first_in(takes.frames_folder(take)).is_file():
        raise Problem(f"The frames of the take “{take.name}” are not there any more: bring {take.folder} back.")
    sound = strips.by_id(scene, take.sound_id)
    begin = takes.begin_of(scene, take)
    if not _show_in_strips(scene, take):
        if sound is None or begin is None:
            raise Problem(f"The sound strip of the take “{take.name}” was deleted: bring it back to show the take.")
        like = portrait.strip_of(scene)
        strips.insert(scene, sound, take.name, takes.frames_folder(take), take.frames, like, begin)
    told = _update_landmarks(scene, take, begin)
    scene.parlando.take_index = next(i for i, other in enumerate(scene.parlando.takes) if other.name == take.name)
    differing = 0 if told else pin_frames.against(scene, take)[0]
    if differing:
        told = f" {differing} frames at pins are not as in its picture: Render Edits renders them."
    return f"{take.name} is shown.{told}"


def why_not_remove(scene: bpy.types.Scene, take: Any | None) -> str:
    """Why a take cannot go; empty when nothing needs it."""
    if take is None:
        return "There is no take"
    if reason := strips.why_linked(scene):
        return reason
    if any(strip.get(strips.PICTURE_TAKE) == take.name for strip in strips.pictures(scene, take.sound_id)):
        return f"“{take.name}” is shown in the Sequencer: show another take first"
    if any(other.base == take.name for other in scene.parlando.takes if other.name != take.name):
        return f"Other takes were rendered from edits of “{take.name}”: remove them first"
    if any(c.get(landmarks.BASE) == take.name for c in scene.collection.children_recursive):
        return f"The landmarks are keyed with “{take.name}”: show another take first"
    return ""


def remove_take(scene: bpy.types.Scene, name: str = "", files: bool = False) -> str:
    """Takes a take (the one selected in the list for '') off the list, with its `files` too; tells it. Raises
    Problem."""
    settings = scene.parlando
    chosen = settings.takes[settings.take_index] if 0 <= settings.take_index < len(settings.takes) else None
    take = takes.by_name(scene, name) if name else chosen
    if reason := why_not_remove(scene, take):
        raise Problem(f"{reason}.")
    assert take is not None
    title, folder = str(take.name), takes.folder_of(take)
    if files:
        if any(str(folder) in (job.params.get("take"), job.params.get("out")) for job in jobs.active()):
            raise Problem(f"A job is at work on “{title}”: wait for it or cancel it.")
        others = (other for one in bpy.data.scenes for other in one.parlando.takes if other != take)
        if any(takes.folder_of(other) == folder for other in others):
            raise Problem(f"Another scene has the take “{title}” too: its files stay. Remove it without them.")
        if (folder / "take.json").is_file():  # else it is not a take's folder any more
            takes.remove(folder)
    index = next(i for i, other in enumerate(settings.takes) if other == take)
    settings.takes.remove(index)
    settings.take_index = max(0, min(settings.take_index, len(settings.takes) - 1))
    return f"{title} is off the list" + (f", and {folder} is deleted." if files else f". Its files stay in {folder}.")


def other_take(scene: bpy.types.Scene) -> Any | None:
    """The take to compare the shown one with: the one shown before, else the newest other of its sound."""
    take = takes.shown(scene, strips.sound_in_use(scene))
    if take is None:
        return None
    before = [strip.get(strips.PICTURE_BEFORE, "") for strip in strips.pictures(scene, take.sound_id)]
    mine = [other for other in takes.of_sound(scene, take.sound_id) if other.name != take.name]
    mine = [other for other in mine if not takes.why_not_usable(other)]
    return next((other for other in mine if other.name in before), mine[-1] if mine else None)


def add_landmarks(scene: bpy.types.Scene, name: str = "", camera: bool = False) -> str:
    """Makes the empties of a take (the shown one for ''); tells it."""
    take = take_named(scene, name)
    start = takes.begin_of(scene, take)
    rig = landmarks.add(scene, take, scene.frame_start if start is None else start, camera)
    return f"“{rig.collection.name}”: 68 landmarks over {take.frames} frames."


def _show_in_strips(scene: bpy.types.Scene, take: Any, stands_for: str = "") -> bool:
    """Lets the sound's image strips, pieces of a cut one included, show the take; whether there was one. Those that
    another hides keep theirs: somebody laid two takes over each other.

    Where `stands_for` was shown until now, the take before that one stays the one to compare with.
    """
    shown = strips.pictures(scene, take.sound_id)
    for index, strip in enumerate(shown):
        if any(strips.covers(upper, strip) for upper in shown[:index]):
            continue
        before = strip.get(strips.PICTURE_BEFORE, "")
        old = takes.by_name(scene, strip.get(strips.PICTURE_TAKE, ""))
        start = round(compat.content_start(strip)) + (takes.between(old, take) if old is not None else 0)
        strips.show(strip, take.name, takes.frames_folder(take), take.frames, start)
        if before and strip.get(strips.PICTURE_BEFORE) == stands_for:
            strip[strips.PICTURE_BEFORE] = before
    return bool(shown)


def style_file(setting: str) -> Path | None:
    """The style file of a setting, None for ''. Raises Problem when it is missing."""
    path = styles.path_of(setting)
    if path is None:
        return None
    if not path.is_file():
        raise Problem(f"The style file {path} does not exist: choose another or none.")
    return path


def _size(result: dict[str, Any]) -> tuple[int, int]:
    width, height = result.get("size") or (0, 0)
    return int(width), int(height)
