"""The library of styles: style files in one folder, their names, their pictures; chosen, renamed, removed, shared.

A style is a file that stays where it is: its name lies inside, so that renaming it breaks no blend file that uses it.
Of the file only the header is read, with nothing but Python's own library; what a style means is the engine's. How
styles are made: `style_make.py`.
"""

import contextlib
import filecmp
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import bpy.utils.previews

from . import jobs, preferences, strips, takes
from .problem import Problem

if TYPE_CHECKING:
    from bpy.types import Context

SUFFIX = ".safetensors"
SHIPPED = preferences.ROOT / "engine" / "styles"
TEMPLATES = ("None", "M", "R", "O")  # the mouths the four pictures are nearest to
LONGEST_HEADER = 1_000_000  # bytes
OWN, OTHER, FIRST = 0, 1, 2  # numbers in the choice: no style, a file elsewhere, the first of the library


@dataclass(frozen=True)
class Entry:
    """A style file. damaged: what is wrong with it, empty when it can be used. about: what it says of itself. mouth:
    whether it keeps what its reference frames' mouths show."""

    path: Path
    name: str
    damaged: str = ""
    about: str = ""
    mouth: bool = False

    def pictures(self) -> dict[str, Path]:
        """The pictures of its reference frames that are there, by template."""
        named = {name: self.path.with_name(f"{self.path.stem}.{name.lower()}.png") for name in TEMPLATES}
        return {name: path for name, path in named.items() if path.is_file()}


_known: dict[Path, tuple[tuple[int, int], Entry]] = {}  # with time and size of the file
_kept: dict[str, str] = {}  # words of the choice: Blender needs them to stay where they are
_icons: Any = None


def entry(path: Path) -> Entry:
    """What there is to know of a style file."""
    try:
        state = path.stat()
    except OSError:
        return Entry(path, path.stem, "it is not there")
    stamp = state.st_mtime_ns, state.st_size
    if path not in _known or _known[path][0] != stamp:
        try:
            header = _read(path)[0]
            metadata = header["__metadata__"]
            about = str(metadata.get("about") or "")
            made = Entry(path, str(metadata.get("name") or path.stem), about=about, mouth="mouths" in header)
        except (OSError, ValueError, KeyError, TypeError):
            made = Entry(path, path.stem, "it is no style file, or damaged")
        _known[path] = stamp, made
    return _known[path][1]


def library() -> list[Entry]:
    """The styles of the library, by name."""
    try:
        found = [entry(path) for path in preferences.styles_home().glob(f"*{SUFFIX}") if path.is_file()]
    except OSError:
        return []
    return sorted(found, key=lambda one: (one.name.casefold(), one.path.name))


def shipped() -> list[Entry]:
    """The styles that come with Parlando, by name."""
    return [entry(path) for path in sorted(SHIPPED.glob(f"*{SUFFIX}"))]


def path_of(setting: str) -> Path | None:
    """The file a setting means: a path, or the bare name of a style that comes with Parlando; None for ''."""
    if not setting:
        return None
    own = SHIPPED / f"{setting}{SUFFIX}"
    return own if Path(setting).name == setting and own.is_file() else Path(bpy.path.abspath(setting))


def chosen(scene: bpy.types.Scene) -> Entry | None:
    """The scene's style, from the library or not; None for Parlando's own manner."""
    path = path_of(scene.parlando.style_file)
    return entry(path) if path is not None else None


def choose(scene: bpy.types.Scene, path: Path) -> None:
    """Takes a style for the scene."""
    if path.parent == SHIPPED:  # by its name: it lies elsewhere on another machine
        scene.parlando.style_file = path.stem
        return
    beside = preferences.get().styles_folder.startswith("//")
    scene.parlando.style_file = strips.as_stored(path) if beside else str(path)


def why_no_mouth(scene: bpy.types.Scene) -> str:
    """Why the mouth cannot come from the chosen style; empty when it can."""
    style = chosen(scene)
    if style is None:
        return "Choose a style made from a clip or pictures first"
    return "" if style.mouth else f"The style “{style.name}” keeps no picture of a mouth"


def in_library(path: Path) -> bool:
    """Whether it is one of the library's."""
    return path.suffix == SUFFIX and path.parent == preferences.styles_home() and path.is_file()


def why_not_in_library(scene: bpy.types.Scene) -> str:
    """Why the chosen style cannot be renamed or removed; empty when it can."""
    style = chosen(scene)
    if style is None:
        return "Choose a style first"
    if style.path.parent == SHIPPED:
        return f"“{style.name}” comes with Parlando: export it to have one of your own"
    return "" if in_library(style.path) else "The chosen style is not in the library: import it first"


