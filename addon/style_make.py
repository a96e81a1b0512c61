"""A new style: the visible part of a movie or image strip, a video or a folder of pictures → a file of the library.

The engine measures; here it is told which seconds or which pictures. The library itself: `styles.py`.
"""

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy

from . import compat, jobs, movies, preferences, pump, strips, styles
from .jobs import Job
from .problem import Problem

LINKS = "frames_of_strip"  # the folder the engine is shown an image strip's frames in


def strip_in_use(scene: bpy.types.Scene) -> Any | None:
    """The active strip if it is a movie or pictures, else the selected one if there is just one."""
    active = compat.active_strip(scene)
    if active is not None and active.type in {"MOVIE", "IMAGE"}:
        return active
    selected = [s for _, s in strips.in_scene(scene) if s.type in {"MOVIE", "IMAGE"} and s.select]
    return selected[0] if len(selected) == 1 else None


def why_not(scene: bpy.types.Scene) -> str:
    """Why Make Style is greyed; empty when it is not."""
    settings = scene.parlando_styles
    if settings.source == "STRIP" and strip_in_use(scene) is None:
        return "Select the movie or image strip of somebody talking"
    if settings.source == "FILE" and not settings.file:
        return "Choose a video, or a folder of pictures, of somebody talking"
    return "" if preferences.engine_python() else preferences.NO_ENGINE


def why_no_fit(scene: bpy.types.Scene, strip: Any | None) -> str:
    """Why a style of `strip` (None: of the file) cannot be fine-tuned; empty when it can."""
    path = bpy.path.abspath(scene.parlando_styles.file)
    if (strip is not None and strip.type == "IMAGE") or (strip is None and path and Path(path).is_dir()):
        return "Pictures are not fine-tuned: that takes a movie"
    return ""


def make(scene: bpy.types.Scene, strip_name: str = "", name: str = "") -> Job:
    """Queues the making of a style; without a strip named, as the panel is set. Raises Problem."""
    settings = scene.parlando_styles
    if not preferences.engine_python():
        raise Problem(f"{preferences.NO_ENGINE}.")
    if not strip_name and (reason := why_not(scene)):
        raise Problem(f"{reason}.")
    strip = None
    if strip_name:
        strip = strips.by_name(scene, strip_name)
        if strip is None or strip.type not in {"MOVIE", "IMAGE"}:
            raise Problem(f"There is no movie or image strip “{strip_name}”.")
    elif settings.source == "STRIP":
        strip = strip_in_use(scene)
    path = Path(bpy.path.abspath(settings.file)) if strip is None else Path()
    named = styles.checked_name(name or settings.name or (strip.name if strip is not None else path.stem))
    out = styles.new_path(named)
    fit = settings.fit if not why_no_fit(scene, strip) else 0.0
    params: dict[str, Any] = {"name": named, "out": str(out), "start": None, "end": None, "fit": fit}
    words: dict[str, str] = {}
    pictures: list[Path] = []

    def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
        shutil.rmtree(folder, ignore_errors=True)
        styles.choose(scene, out)
        scene.parlando_styles.name = ""  # else the next one would have the same
        return f"The style “{named}” is in the library and chosen."

    folder = Path(tempfile.mkdtemp(prefix="parlando_style_", dir=bpy.app.tempdir))
    try:
        if strip is None:
            if not path.exists():
                raise Problem(f"{path} does not exist: choose another video or folder.")
            params["source"] = str(path)
        elif strip.type == "MOVIE":
            params["source"] = str(movies.path_of(strip))
            params["start"], params["end"] = seconds_of(scene, strip)
            words[params["source"]] = f"“{strip.name}”"
        else:
            pictures = _pictures(strip)
            params["source"] = str(folder / LINKS)
            words = {
                str(Path(LINKS) / _link(number, picture)): f"{picture.name} of “{strip.name}”"
                for number, picture in enumerate(pictures)
            }
            words[LINKS] = f"“{strip.name}”"
        job = jobs.begin(scene, "style", folder, params, _show(pictures, folder / LINKS), deliver, words)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    job.title, job.temporary = f"Style {named}", True
    pump.wake()
    return job


def seconds_of(scene: bpy.types.Scene, strip: Any) -> tuple[float, float]:
    """From which second of its file to which a movie strip shows. Raises Problem."""
    begin, end = (movies.second_at(scene, strip, frame) for frame in (compat.left(strip), compat.right(strip)))
    return max(0.0, begin), max(0.0, end)


def _pictures(strip: Any) -> list[Path]:
    """The files an image strip shows from its left handle to its right, each once."""
    directory = Path(bpy.path.abspath(strip.directory))
    frames = range(compat.left(strip), compat.right(strip))
    names = dict.fromkeys(e.filename for f in frames if (e := strip.strip_elem_from_frame(f)) is not None)
    found = [directory / name for name in names]
    if not found:
        raise Problem(f"The strip “{strip.name}” shows no picture: pull its handles apart.")
    missing = next((path for path in found if not path.is_file()), None)
    if missing is not None:
        raise Problem(f"A picture of the strip “{strip.name}” is missing: {missing}. Replace or find it.")
    return found


def _link(number: int, picture: Path) -> str:
    """Under which name the engine is shown a picture: in the strip's order."""
    return f"{number:06d}{picture.suffix.lower()}"


def _show(pictures: list[Path], folder: Path) -> Generator[float, None, None]:
    """Puts just these pictures (none for a movie or file) into a folder, as links where the file system has them."""
    if not pictures:
        return
    try:
        folder.mkdir()
        for number, picture in enumerate(pictures):
            beside = folder / _link(number, picture)
            try:
                os.symlink(picture, beside)
            except OSError:  # Windows keeps links to the few
                shutil.copyfile(picture, beside)
            yield (number + 1) / len(pictures)
    except OSError as problem:
        raise Problem(f"The pictures cannot be copied to {folder} ({problem.strerror}).") from problem
