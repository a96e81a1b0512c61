"""Tools on the animator's layer: smooth, amplify, quiet, mirror, copy and paste, over a range of frames and a region.

All of them look at the landmarks as they are on the head (engine, edits and handles together), decide what they should
be instead, and write the difference into `delta_location`: the engine's curves stay. A change fades in and out inside
its range, so it never jumps. Frames outside the range keep their values: the animator's keys there stay, and a Bézier
segment that reaches into the range is split where the range begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from . import compat, handles, landmarks, pulls, takes
from .landmarks import Data, Rig
from .problem import Problem

REGIONS = {
    "ALL": ("Whole Face", "All 68 landmarks", range(68)),
    "MOUTH": ("Mouth", "The lips", range(48, 68)),
    "MOUTH_JAW": ("Mouth and Jaw", "The lips and the line of the jaw", (*range(17), *range(48, 68))),
    "JAW": ("Jaw", "The line of the jaw", range(17)),
    "BROWS": ("Brows", "Both brows", range(17, 27)),
    "EYES": ("Eyes", "All four eyelids", range(36, 48)),
}
SELECTED = "SELECTED"
REGION_ITEMS = (
    *((name, label, told) for name, (label, told, _) in REGIONS.items()),
    (SELECTED, "Selected", "The selected landmarks, and those that selected handles pull"),
)
CALMEST = 0.1  # the part of a take's frames with the least open mouth: between words, or before them
EASE = 3  # frames in which a landmark that was moved by hand gets there, and back
MOVED = 1e-5  # units or radians: a property further than this from its curve was moved by hand
UNTOUCHED = 1e-7  # units: a change smaller than this is none
_PATH = "delta_location"
_CONSTANT, _LINEAR, _BEZIER = 0, 1, 2  # of Keyframe.interpolation, as foreach_set takes it
_FREE, _VECTOR = 0, 2  # of a handle's type
_PARTS: tuple[tuple[str, int, Any], ...] = (
    ("co", 2, np.float32),
    ("handle_left", 2, np.float32),
    ("handle_right", 2, np.float32),
    ("interpolation", 1, np.int32),
    ("handle_left_type", 1, np.int32),
    ("handle_right_type", 1, np.int32),
    ("type", 1, np.int32),
    ("select_control_point", 1, np.bool_),
    ("select_left_handle", 1, np.bool_),
    ("select_right_handle", 1, np.bool_),
)
_EASED_PARTS: tuple[tuple[str, int, Any], ...] = (  # what only interpolations beyond Bézier look at
    ("easing", 1, np.int32),
    ("back", 1, np.float32),
    ("amplitude", 1, np.float32),
    ("period", 1, np.float32),
)
Keys = dict[str, np.ndarray]  # part → (n, width)


@dataclass(frozen=True)
class Span:
    """The frames a tool works on, both included; over `rise` frames it fades in, over `fall` it fades out."""

    start: int
    end: int
    rise: int = 0
    fall: int = 0

    @property
    def frames(self) -> np.ndarray:
        """(T,) float64."""
        return np.arange(self.start, self.end + 1, dtype=np.float64)

    @property
    def weights(self) -> np.ndarray:
        """(T,): 1, rising from near 0 over the first `rise` frames and falling over the last `fall`."""
        count = self.end - self.start + 1
        rise, fall = self.rise, self.fall
        if rise + fall > count - 1:  # one frame at least is changed in full
            rise, fall = rise * (count - 1) // (rise + fall), fall * (count - 1) // (rise + fall)
        weights = np.ones(count)
        weights[:rise] = _ramp(rise)
        weights[count - fall :] = _ramp(fall)[::-1]
        return weights


@dataclass(frozen=True)
class Shape:
    """A face's shape to paste: how far each landmark is from silence, in distances between the outer eye corners."""

    offsets: np.ndarray  # (68, 3) in the axes of the head it was copied from
    rest: np.ndarray  # (68, 3) that head's silence: what its axes mean
    told: str  # where it comes from


_copied: Shape | None = None


def copied() -> Shape | None:
    """What was copied last; None when nothing was, or the extension was started anew."""
    return _copied


