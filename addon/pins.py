"""Pinned frames: ranges whose motion a new take leaves as it was.

A pin holds the layer `location` and the head are keyed with (never the animator's deltas and handles, which stay by
themselves) over some frames, counted from the take's first, and eases into whatever motion comes on either side. What
is held lies in the file, so it outlives the folder of the take it came from. Knows numbers only: `pin_frames.py` has
the verbs, `landmarks.py` keys what comes out here.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np

EASE = 4  # frames on either side
_ROW = 6 + 68 * 3 + 3  # of a frame: the head's location and angles, the points' locations, the gaze
_ROW_BEFORE = 6 + 68 * 3  # as pins were held before there was gaze
_SAME_FACE = 0.01  # of the distance between the outer eye corners: portraits that differ by more are two
# float32: the head's location and angles (T, 3), points (T, 68, 3), gaze (T, 3)
Layer = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class ParlandoPin(bpy.types.PropertyGroup):
    """One pinned range. Made and changed by the operators only: curves follow them."""

    sound_id: bpy.props.StringProperty(name="Sound", description="The id of the sound strip it belongs to")
    first: bpy.props.IntProperty(
        name="First", description="First pinned frame, 0 is the take's first, before which it may lie"
    )
    last: bpy.props.IntProperty(name="Last", description="Last pinned frame")
    ease: bpy.props.IntProperty(name="Ease", description="Frames on either side that lead into it", default=EASE)
    take: bpy.props.StringProperty(name="Take", description="The take that was shown when it was pinned")
    held: bpy.props.StringProperty(name="Held", description="The motion, float32 in base 64", options={"HIDDEN"})
    face: bpy.props.StringProperty(
        name="Face", description="The portrait's own size and landmarks, float32 in base 64", options={"HIDDEN"}
    )


def of(scene: bpy.types.Scene, sound_id: str) -> list[Any]:
    """The pins of a sound strip, in the order they were made: of two on one frame the later counts."""
    return [pin for pin in scene.parlando.pins if pin.sound_id == sound_id]


def move(scene: bpy.types.Scene, sound_id: str, frames: int) -> None:
    """Counts the sound's pins from another take's first frame: what they hold stays with the sound."""
    for pin in of(scene, sound_id) if frames else ():
        pin.first, pin.last = pin.first + frames, pin.last + frames


def face_of(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What tells portraits apart: size, and the face's own landmarks where the take has them."""
    own = arrays.get("source_landmarks", np.zeros(0))
    return np.concatenate([np.ravel(arrays["size"]), np.ravel(own)]).astype(np.float32)


def packed(numbers: np.ndarray) -> str:
    """Numbers as a pin holds them."""
    return base64.b64encode(np.ascontiguousarray(numbers, "<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> np.ndarray:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError):  # edited by hand
        return np.zeros(0, np.float32)


def rows(layer: Layer) -> np.ndarray:
    """(T, 213): a layer as pins hold it."""
    return np.concatenate([part.reshape(len(part), -1) for part in layer], axis=1)


def held(pin: Any) -> np.ndarray:
    """(last − first + 1, 213), or 210 columns from before there was gaze; nothing when it was damaged."""
    numbers = _unpacked(pin.held)
    for width in (_ROW, _ROW_BEFORE):
        if numbers.size == width * (pin.last - pin.first + 1):
            return numbers.reshape(-1, width)
    return np.zeros((0, _ROW))


def why_not(pin: Any, arrays: dict[str, np.ndarray]) -> str:
    """Why a pin rests on this take; empty when it holds."""
    if len(held(pin)) == 0:
        return "its motion cannot be read: pin the frames again"
    there, here = _unpacked(pin.face), face_of(arrays)
    if there.size != here.size or (there[:2] != here[:2]).any():
        return "it was made on another portrait"
    if here.size > 2:
        points, old = here[2:].reshape(68, 3), there[2:].reshape(68, 3)
        if np.abs(points - old).max() > _SAME_FACE * float(np.linalg.norm(points[45] - points[36])):
            return "it was made on another portrait"
    return ""


def hold(layer: Layer, of_sound: Iterable[Any], arrays: dict[str, np.ndarray]) -> Layer:
    """The engine's layer with pinned frames as they were held, exactly, and eased on either side; all else exactly
    the engine's."""
    count = len(layer[0])
    engine = rows(layer)
    kept = engine.copy()
    pinned, ease = np.zeros(count, bool), np.zeros(count, int)
    for pin in of_sound:
        first = max(0, pin.first)
        numbers = held(pin)[first - pin.first : max(0, count - pin.first)]
        if len(numbers) == 0 or why_not(pin, arrays):
            continue
        part = slice(first, first + len(numbers))
        kept[part, : numbers.shape[1]], pinned[part], ease[part] = numbers, True, pin.ease
    if not pinned.any():
        return layer
    marks = np.flatnonzero(pinned)
    off = kept - engine
    for before, after in zip([None, *marks], [*marks, None], strict=True):
        start = 0 if before is None else before + 1
        end = count if after is None else after
        gap = end - start
        if gap <= 0:
            continue
        # Two eases that meet share the gap, so that they never add up to more than one.
        free = np.arange(start, end)
        sides = []
        if before is not None:
            sides.append((before, free - before))
        if after is not None:
            sides.append((after, after - free))
        add = np.zeros((gap, _ROW), np.float32)
        for edge, away in sides:
            reach = ease[edge] + 1 if len(sides) == 1 else min(ease[edge] + 1, gap + 1)
            add += _fade(away / reach)[:, None] * off[edge]
        eased = add.any(axis=1)
        kept[free[eased]] += add[eased]
    points = kept[:, 6:_ROW_BEFORE].reshape(count, 68, 3)
    return kept[:, :3].copy(), kept[:, 3:6].copy(), points.copy(), kept[:, _ROW_BEFORE:].copy()


def _fade(x: np.ndarray) -> np.ndarray:
    """1 at 0, 0 from 1 on, level at both; `_fade(x) + _fade(1 - x)` is 1."""
    x = np.clip(1.0 - x, 0.0, 1.0)
    return (x * x * (3.0 - 2.0 * x)).astype(np.float32)


def changed(layer: Layer, engine: Layer) -> np.ndarray:
    """(T,): frames that pins make another than the engine's."""
    changed: np.ndarray = (rows(layer) != rows(engine)).any(axis=1)
    return changed
