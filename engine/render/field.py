"""A smooth displacement of the plane, linear in a few coefficients, on a coarse grid; and its inverse.

Everything that depends on the portrait alone is a matrix made once; a frame multiplies it by a handful of numbers.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.fill import pull_push

Array = NDArray[np.floating]

SETTLED = 0.02  # px


@dataclass(frozen=True)
class Grid:
    """Nodes at (x0 + j·step, y0 + i·step) px for i < rows, j < columns."""

    x0: float
    y0: float
    step: float
    rows: int
    columns: int

    @staticmethod
    def over(x0: float, y0: float, x1: float, y1: float, step: float) -> "Grid":
        """The grid that covers a box in px."""
        return Grid(x0, y0, step, int(np.ceil((y1 - y0) / step)) + 1, int(np.ceil((x1 - x0) / step)) + 1)

    @staticmethod
    def of_pixels(x0: int, y0: int, width: int, height: int, step: int) -> "Grid":
        """The grid whose values `upsample` brings to each px of a box: nodes amid step × step px, one more around."""
        half = (step - 1) / 2 - step
        return Grid(x0 + half, y0 + half, step, -(-height // step) + 2, -(-width // step) + 2)

    def nodes(self) -> Array:
        """(rows, columns, 2) px."""
        x = self.x0 + self.step * np.arange(self.columns, dtype=np.float32)
        y = self.y0 + self.step * np.arange(self.rows, dtype=np.float32)
        return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def upsample(values: Array, step: int, width: int, height: int) -> Array:
    """Values on a `Grid.of_pixels` (rows, columns[, C]) brought to its pixels (height, width[, C])."""
    size = (values.shape[1] * step, values.shape[0] * step)
    return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)[step : step + height, step : step + width]


def invert(displacement: Array, grid: Grid, targets: Array, rounds: int = 12) -> Array:
    """Where the points that arrive at `targets` (h, w, 2) px come from, for `displacement` on `grid`. (h, w, 2) px.

    A damped fixed point; where the displacement folds and it does not settle, the surroundings are continued.
    """
    offset = np.array([grid.x0, grid.y0], np.float32)
    scale = np.float32(1.0 / grid.step)
    at = targets.copy()
    error = np.zeros_like(targets)
    for _ in range(rounds):
        where = (at - offset) * scale
        moved = cv2.remap(displacement, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        error = at + moved - targets
        at -= np.float32(0.8) * error
        if np.abs(error).max() < SETTLED:
            break
    astray = np.abs(error).max(axis=-1) * scale
    if astray.max() > 0.5:
        at = targets + pull_push(at - targets, np.clip(1.5 - astray, 0.0, 1.0))
    return at