def take_of(scene: bpy.types.Scene, rig: Rig) -> Any:
    """The take whose motion the landmarks' `location` holds. Raises Problem."""
    base = takes.by_name(scene, rig.collection.get(landmarks.BASE, ""))
    if base is None:
        raise Problem(f"The take of the landmarks “{rig.collection.name}” is not in this scene: add them again.")
    return base


def whole(rig: Rig, take: Any) -> tuple[int, int]:
    """First and last frame of the landmarks' take on the timeline."""
    start = int(rig.picture[landmarks.START])
    return start, start + int(take.frames) - 1


def usual(scene: bpy.types.Scene, rig: Rig, take: Any) -> tuple[int, int]:
    """The frames a tool works on when none are named: the preview range, else the whole take."""
    start, end = whole(rig, take)
    if scene.use_preview_range:
        return max(start, scene.frame_preview_start), min(end, scene.frame_preview_end)
    return start, end


def span(rig: Rig, take: Any, start: int, end: int, ease: int) -> Span:
    """Those frames as far as the take has them. Where it begins or ends with the take nothing need fade. Raises
    Problem."""
    if end < start:
        raise Problem(f"The range ends on frame {end}, before it starts on {start}.")
    first, last = whole(rig, take)
    if end < first or start > last:
        raise Problem(f"Frames {start}–{end} are outside the take, which has frames {first}–{last}.")
    return Span(max(start, first), min(end, last), ease if start > first else 0, ease if end < last else 0)


def chosen(rig: Rig, region: str) -> list[int]:
    """The landmarks of a region; empty when it is SELECTED and none is."""
    if region != SELECTED:
        return list(REGIONS[region][2])
    found = {index for index, point in enumerate(rig.points) if point.select_get()}
    for name, handle in handles.find(rig).items():
        if handle.select_get():
            found |= set(handles.HANDLES[name].pulls)
    return sorted(found)


def local(rig: Rig, frames: np.ndarray, which: Sequence[int] = range(68)) -> np.ndarray:
    """(T, len(which), 3): landmarks on the head as Blender shows them at `frames` (T,), head motion left out. Raises
    Problem where that takes more than curves and handles."""
    there = np.empty((len(frames), len(which), 3))
    pulled: dict[str, np.ndarray] = {}
    for column, index in enumerate(which):
        point = rig.points[index]
        held = pulls.read(point)
        if held is None or point.parent != rig.head or _ruled(point):
            raise Problem(
                f"The landmark “{point.name}” has constraints, drivers, NLA strips or a parent of its own: mute or "
                "remove them first."
            )
        there[:, column] = landmarks.values(point, "location", frames) + landmarks.values(point, _PATH, frames)
        for handle, matrix in held:
            if handle.name not in pulled:
                if len(handle.constraints) or _ruled(handle):
                    raise Problem(
                        f"The handle “{handle.name}” has constraints, drivers or NLA strips: mute or remove them first."
                    )
                pulled[handle.name] = landmarks.values(handle, "location", frames) + landmarks.values(
                    handle, _PATH, frames
                )
            there[:, column] += pulled[handle.name] @ matrix.T
    return there


def silence(data: Data) -> np.ndarray:
    """(68, 3): the face on the head when nothing is said, the middle of the take's frames whose lips are closest."""
    still = landmarks.local_motion(data)[2]
    opening = np.linalg.norm(still[:, [61, 62, 63]] - still[:, [67, 66, 65]], axis=2).mean(axis=1)
    calm = np.argsort(opening, kind="stable")[: max(1, round(CALMEST * len(still)))]
    return np.median(still[calm], axis=0).astype(np.float64)


def flip(rest: np.ndarray) -> np.ndarray:
    """(3, 3): swaps the two sides of a face (68, 3). The portrait may be turned or tilted, so its middle need not be
    upright in the head's axes: across it is the direction in which the pairs of landmarks lie apart."""
    apart = rest[landmarks.MIRROR] - rest
    across = np.linalg.svd(apart)[2][0]
    return np.eye(3) - 2.0 * np.outer(across, across)


