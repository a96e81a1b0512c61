"""Tells people from what is behind them: a soft matte, refined along the picture's own edges.

The net sees 256² pixels; a guided filter brings its answer to hair and shoulders at the picture's resolution. Does not
tell one person from another, and cuts no hair strand by strand. It knows no drawings: a drawn figure is told by its
colours (GrabCut), and only where the outline found is one that is drawn.
"""

from functools import lru_cache

import cv2
import numpy as np
import torch

from engine.face import nets

SIZE = 256  # px, the net's input
WORKED = 512  # px of the longer side at which the guided filter is fitted
REACH = 0.012  # of the longer side: radius of the filter's windows
DRAWN = 320  # px of the longer side at which a drawing is cut
LINED = 0.7  # of a cut's outline that must lie on an edge of the drawing
FLATNESS = 1e-4  # variance of colour below which a window is taken as flat and the matte is only smoothed


def person_matte(rgb: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1], 1 where a person is, from a (H, W, 3) uint8 picture."""
    small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        (answer,) = _net()(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)
    return _refined(answer[0, 0].numpy(), rgb)


def drawn_matte(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """(H, W) float32 in [0, 1] of a drawn figure with 68 `landmarks` (68, 2 or 3) px; None where it does not stand out
    from what is behind. GrabCut (Rother et al. 2004) from an oval about the face and what is below it."""
    height, width = rgb.shape[:2]
    scale = min(1.0, DRAWN / max(height, width))
    small = cv2.cvtColor(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    points = landmarks[:, :2] * scale
    unit = float(np.linalg.norm(points[45] - points[36]))
    middle, chin = np.round(points[27]).astype(int), np.round(points[8]).astype(int)
    kind = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    cv2.ellipse(kind, middle.tolist(), (round(1.3 * unit), round(1.5 * unit)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    kind[max(chin[1], 0) :, max(0, round(chin[0] - 1.6 * unit)) : round(chin[0] + 1.6 * unit)] = cv2.GC_PR_FGD
    cv2.fillConvexPoly(kind, cv2.convexHull(np.round(points).astype(np.int32)), cv2.GC_FGD)
    kind[:2] = kind[: chin[1], :2] = kind[: chin[1], -2:] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(small, kind, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:  # a face that fills the picture leaves no background to tell colours of
        return None
    cut = ((kind == cv2.GC_FGD) | (kind == cv2.GC_PR_FGD)).astype(np.uint8)
    rim = (cv2.morphologyEx(cut, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0)[2:-2, 2:-2]
    slopes = [np.abs(cv2.Sobel(small, cv2.CV_32F, *along)).max(-1) / 8 for along in ((1, 0), (0, 1))]
    edges = cv2.dilate((np.maximum(*slopes) > 8.0).astype(np.uint8), np.ones((3, 3), np.uint8))[2:-2, 2:-2] > 0
    if not 0.03 < cut.mean() < 0.95 or edges[rim].mean() < LINED or edges.mean() > LINED / 2:
        return None
    return _refined(cut.astype(np.float32), rgb)


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
