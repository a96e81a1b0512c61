"""How sharp, how like the truth and how untouched the frames are: CPBD, mouth-region L1, background PSNR.

Numpy and OpenCV. Pictures are RGB uint8 (H, W, 3), one frame at a time; landmarks (68, 2 or 3) in their pixels. Does
not read videos: see `evaluate.py`. Perceptual distance: `perceptual.py`.
"""

import cv2
import numpy as np

BLOCK = 64  # px, side of the blocks whose contrast says how much blur is just noticeable
EDGE_SHARE = 0.002  # of a block's pixels that must be edges for it to count
BETA = 3.6
JUST_NOTICEABLE = 0.63  # probability at which a blur is just noticed
PATCH = 96  # px, side of the aligned mouth patch
EYES_AND_NOSE = np.array([27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45])
MOUTH = np.arange(48, 68)


def face_crop(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The part of a picture that holds the 68 points and a tenth of their extent around them."""
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    around = 0.1 * (high - low)
    x0, y0 = np.maximum(np.floor(low - around), 0).astype(int)
    x1, y1 = np.ceil(high + around).astype(int)
    return picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def cpbd(picture: np.ndarray) -> float | None:
    """Cumulative probability of blur detection, 0 (blurred) to 1 (sharp); None when there is no edge to judge by.

    Narvekar and Karam, IEEE Transactions on Image Processing 20(9), 2011: in blocks of 64² with more than 0.2 % edge
    pixels, P_blur = 1 − exp(−(w / w_JNB)^3.6) at each upright edge, w its width along the row from one extremum of
    light to the other (Marziliano et al. 2002), w_JNB = 5 px where the block's contrast is at most 50, else 3; CPBD is
    the share of edges with P_blur ≤ 0.63, rounded to hundredths. The threshold of edges is that of the Python package
    `cpbd`, whose figures papers on talking heads give; these are within 0.002 of them (13 portraits, 3 blurs).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    edges, widths = upright_edges(grey), edge_widths(grey)
    outlines = contours(grey)
    judged = sharp = 0
    for y in range(0, grey.shape[0] - BLOCK + 1, BLOCK):
        for x in range(0, grey.shape[1] - BLOCK + 1, BLOCK):
            block = np.s_[y : y + BLOCK, x : x + BLOCK]
            if outlines[block].mean() <= EDGE_SHARE:
                continue
            contrast = int(grey[block].max()) - int(grey[block].min())
            just = 5.0 if contrast <= 50 else 3.0
            blur = 1 - np.exp(-((widths[block][edges[block]] / just) ** BETA))
            judged += len(blur)
            sharp += int((blur.round(2) <= JUST_NOTICEABLE).sum())
    return sharp / judged if judged else None


def contours(grey: np.ndarray) -> np.ndarray:
    """(H, W) bool: Canny's edges, with the 30 % steepest places as candidates and 0.4 of that steepness to go on."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    x, y = (cv2.Sobel(smooth, cv2.CV_16S, *along) for along in ((1, 0), (0, 1)))
    high = max(float(np.percentile(np.hypot(x, y), 70)), 1.0)
    return cv2.Canny(x, y, 0.4 * high, high, L2gradient=True) > 0


def upright_edges(grey: np.ndarray) -> np.ndarray:
    """(H, W) bool: light changes along the row, within 22.5° of it, enough, and more than at both neighbours."""
    light = grey.astype(np.float64)
    strength = (cv2.Sobel(light, cv2.CV_64F, 1, 0, borderType=cv2.BORDER_REFLECT) / 8) ** 2
    strength[strength <= 2 * np.sqrt(strength.mean())] = 0
    around = np.pad(strength, 1)
    beside = (strength > around[1:-1, :-2]) & (strength > around[1:-1, 2:])
    above = (strength > around[:-2, 1:-1]) & (strength > around[2:, 1:-1])
    down, across = np.gradient(light)
    upright = (np.abs(down) <= np.tan(np.pi / 8) * np.abs(across)) & (across != 0)
    upright[[0, -1]] = upright[:, [0, -1]] = False
    return (beside | above) & upright


def edge_widths(grey: np.ndarray) -> np.ndarray:
    """(H, W) px from one extremum of light to the other along the row, through each pixel, at least 2.

    Light is followed to either side as long as it keeps falling, or keeps rising, as it does at the pixel.
    """
    steps = np.sign(np.diff(grey.astype(np.int16), axis=1))  # between a pixel and its right neighbour
    direction = np.zeros(grey.shape, np.int16)
    direction[:, 1:-1] = np.sign(grey[:, 2:].astype(np.int16) - grey[:, :-2].astype(np.int16))
    widths = np.full(grey.shape, 2.0)
    for sign in (-1, 1):
        same = steps == sign
        left = np.pad(streaks(same), ((0, 0), (2, 0)))[:, : grey.shape[1]]  # that ends at the left neighbour
        right = np.pad(streaks(same[:, ::-1])[:, ::-1], ((0, 0), (0, 2)))[:, 1:]  # that begins at the right neighbour
        widths += np.where(direction == sign, left + right, 0)
    return widths


def streaks(true: np.ndarray) -> np.ndarray:
    """(H, n) bool → how many in a row are true up to and with each place of a row."""
    index = np.arange(true.shape[1])
    return index - np.maximum.accumulate(np.where(true, -1, index), axis=1)


def aligned_mouth(picture: np.ndarray, landmarks: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(96, 96, 3) float in [0, 1]: the mouth's square of a face that has eyes and nose laid over those of `shape`.

    shape: (68, 2) landmarks in patch pixels, see `patch_shape`. Area-averaged, so a larger picture is not punished.
    """
    turn = _turn(landmarks, shape)
    scale = float(np.hypot(turn[0, 0], turn[1, 0]))
    if scale < 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.5 / scale)
    return cv2.warpAffine(picture, turn, (PATCH, PATCH), borderMode=cv2.BORDER_REPLICATE).astype(np.float32) / 255