def smooth(rig: Rig, span: Span, region: Sequence[int], frames: float) -> int:
    """Takes what is faster than about `frames` frames out of the motion; how many landmarks changed."""
    reach = max(1, round(3 * frames))
    around = np.arange(span.start - reach, span.end + reach + 1, dtype=np.float64)
    there = local(rig, around, region)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    kernel /= kernel.sum()
    count = len(span.frames)
    soft = np.zeros((count, len(region), 3))
    for offset, weight in enumerate(kernel):
        soft += weight * there[offset : offset + count]
    return write(rig, span, region, soft - there[reach : reach + count])


def amplify(rig: Rig, data: Data, span: Span, region: Sequence[int], factor: float) -> int:
    """Makes motion `factor` times as large, measured from silence: 0 is silence, 1 changes nothing."""
    there = local(rig, span.frames, region)
    return write(rig, span, region, (factor - 1.0) * (there - silence(data)[list(region)]))


def mirror(rig: Rig, data: Data, span: Span, region: Sequence[int]) -> int:
    """Swaps what the two sides of the face do, measured from silence; an uneven face keeps its own unevenness."""
    both = sorted({*region, *(int(i) for i in landmarks.MIRROR[list(region)])})
    rest = silence(data)
    moved = local(rig, span.frames, both) - rest[both]
    other = [both.index(landmarks.MIRROR[index]) for index in both]
    return write(rig, span, both, moved[:, other] @ flip(rest) - moved)


def copy(rig: Rig, data: Data, frame: int) -> Shape:
    """Keeps the face's shape at `frame`."""
    global _copied
    rest = silence(data)
    offsets = (local(rig, np.array([frame], np.float64))[0] - rest) / _eyes(rest)
    _copied = Shape(offsets, rest, f"frame {frame} of “{rig.collection.name}”")
    return _copied


def paste(rig: Rig, data: Data, span: Span, region: Sequence[int], amount: float) -> int:
    """Brings the region to the copied shape: `amount` 0 leaves it as it is, 1 is that shape."""
    if _copied is None:
        raise Problem("Copy a shape first.")
    rest = silence(data)
    turn = _turn(_copied.rest, rest)
    want = rest + _eyes(rest) * _copied.offsets @ turn.T
    return write(rig, span, region, amount * (want[list(region)] - local(rig, span.frames, region)))


def toward(rig: Rig, data: Data, other: Data, span: Span, region: Sequence[int], amount: float) -> int:
    """Brings the region towards `other` motion of the same take: `amount` 1 moves it as far as the two lie apart, so
    that edits stay edits. Raises Problem when the two are not of one length."""
    own, there = landmarks.local_motion(data)[2], landmarks.local_motion(other)[2]
    if own.shape != there.shape:
        raise Problem(f"The take has {len(own)} frames, in the other style it has {len(there)}: generate it again.")
    rows = span.frames.astype(int) - int(rig.picture[landmarks.START])
    apart = (there[rows] - own[rows])[:, list(region)].astype(np.float64)
    return write(rig, span, region, amount * apart)


def write(rig: Rig, span: Span, region: Sequence[int], change: np.ndarray) -> int:
    """Adds `change` (T, len(region), 3), faded in and out, to `delta_location`; how many landmarks changed. Raises
    Problem before anything is written."""
    change = change * span.weights[:, None, None]
    touched = [column for column in range(len(region)) if np.abs(change[:, column]).max() >= UNTOUCHED]
    points = [rig.points[region[column]] for column in touched]
    for point in points:
        _check(point)
    for point, column in zip(points, touched, strict=True):
        _write(rig, point, _PATH, span.start, change[:, column])
    return len(touched)


def _write(rig: Rig, item: bpy.types.Object, path: str, start: int, change: np.ndarray) -> None:
    """Adds `change` (T, 3) to a delta of one object."""
    if item.animation_data is None or item.animation_data.action is None:
        landmarks.give_slot(rig, item)
    curves = landmarks.channels(item)
    for axis in range(3):
        curve = curves.find(path, index=axis) or curves.new(path, index=axis)
        add(curve, float(getattr(item, path)[axis]), start, change[:, axis])


