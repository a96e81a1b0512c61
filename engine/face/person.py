"""Tells people from what is behind them: a soft matte, refined along the picture's own edges.

The net sees 256² pixels; a guided filter brings its answer to hair and shoulders at the picture's resolution. Does not
tell one person from another, and cuts no hair strand by strand.
"""

from functools import lru_cache

import cv2
import numpy as np
import torch

from engine.face import nets

SIZE = 256  # px, the net's input
WORKED = 512  # px of the longer side at which the guided filter is fitted
REACH = 0.012  # of the longer side: radius of the filter's windows
FLATNESS = 1e-4  # variance of colour below which a window is taken as flat and the matte is only smoothed


def person_matte(rgb: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1], 1 where a person is, from a (H, W, 3) uint8 picture."""
    small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        (answer,) = _net()(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)
    return _refined(answer[0, 0].numpy(), rgb)


def _refined(matte: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """The matte as a locally linear function of the picture's colours (guided filter, He et al. 2010), at full size."""
    height, width = rgb.shape[:2]
    scale = min(1.0, WORKED / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    guide = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    matte = cv2.resize(matte, size, interpolation=cv2.INTER_CUBIC)
    window = 2 * max(1, round(REACH * max(size))) + 1

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (window, window), borderType=cv2.BORDER_REPLICATE)

    middle, average = mean(guide), mean(matte)
    products = mean((guide[..., :, None] * guide[..., None, :]).reshape(*guide.shape[:2], 9))
    spread = products.reshape(*guide.shape[:2], 3, 3) - middle[..., :, None] * middle[..., None, :]
    shared = mean(guide * matte[..., None]) - middle * average[..., None]
    slope = np.linalg.solve(spread + FLATNESS * np.eye(3, dtype=np.float32), shared[..., None])[..., 0]
    offset = average - (slope * middle).sum(-1)
    slope, offset = (cv2.resize(mean(values), (width, height)) for values in (slope, offset))
    refined = offset
    for channel in range(3):
        refined = refined + slope[..., channel] * (rgb[..., channel].astype(np.float32) / 255)
    return np.clip(refined, 0, 1)


@lru_cache(maxsize=1)
def _net() -> nets.GraphNet:
    return nets.load("person", "person")