def _turn(landmarks: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that lays eyes and nose over those of `shape`."""
    eyes = landmarks[EYES_AND_NOSE, :2].astype(np.float64)
    turn, _ = cv2.estimateAffinePartial2D(eyes, shape[EYES_AND_NOSE], method=cv2.LMEDS)
    return np.asarray(turn)


def mouth_region(landmarks: np.ndarray, shape: np.ndarray, around: int) -> np.ndarray:
    """(96, 96) bool: where in `aligned_mouth`'s patch the lips are and what is between them, `around` px larger."""
    turn = _turn(landmarks, shape)
    lips = landmarks[48:60, :2] @ turn[:, :2].T + turn[:, 2]
    mask = np.zeros((PATCH, PATCH), np.uint8)
    cv2.fillPoly(mask, [np.round(lips).astype(np.int32)], 1)
    return np.asarray(cv2.dilate(mask, np.ones((2 * around + 1,) * 2, np.uint8)) > 0)


def patch_shape(landmarks: np.ndarray) -> np.ndarray:
    """(68, 2) the truth's middle face (of (T, 68, …) landmarks) in the pixels of its mouth patch, upright."""
    middle = np.median(landmarks[..., :2], axis=0)
    eyes = middle[42:48].mean(0) - middle[36:42].mean(0)
    cosine, sine = eyes / np.linalg.norm(eyes)
    upright = middle @ np.array([[cosine, -sine], [sine, cosine]])
    mouth = upright[MOUTH].mean(0)
    side = 1.8 * np.ptp(upright[MOUTH, 0])
    return (upright - mouth) * (PATCH / side) + PATCH / 2


def mouth_l1(generated: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference of two aligned mouth patches (96, 96, 3), 0 to 1."""
    return float(np.abs(generated - truth).mean())


def background(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, true where no head or shoulder is in any frame: above and beside the head. size: (width, height).

    From all frames' landmarks (T, 68, …): a head reaches 0.7 of the brow-to-chin height above the brows and 0.35 of the
    face's width to either side; below the mouth nothing is background.
    """
    points = landmarks.reshape(-1, *landmarks.shape[-2:])[..., :2]
    low, high = points.min((0, 1)), points.max((0, 1))
    wide, tall = high - low
    width, height = size
    x0, x1 = (round(float(v)) for v in (low[0] - 0.35 * wide, high[0] + 0.35 * wide))
    y0, y1 = round(float(low[1] - 0.7 * tall)), round(float(points[:, MOUTH, 1].min()))
    mask = np.ones((height, width), bool)
    mask[max(y0, 0) :, max(x0, 0) : max(x1, 0)] = False
    mask[max(y1, 0) :] = False
    return mask


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None, best: float = 99.0) -> float | None:
    """Peak signal-to-noise ratio of two RGB uint8 pictures where `mask` is, dB, at most `best`; None for no pixel.

    10 log10(255² / mean squared difference).
    """
    apart = (a.astype(np.float32) - b.astype(np.float32)) ** 2
    apart = apart if mask is None else apart[mask]
    if not apart.size:
        return None
    mean = float(apart.mean())
    return best if mean == 0 else min(best, float(10 * np.log10(255**2 / mean)))