def unkeyed(scene: bpy.types.Scene, rig: Rig) -> dict[bpy.types.Object, np.ndarray]:
    """What was moved on this frame and has no key of it: by how much (3,), in units; for the head (6,), with angles.

    Only in the scene of the window: what another scene's objects hold may be of another frame.
    """
    if scene != bpy.context.scene:
        return {}
    frame = np.array([scene.frame_current_final])
    found = {}
    for item in rig.keyed:
        if not any(curve.data_path == "location" for curve in compat.curves(item)):
            continue
        change = np.array(item.location) - landmarks.values(item, "location", frame)[0]
        if item == rig.head and item.rotation_mode == "XYZ":
            turned = np.array(item.rotation_euler)[None]
            delta = landmarks.values(item, "delta_rotation_euler", frame)
            turn = landmarks.from_euler(turned) @ landmarks.from_euler(
                landmarks.values(item, "rotation_euler", frame)
            ).transpose(0, 2, 1)
            whole = landmarks.to_euler(landmarks.from_euler(delta) @ turn)
            change = np.concatenate([change, (whole - delta)[0]])
        if np.abs(change).max() > MOVED:
            found[item] = change
    return found


def key_moved(scene: bpy.types.Scene, rig: Rig, take: Any, ease: int = EASE) -> int:
    """Keys what was moved on this frame as an edit that comes and goes over `ease` frames; how many objects. Without a
    key Blender forgets such a move on the next frame. Raises Problem."""
    moved = unkeyed(scene, rig)
    if not moved:
        return 0
    first, last = whole(rig, take)
    now = scene.frame_current
    if not first <= now <= last:
        raise Problem(f"Frame {now} is outside the take, which has frames {first}–{last}: move landmarks there.")
    around = span(rig, take, max(now - ease, first), min(now + ease, last), ease)
    rise, fall = now - around.start, around.end - now
    weights = np.concatenate([_ramp(rise), [1.0], _ramp(fall)[::-1]])[:, None]
    for item in moved:
        _check(item)
    for item, change in moved.items():
        _write(rig, item, _PATH, around.start, weights * change[:3])
        if len(change) > 3:
            _write(rig, item, "delta_rotation_euler", around.start, weights * change[3:])
    scene.frame_set(now)  # `location` is the engine's again, and the delta is there
    return len(moved)


def add(curve: bpy.types.FCurve, still: float, start: int, change: np.ndarray) -> None:
    """Adds `change` (T,) to a curve from frame `start` on, keyed so that no other frame changes. `still` is what the
    property is when the curve has no keys."""
    held = _read(curve)
    times = held["co"][:, 0].astype(np.float64)
    first, last = start - 1, start + len(change)  # where it is as before
    left = int(np.searchsorted(times, first, "right")) - 1  # the last key kept before the range; -1: none
    right = int(np.searchsorted(times, last, "left"))  # the first kept after it; len(times): none
    plain = set(range(start, last))  # frames that get a linear key
    borders: list[Keys] = []  # keys that split a segment
    if left < 0 or times[left] < first:
        plain.add(first)
    if right == len(times) or times[right] > last:
        plain.add(last)
    kinds = held["interpolation"][:, 0]
    leaving = _segment(held, right - 1) if 0 < right < len(times) else None  # before the other border's cut changes it
    if 0 <= left < len(times) - 1 and times[left] < first:
        if kinds[left] == _BEZIER and (halves := _split(_segment(held, left), first)) is not None:
            before, after = halves
            held["handle_right"][left] = before[1]
            borders.append(_key(before[3], before[2], after[1]))
            plain.remove(first)
        elif kinds[left] > _LINEAR:
            plain |= set(range(int(np.floor(times[left])) + 1, first))
    if 0 < right < len(times) and times[right] > last:
        if leaving is not None and kinds[right - 1] == _BEZIER and (halves := _split(leaving, last)) is not None:
            before, after = halves
            held["handle_left"][right] = after[2]
            borders.append(_key(after[0], before[2], after[1]))
            plain.remove(last)
        elif kinds[right - 1] > _LINEAR:
            plain |= set(range(last + 1, int(np.ceil(times[right]))))
    if curve.extrapolation == "LINEAR":  # goes on as the two outermost keys say
        plain |= {first - 1} if left < 0 or (left == 0 and times[0] == first) else set()
        plain |= {last + 1} if right == len(times) or (right == len(times) - 1 and times[right] == last) else set()
    frames = np.array(sorted(plain), np.float64)
    values = landmarks.evaluate(curve, frames) if len(times) else np.full(len(frames), still)
    at = int(np.searchsorted(frames, start))
    if 0 <= left == len(times) - 1 and times[left] < first:  # it was the last key: how it went on did not matter
        end = held["co"][left]
        held["handle_right"][left] = end + ((first, values[at - 1]) - end) / 3
        if kinds[left] > _BEZIER:
            held["interpolation"][left] = _LINEAR
    values[at : at + len(change)] += change
    fresh = _linear(frames, values)
    if 0 < right < len(times) and times[right] > last and kinds[right - 1] == _CONSTANT:
        fresh["interpolation"][frames == last] = _CONSTANT
    kept = np.r_[0 : left + 1, right : len(times)]
    count = len(frames)
    keys = {}
    for name, held_part in held.items():
        part = held_part[kept]
        default = fresh.get(name, np.zeros((count, held_part.shape[1])))
        extra = [border.get(name, np.zeros((1, held_part.shape[1]))) for border in borders]
        keys[name] = np.concatenate([part, default, *extra]).astype(held_part.dtype)
    order = np.argsort(keys["co"][:, 0], kind="stable")
    shaped = np.r_[np.ones(len(kept), bool), np.zeros(count, bool), np.ones(len(borders), bool)][order]
    keys = {name: part[order] for name, part in keys.items()}
    _straighten(keys, first, last)
    _put(curve, keys, shaped)


