"""Landmarks turn into pixels: the portrait's own pixels are moved, and only what no pixel shows is put in.

A frame is a pure function of its 68 landmarks. The head is warped along a dense field, at the picture's own resolution,
over a plate of what is behind it; eyes and lips are drawn over that as flaps (`eyes.py`, `lips.py`). Everything outside the
head's surroundings is the source, bit by bit. Does not decide how anything moves: see `engine/motion`.
"""

import hashlib
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.face.find import Face
from engine.face.image import Picture
from engine.render.eyes import SIDES, Eye
from engine.render.field import Grid, invert, upsample
from engine.render.flow import Flow
from engine.render.head import Shape, behind_share, layers, refine
from engine.render.lips import Lips
from engine.render.mouth import MouthInterior
from engine.render.patch import Slit, mix, sample, upper_share
from engine.render.pose import checked, fit, residual

try:
    from engine.face.person import person_matte
except ImportError:  # the matte is optional: without it the surroundings stretch

    def person_matte(rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        return None


Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]

VERSION = 1  # goes up whenever the same landmarks give other pixels


class Renderer:
    """One portrait, ready to be rendered at any landmarks."""

    def __init__(self, picture: Picture, face: Face, device: torch.device, style: Any | None = None) -> None:
        del style  # styles' own pixels come with the network that blends them
        self.rgb = np.ascontiguousarray(picture.rgb)
        self.alpha = picture.alpha
        self.landmarks = checked(face.landmarks)
        mesh = np.asarray(face.mesh, np.float64)
        matte = person_matte(self.rgb) if self.alpha is None else self.alpha.astype(np.float32) / 255
        self.shape = Shape(self.landmarks, mesh, elastic=matte is None)
        height, width = self.rgb.shape[:2]
        self.box = self.shape.box(width, height)
        self.flow = Flow(self.landmarks, self.shape)
        unit = self.shape.frame.unit
        x0, y0, x1, y1 = self.box
        self.grid = Grid.over(x0 - unit / 2, y0 - unit / 2, x1 + unit / 2, y1 + unit / 2, max(2.0, unit / 14))
        nodes = self.grid.nodes()
        self.fields = self.flow.basis(nodes, False), self.flow.basis(nodes, True)
        self.step = max(2, round(unit / 14))
        self.targets = Grid.of_pixels(x0, y0, x1 - x0, y1 - y0, self.step).nodes()
        self._layers(matte)
        self.interior = MouthInterior(self.rgb, face.landmarks, face.mesh, device)
        self.eyes = [Eye(self.rgb, self.landmarks, mesh, self.flow, side) for side in SIDES]
        self.lips = Lips(self.rgb, self.landmarks, mesh, self.flow, self.interior)
        self.fingerprint = self._fingerprint(picture.sha256)

    def _fingerprint(self, picture: str) -> str:
        """What a frame depends on beside its landmarks."""
        digest = hashlib.sha256(f"{VERSION} {picture} {self.interior.fingerprint}".encode())
        digest.update(self.landmarks.tobytes())
        return digest.hexdigest()

    def _layers(self, matte: Array | None) -> None:
        """The head's surroundings split in what moves (with its matte) and the plate behind it."""
        x0, y0, x1, y1 = self.box
        crop = np.ascontiguousarray(self.rgb[y0:y1, x0:x1])
        self.front, self.plate = crop, None
        if matte is not None:
            unit = self.shape.frame.unit
            self.front, self.plate = layers(crop, refine(matte[y0:y1, x0:x1], crop, unit), unit)

    def render(self, landmarks: Array) -> Bytes:
        """The frame at `landmarks` (68, 3) source px: (H, W, 3), or (H, W, 4) where the picture has alpha."""
        target = checked(landmarks)
        pose = fit(self.landmarks, target)
        left = residual(self.landmarks, target, pose, self.shape.frame.unit)
        coefficients = self.flow.coefficients(pose, left)
        reached = np.concatenate([pose.apply(self.landmarks) + left, target[:, 2:]], axis=1)
        x0, y0, x1, y1 = self.box
        where = self._where(coefficients, self.lips.slit(reached))
        frame = sample(self.front, where)
        if self.plate is not None:
            frame = cv2.add(cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB), behind_share(self.plate, frame[..., 3]))
        for eye in self.eyes:
            eye.draw(frame, coefficients, pose, self.box)
        self.lips.draw(frame, reached, coefficients, self.box)
        out = self.rgb.copy()
        out[y0:y1, x0:x1] = frame
        if self.alpha is None:
            return out
        alpha = self.alpha.copy()
        alpha[y0:y1, x0:x1] = cv2.remap(alpha[y0:y1, x0:x1], where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.dstack([out, alpha])

    def _where(self, coefficients: Array, slit: Slit) -> Array:
        """Where each px of the head's box comes from, (h, w, 2) px within the box."""
        shape = (self.grid.rows, self.grid.columns, 2)
        upper, lower = (
            invert((field @ coefficients).reshape(shape), self.grid, self.targets) for field in self.fields
        )
        x0, y0, x1, y1 = self.box
        share = upper_share(slit.heights(self.targets), 0.05 * self.shape.frame.unit)
        return upsample(mix(lower, upper, share) - np.array([x0, y0], np.float32), self.step, x1 - x0, y1 - y0)