def why_no_style(scene: bpy.types.Scene) -> str:
    """Why the chosen style cannot be shared; empty when it can."""
    style = chosen(scene)
    if style is None:
        return "Choose a style first"
    return f"“{style.name}” cannot be used: {style.damaged}" if style.damaged else ""


def home() -> Path:
    """The library's folder, made if it is not there. Raises Problem when it cannot be written."""
    folder = preferences.styles_home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise Problem(
            f"The styles folder {folder} cannot be written ({problem.strerror}): "
            "choose another in the preferences of Parlando."
        ) from problem
    return folder


def checked_name(name: str, but: Path | None = None) -> str:
    """The name, if no style of the library (`but` that one) and none being made has it. Raises Problem."""
    name = name.strip()
    if not name:
        raise Problem("A style needs a name: type one.")
    names = [one.name for one in library() if one.path != but]
    names += [job.params["name"] for job in jobs.active() if job.verb == "style"]
    if name.casefold() in {other.casefold() for other in names}:
        raise Problem(f"There is a style “{name}” in the library already: choose another name.")
    return name


def new_path(name: str) -> Path:
    """A file of the library for a style of that name, which nothing has yet. Raises Problem."""
    folder, stem = home(), takes.stem_of(name)
    taken = {Path(job.params["out"]) for job in jobs.active() if job.verb == "style"}
    number = 1
    while True:
        path = folder / f"{stem}{f'_{number}' if number > 1 else ''}{SUFFIX}"
        if path not in taken and not path.exists() and not Entry(path, name).pictures():
            return path
        number += 1


