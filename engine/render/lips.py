"""The mouth's surroundings: two lips that part along a cut, with the mouth's interior between them.

The upper lip is read from a texture that goes on lip-coloured below its edge, the lower lip likewise, so that
neither teeth nor the other lip are ever dragged along. What is between the lips comes from `mouth.py`.
"""

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.field import Grid, invert, upsample
from engine.render.fill import extend, smoothstep
from engine.render.flow import Flow
from engine.render.mouth import DRAWN_LINE, inner_lips
from engine.render.patch import PATCH_PIXELS, Box, Slit, around, blend, covered, curve, flaps, mix, outside, upper_share
from engine.render.texture import Pixels, Texture

Array = NDArray[np.floating]

UPPER_EDGE = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]  # mesh points of the inner lips, corner to corner
LOWER_EDGE = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
OUTER = range(48, 60)
MOUTH = range(48, 68)
RIM = 0.045  # of the unit: how far beyond the inner lips' contour teeth and cavity may still be seen
SEAM = np.array([0.7, 0.95, 0.95], np.float32)  # the line between lips is a reddish dark


class Interior(Protocol):
    """What `mouth.py` gives: the inside of the mouth as (h, w, 4) colour and coverage for a box of the target frame."""

    fingerprint: str

    def layer(self, landmarks: Array, box: Box) -> Array: ...


