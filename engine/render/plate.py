"""A moving plate: frames of a film in which the face says something else.

Nothing is turned or put on another background: of each frame only the lower face is moved, so its light and the head's
pose are the film's. Lips and what is between them are always those of one reference frame of the same film, whose lips
are closed: they do not flicker with what the film's mouth did, no smile is stretched, no tooth left in them. Over them
comes what the film shows of mouths of that shape (`film_mouth.py`). All is matched in colour to the skin around it. A
frame whose landmarks are the film's own is the film's, bit by bit.
"""

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.face.mesh import IBUG
from engine.render.eyes import AHEAD, SIDES, Eye
from engine.render.field import Grid, invert, upsample
from engine.render.fill import smoothstep
from engine.render.film_mouth import FilmMouth
from engine.render.flow import LIDS, Flow
from engine.render.head import Shape
from engine.render.lips import MOUTH, OUTER, Lips
from engine.render.patch import Box, around, blend, curve, mix, outside, upper_share
from engine.render.pattern import Pattern, own_skin
from engine.render.pose import Pose, checked, residual
from engine.render.renderer import Renderer
from engine.render.texture import Pixels

Array = NDArray[np.floating]

STILL = Pose(np.eye(3)[:2], np.zeros(2))
MOVED = 0.02  # px: landmarks that are no further from the film's own are these
LEFT = 0.08  # px: what would move by no more stays, and what moves by twice as much moves
STRAIGHT = 0.05  # degrees: a gaze no further from the film's own is this
REACH = 0.95  # units beyond moved landmarks that move as well, see `flow.RADII`
RIM = 0.15  # units over which what is moved passes into the frame
LIPS, SOFT = 0.045, 0.06  # units around the lips that are the reference's; where they pass into the frame's
RING = 0.06, 0.15  # units outside the lips: skin by which colours are matched
SPREAD = 0.25  # units over which they are
GAIN = 0.6, 1.6  # least and most of it
VERSION = 2  # goes up whenever the same landmarks give other pixels


