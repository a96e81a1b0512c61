"""Runs inside a Blender with a window, started by `gui.py`: installs the zip, goes the First Steps, builds the demo's
scene, presses Generate, uses each panel and takes pictures of the screen. Writes result.json; makes nothing itself.

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
    mouse(1598, 898)
    program = ["import"] if shutil.which("import") else ["magick", "import"]
    small = ["-resize", "1280x", "-depth", "8"]
    subprocess.run([*program, "-window", "root", *small, f"{WORK}/{name}"], check=True)
    return name


def mouse(x: int, y: int, *more: str) -> None:
    """Move the pointer there, where there is somebody to move it."""
    if shutil.which("xdotool"):
        subprocess.run(["xdotool", "mousemove", str(x), str(y), *more], check=True)


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
    yield from hover(area)


def hover(area: Any) -> Iterator[float]:
    """Panels that grew or shrank move to their places only while the pointer is over them."""
    region = next(region for region in area.regions if region.type == "UI")
    for step in range(4):
        window = bpy.context.window_manager.windows[0]
        mouse(region.x + 60 + 9 * step, window.height - region.y - region.height // 2)
        yield SETTLE / 4


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
    file = max(Path(WORK).glob("**/landmarks.npz"), key=lambda path: path.stat().st_mtime)
    with np.load(file) as take:
        opening = np.linalg.norm(take["landmarks"][:, 62] - take["landmarks"][:, 66], axis=1)
    return int(opening.argmax()) + 1


def open_panels(*names: str) -> None:
    """Panels that are closed at first are open from now on: their state is kept once they were drawn."""
    for name in names:
        panel = getattr(bpy.types, name)
        bpy.utils.unregister_class(panel)
        panel.bl_options = set()
        bpy.utils.register_class(panel)


def scroll_sidebar(window: Any, area: Any, pages: int) -> None:
    """Scroll an area's sidebar down by steps of 40 pixels, up for a negative number of them."""
    region = next(region for region in area.regions if region.type == "UI")
    with bpy.context.temp_override(window=window, area=area, region=region):
        for _ in range(abs(pages)):
            if pages > 0:
                bpy.ops.view2d.scroll_down(deltax=0, deltay=-40)
            else:
                bpy.ops.view2d.scroll_up(deltax=0, deltay=40)


def until_done() -> Iterator[float]:
    """Wait for the jobs that were begun."""
    state = bpy.context.window_manager.parlando
    yield 0.3
    while state.status != "IDLE":
        yield 0.1
    if state.outcome != "DONE":
        raise RuntimeError(state.message)


def first_steps(window: Any, pictures: list[str]) -> Iterator[float]:
    """What somebody sees who has just installed it: the steps in the 3D View, the Sequencer opened, the example."""
    (view,) = areas(window.workspace, "VIEW_3D")
    yield from show_tab(view)
    bpy.ops.parlando.open_sequencer()
    yield SETTLE
    pictures.append(picture("first_steps.png"))
    bpy.ops.parlando.check_engine()
    state = bpy.context.window_manager.parlando
    yield 0.3
    while state.status != "IDLE":
        yield 0.1
    bpy.ops.parlando.use_example()
    yield SETTLE
    pictures.append(picture("first_steps_ready.png"))
    sequencer = next(area for area in window.screen.areas if area.type == "SEQUENCE_EDITOR")
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.generate("INVOKE_DEFAULT")
    yield from until_done()
    if not bpy.context.scene.parlando.takes:
        raise RuntimeError("the first steps did not lead to a take")
    bpy.ops.parlando.close_first_steps()
    scene = bpy.context.scene
    for strip in list(scene.sequence_editor.strips):
        scene.sequence_editor.strips.remove(strip)
    scene.parlando.takes.clear()


def live_picture(seconds: list[float], drawing: list[float]) -> Iterator[float]:
    """How long after a landmark was moved its picture is there, eight times after a first; and how long the window
    takes to be drawn once. That is part of it twice, and slow without a graphics card: so smoothing of edges, for
    which a 3D View is drawn many times over, is off meanwhile."""
    system = bpy.context.preferences.system
    smoothing, system.viewport_aa = system.viewport_aa, "OFF"
    yield SETTLE
    live = sys.modules[f"{PACKAGE}.addon.live"]
    lip = next(thing for thing in bpy.data.objects if thing.get("parlando_index") == LIP)
    for number in range(9):
        before = live._state.shown
        lip.delta_location.z = -0.01 - 0.003 * number
        began = time.monotonic()
        while live._state.shown is before:
            if time.monotonic() - began > 30:
                raise RuntimeError(f"no live picture: {live.message()}")
            yield 0.005
        if number:
            seconds.append(time.monotonic() - began)
        yield 0.3
    lip.delta_location.z = 0.0
    yield SETTLE
    for _ in range(3):
        began = time.monotonic()
        bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
        drawing.append(time.monotonic() - began)
    system.viewport_aa = smoothing