class Lips:
    """One portrait's lips. `draw` puts them into a warped frame."""

    def __init__(
        self, rgb: Pixels, landmarks: Array, mesh: Array, flow: Flow, interior: Interior, drawn: bool = False
    ) -> None:
        self.interior = interior
        self.landmarks = landmarks
        self.flow = flow
        self.unit = unit = flow.shape.frame.unit
        self.upper_edge, self.lower_edge = mesh[UPPER_EDGE, :2], mesh[LOWER_EDGE, :2]
        height, width = rgb.shape[:2]
        outer = landmarks[MOUTH, :2]
        source = around(outer, 0.45 * unit, (0, 0, width, height))
        self.grid = Grid.over(*source, step=max(1.0, unit / 40))
        nodes = self.grid.nodes()
        self.fields = flow.both(nodes)
        self.gap = float(np.linalg.norm(self.lower_edge - self.upper_edge, axis=1).max())
        self.drawn = drawn
        self.opened = float(smoothstep((self.gap / unit - (DRAWN_LINE if drawn else 0.015)) / 0.03))
        self._prepare(rgb, source)

    def _prepare(self, rgb: Pixels, box: Box) -> None:
        """The two lips' textures: each keeps its own side of the picture and is continued over the other's."""
        x0, y0, x1, y1 = box
        self.corner = np.array([x0, y0], np.float32)
        own = np.ascontiguousarray(rgb[y0:y1, x0:x1])
        nodes = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), axis=-1).astype(np.float32)
        heights = Slit.between(self.upper_edge, self.lower_edge).heights(nodes)
        above, between = heights[..., 0] + heights[..., 1] < 0, heights[..., 2] <= 0
        outline = np.concatenate([curve(self.upper_edge, 41), curve(self.lower_edge, 41)[::-1]])
        away = outside(outline, box, self.unit) / self.unit
        self.upper = Texture(self._flap(own, above | ~between, away, box), PATCH_PIXELS, self.drawn)
        self.lower = Texture(self._flap(own, ~above | ~between, away, box), PATCH_PIXELS, self.drawn)
        self.texture = Texture(own, PATCH_PIXELS, self.drawn)

    def _flap(self, own: Pixels, side: NDArray[np.bool_], away: Array, box: Box) -> Pixels:
        """One lip: its `side` of the picture, continued. `away`: units outside the inner lips.

        Where the lips are apart, pixels close to them that are darker or brighter than the lips and than the skin near
        by are cavity or tooth, and are left out too; in a drawing they are its line, which stays.
        """
        soft = 0.012 * self.unit
        if not self.opened:
            return extend(own, side, soft)
        if self.drawn:
            return extend(own, side & (away > 0), soft)
        light = cv2.cvtColor(own, cv2.COLOR_RGB2GRAY).astype(np.float32)
        clean = cv2.cvtColor(extend(own, side & (away > RIM), soft), cv2.COLOR_RGB2GRAY).astype(np.float32)
        lips = np.zeros(light.shape, np.uint8)
        cv2.fillPoly(lips, [np.round(self.landmarks[list(OUTER), :2] - box[:2]).astype(np.int32)], 1)
        lips = light[(lips > 0) & (away > 0.02)]
        usual = float(np.median(lips)) if len(lips) else float(np.median(light))
        stray = (light < 0.86 * np.minimum(clean, usual)) | (light > 1.15 * np.maximum(clean, usual))
        return extend(own, side & (away > 0.012) & ~(stray & (away < RIM)), soft)

    @staticmethod
    def slit(landmarks: Array) -> Slit:
        """What opens between the inner lips of 68 target landmarks px."""
        return Slit.between(*inner_lips(landmarks))

    def moved(self, coefficients: Array) -> float:
        """Whether the lips have moved against the head: 0 while they are as in the picture, 1 when they surely have."""
        change = float(np.linalg.norm(coefficients[4:][list(MOUTH)], axis=1).max()) / self.unit
        return float(smoothstep(change / 0.02))

    def draw(self, frame: Pixels, landmarks: Array, coefficients: Array, limits: Box) -> None:
        """Draw into `frame` (h, w, 3), the target's `limits`; `landmarks` (68, 3) px of the target. Lips that have not
        moved are the warped frame's own."""
        if (parted := self.moved(coefficients)) > 0.0:
            self.lay(frame, landmarks, coefficients, limits, parted)

    def lay(self, frame: Pixels, landmarks: Array, coefficients: Array, limits: Box, parted: float) -> None:
        """As `draw`, moved or not: `parted` is how surely they have."""
        box = around(landmarks[MOUTH, :2], 0.25 * self.unit, limits)
        x0, y0, x1, y1 = box
        width, height = x1 - x0, y1 - y0
        if min(width, height) < 4:
            return
        step = max(1, round(self.unit / 45))
        targets = Grid.of_pixels(x0, y0, width, height, step).nodes()
        shape = (self.grid.rows, self.grid.columns, 2)
        above, under = (
            upsample(invert(field.reshape(shape), self.grid, targets) - self.corner, step, width, height)
            for field in (basis @ coefficients for basis in self.fields)
        )
        slit = self.slit(landmarks)
        heights = upsample(slit.heights(targets), step, width, height)
        share = upper_share(heights, 0.6)
        lips = self._seam(flaps(self.upper, self.lower, above, under, share), slit.gap, heights)
        inside = self.interior.layer(landmarks.astype(np.float32), box)
        hole = inside[..., 3] * covered(heights, 1.0, grown=0.5)
        lips = mix(lips, inside[..., :3] * 255.0, hole)
        if parted < 1.0:
            plain = self.texture.read(mix(under, above, share)).astype(np.float32)
            lips = plain + (lips - plain) * np.float32(parted)
        blend(frame, lips, box, limits, max(2, round(0.12 * self.unit)))

    def _seam(self, lips: Array, gap: float, heights: Array) -> Array:
        """The dark line where lips meet, for a portrait whose own lips are apart and so has no such line to move."""
        strength = 0.5 * self.opened * float(1.0 - smoothstep(gap / (0.05 * self.unit)))
        if strength == 0.0:
            return lips
        width = max(0.7, 0.013 * self.unit)
        below = (heights[..., 0] + heights[..., 1]) / 2
        line = np.exp(-((below / width) ** 2)) * np.maximum(1.0 - heights[..., 2] / (2 * width), 0.0)
        return lips * (1.0 - (strength * line)[..., None] * SEAM)