def _ramp(count: int) -> np.ndarray:
    """(count,) from near 0 to near 1, soft at both ends."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(1, count + 1) / (count + 1))


def _eyes(rest: np.ndarray) -> float:
    """The distance between the outer eye corners."""
    return float(np.linalg.norm(rest[45] - rest[36]))


def _turn(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(3, 3): the rotation from one face (68, 3) to another, by points that speech does not move."""
    a, b = (face[landmarks.RIGID] - face[landmarks.RIGID].mean(axis=0) for face in (one, other))
    u, _, v = np.linalg.svd(b.T @ a)  # Kabsch (1976)
    u[:, 2] *= np.sign(np.linalg.det(u @ v))
    return u @ v


def _ruled(item: bpy.types.Object) -> bool:
    """Whether more than its curves animates an object."""
    data = item.animation_data
    return bool(
        (data is not None and (len(data.drivers) or any(not track.mute for track in data.nla_tracks)))
        or any(curve.data_path.startswith("constraints") for curve in compat.curves(item))
    )


def _check(item: bpy.types.Object) -> None:
    """Raises Problem where `delta_location` cannot be written."""
    for curve in compat.curves(item):
        if curve.data_path != _PATH:
            continue
        wrong = (
            (len(curve.modifiers) > 0, "modifiers: apply or remove them first"),
            (curve.mute, "been muted: unmute it first"),
            (curve.lock, "been locked: unlock it first"),
            (len(curve.sampled_points) > 0, "been baked to samples: bring its keys back first"),
        )
        for holds, told in wrong:
            if holds:
                raise Problem(f"A curve of Delta Location of “{item.name}” has {told}.")


def _read(curve: bpy.types.FCurve) -> Keys:
    """All of a curve's keys."""
    points: Any = curve.keyframe_points
    keys = {}
    for name, width, kind in _PARTS:
        part = np.empty(width * len(points), kind)
        points.foreach_get(name, part)
        keys[name] = part.reshape(-1, width)
    if (keys["interpolation"] > _BEZIER).any():
        for name, width, kind in _EASED_PARTS:
            part = np.empty(width * len(points), kind)
            points.foreach_get(name, part)
            keys[name] = part.reshape(-1, width)
    return keys


