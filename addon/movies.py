"""Movie strips: their file, and which second of it a frame of the timeline shows."""

from pathlib import Path
from typing import Any

import bpy

from . import audio, compat
from .problem import Problem


def path_of(strip: Any) -> Path:
    """The movie's file. Raises Problem."""
    path = Path(bpy.path.abspath(strip.filepath))
    if not path.is_file():
        raise Problem(f"The movie of the strip “{strip.name}” is missing: {path}. Replace or find it.")
    return path.resolve()


def second_at(scene: bpy.types.Scene, strip: Any, frame: int) -> float:
    """The second of its file that a movie strip shows on a frame, beyond its handles too. Raises Problem."""
    if len(getattr(strip, "retiming_keys", ())) > 0:
        raise Problem(f"The strip “{strip.name}” is retimed: remove its retiming keys, or choose its file instead.")
    rate = float(strip.fps)
    if rate <= 0 or compat.content_frames(strip) < 1:
        raise Problem(f"The movie of the strip “{strip.name}” cannot be read: replace it.")
    # Blender either shows the file's frames one by one or, as it adds them by default, at their own speed.
    by_frame, by_time = 1.0, rate / float(audio.fps_of(scene))
    seen = compat.content_frames(strip) / max(1.0, compat.untrimmed_frames(strip))
    step = min(by_frame, by_time, key=lambda one: abs(one - seen)) / rate  # s of the file to a frame of the timeline
    return (frame - compat.content_start(strip)) * step + compat.content_trim(strip) / rate
