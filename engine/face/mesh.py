"""The mesh net: 478 points of one face in a crop of a picture, and which of them are the 68 iBUG points.

Crops are squares of any size and turn; a crop that follows from a mesh is level and sized as the net was trained. Runs
on the CPU everywhere, so that the same picture has the same landmarks on every machine. Does not find faces: see
`find.py`.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch

from engine.face import nets

POINTS = 478
SIZE = 256  # px, the net's input
MARGIN = 1.5  # the net was trained on crops this much larger than the face
WIDER = 1.07  # the second pair of views: as good a crop as the first, whose errors differ
OUTER_EYES = (33, 263)

# The mesh point for each iBUG point. The mesh has no jaw line of its own: 0 … 16 follow its outer rim.
# fmt: off
IBUG = np.array([
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,                                      # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,                                                # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,                          # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,                                # outer lips
    78, 82, 13, 312, 308, 317, 14, 87,                                                  # inner lips
])
# The point at the other side of the face for each point.
MIRROR = np.array([
    0, 1, 2, 248, 4, 5, 6, 249, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 250, 251, 252, 253, 254, 255, 256,
    257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 276, 277, 278,
    279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 294, 295, 296, 297, 298, 299, 300,
    301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321, 322,
    323, 94, 324, 325, 326, 327, 328, 329, 330, 331, 332, 333, 334, 335, 336, 337, 338, 339, 340, 341, 342, 343,
    344, 345, 346, 347, 348, 349, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359, 360, 361, 362, 363, 364, 365,
    366, 367, 368, 369, 370, 371, 372, 373, 374, 375, 376, 377, 378, 379, 151, 152, 380, 381, 382, 383, 384, 385,
    386, 387, 388, 389, 390, 164, 391, 392, 393, 168, 394, 395, 396, 397, 398, 399, 175, 400, 401, 402, 403, 404,
    405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 195, 419, 197, 420, 199, 200, 421, 422,
    423, 424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 435, 436, 437, 438, 439, 440, 441, 442, 443, 444,
    445, 446, 447, 448, 449, 450, 451, 452, 453, 454, 455, 456, 457, 458, 459, 460, 461, 462, 463, 464, 465, 466,
    467, 3, 7, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
    45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72,
    73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 95, 96, 97, 98, 99, 100,
    101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122,
    123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144,
    145, 146, 147, 148, 149, 150, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 165, 166, 167, 169, 170,
    171, 172, 173, 174, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193,
    194, 196, 198, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219,
    220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241,
    242, 243, 244, 245, 246, 247, 473, 476, 475, 474, 477, 468, 471, 470, 469, 472,
])
# fmt: on


@dataclass(frozen=True)
class Crop:
    """A square of the picture: centre (2,) and side in pixels, turn in radians (clockwise as seen in the image)."""

    centre: np.ndarray
    side: float
    turn: float

    def affine(self, size: int) -> np.ndarray:
        """(2, 3): crop pixels (of `size` across) → picture pixels, both with pixel centres at whole numbers."""
        scale = self.side / size
        axes = (
            np.array([[math.cos(self.turn), -math.sin(self.turn)], [math.sin(self.turn), math.cos(self.turn)]]) * scale
        )
        middle = np.full(2, (size - 1) / 2)
        return np.column_stack([axes, self.centre - axes @ middle])


def points_in(rgb: np.ndarray, crop: Crop, views: int = 1) -> tuple[np.ndarray, float]:
    """((478, 3) float32 points in picture pixels, z toward the viewer; score 0 … 1 that this is a face) from a crop.

    views: how many readings are averaged, 1, 2 (mirrored too) or 4 (and a little wider): steadier, and as slow.
    """
    crops = [crop, Crop(crop.centre, crop.side * WIDER, crop.turn)][: max(1, views // 2)]
    pixels = np.stack([cut(rgb, one, SIZE, cv2.BORDER_REPLICATE) for one in crops])
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    if views > 1:
        batch = torch.cat([batch, batch.flip(3)])
    with torch.inference_mode():
        points, presence, _ = _net()(batch)
    points = points.reshape(-1, POINTS, 3).numpy().astype(np.float64)
    if views > 1:
        mirrored = points[len(crops) :, MIRROR]
        mirrored[..., 0] = SIZE - mirrored[..., 0]
        points = (points[: len(crops)] + mirrored) / 2
    meshes = []
    for one, found in zip(crops, points, strict=True):
        affine = one.affine(SIZE)
        # The net counts from the crop's corner; pixel centres here are whole numbers.
        flat = (found[:, :2] - 0.5) @ affine[:, :2].T + affine[:, 2]
        meshes.append(np.column_stack([flat, -found[:, 2] * one.side / SIZE]))
    return np.mean(meshes, 0).astype(np.float32), float(torch.sigmoid(presence[0]))


def crop_around(mesh: np.ndarray) -> Crop:
    """The level square around a mesh (478, 3) in which the net sees best."""
    right, left = mesh[OUTER_EYES[0], :2], mesh[OUTER_EYES[1], :2]
    turn = math.atan2(left[1] - right[1], left[0] - right[0])
    axes = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    level = mesh[:, :2].astype(np.float64) @ axes
    low, high = level.min(0), level.max(0)
    return Crop(axes @ ((low + high) / 2), float((high - low).max()) * MARGIN, turn)


def cut(rgb: np.ndarray, crop: Crop, size: int, border: int) -> np.ndarray:
    """The crop as (size, size, 3) uint8, averaged rather than skipped over where it shrinks."""
    affine = crop.affine(size)
    shrink = int(crop.side / size)
    if shrink >= 2:
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ affine[:, :2].T + affine[:, 2]
        height, width = rgb.shape[:2]
        low = np.clip(np.floor(corners.min(0)).astype(int) - shrink, 0, (width - 1, height - 1))
        high = np.clip(np.ceil(corners.max(0)).astype(int) + shrink, low + 1, (width, height))
        part = rgb[low[1] : high[1], low[0] : high[0]]
        small = np.maximum((high - low) // shrink, 1)
        factor = small / (high - low)
        rgb = cv2.resize(part, tuple(int(n) for n in small), interpolation=cv2.INTER_AREA)
        # The picture's pixel centre p is the small one's (p + 0.5 - low) * factor - 0.5.
        affine = np.column_stack([affine[:, :2] * factor[:, None], (affine[:, 2] + 0.5 - low) * factor - 0.5])
    return cv2.warpAffine(rgb, affine, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)


@lru_cache(maxsize=1)
def _net() -> nets.GraphNet:
    return nets.load("face", "landmarks")
