"""Follows a face through a video: 68 landmarks and, if wanted, the dense mesh of every frame, at an even frame rate.

Frames are decoded one after the other and not kept, so a long video costs no memory. Each frame's crop comes from the
landmarks before it; where the face is lost it is looked for again, and short losses are bridged. Does not take the
head's pose out: see `canonical.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from engine.errors import InputError
from engine.face import find
from engine.face.canonical import misfit
from engine.face.mesh import IBUG, Crop, crop_around, points_in
from engine.progress import Progress, silent

LOST = 0.5  # mesh score below which the face is looked for again
FARTHEST = 1.5  # face widths between two frames beyond which a face found again is another's
JUMP = 0.08  # face widths between two frames beyond which the detector is asked whether this is still a face
CONFIRM_EVERY = 10  # frames after which it is asked anyway
SEARCH_EVERY = 12  # frames between two thorough searches while there is no face

# Savitzky-Golay, five frames, quadratic: no lag, and it keeps the height of a closure two frames long.
SMOOTHING = np.array([-3.0, 12.0, 17.0, 12.0, -3.0]) / 35


@dataclass(frozen=True)
class Track:
    """A face over time, in pixels of the upright frame as in `find.Face`.

    landmarks: (T, 68, 3) float32. mesh: (T, 478, 3) float32, or None where not asked for. fps: frames are at k / fps
    from the start of the file, so they are in step with its sound. size: (width, height). found: (T,) bool, False where
    the landmarks are bridged over frames without a face.
    """

    landmarks: np.ndarray
    mesh: np.ndarray | None
    fps: Fraction
    size: tuple[int, int]
    found: np.ndarray


def track(
    path: str | Path,
    progress: Progress = silent,
    which: int = 0,
    mesh: bool = False,
    part: tuple[float, float] | None = None,
) -> Track:
    """Follows one face (the largest unless `which` names another) through the video in a file, or through the `part`
    from one second to another, which then counts from 0. InputError if none."""
    path = Path(path)
    meshes: list[np.ndarray | None] = []
    times: list[float] = []
    follower = _Follower(path, which)
    with _Video(path) as video:
        for time, rgb in video.frames(part):
            if not times:
                size = (rgb.shape[1], rgb.shape[0])
            elif (rgb.shape[1], rgb.shape[0]) != size:
                raise InputError(f"The picture size changes within {path}: convert the video to one size.")
            meshes.append(follower.step(rgb))
            times.append(time)
            progress("face", len(times), max(video.count(part), len(times)))
        fps = video.fps
    if not times and part is not None:
        raise InputError(f"{path} has no picture from {part[0]:.1f} s to {part[1]:.1f} s: choose another part of it.")
    if not times:
        raise InputError(f"The video {path} has no frames: choose another, or convert it again.")
    found = np.array([one is not None for one in meshes])
    if not found.any():
        raise InputError(
            f"No face was found in {path}: choose a video where a face is seen from the front, or crop it around "
            "the head."
        )
    width = float(np.median([find.face_of(one, 1.0).width for one in meshes if one is not None]))
    if width < find.SMALLEST:
        raise InputError(
            f"The face in {path} is too small, {width:.0f} pixels across where at least {find.SMALLEST:.0f} are "
            "needed: choose a larger version of the video or one taken closer."
        )
    known = np.stack([one for one in meshes if one is not None])
    points, found = _evenly(known if mesh else known[:, IBUG], np.array(times), found, fps)
    points = smooth(points)
    landmarks = points[:, IBUG] if mesh else points
    dense = points if mesh else None
    return Track(np.ascontiguousarray(landmarks, np.float32), dense, fps, size, found)


def frames_at(path: Path, numbers: list[int], part: tuple[float, float] | None = None) -> list[np.ndarray]:
    """The pictures (H, W, 3) uint8 sRGB of those frames of the `Track` of the same `part`."""
    shown = dict(frames_in_order(path, sorted(set(numbers)), part))
    return [shown[number] for number in numbers]


def frames_in_order(
    path: Path, numbers: list[int], part: tuple[float, float] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """(number, picture) of `frames_at`, one after the other; `numbers` rise. InputError when the film has fewer."""
    done = 0
    with _Video(path) as video:
        step = 1 / float(video.fps)
        for time, rgb in video.frames(part):
            while done < len(numbers) and time >= (numbers[done] - 0.5) * step:
                yield numbers[done], rgb
                done += 1
            if done == len(numbers):
                return
    raise InputError(f"The video {path} ends sooner than it did a moment ago: choose another, or copy it again.")


def smooth(points: np.ndarray) -> np.ndarray:
    """(T, n, 3) with the jitter between frames reduced and no lag. The two frames at either end stay as they are."""
    if len(points) < len(SMOOTHING):
        return points
    calm = points.copy()
    reach = len(SMOOTHING) // 2
    calm[reach:-reach] = sum(
        weight * points[shift : len(points) - 2 * reach + shift] for shift, weight in enumerate(SMOOTHING)
    )
    return calm


class _Follower:
    """The face of one frame after the other. Holds where it was last."""

    def __init__(self, path: Path, which: int) -> None:
        self.path, self.which = path, which
        self.last: find.Face | None = None  # where it was last seen, also while it is lost
        self.crop: Crop | None = None
        self.lost_for = 0
        self.steps = 0

    def step(self, rgb: np.ndarray) -> np.ndarray | None:
        """The mesh (478, 3) in this frame, or None where the face is not to be seen."""
        if self.crop is not None:
            mesh, score = points_in(rgb, self.crop, views=2)
            if score >= LOST and misfit(mesh[IBUG]) < find.LIKENESS and self._still_a_face(rgb, mesh):
                return self._keep(find.face_of(mesh, score))
        face = self._search(rgb)
        if face is None:
            self.crop = None
            self.lost_for += 1
            return None
        return self._keep(face)

    def _still_a_face(self, rgb: np.ndarray, mesh: np.ndarray) -> bool:
        """Asks the detector now and then: the mesh net is sure of anything once a cut has put it where its face was."""
        self.steps += 1
        jumped = self.last is not None and _apart(self.last, find.face_of(mesh, 1.0)) > JUMP * self.last.width
        if not jumped and self.steps % CONFIRM_EVERY:
            return True
        return find.confirmation(rgb, mesh) >= find.CONFIRMED_LARGE

    def _keep(self, face: find.Face) -> np.ndarray:
        self.last, self.crop, self.lost_for = face, crop_around(face.mesh), 0
        return face.mesh

    def _search(self, rgb: np.ndarray) -> find.Face | None:
        thorough = self.lost_for % SEARCH_EVERY == 0
        found = find.faces(rgb) if thorough else find.faces_at_a_glance(rgb)
        if not found:
            return None
        if self.last is None:
            if self.which >= len(found):
                if not thorough:
                    return None
                raise InputError(
                    f"Face {self.which} is not in {self.path}, where {len(found)} can be seen when it starts: "
                    "choose 0 for the largest."
                )
            return found[self.which]
        away = [_apart(self.last, face) for face in found]
        nearest = int(np.argmin(away))
        # After a cut the face may be anywhere; right after the last frame it is where it was.
        if self.lost_for < SEARCH_EVERY and away[nearest] > FARTHEST * self.last.width:
            return None
        return found[nearest]


def _apart(a: find.Face, b: find.Face) -> float:
    """Pixels between the middles of two faces."""
    return float(np.hypot(*(a.box[:2] + a.box[2:] - b.box[:2] - b.box[2:]) / 2))


class _Video:
    """The first video stream of a file. Context manager; every fault is an InputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a video: choose a file in it.")
        try:
            if path.stat().st_size == 0:
                raise InputError(f"The video {path} is an empty file: copy it again.")
            self.container = av.open(str(path))
        except FileNotFoundError as problem:
            raise InputError(f"The video {path} does not exist: choose another, or check its name.") from problem
        except PermissionError as problem:
            raise InputError(f"The video {path} cannot be opened: check its permissions.") from problem
        except (OSError, ValueError, av.FFmpegError) as problem:
            raise InputError(
                f"{path} is not a video that can be read, or it is damaged: choose another, or convert it to MP4."
            ) from problem
        streams = [
            stream
            for stream in self.container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            self.container.close()
            raise InputError(f"{path} has no picture: choose a video in which the face is seen.")
        self.stream = streams[0]
        self.stream.thread_type = "AUTO"
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        self.fps = Fraction(rate)
        self.total = int(self.stream.frames or 0)
        if not self.total and self.container.duration:
            self.total = round(self.container.duration / av.time_base * self.fps)

    def __enter__(self) -> "_Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def count(self, part: tuple[float, float] | None) -> int:
        """About how many frames `frames` gives; 0 when not known."""
        if part is None:
            return self.total
        wanted = round((part[1] - part[0]) * self.fps)
        return min(self.total, wanted) if self.total else wanted

    def frames(self, part: tuple[float, float] | None = None) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds from the start of the file or part, (H, W, 3) uint8 upright) of each frame."""
        start = (self.container.start_time or 0) / av.time_base
        begin, end = part or (0.0, np.inf)
        half = 0.5 / float(self.fps)
        time = -2 * half
        try:
            if begin > 0:
                self.container.seek(int((begin + start) * av.time_base))  # to a key frame before it
            for frame in self.container.decode(self.stream):
                time = time + 2 * half if frame.time is None else frame.time - start
                if part is not None and time < begin - half:
                    continue
                if time >= end - half:
                    break
                rgb = frame.to_ndarray(format="rgb24")
                yield time - begin, np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))
        except av.FFmpegError as problem:
            raise InputError(
                f"The video {self.path} is damaged after {max(time, 0):.1f} s: convert or copy it again."
            ) from problem


def _evenly(known: np.ndarray, times: np.ndarray, found: np.ndarray, fps: Fraction) -> tuple[np.ndarray, np.ndarray]:
    """Points at every k / fps, bridging lost frames and uneven timing linearly: (T, n, 3) float32 and found (T,).

    known: (number of found, n, 3); times: (frames,) s, of all frames. Frames that are on time are kept untouched.
    """
    step = 1 / float(fps)
    grid = np.arange(len(times)) * step
    if np.abs(times - grid).max() > step / 2:
        grid = np.arange(max(1, round((times[-1] + step) / step))) * step
    else:
        times = grid
    seen = times[found]
    right = np.clip(np.searchsorted(seen, grid), 1, max(len(seen) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(seen) - 1)
    span = np.maximum(seen[right] - seen[left], 1e-9)
    part = np.clip((grid - seen[left]) / span, 0, 1)[:, None, None]
    points = known[left] * (1 - part) + known[right] * part
    nearest = np.abs(times[None] - grid[:, None]).argmin(1) if len(grid) != len(times) else np.arange(len(grid))
    return points.astype(np.float32), found[nearest]
