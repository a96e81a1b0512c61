"""The main job in Blender, on free material: demo/source in, demo/parlando.blend and demo/preview.mp4 out.

Drives the extension through the operators that its buttons press, in the bpy module, with the engine as the process of
its own that it always is. Makes nothing itself: no algorithm lives here. Needs `make setup`.
"""

import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
SOURCE = DEMO / "source"
FPS = 24
SECONDS = 11
PACKAGE = "bl_ext.demo.parlando"


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what is being done, and how long it took."""
    print(f"demo: {what} …", flush=True)
    start = time.monotonic()
    yield
    print(f"demo: {what}: {time.monotonic() - start:.1f} s", flush=True)


def fetch_models() -> None:
    """Let the engine fetch and verify the third-party models it needs, unless it has them."""
    answer = subprocess.run([sys.executable, "-m", "engine", "doctor", "--fetch"], cwd=ROOT, stdout=subprocess.DEVNULL)
    if answer.returncode:
        raise DemoError("the engine lacks something: see above, or run `.venv/bin/parlando doctor`.")


def start_blender() -> Any:
    """The bpy module with this repo as an installed extension, in user folders of its own."""
    user = ROOT / "build" / "blender_user"
    shutil.rmtree(user, ignore_errors=True)
    extensions = user / "demo"
    extensions.mkdir(parents=True)
    (extensions / "parlando").symlink_to(ROOT)
    os.environ["BLENDER_USER_RESOURCES"] = str(user)
    os.environ["PARLANDO_ENGINE_PYTHON"] = sys.executable
    bpy = importlib.import_module("bpy")
    addon_utils = importlib.import_module("addon_utils")
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    bpy.context.preferences.filepaths.save_version = 0
    bpy.context.preferences.extensions.repos.new(name="demo", module="demo", custom_directory=str(extensions))
    if addon_utils.enable(PACKAGE, default_set=True) is None:
        raise DemoError("Blender could not enable the extension: see above.")
    return bpy


def look_at_face(workspace: Any) -> None:
    """Turn 3D Views to the front, the picture in its own colours and no lines from landmark to head."""
    for area in workspace.screens[0].areas:
        if area.type == "VIEW_3D":
            space = area.spaces[0]
            space.shading.type, space.shading.light, space.shading.color_type = "SOLID", "FLAT", "TEXTURE"
            space.overlay.show_relationship_lines = False
            space.region_3d.view_perspective = "ORTHO"
            space.region_3d.view_rotation = (0.5**0.5, 0.5**0.5, 0, 0)
            space.region_3d.view_distance = 4


def build_scene(bpy: Any, blend: Path) -> Any:
    """A scene at 24 fps with the speech and the portrait as strips, saved so that paths can be relative.

    Adds the workspace Video Editing, turns the 3D View to the front and leaves the scene without other objects.
    """
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = FPS, 1.0
    scene.render.resolution_x = scene.render.resolution_y = 512
    scene.frame_start, scene.frame_end = 1, FPS * SECONDS
    scene.view_settings.view_transform = "Standard"
    templates = Path(bpy.utils.system_resource("SCRIPTS", path="startup/bl_app_templates_system"))
    file = templates / "Video_Editing" / "startup.blend"
    bpy.ops.workspace.append_activate(idname="Video Editing", filepath=str(file))
    for workspace in bpy.data.workspaces:
        if hasattr(workspace, "sequencer_scene"):
            workspace.sequencer_scene = scene
    look_at_face(bpy.data.workspaces["Layout"])
    editor = scene.sequence_editor or scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    sound = strips.new_sound("Kennedy", str(SOURCE / "jfk.wav"), 1, 1)
    portrait = strips.new_image("Portrait", str(SOURCE / "astronaut.png"), 2, 1)
    portrait.frame_final_duration = sound.frame_final_duration
    editor.active_strip = sound
    scene.parlando.portrait_source = "STRIP"
    scene.parlando.portrait_strip = portrait.name
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), relative_remap=True)
    bpy.ops.file.make_paths_relative()
    return scene


def generate(bpy: Any, strip: str) -> None:
    """Press Generate and wait as an animator does, moving what a window's timer would move."""
    pump = importlib.import_module(f"{PACKAGE}.addon.pump").pump
    bpy.ops.parlando.generate(strip=strip)
    state = bpy.context.window_manager.parlando
    said, since = "", time.monotonic()
    while state.status != "IDLE":
        pump()
        if state.stage != said:
            if said:
                print(f"demo:   {said}: {time.monotonic() - since:.1f} s", flush=True)
            said, since = state.stage, time.monotonic()
        time.sleep(0.02)
    if said:
        print(f"demo:   {said}: {time.monotonic() - since:.1f} s", flush=True)
    if state.outcome != "DONE":
        raise DemoError(state.message)
    print(f"demo: {state.message}")


