"""Runs inside a Blender with a window, started by `gui.py`: installs the zip, builds the demo's scene, presses Generate
and takes pictures of the screen before, during and after. Writes result.json; makes nothing itself.

Arguments after `--`: the zip, the engine's Python, the folder for pictures and result.json.
"""

import json
import runpy
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy as blender
import numpy as np

bpy: Any = blender  # the add-on's operators and properties are not in Blender's stubs
ARCHIVE, ENGINE_PYTHON, WORK = sys.argv[sys.argv.index("--") + 1 :][:3]
PACKAGE = "bl_ext.user_default.parlando"
SETTLE = 1.5  # seconds a picture waits for redraws
LIP = 57  # the middle of the lower lip


def picture(name: str) -> str:
    """The screen as a PNG. Blender's own screenshot is black under software OpenGL, X11's is not."""
    if shutil.which("xdotool"):
        subprocess.run(["xdotool", "mousemove", "1598", "898"], check=True)
    program = ["import"] if shutil.which("import") else ["magick", "import"]
    small = ["-resize", "1280x", "-depth", "8"]
    subprocess.run([*program, "-window", "root", *small, f"{WORK}/{name}"], check=True)
    return name


def areas(workspace: Any, kind: str) -> list[Any]:
    return [area for area in workspace.screens[0].areas if area.type == kind]


def show_tab(area: Any) -> Iterator[float]:
    """Open the sidebar of an area at the tab Parlando. It has tabs only once it was drawn."""
    area.spaces[0].show_region_ui = True
    area.tag_redraw()
    yield SETTLE
    for region in area.regions:
        if region.type == "UI":
            region.active_panel_category = "Parlando"
            region.tag_redraw()
    yield SETTLE


def timeline(workspace: Any) -> Any:
    """The Sequencer area that shows the strips."""
    shown = [a for a in areas(workspace, "SEQUENCE_EDITOR") if a.spaces[0].view_type != "PREVIEW"]
    return max(shown, key=lambda area: area.width)


def arrange(window: Any, workspace: Any) -> None:
    """A 3D View beside the preview; no file browser and no properties."""
    for kind in ("FILE_BROWSER", "PROPERTIES"):
        for area in areas(workspace, kind):
            with bpy.context.temp_override(window=window, area=area):
                bpy.ops.screen.area_close()
    (preview,) = (a for a in areas(workspace, "SEQUENCE_EDITOR") if a.spaces[0].view_type == "PREVIEW")
    with bpy.context.temp_override(window=window, area=preview, region=preview.regions[0]):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    left = min((a for a in areas(workspace, "SEQUENCE_EDITOR") if a.y == preview.y), key=lambda a: a.x)
    left.type = "VIEW_3D"


def view_all(window: Any, area: Any) -> None:
    """Frame everything in a 3D View or Sequencer."""
    for region in area.regions:
        if region.type == "WINDOW":
            with bpy.context.temp_override(window=window, area=area, region=region):
                (bpy.ops.view3d if area.type == "VIEW_3D" else bpy.ops.sequencer).view_all()


def view_landmarks(window: Any, area: Any) -> None:
    """Frame the landmarks in a 3D View, one of them selected."""
    landmarks = [thing for thing in bpy.data.objects if "parlando_index" in thing]
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        for thing in landmarks:
            thing.select_set(True)
        bpy.ops.view3d.view_selected()
        for thing in landmarks:
            thing.select_set(thing["parlando_index"] == LIP)
            if thing["parlando_index"] == LIP:
                bpy.context.view_layer.objects.active = thing


def widest_frame() -> int:
    """The frame, from 1, whose mouth is open widest: the upper and lower inner lip are furthest apart."""
    (file,) = Path(WORK).glob("**/landmarks.npz")
    with np.load(file) as take:
        opening = np.linalg.norm(take["landmarks"][:, 62] - take["landmarks"][:, 66], axis=1)
    return int(opening.argmax()) + 1


def play() -> Iterator[float]:
    """The whole visit. Each yield gives the window back to Blender for so many seconds."""
    pictures = []
    bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True)
    preferences = bpy.context.preferences
    preferences.addons[PACKAGE].preferences.engine_python = ENGINE_PYTHON
    preferences.view.show_splash = False
    demo = runpy.run_path(str(Path(__file__).with_name("demo.py")))
    scene = demo["build_scene"](bpy, Path(WORK) / "parlando.blend")
    yield SETTLE
    window = bpy.context.window_manager.windows[0]
    workspace = bpy.data.workspaces["Video Editing"]
    window.workspace = workspace
    yield SETTLE
    arrange(window, workspace)
    demo["look_at_face"](workspace)
    sequencer = timeline(workspace)
    yield SETTLE
    yield from show_tab(sequencer)
    view_all(window, sequencer)
    yield SETTLE
    pictures.append(picture("before.png"))

    state = bpy.context.window_manager.parlando
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.generate("INVOKE_DEFAULT")
    beats, longest, last = 0, 0.0, time.monotonic()
    while state.status != "IDLE":
        yield 0.1
        now = time.monotonic()
        beats, longest, last = beats + 1, max(longest, now - last), now
        if len(pictures) == 1 and state.progress > 0.4:
            pictures.append(picture("during.png"))
            last = time.monotonic()
    if state.outcome != "DONE":
        raise RuntimeError(state.message)
    message = state.message

    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.add_landmarks()
    scene.frame_set(widest_frame())
    for area in areas(workspace, "VIEW_3D"):
        yield from show_tab(area)
        view_landmarks(window, area)
    yield 2 * SETTLE
    pictures.append(picture("after.png"))

    layout = bpy.data.workspaces["Layout"]
    window.workspace = layout
    yield SETTLE
    for area in areas(layout, "VIEW_3D"):
        yield from show_tab(area)
        view_landmarks(window, area)
    yield SETTLE
    pictures.append(picture("landmarks.png"))

    window.workspace = workspace
    yield SETTLE
    sequencer = timeline(workspace)
    for place in ("MARKER", "STRIP"):
        with bpy.context.temp_override(window=window, area=sequencer):
            bpy.ops.parlando.mark_sounds(kind="VISEME" if place == "STRIP" else "PHONE", place=place)
        while state.status != "IDLE":
            yield 0.1
        if state.outcome != "DONE":
            raise RuntimeError(state.message)
        if place == "MARKER" and not len(scene.timeline_markers):
            raise RuntimeError("no sound was marked")
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.screen.screen_full_area(use_hide_panels=False)
    yield SETTLE
    sequencer = next(area for area in window.screen.areas if area.type == "SEQUENCE_EDITOR")
    yield from show_tab(sequencer)
    view_all(window, sequencer)
    yield 2 * SETTLE
    pictures.append(picture("sounds.png"))
    finish(
        pictures=pictures,
        message=f"{message} The window never stood still for more than {longest:.2f} s.",
        blender=bpy.app.version_string,
    )


def finish(**result: Any) -> None:
    """Say how it went, and end."""
    (Path(WORK) / "result.json").write_text(json.dumps(result))
    bpy.ops.wm.quit_blender()


def drive(visit: Iterator[float]) -> float | None:
    """The timer: one part of the visit after the other."""
    try:
        return next(visit, None)
    except Exception as problem:
        # Reported, never passed on: a timer's exception would leave the window open for ever.
        traceback.print_exc()
        finish(error=f"{type(problem).__name__}: {problem}")
        return None


VISIT = play()
bpy.app.timers.register(lambda: drive(VISIT), first_interval=2.0, persistent=True)
