"""Paths relative to the blend file (`//`) in Parlando's own settings, when the file is saved in another folder.

Blender writes its own paths anew then, an extension's it leaves as they are: they would name nothing.
"""

import os
from collections.abc import Iterator
from typing import Any

import bpy

_before: list[tuple[Any, str, str]] = []  # while a file is saved: (group, property, its text) of what was written anew


def of(group: Any) -> Iterator[tuple[Any, str]]:
    """(group, property) of every path in a property group and those in it."""
    for prop in group.bl_rna.properties:
        if prop.type == "STRING" and prop.subtype in {"FILE_PATH", "DIR_PATH"}:
            yield group, prop.identifier
        elif prop.type == "COLLECTION":
            for item in getattr(group, prop.identifier):
                yield from of(item)


def _of_file() -> Iterator[tuple[Any, str]]:
    for scene in bpy.data.scenes:
        if scene.library is None:
            for prop in scene.bl_rna.properties:
                if prop.identifier.startswith("parlando") and prop.type == "POINTER":
                    yield from of(getattr(scene, prop.identifier))


@bpy.app.handlers.persistent
def _on_save(path: str, *_: Any) -> None:
    """Before the file is written to `path`, empty for Blender's startup file."""
    _before.clear()
    old, new = os.path.dirname(bpy.data.filepath), os.path.dirname(path)
    if not old or not new or os.path.abspath(old) == os.path.abspath(new):
        return
    for group, name in _of_file():
        text = getattr(group, name)
        if text.startswith("//"):
            _before.append((group, name, text))
            there = bpy.path.abspath(text)
            try:
                setattr(group, name, bpy.path.relpath(there, start=new).replace("\\", "/"))
            except ValueError:  # another drive on Windows
                setattr(group, name, there)


@bpy.app.handlers.persistent
def _on_saved(path: str, *_: Any) -> None:
    """The open file stays where it was when a copy was written, or nothing was."""
    if os.path.abspath(path) != os.path.abspath(bpy.data.filepath):
        _on_failed()
    _before.clear()


@bpy.app.handlers.persistent
def _on_failed(*_: Any) -> None:
    for group, name, text in _before:
        setattr(group, name, text)
    _before.clear()


def register() -> None:
    """Listens for saves."""
    bpy.app.handlers.save_pre.append(_on_save)
    bpy.app.handlers.save_post.append(_on_saved)
    bpy.app.handlers.save_post_fail.append(_on_failed)


def unregister() -> None:
    """Stops that."""
    bpy.app.handlers.save_pre.remove(_on_save)
    bpy.app.handlers.save_post.remove(_on_saved)
    bpy.app.handlers.save_post_fail.remove(_on_failed)