def animator(window: Any, view: Any, pictures: list[str]) -> Iterator[float]:
    """The 3D View's panels at work, one picture each: gaze and handles, touch-up with a style, pins."""
    scene = bpy.context.scene
    gaze = bpy.data.objects["gaze"]
    gaze.delta_location.x, gaze.delta_location.z = 0.25, 0.05
    for thing in bpy.context.selected_objects:
        thing.select_set(False)
    eyes = [thing for thing in bpy.data.objects if 17 <= thing.get("parlando_index", 0) < 48]
    for thing in eyes:
        thing.select_set(True)
    region = next(region for region in view.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=view, region=region):
        bpy.ops.view3d.view_selected()
    for thing in eyes:
        thing.select_set(False)
        thing.hide_set(True)
    gaze.select_set(True)
    bpy.context.view_layer.objects.active = gaze
    yield 3 * SETTLE
    pictures.append(picture("gaze.png"))
    for thing in eyes:
        thing.hide_set(False)
    view_landmarks(window, view)
    gaze.delta_location = (0.0, 0.0, 0.0)
    bpy.ops.parlando.add_handles()
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 60, 84
    with bpy.context.temp_override(window=window, area=view):
        bpy.ops.parlando.amplify_motion(region="MOUTH_JAW", amount=1.6)
        bpy.ops.parlando.blend_style(region="BROWS")
    yield from until_done()
    scene.frame_set(72)
    scroll_sidebar(window, view, 8)
    yield from hover(view)
    pictures.append(picture("touch_up.png"))
    with bpy.context.temp_override(window=window, area=view):
        bpy.ops.parlando.pin_frames()
        scene.parlando.seed = 7
        bpy.ops.parlando.generate()
    yield from until_done()
    scene.use_preview_range = False
    scroll_sidebar(window, view, 8)
    yield from hover(view)
    pictures.append(picture("pins.png"))


def rig_beside(window: Any, view: Any, pictures: list[str]) -> Iterator[float]:
    """A 3D head made by the add-on beside the face, both speaking the take."""
    scene = bpy.context.scene
    scene.cursor.location = (1.9, -0.2, -0.1)
    with bpy.context.temp_override(window=window, area=view):
        bpy.ops.parlando.add_head()
    yield from until_done()
    head = scene.parlando_face.head
    head.scale = (4.0, 4.0, 4.0)
    with bpy.context.temp_override(window=window, area=view):
        bpy.ops.parlando.key_face()
    yield from until_done()
    scene.frame_set(widest_frame())
    view.spaces[0].shading.light, view.spaces[0].shading.color_type = "STUDIO", "TEXTURE"
    for thing in bpy.data.objects:
        if "parlando_index" in thing or thing.get("parlando_role") in {"handle", "gaze", "head"}:
            thing.hide_set(True)
        thing.select_set(thing in (head, *head.children, bpy.data.objects["Kennedy picture"]))
    region = next(region for region in view.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=view, region=region):
        bpy.ops.view3d.view_selected()
    view.spaces[0].region_3d.view_distance *= 0.5
    yield from hover(view)
    yield 2 * SETTLE
    pictures.append(picture("face3d.png"))


def library(window: Any, sequencer: Any, pictures: list[str]) -> Iterator[float]:
    """The Sequencer's panels at work: a style made and previewed, a batch half way."""
    scene = bpy.context.scene
    shown = next(s for s in scene.sequence_editor.strips if s.type == "IMAGE" and s.get("parlando_take"))
    scene.sequence_editor.active_strip = shown
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.make_style(name="Astronaut")
    yield from until_done()
    sound = next(s for s in scene.sequence_editor.strips if s.type == "SOUND")
    scene.sequence_editor.active_strip = sound
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.preview_style()
    yield from until_done()
    yield from show_tab(sequencer)  # the panel has grown
    scroll_sidebar(window, sequencer, 14)
    yield from hover(sequencer)
    pictures.append(picture("styles.png"))
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.close_style_preview()
    second = scene.sequence_editor.strips.new_sound("second line", sound.sound.filepath, 9, sound.left_handle + 40)
    for strip in scene.sequence_editor.strips:
        strip.select = strip in (sound, second)
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.batch_add()
    yield from show_tab(sequencer)
    scroll_sidebar(window, sequencer, 40)
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.batch_start()
    state = bpy.context.window_manager.parlando
    yield from hover(sequencer)
    while state.status != "IDLE" and state.progress < 0.3:
        yield 0.1
    pictures.append(picture("batch.png"))
    yield from until_done()
    yield SETTLE
    yield from until_done()


