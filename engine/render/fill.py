"""Filling holes in a picture from what surrounds them.

Used once per portrait: for the plate behind a moving head, and for what lies under lips and lids. Nothing here looks at
landmarks, and nothing is done per frame.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.texture import Pixels

Array = NDArray[np.floating]


def pull_push(picture: Array, known: Array) -> Array:
    """Fill `picture` (H, W, C) where `known` (H, W) in [0, 1] is 0, smoothly, from the known pixels.

    A pyramid of weighted means: each hole takes the finest level at which anything is known. Known pixels are kept.
    """
    weight = np.clip(known, 0.0, 1.0).astype(np.float32)[..., None]
    levels = [(picture.astype(np.float32) * weight, weight)]
    while min(levels[-1][1].shape[:2]) > 2:
        colour, mass = levels[-1]
        half = (max(1, (colour.shape[1] + 1) // 2), max(1, (colour.shape[0] + 1) // 2))
        colour = cv2.resize(cv2.GaussianBlur(colour, (5, 5), 1.0), half, interpolation=cv2.INTER_AREA)
        mass = cv2.resize(cv2.GaussianBlur(mass, (5, 5), 1.0), half, interpolation=cv2.INTER_AREA)
        scale = 1.0 / np.maximum(mass, 1e-6)
        full = np.minimum(mass * 4.0, 1.0)  # a pixel counts as known as soon as a quarter of it is
        colour = colour.reshape(*mass.shape[:2], -1) * (scale * full)[..., None]
        levels.append((colour, full[..., None]))
    colour, mass = levels[-1]
    whole = colour / np.maximum(mass, 1e-6)
    for colour, mass in levels[-2::-1]:
        size = (mass.shape[1], mass.shape[0])
        whole = cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR).reshape(colour.shape)
        whole = colour + (1.0 - mass) * whole
    return whole.astype(np.float32)


def extend(picture: Pixels, known: NDArray[np.bool_], blur: float) -> Pixels:
    """Continue `picture` (H, W, 3) where not `known` (H, W) with the nearest known pixel, softened by `blur` px."""
    if not known.any():
        return picture
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, 3), picture.dtype)
    nearest[labels[known]] = picture[known]
    whole = nearest[labels]
    soft = cv2.GaussianBlur(whole, (0, 0), max(0.4, blur))
    return np.where(known[..., None], picture, soft)


def smoothstep(values: Array | float) -> Array:
    """0 below 0, 1 above 1, and in between a curve with no corner at either end."""
    t = np.clip(np.asarray(values), 0.0, 1.0)
    return (t * t * t * (t * (t * 6.0 - 15.0) + 10.0)).astype(np.float32)