def _linear(frames: np.ndarray, values: np.ndarray) -> Keys:
    """Linear keys."""
    ones = np.ones((len(frames), 1), np.int32)
    place = np.stack([frames, values], axis=1)
    return {
        "co": place,
        "handle_left": place - (1 / 3, 0),
        "handle_right": place + (1 / 3, 0),
        "interpolation": _LINEAR * ones,
        "handle_left_type": _VECTOR * ones,
        "handle_right_type": _VECTOR * ones,
    }


def _key(place: np.ndarray, left: np.ndarray, right: np.ndarray) -> Keys:
    """One Bézier key with handles of its own."""
    one = np.ones((1, 1), np.int32)
    return {
        "co": place[None],
        "handle_left": left[None],
        "handle_right": right[None],
        "interpolation": _BEZIER * one,
        "handle_left_type": _FREE * one,
        "handle_right_type": _FREE * one,
    }


def _segment(keys: Keys, index: int) -> np.ndarray:
    """(4, 2) float64: the Bézier curve from a key to the next, as Blender draws it: handles end within it."""
    a, b = keys["co"][index].astype(np.float64), keys["co"][index + 1].astype(np.float64)
    out, into = keys["handle_right"][index] - a, keys["handle_left"][index + 1] - b
    length = b[0] - a[0]
    out, into = (way * min(1.0, length / abs(way[0])) if way[0] else way for way in (out, into))
    return np.stack([a, a + out, b + into, b])


def _split(curve: np.ndarray, frame: float) -> tuple[np.ndarray, np.ndarray] | None:
    """A Bézier curve (4, 2) cut at a frame into two that look the same; None where Blender would draw those otherwise,
    because a handle is longer than its part."""
    low, high = 0.0, 1.0
    for _ in range(60):
        t = 0.5 * (low + high)
        x = np.dot([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3], curve[:, 0])
        low, high = (t, high) if x < frame else (low, t)
    rows = [curve]
    while len(rows[-1]) > 1:  # de Casteljau
        rows.append((1 - t) * rows[-1][:-1] + t * rows[-1][1:])
    before, after = np.stack([row[0] for row in rows]), np.stack([row[-1] for row in rows[::-1]])
    before[3, 0] = after[0, 0] = frame
    for part in (before, after):
        longest = (part[3, 0] - part[0, 0]) * (1 + 1e-6)
        if not (0 <= part[1, 0] - part[0, 0] <= longest and 0 <= part[3, 0] - part[2, 0] <= longest):
            return None
    return before, after


def _straighten(keys: Keys, first: int, last: int) -> None:
    """Lets the handles of the two keys at the range's borders that look into it point straight at the next key."""
    place = keys["co"]
    begin, stop = (int(np.searchsorted(place[:, 0], frame)) for frame in (first, last))
    keys["handle_right"][begin] = place[begin] + (place[begin + 1] - place[begin]) / 3
    keys["handle_left"][stop] = place[stop] + (place[stop - 1] - place[stop]) / 3


def _put(curve: bpy.types.FCurve, keys: Keys, shaped: np.ndarray) -> None:
    """Gives a curve these keys in place of its own. Where `shaped` (n,), handles stay as they are: Blender would lay
    automatic ones anew, some keys away too, so those that it moves become free."""
    points: Any = curve.keyframe_points
    points.clear()
    points.add(len(keys["co"]))
    for name, part in keys.items():
        points.foreach_set(name, np.ascontiguousarray(part).ravel())
    curve.update()
    sides = ("handle_left", "handle_right")
    frozen = np.zeros(len(shaped), bool)
    while shaped.any():
        moved = np.zeros(len(shaped), bool)
        for side in sides:
            now = np.empty(2 * len(shaped), np.float32)
            points.foreach_get(side, now)
            moved |= (now.reshape(-1, 2) != keys[side]).any(axis=1)
        moved &= shaped & ~frozen
        if not moved.any():
            return
        frozen |= moved
        for side in sides:
            keys[f"{side}_type"][frozen] = _FREE
            points.foreach_set(f"{side}_type", np.ascontiguousarray(keys[f"{side}_type"]).ravel())
            points.foreach_set(side, np.ascontiguousarray(keys[side]).ravel())
        curve.update()