def check(bpy: Any, scene: Any) -> None:
    """What the demo promises is really there; otherwise say what is not."""
    strips = scene.sequence_editor.strips_all
    sound = strips["Kennedy"]
    made = [strip for strip in strips if strip.get("parlando_take")]
    if len(made) != 1:
        raise DemoError(f"{len(made)} generated strips instead of one.")
    placed = [(strip.frame_final_start, strip.frame_final_end) for strip in (sound, made[0])]
    if placed[0] != placed[1] or made[0].channel <= sound.channel:
        raise DemoError(f"the picture is at {placed[1]} on channel {made[0].channel}, the sound at {placed[0]}.")
    keyed = [thing for thing in bpy.data.objects if "parlando_index" in thing and thing.animation_data]
    if len(keyed) != 68:
        raise DemoError(f"{len(keyed)} keyed landmarks instead of 68.")


def check_picture(bpy: Any, scene: Any, frame: int, expected: Path) -> None:
    """What the Sequencer shows on `frame` is what the engine made for it: a render of one frame is compared."""
    shown = ROOT / "build" / "demo_frame.png"
    scene.frame_set(frame)
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(shown)
    bpy.ops.render.render(write_still=True)
    pictures = [bpy.data.images.load(str(file)) for file in (shown, expected)]
    pixels = [np.array(picture.pixels[:]).reshape(-1, 4)[:, :3] for picture in pictures]
    for picture in pictures:
        bpy.data.images.remove(picture)
    if pixels[0].shape != pixels[1].shape or (off := np.abs(pixels[0] - pixels[1]).mean()) > 2 / 255:
        raise DemoError(f"frame {frame} of the Sequencer is not {expected} (mean difference {off:.4f}).")


def make_preview(take: Path) -> None:
    """demo/preview.mp4 from the take's frames and sound, by the engine's command line; no frame is rendered again."""
    out = ROOT / "build" / "demo_preview"
    shutil.rmtree(out, ignore_errors=True)
    options = {"--landmarks": take / "landmarks.npz", "--image": SOURCE / "astronaut.png", "--take": take, "--out": out}
    command = [sys.executable, "-m", "engine", "render", *(str(part) for pair in options.items() for part in pair)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        raise DemoError(f"the preview could not be made: {answer.stderr.strip()}")
    shutil.move(out / "preview.mp4", DEMO / "preview.mp4")


def main() -> int:
    start = time.monotonic()
    takes = DEMO / "parlando_takes"
    try:
        shutil.rmtree(takes, ignore_errors=True)
        with step("models from the cache, or fetched once and verified"):
            fetch_models()
        with step("Blender with the extension"):
            bpy = start_blender()
        with step(f"a scene at {FPS} fps: {SECONDS} s of Kennedy, a portrait"):
            scene = build_scene(bpy, DEMO / "parlando.blend")
        with step("Generate, by the engine in its own process"):
            generate(bpy, "Kennedy")
        with step("68 keyed landmarks"):
            bpy.ops.parlando.add_landmarks()
        with step("demo/parlando.blend"):
            bpy.ops.wm.save_mainfile(relative_remap=True)
        with step("demo/preview.mp4"):
            (take,) = (file.parent for file in takes.glob("**/take.json"))
            make_preview(take)
        with step("checks"):
            check(bpy, scene)
            check_picture(bpy, scene, 2 * FPS, take / "frames" / f"{2 * FPS:06}.png")
    except (DemoError, OSError, RuntimeError, ValueError, ImportError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    print(f"demo: done in {time.monotonic() - start:.0f} s. To look at: {DEMO / 'preview.mp4'}")
    print(f"demo: to open in Blender: {DEMO / 'parlando.blend'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
