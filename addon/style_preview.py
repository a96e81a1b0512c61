"""The chosen style on the current portrait: two seconds of the sound in use, the face as a loop in the panel.

Nothing of it gets into the blend file: no take, no strip, no image, no step of undo. The frames lie in Blender's folder
for temporary files and are shown as an icon whose picture changes; a timer turns it for as long as the panel is drawn.
In background, where timers do not fire, `addon.pump` reads the frames.
"""

import shutil
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np

from . import audio, compat, generate, jobs, placing, portrait, preferences, pump, strips, styles
from .jobs import Job
from .landmarks import Data
from .problem import Problem

SECONDS = 2.0
SIDE = 512  # px, longer side of what is rendered
AROUND = 1.9  # of the landmarks' longer side: the square around the face that is shown
UNSEEN = 1.0  # s without being drawn after which the loop rests


@dataclass
class Loop:
    """A preview that is shown."""

    folder: Path
    label: str
    frames: list[Path]
    fps: float
    icons: Any
    box: tuple[int, int, int, int]  # left, top, right, bottom px of what is shown of a frame
    read: int = 0  # how many frames are in `icons`
    begun: float = field(default_factory=time.monotonic)
    drawn: float = 0.0


_loop: Loop | None = None


def shown() -> Loop | None:
    """The preview that is shown."""
    return _loop


def why_not(scene: bpy.types.Scene) -> str:
    """Why Preview Style is greyed; empty when it is not."""
    style = styles.chosen(scene)
    if style is not None and style.damaged:
        return f"“{style.name}” cannot be used: {style.damaged}"
    return generate.why_not_generate(scene)


def span_of(scene: bpy.types.Scene, strip: Any) -> tuple[int, int]:
    """(first, count): which frames of the sound are previewed, from the current frame on, else from its start."""
    whole = strips.frames_of(strip)
    count = min(whole, max(1, round(SECONDS * audio.fps_of(scene))))
    at = scene.frame_current - compat.left(strip)
    return (min(at, whole - count) if 0 <= at < whole else 0), count


def preview(scene: bpy.types.Scene) -> Job:
    """Queues a preview. Raises Problem."""
    strip = generate.sound_named(scene, "")
    if not preferences.engine_python():
        raise Problem(f"{preferences.NO_ENGINE}.")
    audio.check(scene, strip)
    settings = scene.parlando
    file = generate.style_file(settings.style_file)
    label = styles.entry(file).name if file else "Parlando's own manner"
    first, count = span_of(scene, strip)
    fps = audio.fps_of(scene)
    folder = Path(tempfile.mkdtemp(prefix="parlando_preview_", dir=bpy.app.tempdir))
    try:
        image = portrait.file_of(scene, folder)
        params = {
            "audio": str(folder / "audio.wav"),
            "image": str(image),
            "style": str(file) if file else None,
            "strength": round(settings.strength, 4),
            "fps": [fps.numerator, fps.denominator],
            "frames": count,
            "seed": settings.seed,
            "head": round(settings.head, 4),
            "blinks": round(settings.blinks, 4),
            "brows": round(settings.brows, 4),
            "shoulders": round(settings.shoulders, 4),
            "gaze": round(settings.gaze, 4),
            "face": settings.face,
            "points": placing.points_of(scene),
            "since": round(portrait.second_of(scene, strip, compat.left(strip) + first), 6),
            "preview": False,
            "side": SIDE,
            "out": str(folder),
        }

        def prepare() -> Generator[float, None, None]:
            yield from audio.extract(scene, strip, folder / "audio.wav", (first, count))

        def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
            show(folder, label, float(fps))
            return f"A preview of {label} is shown."

        job = jobs.begin(scene, "dub", folder, params, prepare(), deliver, {"audio.wav": f"“{strip.name}”"})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    job.title, job.temporary, job.undo = f"Preview of {label}", True, False
    pump.wake()
    return job


def show(folder: Path, label: str, fps: float) -> None:
    """Shows the take in `folder` as a loop, in place of the one before."""
    global _loop
    close()
    frames = sorted((folder / "frames").glob("*.png"))
    _loop = Loop(folder, label, frames, fps, bpy.utils.previews.new(), _around_face(folder / "landmarks.npz"))
    _read_next()
    wake()


def close() -> None:
    """Shows none any more and deletes its files."""
    global _loop
    if _loop is None:
        return
    bpy.utils.previews.remove(_loop.icons)
    shutil.rmtree(_loop.folder, ignore_errors=True)
    _loop = None


def icon() -> int:
    """Blender's number of the frame to be seen now, for `template_icon`; draw it and the loop turns."""
    if _loop is None or not _loop.read:
        return 0
    _loop.drawn = time.monotonic()
    wake()
    return int(_loop.icons[str(frame_at(_loop.drawn))].icon_id)


def frame_at(now: float) -> int:
    """The frame of the loop to be seen at that time; of those read so far."""
    assert _loop is not None
    return int((now - _loop.begun) * _loop.fps) % max(1, _loop.read)


def wake() -> None:
    """Starts the timer, in a window."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.02)


def step() -> bool:
    """In background: reads the next frame; whether there was one."""
    return bpy.app.background and _read_next()


def _tick() -> float | None:
    if _loop is None:
        return None
    if bpy.app.is_job_running("RENDER"):  # no datablock is made meanwhile
        return 0.5
    reading = _read_next()
    if not reading and time.monotonic() - _loop.drawn > UNSEEN:
        return None  # until it is drawn again
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
    return 1.0 / min(25.0, _loop.fps)


def _around_face(landmarks: Path) -> tuple[int, int, int, int]:
    """The square around the face over all frames, as far as the picture goes. Raises Problem."""
    data = Data.load(landmarks)
    points = data.landmarks[..., :2].reshape(-1, 2)
    low, high = points.min(0), points.max(0)
    reach = AROUND * float((high - low).max()) / 2
    corners = np.stack([(low + high) / 2 - reach, (low + high) / 2 + reach])
    (left, top), (right, bottom) = np.clip(corners, 0, data.size).round().astype(int).tolist()
    return left, top, right, bottom


def _read_next() -> bool:
    """Reads one more frame into an icon; whether there was one."""
    if _loop is None or _loop.read >= len(_loop.frames):
        return False
    image = bpy.data.images.load(str(_loop.frames[_loop.read]))
    try:
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    left, top, right, bottom = _loop.box
    seen = pixels.reshape(height, width, 4)[height - bottom : height - top, left:right]  # Blender's first row is below
    made = _loop.icons.new(str(_loop.read))
    made.image_size = right - left, bottom - top
    made.image_pixels_float.foreach_set(np.ascontiguousarray(seen).ravel())
    _loop.read += 1
    return True


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Another file has another portrait."""
    close()


def register() -> None:
    """Listens."""
    bpy.app.handlers.load_post.append(_on_load)
    pump.steps.append(step)


def unregister() -> None:
    """Stops."""
    pump.steps.remove(step)
    bpy.app.handlers.load_post.remove(_on_load)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    close()
