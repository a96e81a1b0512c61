"""How fast Blender's side is with a long take: adding its landmarks, scrubbing, finding what changed, touching up.

    python -m benchmarks.landmarks [--frames 10000]        in a Python that has bpy
    blender --background --python benchmarks/landmarks.py  in any Blender; with a window scrubbing is drawn as well

The take is numbers only, a face that turns and talks; no engine is asked. Prints a table and, as the last line, one
JSON object. Each figure is the fastest of three.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy as blender
import numpy as np

bpy: Any = blender  # the add-on's properties are not in Blender's stubs
ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "bl_ext.bench.parlando"
SIZE = (512, 512)
SCRUBBED = 96  # frames


def enable() -> None:
    """The repo as an installed extension."""
    import addon_utils  # type: ignore[import-not-found]

    folder = tempfile.mkdtemp(prefix="parlando-extensions-")
    os.symlink(ROOT, os.path.join(folder, "parlando"), target_is_directory=True)
    bpy.context.preferences.extensions.repos.new(name="bench", module="bench", custom_directory=folder)
    addon_utils.enable(PACKAGE, default_set=True)


def face(frames: int) -> np.ndarray:
    """(T, 68, 3) px: a face that turns, nods and talks."""
    rng = np.random.default_rng(0)
    rest = rng.normal(0, 60, (68, 3))
    at = np.arange(frames) / 24
    yaw, nod = 0.2 * np.sin(at), 0.1 * np.cos(1.3 * at)
    points = np.repeat(rest[None], frames, axis=0)
    points[..., 0] = rest[:, 0] * np.cos(yaw)[:, None] + rest[:, 2] * np.sin(yaw)[:, None]
    points[..., 1] += rest[:, 2] * np.sin(nod)[:, None]
    points[:, 48:, 1] += 8 * np.sin(9 * at)[:, None]
    return (points + 256).astype(np.float32)


def write_take(folder: Path, landmarks: np.ndarray) -> None:
    """A take folder as far as Blender looks into it."""
    (folder / "frames").mkdir(parents=True)
    gaze = np.stack([10 * np.sin(np.arange(len(landmarks)) / 9), np.zeros(len(landmarks))], axis=-1)
    arrays = {"landmarks": landmarks, "gaze": gaze.astype(np.float32), "pose": np.zeros((len(landmarks), 6))}
    np.savez(folder / "landmarks.npz", **arrays, fps=np.array([24, 1]), size=np.array(SIZE))  # type: ignore[arg-type]
    image = bpy.data.images.new("frame", *SIZE)
    for number in (1, 2, 3):
        image.filepath_raw, image.file_format = str(folder / "frames" / f"{number:06d}.png"), "PNG"
        image.save()
    bpy.data.images.remove(image)


def fastest(work: Callable[[], Any], before: Callable[[], Any] = lambda: None, runs: int = 3) -> float:
    """Seconds."""
    taken = []
    for _ in range(runs):
        before()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def measure(frames: int) -> dict[str, Any]:
    """All figures, by name."""
    addon = f"{PACKAGE}.addon"
    names = ("handles", "landmarks", "strips", "takes", "touch", "compat")
    handles, landmarks, strips, takes, touch, compat = (importlib.import_module(f"{addon}.{n}") for n in names)
    scene = bpy.context.scene
    folder = Path(tempfile.mkdtemp()) / "long_001"
    truth = face(frames)
    write_take(folder, truth)
    sound = ROOT / "demo" / "source" / "jfk.wav"
    strip = compat.strips(scene.sequence_editor_create()).new_sound("voice", str(sound), 1, 1)
    info = takes.TakeInfo(
        name=folder.name, folder=folder, sound_id=strips.identify(scene, strip), sound_name=strip.name, frames=frames,
        fps=(24, 1), size=SIZE, image=folder / "portrait.png", style=None, face=0, base=folder.name, note="",
    )  # fmt: skip
    take = takes.register_in(scene, info)
    made: dict[str, Any] = {"frames": frames, "blender": bpy.app.version_string, "cores": os.cpu_count()}
    made["add_s"] = fastest(lambda: landmarks.add(scene, take, 1), lambda: landmarks._remove(scene, take.sound_id))
    rig = landmarks.find(scene, take.sound_id)
    for index, frame in ((8, 100), (57, frames // 2), (57, frames - 100)):
        point = rig.points[index]
        for around, z in ((-5, 0.0), (0, -0.05), (5, 0.0)):
            point.delta_location.z = z
            point.keyframe_insert("delta_location", frame=frame + around)
    data = landmarks.Data.load(folder / "landmarks.npz")

    def changed() -> int:
        points, _ = landmarks.read_all(scene, rig, frames, SIZE)
        return int((np.abs(points - data.landmarks).max(axis=(1, 2)) > 0.02).sum())

    made["changed_frames"] = changed()
    made["changed_s"] = fastest(changed)
    handles.add(rig, data)
    made["changed_with_handles_s"] = fastest(changed)
    if not 20 <= made["changed_frames"] <= 33:
        raise SystemExit(f"bench: {made['changed_frames']} frames changed, about 27 should")
    made["panel_ms"] = 1000 * fastest(lambda: touch.unkeyed(scene, rig))  # asked at each redraw of the sidebar
    made["scrub_fps"] = SCRUBBED / fastest(lambda: scrub(scene, frames, drawn=False))
    there = np.array([p.matrix_world.translation for p in rig.points])  # the scene's last frame, evaluated
    if np.abs(landmarks.to_pixels(there, SIZE) - truth[-1]).max() > 0.1:
        raise SystemExit("bench: scrubbing did not move the landmarks")
    if not bpy.app.background:
        made["scrub_drawn_fps"] = SCRUBBED / fastest(lambda: scrub(scene, frames, drawn=True))
        for item in rig.collection.all_objects:
            item.hide_set(True)
        made["scrub_drawn_without_landmarks_fps"] = SCRUBBED / fastest(lambda: scrub(scene, frames, drawn=True))
    span = touch.Span(1, frames)
    made["smooth_all_s"] = fastest(lambda: touch.smooth(rig, span, range(68), 1.0), runs=1)
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in made.items()}


def scrub(scene: Any, frames: int, drawn: bool) -> None:
    """Goes through SCRUBBED frames, evaluated and, in a window, drawn."""
    for frame in np.linspace(1, frames, SCRUBBED).astype(int):
        scene.frame_set(int(frame))
        if drawn:
            view = max((a for a in bpy.context.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width)
            region = next(r for r in view.regions if r.type == "WINDOW")
            with bpy.context.temp_override(area=view, region=region):
                bpy.ops.wm.redraw_timer(type="DRAW", iterations=1)


def main() -> None:
    own = [] if bpy.app.binary_path else sys.argv[1:]
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else own
    parser = argparse.ArgumentParser(prog="python -m benchmarks.landmarks", description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="write the JSON there as well")
    chosen = parser.parse_args(given)
    enable()
    made = measure(chosen.frames)
    for name, value in made.items():
        print(f"{name:36} {value}")
    print(json.dumps(made))
    if chosen.out:
        chosen.out.write_text(json.dumps(made))


def in_a_window() -> None:
    """Once it is drawn; ends Blender."""
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window, screen=window.screen):
        main()
    bpy.ops.wm.quit_blender()


if __name__ == "__main__":
    if bpy.app.background:
        main()
    else:
        bpy.app.timers.register(in_a_window, first_interval=2.0)
