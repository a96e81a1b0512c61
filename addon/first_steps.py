"""The way from the install to the first result: which steps there are, which are done, and which comes next.

Every step is looked up in what is there, nothing is remembered but that the panel was closed. The example lies in the
extension; what is put into a file is a copy in the user's own folder, which outlives updates.
"""

import shutil
import wave
from dataclasses import dataclass

import bpy

from . import audio, compat, jobs, landmarks, portrait, preferences, strips
from .problem import Problem

EXAMPLE = preferences.ROOT / "demo" / "source"
SOUND, PORTRAIT = "jfk.wav", "astronaut.png"
SIDEBAR = "Parlando"  # the tab


@dataclass(frozen=True)
class Step:
    """One step: what it is called, what to do, and whether that is done."""

    title: str
    told: str
    done: bool


def steps(scene: bpy.types.Scene) -> list[Step]:
    """All of them, in order."""
    take = len(scene.parlando.takes) > 0
    checked = (jobs.check_result() or {}).get("healthy", False)
    return [
        Step(
            "Give Parlando its engine",
            "A Python of its own, with PyTorch, beside Blender. Made once, over 1 GB.",
            bool(preferences.engine_python()),
        ),
        Step(
            "Check it",
            "It starts, tells what it computes on, and fetches the models that are missing.",
            bool(checked or take),
        ),
        Step("Open the Sequencer", "Sound strips live there, and so does the tab Parlando.", bool(sequencers())),
        Step(
            "Add a sound strip",
            "Add → Sound in the Sequencer, or begin with the example: a portrait and a speech.",
            any(strip.type == "SOUND" for _, strip in strips.in_scene(scene)),
        ),
        Step(
            "Choose a portrait",
            "One face, from the front or turned up to 30°, mouth and eyes to be seen.",
            not portrait.why_none(scene) or take,
        ),
        Step("Generate", "The frames come as an image strip above the sound; play it with the space bar.", take),
        Step(
            "Add its landmarks",
            "68 points on the face, and what it looks at, keyed in the 3D View.",
            any(c.get(landmarks.OWNER) for c in scene.collection.children_recursive),
        ),
        Step(
            "Move one, and render",
            "Select a point of the mouth, or the circle before the eyes, and press G: the picture follows. Render "
            "Edits makes the frames you changed, and a new take of them.",
            any(made.base != made.name for made in scene.parlando.takes),
        ),
    ]


def next_step(scene: bpy.types.Scene) -> int:
    """The first step that is not done; their number when all are."""
    made = steps(scene)
    return next((index for index, step in enumerate(made) if not step.done), len(made))


def sequencers() -> list[tuple[bpy.types.Window, bpy.types.Area]]:
    """The Sequencers with a timeline on the screen."""
    return [
        (window, area)
        for window in bpy.context.window_manager.windows
        for area in window.screen.areas
        if area.type == "SEQUENCE_EDITOR" and getattr(area.spaces.active, "view_type", "") != "PREVIEW"
    ]


def open_sequencer() -> None:
    """Puts a Sequencer with its sidebar below the largest area of the main window. Raises Problem."""
    if not bpy.context.window_manager.windows:
        raise Problem("There is no window to open the Sequencer in.")
    for window, area in sequencers():
        show_sidebar(window, area)
        return
    window = bpy.context.window_manager.windows[0]
    largest = max(window.screen.areas, key=lambda area: area.width * area.height)
    before = {area.as_pointer() for area in window.screen.areas}
    with bpy.context.temp_override(window=window, area=largest, region=largest.regions[0]):
        bpy.ops.screen.area_split(direction="HORIZONTAL", factor=0.45)
    made = [area for area in window.screen.areas if area.as_pointer() not in before]
    if not made:
        raise Problem("The window is too small for a Sequencer: make it larger, or turn one of its areas into one.")
    lower = min((*made, largest), key=lambda area: area.y)
    lower.type = "SEQUENCE_EDITOR"
    compat.give_sequencer_a_scene(window)
    show_sidebar(window, lower)


def show_sidebar(window: bpy.types.Window, area: bpy.types.Area) -> None:
    """Opens an area's sidebar. Its tabs are there once it was drawn, so the tab is chosen a moment later."""
    area.spaces.active.show_region_ui = True  # type: ignore[union-attr]
    area.tag_redraw()

    def choose() -> float | None:
        for other_window in bpy.context.window_manager.windows:
            for other in other_window.screen.areas:
                if other == area:
                    for region in other.regions:
                        if region.type == "UI" and region.active_panel_category != "UNSUPPORTED":
                            region.active_panel_category = SIDEBAR
                            region.tag_redraw()
        return None

    if not bpy.app.background:
        bpy.app.timers.register(choose, first_interval=0.3)


def why_no_example() -> str:
    """Why the example cannot be used; empty when it can."""
    return "" if (EXAMPLE / SOUND).is_file() else f"The example is not in {EXAMPLE}: install Parlando again"


def use_example(scene: bpy.types.Scene) -> str:
    """Adds the example's sound as a strip at the current frame and chooses its portrait; tells it. Raises Problem."""
    if reason := why_no_example():
        raise Problem(f"{reason}.")
    folder = preferences.own_folder("example")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (SOUND, PORTRAIT):
            if not (folder / name).is_file():
                shutil.copyfile(EXAMPLE / name, folder / name)
    except OSError as problem:
        raise Problem(f"The example cannot be copied to {folder} ({problem.strerror}).") from problem
    editor = scene.sequence_editor_create()
    start = scene.frame_current
    with wave.open(str(folder / SOUND), "rb") as sound:
        length = 1 + round(sound.getnframes() / sound.getframerate() * float(audio.fps_of(scene)))
    channel = strips.free_channel(editor, 0, start, start + length)
    strip = compat.strips(editor).new_sound("Example", str(folder / SOUND), channel, start)
    editor.active_strip = strip
    scene.frame_end = max(scene.frame_end, compat.right(strip) - 1)
    settings = scene.parlando
    settings.portrait_source, settings.portrait_file = "FILE", str(folder / PORTRAIT)
    return f"“{strip.name}” was added and {PORTRAIT} chosen: press Generate."


def close() -> None:
    """Puts the panel away for good; the preferences bring it back."""
    preferences.get().first_steps = False