def placed_points(window: Any, layout: Any, sequencer: Any, pictures: list[str]) -> Iterator[float]:
    """A drawing's 68 points, corrected in Edit Mode; they are taken away again."""
    settings = bpy.context.scene.parlando
    before = settings.portrait_source
    settings.portrait_source = "FILE"
    settings.portrait_file = str(Path(ARCHIVE).parents[1] / "demo" / "source" / "cartoon.png")
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.place_points()
    yield from until_done()
    window.workspace = layout
    yield SETTLE
    view = areas(layout, "VIEW_3D")[0]
    if view.spaces[0].local_view is not None:
        region = next(region for region in view.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=view, region=region):
            bpy.ops.view3d.localview(frame_selected=False)
    with bpy.context.temp_override(window=window, area=view):
        bpy.ops.parlando.edit_points()
    yield 2 * SETTLE
    pictures.append(picture("points.png"))
    with bpy.context.temp_override(window=window, area=view):
        bpy.ops.parlando.remove_points()
    settings.portrait_source = before


def movie(window: Any, workspace: Any, pictures: list[str]) -> Iterator[float]:
    """A movie strip says another part of the sentence: one of the astronaut, made beside, stands in for footage."""
    root, film, first = Path(ARCHIVE).parents[1], Path(WORK) / "film", 1000
    source = root / "demo" / "source"
    asked = ["--audio", source / "jfk.wav", "--image", source / "astronaut.png", "--out", film, "--frames", "72"]
    command = [ENGINE_PYTHON, "-m", "engine", "dub", *map(str, asked), "--fps", "24"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    window.workspace = workspace
    yield SETTLE
    with bpy.context.temp_override(window=window, area=window.screen.areas[0]):
        bpy.ops.screen.screen_full_area(use_hide_panels=False)  # back from the picture of sounds
    yield SETTLE
    scene = bpy.context.scene
    strips = scene.sequence_editor.strips
    shot = strips.new_movie("shot", str(film / "preview.mp4"), 2, first)
    sound = strips.new_sound("new line", str(source / "jfk.wav"), 1, first - 150)
    sound.right_handle, sound.left_handle = first + 66, first + 6
    for strip in strips:
        strip.select = strip == sound
    scene.sequence_editor.active_strip = sound
    settings = scene.parlando
    settings.portrait_source, settings.portrait_strip, settings.style_file = "STRIP", "shot", ""
    sequencer = timeline(workspace)
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.parlando.generate()
    yield from until_done()
    scene.frame_set(first + 50)
    shot.select = True
    yield from show_tab(sequencer)
    scroll_sidebar(window, sequencer, -60)
    region = next(region for region in sequencer.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=sequencer, region=region):
        bpy.ops.sequencer.view_selected()
    yield from hover(sequencer)
    yield 2 * SETTLE
    pictures.append(picture("plate.png"))


def play() -> Iterator[float]:
    """The whole visit. Each yield gives the window back to Blender for so many seconds."""
    pictures: list[str] = []
    bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True)
    preferences = bpy.context.preferences
    preferences.addons[PACKAGE].preferences.engine_python = ENGINE_PYTHON
    preferences.view.show_splash = False
    open_panels("PARLANDO_PT_styles", "PARLANDO_PT_batch", "PARLANDO_PT_face3d")
    mouse(300, 300, "click", "1")  # the splash screen
    yield SETTLE
    yield from first_steps(bpy.context.window_manager.windows[0], pictures)
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
        if "during.png" not in pictures and state.progress > 0.4:
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
    waited: list[float] = []
    drawing: list[float] = []
    yield from live_picture(waited, drawing)
    yield from animator(window, areas(layout, "VIEW_3D")[0], pictures)
    yield from rig_beside(window, areas(layout, "VIEW_3D")[0], pictures)

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
    yield from hover(sequencer)
    with bpy.context.temp_override(window=window, area=sequencer):
        bpy.ops.screen.screen_full_area(use_hide_panels=False)
    yield SETTLE
    sequencer = next(area for area in window.screen.areas if area.type == "SEQUENCE_EDITOR")
    yield from show_tab(sequencer)
    view_all(window, sequencer)
    yield 2 * SETTLE
    pictures.append(picture("sounds.png"))
    yield from library(window, sequencer, pictures)
    yield from placed_points(window, layout, sequencer, pictures)
    yield from movie(window, workspace, pictures)
    finish(
        pictures=pictures,
        message=f"{message} The window never stood still for more than {longest:.2f} s. A moved landmark had its "
        f"picture after {1000 * float(np.median(waited)):.0f} ms, at most {1000 * max(waited):.0f} ms, of which one "
        f"drawing of the window takes {1000 * min(drawing):.0f} ms.",
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