def rename(path: Path, name: str) -> str:
    """Another name inside the file, all else to the byte as it was; tells it. Raises Problem."""
    before = entry(path)
    if before.damaged:
        raise Problem(f"{path} cannot be renamed: {before.damaged}.")
    name = checked_name(name, but=path)
    home()
    try:
        header, data = _read(path)
        header["__metadata__"]["name"] = name
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_bytes(len(text).to_bytes(8, "little") + text + data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as problem:
        raise Problem(f"{path} cannot be written ({problem.strerror}): the style keeps its name.") from problem
    return f"“{before.name}” is called “{name}” now."


def remove(path: Path) -> str:
    """Deletes a style of the library and its pictures; scenes that had it chosen have none. Raises Problem."""
    style = entry(path)
    if not in_library(path):
        raise Problem(f"{path} is not in the library: nothing was removed.")
    pictures = style.pictures().values()
    try:
        path.unlink()
    except OSError as problem:
        raise Problem(f"{path} cannot be removed ({problem.strerror}).") from problem
    for picture in pictures:
        with contextlib.suppress(OSError):
            picture.unlink()
    for scene in bpy.data.scenes:
        if path_of(scene.parlando.style_file) == path:
            scene.parlando.style_file = ""
    return f"The style “{style.name}” was removed."


def export(style: Entry, target: Path) -> str:
    """A copy of a style and its pictures to give away; tells it. Raises Problem."""
    if style.damaged:
        raise Problem(f"The style {style.path} cannot be shared: {style.damaged}.")
    if target.suffix != SUFFIX:
        target = target.with_name(target.name + SUFFIX)
    if target.exists():
        raise Problem(f"There is a file {target} already: choose another name.")
    _copy(style, target)
    return f"“{style.name}” was written to {target}."


def bring_in(source: Path) -> tuple[Path, str]:
    """A copy of a style file in the library, under another name if its own is taken: (file, what happened).

    One that is there already is not copied again. Raises Problem.
    """
    style = entry(source)
    if style.damaged:
        raise Problem(f"{source} cannot be imported: {style.damaged}.")
    there = library()
    for other in there:
        if filecmp.cmp(source, other.path, shallow=False):
            return other.path, f"“{other.name}” is in the library already."
    names, name, number = {other.name.casefold() for other in there}, style.name, 1
    while name.casefold() in names:
        number += 1
        name = f"{style.name} {number}"
    target = new_path(name)
    _copy(style, target)
    if name == style.name:
        return target, f"“{name}” is in the library."
    rename(target, name)
    return target, f"There is another style “{style.name}”: this one is in the library as “{name}”."


def icon(picture: Path) -> int:
    """Blender's number of a picture, for `template_icon`; 0 where there is no window."""
    with contextlib.suppress(OSError, KeyError):
        key = f"{picture}|{picture.stat().st_mtime_ns}"
        return int((_icons[key] if key in _icons else _icons.load(key, str(picture), "IMAGE")).icon_id)
    return 0


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """(header, all that comes after it) of a style file. ValueError when it is none."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(LONGEST_HEADER, len(data) - 8):
        raise ValueError("no header")
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    if not str(header["__metadata__"]["format"]).startswith("parlando-style-"):
        raise ValueError("no style")
    if len(rest) != max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"):
        raise ValueError("cut off")
    return header, rest


def _copy(style: Entry, target: Path) -> None:
    """Copies it whole or not at all, and its pictures where nothing lies in their place."""
    part = target.with_name(f".{target.name}.part")
    try:
        try:
            shutil.copyfile(style.path, part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        for name, picture in style.pictures().items():
            beside = target.with_name(f"{target.stem}.{name.lower()}.png")
            if not beside.exists():
                shutil.copyfile(picture, beside)
    except OSError as problem:
        raise Problem(f"{target} cannot be written ({problem.strerror}): choose another folder.") from problem


def _offered(self: "ParlandoStyles | None", context: "Context | None") -> list[tuple[str, str, str, str, int]]:
    """The choice: no style, a file elsewhere if there is one, the library, and what comes with Parlando."""
    items: list[tuple[str, str, str, str, int]] = []
    items.append(("OWN", "Parlando's Own", "No style: Parlando's own manner of speaking", "BLANK1", OWN))
    scene: Any = self.id_data if self is not None else None
    style = chosen(scene) if scene is not None else None
    if style is not None and not in_library(style.path) and style.path.parent != SHIPPED:
        word = f"{style.name} ({'missing or damaged' if style.damaged else 'not in the library'})"
        items.append(("OTHER", word, str(style.path), "ERROR" if style.damaged else "FILE", OTHER))
    for number, one in enumerate(_choices()):
        word = f"{one.name} (damaged)" if one.damaged else one.name
        ours = one.path.parent == SHIPPED
        told, icon = one.about or str(one.path), "ERROR" if one.damaged else "FUND" if ours else "USER"
        items.append((one.path.stem if ours else one.path.name, word, told, icon, FIRST + number))
    return [(*(_kept.setdefault(word, word) for word in item[:4]), item[4]) for item in items]  # type: ignore[misc]


def _choices() -> list[Entry]:
    """What can be chosen by name."""
    return [*library(), *shipped()]


def _get(self: "ParlandoStyles") -> int:
    scene: Any = self.id_data
    style = chosen(scene)
    if style is None:
        return OWN
    paths = [one.path for one in _choices()]
    return FIRST + paths.index(style.path) if style.path in paths else OTHER


def _set(self: "ParlandoStyles", number: int) -> None:
    scene: Any = self.id_data
    there = _choices()
    if number == OWN:
        scene.parlando.style_file = ""
    elif FIRST <= number < FIRST + len(there):
        choose(scene, there[number - FIRST].path)


class ParlandoStyles(bpy.types.PropertyGroup):
    """What the panel Styles is set to. The scene's style itself is `scene.parlando.style_file`."""

    style: bpy.props.EnumProperty(
        name="Style",
        description="Whose manner of speaking the portrait takes on, from the library",
        items=_offered,
        get=_get,
        set=_set,
    )
    source: bpy.props.EnumProperty(
        name="From",
        description="What a new style is taken from",
        items=(
            ("STRIP", "Strip", "The visible part of a movie or image strip of somebody talking"),
            ("FILE", "File", "A video, or a folder of pictures, of somebody talking"),
        ),
        default="STRIP",
    )
    file: bpy.props.StringProperty(
        name="File",
        description="A video of somebody talking, or a folder of pictures of it",
        subtype="FILE_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    name: bpy.props.StringProperty(
        name="Name", description="What the new style is called; empty: as the strip or file it is taken from"
    )
    fit: bpy.props.FloatProperty(
        name="Fine-Tune",
        description="Seconds in which the style also learns how lips and jaw of the film move (style transfer): 0 is "
        "the style code alone, 10 is enough for most. Movies only",
        default=0.0,
        min=0.0,
        max=3600.0,
        soft_max=60.0,
        step=100,
        precision=0,
    )


CLASSES = (ParlandoStyles,)


def register() -> None:
    """Adds `scene.parlando_styles`."""
    global _icons
    _icons = bpy.utils.previews.new()
    bpy.types.Scene.parlando_styles = bpy.props.PointerProperty(type=ParlandoStyles)


def unregister() -> None:
    """Takes it away again."""
    global _icons
    del bpy.types.Scene.parlando_styles
    bpy.utils.previews.remove(_icons)
    _icons = None
    _known.clear()
