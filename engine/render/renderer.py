"""Landmarks turn into pixels: the portrait's own pixels are moved, and only what no pixel shows is put in.

A frame is a pure function of 68 landmarks and a gaze. The head is warped along a dense field, at the picture's own
resolution, over a plate of what is behind it; eyes and lips are drawn over that as flaps (`eyes.py`, `lips.py`).
Everything outside the head's surroundings is the source, bit by bit. Mattes of head, face and mouth come from the
same field. How anything moves is decided in `engine/motion`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import product
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import InputError
from engine.face.find import Face
from engine.face.image import Picture, deep
from engine.face.person import drawn_matte, person_matte
from engine.models import MODELS
from engine.render.eyes import AHEAD, SIDES, Eye
from engine.render.field import Grid, invert, upsample
from engine.render.fill import extend, smoothstep
from engine.render.finish import Finish
from engine.render.flow import Flow
from engine.render.glasses import wears
from engine.render.head import OVAL, Shape
from engine.render.lips import Lips
from engine.render.mouth import MouthInterior
from engine.render.patch import around, covered, curve, outside, upper_share
from engine.render.pattern import Pattern
from engine.render.pose import Pose, checked, fit, residual
from engine.render.split import Split
from engine.render.texture import MOST, Pixels, Texture

Array = NDArray[np.floating]
Bytes = NDArray[np.uint8]

FAINT = 0.08  # of a matte: taken as none, and as much below 1 as all
FACE_EDGE = 0.03  # of the unit: half the width of the face matte's soft edge
MATTES = ("head", "face", "mouth")
VERSION = 12  # goes up whenever the same landmarks give other pixels


class Renderer:
    """One portrait, ready to be rendered at any landmarks.

    Frames have 8 bits; `exact` ones all the source has, and what is between: float32, 255 is white.
    """

    def __init__(
        self,
        picture: Picture,
        face: Face,
        device: torch.device,
        exact: bool = False,
        patterns: Sequence[Pattern] = (),
        shoulders: float = 0.0,
    ) -> None:
        """`shoulders`: amount by which they follow the head, 0 to 2; where no matte tells the person from what is
        behind, they stay."""
        self.device = device
        self.seen = np.ascontiguousarray(picture.rgb)  # what networks see
        self.rgb: Pixels = self.seen
        self.alpha: Pixels | None = picture.alpha
        if exact:
            self.rgb, self.alpha = deep(picture)
        self.cutout = self.alpha if self.alpha is not None and float((self.alpha < 128).mean()) > 0.03 else None
        self.landmarks = checked(face.landmarks)
        self.mesh = np.asarray(face.mesh, np.float64)
        if not self._shows(self.landmarks[48:, :2]):
            raise InputError(
                f"The picture {picture.path} ends within the mouth: choose one that shows the whole mouth."
            )
        self.interior = MouthInterior(self.seen, face.landmarks, face.mesh, device)
        self.matte = matte = self._matte()
        self.shape = Shape(self.landmarks, self.mesh, elastic=matte is None and self.cutout is None)
        height, width = self.rgb.shape[:2]
        self.shoulders = 0.0 if self.shape.elastic else shoulders
        self.box = self.shape.box(width, height, self.shoulders > 0)
        drawn = self.interior.drawn
        self.flow = Flow(self.landmarks, self.shape, self.shoulders, drawn)
        unit = self.shape.frame.unit
        x0, y0, x1, y1 = self.box
        self.grid = Grid.over(x0 - unit / 2, y0 - unit / 2, x1 + unit / 2, y1 + unit / 2, max(2.0, unit / 14))
        nodes = self.grid.nodes()
        share = upper_share(Lips.slit(self.landmarks).heights(nodes), 0.15 * unit).reshape(-1, 1)
        upper, lower = self.flow.both(nodes)
        self.field = (lower + (upper - lower) * share).astype(np.float32)
        self.step = max(2, round(unit / 14))
        self.targets = Grid.of_pixels(x0, y0, x1 - x0, y1 - y0, self.step).nodes()
        crop = np.ascontiguousarray(self.rgb[y0:y1, x0:x1])
        if self.cutout is not None:
            crop = extend(crop, self.cutout[y0:y1, x0:x1] > 0, 0.02 * unit)
        self.split = None if matte is None else Split(crop, matte[y0:y1, x0:x1], unit, drawn)
        self.texture = Texture(crop, MOST, drawn) if self.split is None else None
        eyes = [side for side in SIDES if self._shows(self.mesh[side.upper + side.lower, :2])]
        glasses = not drawn and wears(self.seen, self.landmarks)
        self.eyes = [Eye(self.rgb, self.landmarks, self.mesh, self.flow, side, drawn, glasses) for side in eyes]
        self.lips = Lips(self.rgb, self.landmarks, self.mesh, self.flow, self.interior, drawn)
        self.picture_sha256 = picture.sha256
        self.wear(patterns)

    @property
    def fingerprint(self) -> str:
        """What a frame depends on beside its landmarks."""
        split = "alpha" if self.cutout is not None else "none" if self.split is None else MODELS["person"].cached.name
        depth = "" if self.rgb.dtype == np.uint8 else " exact"
        digest = hashlib.sha256(f"{VERSION} {self.picture_sha256} {split} {self.interior.fingerprint}{depth}".encode())
        if self.patterns:
            digest.update(self.finish.fingerprint.encode())
        if self.shoulders:
            digest.update(f"shoulders {self.shoulders:.4f}".encode())
        for points in (self.landmarks, self.mesh):
            digest.update(points.astype(np.float32).tobytes())
        return digest.hexdigest()

    def _shows(self, points: Array) -> bool:
        """Whether points (N, 2) px lie within the picture."""
        return bool((points >= 0).all() and (points <= np.array(self.rgb.shape[1::-1]) - 1).all())

    def _matte(self) -> Array | None:
        """The person's matte (H, W), or None where alpha cuts the person out, or neither the net sees them nor do a
        drawing's colours tell them.

        Without a matte the head's surroundings stretch with it.
        """
        if self.cutout is not None:
            return None

        def clear(matte: Array) -> Array:
            return np.clip((matte - FAINT) / (1 - 2 * FAINT), 0.0, 1.0)

        matte = clear(person_matte(self.seen))
        x, y = np.rint(self.landmarks[:, :2]).astype(int).T
        height, width = matte.shape
        seen = matte[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        if seen.mean() > 0.8:
            return matte
        drawn = drawn_matte(self.seen, self.landmarks) if self.interior.drawn else None
        return None if drawn is None else clear(drawn)

    def wear(self, patterns: Sequence[Pattern]) -> None:
        """From now on show what these style reference frames' mouths show, up to four of them."""
        self.patterns = tuple(patterns)
        self.__dict__.pop("finish", None)

    @cached_property
    def finish(self) -> Finish:
        """The generator, for frames with patterns."""
        return Finish(self.seen, self.landmarks, self.interior, self.patterns, self.device)

    def render(self, landmarks: Array, gaze: Array = AHEAD) -> Pixels:
        """The frame at `landmarks` (68, 3) source px: (H, W, 3), or (H, W, 4) where the picture has alpha.

        `gaze` (2,): degrees by which the eyes turn in the head from where they look in the picture, to the picture's
        right and up; no further than eyes can.
        """
        pose, coefficients, reached = self.posed(landmarks)
        where = self._where(coefficients)
        frame, matte = self._warped(where)
        self.lips.draw(frame, reached, coefficients, self.box)
        if self.patterns:
            self.finish.draw(frame, reached, self.box, self.lips.moved(coefficients))
        for eye in self.eyes:  # after the lips, whose surroundings reach large eyes
            eye.draw(frame, coefficients, pose, self.box, gaze)
        x0, y0, x1, y1 = self.box
        out = self.rgb.copy()
        if self.alpha is None:
            out[y0:y1, x0:x1] = frame
            return out
        alpha = self.alpha.copy()
        view = alpha[y0:y1, x0:x1]
        view[:] = self._moved_alpha(view, where, matte)
        out[y0:y1, x0:x1] = np.where(view[..., None] > 0, frame, out[y0:y1, x0:x1])
        return np.dstack([out, alpha])

    def posed(self, landmarks: Array) -> tuple[Pose, Array, Array]:
        """The head's motion, the flow's coefficients and where 68 landmarks (68, 3) px come to lie within a face's
        limits."""
        target = checked(landmarks)
        pose = fit(self.landmarks, target)
        left = residual(self.landmarks, target, pose, self.shape.frame.unit)
        reached = np.concatenate([pose.apply(self.landmarks) + left, target[:, 2:]], axis=1)
        return pose, self.flow.coefficients(pose, left), reached

    def reached(self, landmarks: Array) -> Array:
        """Where `landmarks` (68, 3) px come to lie: themselves, but for what no face can do."""
        return self.posed(landmarks)[2]

    def mattes(self, landmarks: Array) -> dict[str, Pixels]:
        """(H, W) of each of MATTES for the frame at `landmarks` (68, 3) source px; 0 … 255, of the frame's own kind.

        head: what moves with the head, hair and ears too, fading out down the neck. face: the skin from the forehead's
        hairline to the chin. mouth: what is seen between the lips.
        """
        _, coefficients, reached = self.posed(landmarks)
        moved = cv2.remap(
            self._regions,
            self._where(coefficients),
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        x0, y0, x1, y1 = self.box
        whole = {name: np.zeros(self.rgb.shape[:2], self.rgb.dtype) for name in MATTES}
        whole["head"][y0:y1, x0:x1], whole["face"][y0:y1, x0:x1] = moved[..., 0], moved[..., 1]
        slit = Lips.slit(reached)
        first, top, last, bottom = around(reached[60:, :2], 4.0, self.box)
        if last > first and bottom > top:
            x, y = np.meshgrid(np.arange(first, last), np.arange(top, bottom))
            opening = 255 * covered(slit.heights(np.stack([x, y], axis=-1).astype(np.float32)), 1.0, grown=0.5)
            whole["mouth"][top:bottom, first:last] = self._kind(opening)
        return whole

    @cached_property
    def _regions(self) -> Pixels:
        """(h, w, 2) of the head's box in the source: how much each px is of the head, and of the face."""
        x0, y0, x1, y1 = self.box
        unit = self.shape.frame.unit
        follow = self.shape.follow(self.targets.reshape(-1, 2)).reshape(self.targets.shape[:2]).astype(np.float32)
        head = upsample(follow, self.step, x1 - x0, y1 - y0)
        away = outside(curve(self.mesh[[*OVAL, OVAL[0]], :2], 8 * len(OVAL)), self.box, unit)
        face = smoothstep(0.5 - away / (2 * FACE_EDGE * unit))
        if self.cutout is not None:
            shown = self.cutout[y0:y1, x0:x1].astype(np.float32) / 255
            head, face = head * shown, face * shown
        elif self.split is not None:
            head = np.maximum(head * self.split.share.astype(np.float32) / 255, face)
        return self._kind(255 * np.dstack([head, face]))

    def _kind(self, values: NDArray[Any]) -> Pixels:
        """Values on the scale of 8 bits, of the kind frames are of."""
        return np.rint(values).astype(np.uint8) if self.rgb.dtype == np.uint8 else values.astype(np.float32)

    def _warped(self, where: Array) -> tuple[Pixels, Pixels | None]:
        """The head's box (h, w, 3) with the head moved, and the moved matte (h, w) if there is one."""
        if self.split is not None:
            return self.split.warped(where)
        assert self.texture is not None
        frame = self.texture.read(where)
        return frame if frame.dtype == np.uint8 else np.maximum(frame, 0.0), None

    def _moved_alpha(self, alpha: Pixels, where: Array, matte: Pixels | None) -> Pixels:
        """The picture's own alpha (h, w) moved with the head; where a matte (h, w) says background, it stays."""
        moved = cv2.remap(alpha, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if matte is None:
            return moved
        share = matte.astype(np.float32) / 255
        return self._kind(alpha + (moved.astype(np.float32) - alpha) * share)

    def _where(self, coefficients: Array) -> Array:
        """Where each px of the head's box comes from, (h, w, 2) px within the box."""
        x0, y0, x1, y1 = self.box
        corner = np.array([x0, y0], np.float32)
        return upsample(self._sources(coefficients) - corner, self.step, x1 - x0, y1 - y0)

    def _sources(self, coefficients: Array) -> Array:
        """Where the box's coarse targets come from, (h, w, 2) px. Does not know the slit between the lips."""
        displacement = (self.field @ coefficients).reshape(self.grid.rows, self.grid.columns, 2)
        return invert(displacement, self.grid, self.targets)

    @cached_property
    def moving_region(self) -> Array:
        """(H, W) float32: above 0 wherever a frame may differ from the source, for turns of the head up to 12 degrees.

        Outside it such frames are the source, bit by bit.
        """
        x0, y0, x1, y1 = self.box
        unit, step = self.shape.frame.unit, self.step
        rows, columns = self.targets.shape[:2]
        moving = np.ones((y1 - y0, x1 - x0), np.uint8)  # what is there to be moved: not the background
        if self.cutout is not None:
            moving = (self.cutout[y0:y1, x0:x1] > 0).astype(np.uint8)
        elif self.split is not None:
            moving = self.split.moves.astype(np.uint8)
        moving = cv2.copyMakeBorder(moving, step, 2 * step, step, 2 * step, cv2.BORDER_REPLICATE)
        moving = cv2.dilate(moving[: rows * step, : columns * step], np.ones((3 * step, 3 * step), np.uint8))
        corner = np.array([x0 - step, y0 - step], np.float32)
        changed = np.zeros((rows, columns), np.uint8)
        for landmarks in self._turned():
            pose = fit(self.landmarks, landmarks)
            coefficients = self.flow.coefficients(pose, residual(self.landmarks, landmarks, pose, unit))
            source = self._sources(coefficients)
            there = cv2.remap(moving, source - corner, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            moved = np.abs(source - self.targets).max(axis=-1) > 1 / 160  # textures are read in 1/128 px
            changed |= (moved & (there > 0)).astype(np.uint8)
        reach = 2 * round(0.12 * unit / step) + 3
        changed = cv2.dilate(changed, np.ones((reach, reach), np.uint8)).astype(np.float32)
        region = np.zeros(self.rgb.shape[:2], np.float32)
        region[y0:y1, x0:x1] = upsample(changed, step, x1 - x0, y1 - y0)
        return region

    def _turned(self) -> Iterator[Array]:
        """Landmarks (68, 3) of the head turned each way by 12 degrees, about the neck or the eyes, mouth open."""
        unit = self.shape.frame.unit
        opened = self.landmarks.copy()
        opened[[7, 8, 9, 56, 57, 58, 65, 66, 67], :2] += 0.4 * unit * self.shape.frame.down
        neck = self.landmarks[8] + [0.0, 0.3 * unit, -unit]
        eyes = np.append(self.shape.frame.origin, self.landmarks[27, 2])
        for axis in product((-1, 0, 1), repeat=3):
            vector = np.radians(12.0) * np.array(axis) / max(float(np.linalg.norm(axis)), 1.0)
            turn = cv2.Rodrigues(vector)[0]
            for pivot in (neck, eyes):
                yield (opened - pivot) @ turn.T + pivot