class PlateRenderer:
    """One film's face, ready to be rendered in any of its frames at any landmarks."""

    def __init__(self, reference: Renderer, mouths: Sequence[Pattern] = ()) -> None:
        """`reference`: the renderer of a frame of the film whose lips are closed. `mouths`: what the film's own mouth
        showed in others; not used where the reference has a style's, nor in a drawing."""
        self.reference = reference
        self.mouth = None
        if mouths and not reference.patterns and not reference.interior.drawn:
            self.mouth = FilmMouth(mouths, own_skin(reference.seen, reference.landmarks))
        told = f"plate {VERSION} {reference.fingerprint} {self.mouth.fingerprint if self.mouth else ''}"
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()

    def render(self, rgb: Pixels, mesh: Array, landmarks: Array, gaze: Array = AHEAD) -> Pixels:
        """A film's frame (H, W, 3) whose face has `mesh` (478, 3) px, at `landmarks` (68, 3) px, with the eyes turned
        by `gaze` (2,) degrees."""
        own, target = np.asarray(mesh[IBUG], np.float64), checked(landmarks)
        looking = bool(np.abs(gaze).max() > STRAIGHT)
        if np.abs(target - own).max() <= MOVED and not looking:
            return rgb
        shape = Shape(own, np.asarray(mesh, np.float64), elastic=True)
        flow = Flow(own, shape)
        unit = shape.frame.unit
        left = residual(own, target, STILL, unit)
        reached = np.concatenate([own[:, :2] + left, target[:, 2:]], axis=1)
        eyes = looking or bool(np.abs(left[list(LIDS)]).max() > MOVED)
        moved = np.concatenate([np.flatnonzero(np.abs(left).max(1) > MOVED), list(MOUTH), *([range(36, 48)] * eyes)])
        box = around(
            np.concatenate([own[moved.astype(int), :2], reached[MOUTH, :2]]),
            REACH * unit,
            (0, 0, rgb.shape[1], rgb.shape[0]),
        )
        coefficients = flow.coefficients(STILL, left)
        x0, y0, x1, y1 = box
        crop = np.ascontiguousarray(rgb[y0:y1, x0:x1])
        frame = self._warped(crop, flow, own, coefficients, box)
        self._lips(frame, reached, box, unit)
        if eyes:
            drawn = self.reference.interior.drawn
            for side in SIDES:
                Eye(rgb, own, np.asarray(mesh, np.float64), flow, side, drawn).draw(
                    frame, coefficients, STILL, box, gaze
                )
        out = rgb.copy()
        blend(out, frame.astype(np.float32), box, (0, 0, rgb.shape[1], rgb.shape[0]), max(2, round(RIM * unit)))
        return out

    @staticmethod
    def _warped(crop: Pixels, flow: Flow, own: Array, coefficients: Array, box: Box) -> Pixels:
        """The `box` (h, w, 3) of a frame with its face moved."""
        x0, y0, x1, y1 = box
        unit = flow.shape.frame.unit
        grid = Grid.over(x0 - unit / 2, y0 - unit / 2, x1 + unit / 2, y1 + unit / 2, max(2.0, unit / 14))
        nodes = grid.nodes()
        share = upper_share(Lips.slit(own).heights(nodes), RIM * unit).reshape(-1, 1)
        above, under = (field @ coefficients for field in flow.both(nodes))
        displacement = (under + (above - under) * share).astype(np.float32).reshape(grid.rows, grid.columns, 2)
        step = max(2, round(unit / 14))
        targets = Grid.of_pixels(x0, y0, x1 - x0, y1 - y0, step).nodes()
        corner = np.array([x0, y0], np.float32)
        moved = invert(displacement, grid, targets) - targets
        moved *= smoothstep((np.abs(moved).max(-1) - LEFT) / LEFT)[..., None]
        where = upsample(targets + moved - corner, step, x1 - x0, y1 - y0)
        read = cv2.remap(crop, where, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        return read if read.dtype == np.uint8 else np.maximum(read, 0.0)  # once only: `Texture` would take longer

    def _lips(self, frame: Pixels, reached: Array, limits: Box, unit: float) -> None:
        """Into `frame`, which shows `limits`: the reference's lips at landmarks `reached` (68, 3) px."""
        reference = self.reference
        _, coefficients, there = reference.posed(reached)
        patch = frame.copy()
        reference.lips.lay(patch, there, coefficients, limits, reference.lips.moved(coefficients))
        if reference.patterns:
            reference.finish.draw(patch, there, limits, reference.lips.moved(coefficients))
        elif self.mouth is not None:
            self.mouth.draw(patch, there, limits)
        box = around(reached[MOUTH, :2], 2 * RING[1] * unit, limits)
        outline = [*OUTER, OUTER[0]]
        away = outside(curve(there[outline, :2], 8 * len(outline)), box, unit) / unit
        x0, y0, x1, y1 = (box[i] - limits[i % 2] for i in range(4))
        view, laid = frame[y0:y1, x0:x1], patch[y0:y1, x0:x1].astype(np.float32)
        gain = matched(laid, view.astype(np.float32), ((away > RING[0]) & (away < RING[1])), SPREAD * unit)
        mixed = mix(view.astype(np.float32), laid * gain, smoothstep((LIPS + SOFT / 2 - away) / SOFT))
        view[:] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8) if view.dtype == np.uint8 else mixed


def matched(laid: Array, frame: Array, where: NDArray[np.bool_], spread: float) -> Array:
    """(h, w, 3) by which colours `laid` (h, w, 3) become those of `frame` where both show the same, carried on smoothly
    over `spread` px."""
    height, width = where.shape
    coarse = max(1, int(spread / 8))
    size = (max(1, width // coarse), max(1, height // coarse))
    known = where.astype(np.float32)

    def around_there(values: Array) -> Array:
        small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(small, (0, 0), spread / coarse, borderType=cv2.BORDER_CONSTANT)

    total = around_there(known)[..., None] + 1e-6
    ours, theirs = (around_there(values * known[..., None]) / total for values in (laid, frame))
    gain = np.clip((theirs + 1.0) / (ours + 1.0), *GAIN)
    return cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
