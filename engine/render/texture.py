"""A picture that is read between its pixels, sharply and fast.

Reading with a short kernel blurs by how far between pixels one reads, which shimmers when a head drifts. So a texture
is enlarged once with a long kernel, its own pixels kept exactly, and read linearly; a large one is enlarged less and
read with a cubic kernel. Pixels are 8-bit, or float32 where 255 is white. Knows nothing of faces.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Pixels = NDArray[Any]  # uint8, or float32 where 255 is white

REACH, DRAWN_REACH = 16, 8  # of the kernel: 8 shimmers 3 % more, 4 a fifth more still; 16 rings beside drawn outlines
MOST = 1_300_000  # px; of larger textures 16 times their size is too much
LARGER = 4.5  # times that: up to it 4 times the size is kept, beyond it they are read as they are


def lanczos(reach: int) -> Array:
    """The 2 · `reach` weights that give the value midway between two samples."""
    at = np.arange(reach) + 0.5
    side = np.sinc(at) * np.sinc(at / reach)
    kernel = np.concatenate([side[::-1], side])
    return (kernel / kernel.sum()).astype(np.float32)


def doubled(pixels: Pixels, reach: int) -> Pixels:
    """Twice as many pixels: (2 i, 2 j) is (i, j) exactly, the others lie midway."""
    kernel, one = lanczos(reach), np.ones(1, np.float32)
    whole = np.empty((2 * pixels.shape[0], 2 * pixels.shape[1], *pixels.shape[2:]), pixels.dtype)
    whole[::2, ::2] = pixels
    for y, x in ((0, 1), (1, 0), (1, 1)):
        across, down = (kernel if x else one), (kernel if y else one)
        anchor = (x * (reach - 1), y * (reach - 1))
        between = cv2.sepFilter2D(pixels, -1, across, down, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
        whole[y::2, x::2] = between
    return whole


class Texture:
    """`pixels` (h, w[, C]) to be read at fractions of a pixel; beyond the rim it goes on as on the rim."""

    def __init__(self, pixels: Pixels, most: int = MOST, drawn: bool = False) -> None:
        """`drawn`: not a photo, but even colours within outlines."""
        self.pixels = np.ascontiguousarray(pixels)
        size = pixels.shape[0] * pixels.shape[1]
        self.fine = 4 if size <= most else 2 if size <= LARGER * most else 1
        self.enlarged = doubled(self.pixels, DRAWN_REACH if drawn else REACH) if self.fine > 1 else self.pixels
        if self.fine == 4:
            self.enlarged = doubled(self.enlarged, 2)

    def read(self, where: Array) -> Pixels:
        """The values (…[, C]) at `where` (…, 2) px, x and y."""
        at = where * np.float32(self.fine) if self.fine > 1 else where
        kernel = cv2.INTER_LINEAR if self.fine == 4 else cv2.INTER_CUBIC
        return cv2.remap(self.enlarged, at, None, kernel, borderMode=cv2.BORDER_REPLICATE)
