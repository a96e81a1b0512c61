"""Every difference between Blender 4.5, 5.0 and 5.2 that Parlando meets. No other file asks for a version."""

import contextlib
from collections.abc import Iterator
from typing import Any

import bpy


def strips(owner: Any) -> Any:
    """The strips of a sequence editor or meta strip: `sequences` until 4.5, `strips` since."""
    return owner.strips if hasattr(owner, "strips") else owner.sequences


def sequencer_scene(context: bpy.types.Context) -> bpy.types.Scene:
    """The scene the Sequencer shows: since 5.0 it may be another than the window's; a timer has neither."""
    workspace = getattr(context, "workspace", None)
    scene = getattr(context, "sequencer_scene", None) or getattr(workspace, "sequencer_scene", None)
    scene = scene or context.scene
    assert scene is not None
    return scene


@contextlib.contextmanager
def shown_in_sequencer(window: bpy.types.Window, scene: bpy.types.Scene) -> Iterator[None]:
    """For the moment the window's Sequencers show `scene`: since 5.0 that is the workspace's to say."""
    workspace = window.workspace
    if not hasattr(workspace, "sequencer_scene"):
        yield
        return
    before = workspace.sequencer_scene
    workspace.sequencer_scene = scene
    try:
        yield
    finally:
        workspace.sequencer_scene = before


def give_sequencer_a_scene(window: bpy.types.Window) -> None:
    """A Sequencer that was just opened shows the window's scene: since 5.0 it shows none until it is told."""
    if hasattr(window.workspace, "sequencer_scene") and window.workspace.sequencer_scene is None:
        window.workspace.sequencer_scene = window.scene


def active_strip(scene: bpy.types.Scene) -> Any | None:
    """The active strip of a scene's Sequencer."""
    editor = scene.sequence_editor
    return None if editor is None else editor.active_strip


def left(strip: Any) -> int:
    """First frame of the visible part."""
    return int(strip.left_handle if hasattr(strip, "left_handle") else strip.frame_final_start)


def right(strip: Any) -> int:
    """The frame after the visible part's last."""
    return int(strip.right_handle if hasattr(strip, "right_handle") else strip.frame_final_end)


def set_right(strip: Any, frame: int) -> None:
    """Moves the right handle."""
    if hasattr(strip, "right_handle"):
        strip.right_handle = frame
    else:
        strip.frame_final_end = frame


def content_start(strip: Any) -> float:
    """Timeline frame where the strip's content begins; its trimmed start is not content."""
    return float(strip.content_start if hasattr(strip, "content_start") else strip.frame_start)


def lay(strip: Any, start: int, first: int, end: int) -> None:
    """Lets the strip's content begin at `start` and be seen from `first` up to `end`."""
    set_right(strip, max(right(strip), end))  # handles do not pass each other
    if hasattr(strip, "content_start"):
        strip.content_start = start
        strip.left_handle = first
    else:
        strip.frame_start = start
        strip.frame_final_start = first
    set_right(strip, end)


def content_trim(strip: Any) -> int:
    """Frames cut off the file's start for good."""
    return int(strip.content_trim_start if hasattr(strip, "content_trim_start") else strip.animation_offset_start)


def content_frames(strip: Any) -> int:
    """Frames the strip's file has, at the file's own rate."""
    return int(strip.content_duration if hasattr(strip, "content_duration") else strip.frame_duration)


def untrimmed_frames(strip: Any) -> float:
    """Timeline frames the strip would have if its handles were pulled out to the ends of its content."""
    if hasattr(strip, "left_handle_offset"):
        return float(strip.duration + strip.left_handle_offset + strip.right_handle_offset)
    return float(strip.frame_final_duration + strip.frame_offset_start + strip.frame_offset_end)


def move_to(strip: Any, frame: int) -> None:
    """Moves the strip so that its visible part starts at `frame`."""
    shift = frame - left(strip)
    if hasattr(strip, "content_start"):
        strip.content_start += shift
    else:
        strip.frame_start += shift


def new_text(owner: Any, name: str, channel: int, start: int, end: int) -> Any:
    """A text strip: by its length since 5.0, by its end before."""
    made = strips(owner)
    by_length = "length" in made.bl_rna.functions["new_effect"].parameters
    extent = {"length": end - start} if by_length else {"frame_end": end}
    return made.new_effect(name=name, type="TEXT", channel=channel, frame_start=start, **extent)


def forget_pixels(strip: Any) -> None:
    """Frames of an image strip changed on disk: since 5.0 stale ones would be shown from the cache."""
    if hasattr(strip, "invalidate_cache"):
        strip.invalidate_cache("RAW")


def curves(id_data: Any) -> Iterator[bpy.types.FCurve]:
    """The F-curves that animate a datablock: `action.fcurves` is gone since 5.0, slots are there since 4.4."""
    data = id_data.animation_data
    if data is None or data.action is None or data.action_slot is None:
        return
    for layer in data.action.layers:
        for part in layer.strips:
            bag = part.channelbag(data.action_slot)
            if bag is not None:
                yield from bag.fcurves


def use_nodes(material: bpy.types.Material) -> None:
    """A material with a node tree: always so since 5.0, where asking for it is deprecated."""
    if material.node_tree is None:
        material.use_nodes = True
