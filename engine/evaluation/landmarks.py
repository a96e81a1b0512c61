"""How landmarks compare with the truth's: LMD, D-L, D-V, D-A and jitter; and the controls they must rank lower.

Pure numpy. Landmarks are (T, 68, 2 or 3) in iBUG order, a row a frame, generated and truth at the same times; depth is
not looked at. To measure the mouth and not the head, give canonical landmarks (`engine.face.canonical.to_canonical`).
Distances are per cent of the truth's face width, velocities those of 1/25 s whatever the frame rate. Correlation, lag
and closures are in `metrics.py`; what needs sound in `sync.py`; files are read in `evaluate.py`.
"""

import numpy as np

from engine.evaluation.metrics import landmark_distance

MOUTH = np.arange(48, 68)
INNER_LIPS = np.arange(60, 68)
UPPER, LOWER = [61, 62, 63], [67, 66, 65]  # inner lips, left to right
STEADY = np.array([27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45])  # nose and eye corners: speech leaves them be
VELOCITY_RATE = 25.0  # velocities are told per 1/25 s


def face_width(landmarks: np.ndarray) -> float:
    """Median over frames of the extent in x of the 68 points, in the landmarks' unit."""
    return float(np.median(np.ptp(landmarks[..., 0], axis=-1)))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(T,) mean over the points of their Euclidean distance in x and y."""
    return np.sqrt(((a[..., :2] - b[..., :2]) ** 2).sum(-1)).mean(-1)


def centred_mouth(landmarks: np.ndarray) -> np.ndarray:
    """(T, 20, 2) the mouth's points about their own mean."""
    mouth = landmarks[..., MOUTH, :2]
    return mouth - mouth.mean(-2, keepdims=True)


def lmd(generated: np.ndarray, truth: np.ndarray, width: float | None = None) -> float:
    """Landmark distance of the mouth, each frame's mouths laid over one another by their means; % of face width.

    LMD = 100 / w · mean_t mean_p ‖g_tp − t_tp‖ (Chen et al., "Lip Movements Generation at a Glance", ECCV 2018; there
    in pixels).
    """
    return 100 / (width or face_width(truth)) * landmark_distance(generated, truth)


def d_l(generated: np.ndarray, truth: np.ndarray, width: float | None = None) -> float:
    """D-L, landmark distance over all 68 points, % of face width: 100 / w · mean_t mean_p ‖g_tp − t_tp‖.

    (Zhou et al., "MakeItTalk", SIGGRAPH Asia 2020.)
    """
    return 100 / (width or face_width(truth)) * float(distances(generated, truth).mean())


def velocities(landmarks: np.ndarray, fps: float) -> np.ndarray:
    """(T − 1, 68, …) movement from frame to frame, as far as in 1/25 s."""
    return np.diff(np.asarray(landmarks, np.float64), axis=0) * (fps / VELOCITY_RATE)


def d_v(generated: np.ndarray, truth: np.ndarray, fps: float, width: float | None = None) -> float:
    """D-V, landmark velocity difference over all 68 points, % of face width per 1/25 s: D-L of the velocities.

    (Zhou et al., "MakeItTalk", 2020, there per frame.)
    """
    width = width or face_width(truth)
    return 100 / width * float(distances(velocities(generated, fps), velocities(truth, fps)).mean())


def mouth_area(landmarks: np.ndarray) -> np.ndarray:
    """(T,) area inside the inner lips by the shoelace formula, in the landmarks' unit squared; crossed lips give 0."""
    x, y = landmarks[..., INNER_LIPS, 0], landmarks[..., INNER_LIPS, 1]
    area = 0.5 * (x * np.roll(y, -1, -1) - np.roll(x, -1, -1) * y).sum(-1)
    upward = landmarks[..., 27, 1].mean() > landmarks[..., 8, 1].mean()  # y of the nose's root above the chin's
    return np.maximum(-area if upward else area, 0.0)


def d_a(generated: np.ndarray, truth: np.ndarray) -> float:
    """D-A, difference of the open mouth's area, % of the truth's largest: 100 · mean_t |A_g − A_t| / max_t A_t.

    (Zhou et al., "MakeItTalk", 2020.)
    """
    real = mouth_area(truth)
    return 100 * float(np.abs(mouth_area(generated) - real).mean() / max(float(real.max()), 1e-12))


def opening(landmarks: np.ndarray) -> np.ndarray:
    """(T,) gap between the inner lips: mean height of their three facing pairs; canonical landmarks, y up."""
    return (landmarks[..., UPPER, 1] - landmarks[..., LOWER, 1]).mean(-1)


def lip_width(landmarks: np.ndarray) -> np.ndarray:
    """(T,) from one corner of the mouth to the other along x; canonical landmarks."""
    return landmarks[..., 54, 0] - landmarks[..., 48, 0]


def jitter(landmarks: np.ndarray, fps: float) -> float:
    """How much the points that speech leaves be tremble against one another, % of face width.

    Mean length of their second difference over time (1/25 s) after each frame is laid over the one before by its mean:
    100 / w · mean ‖x_{t+1} − 2 x_t + x_{t−1}‖. A frozen face has none: it completes the others and ranks nothing alone.
    """
    points = np.asarray(landmarks, np.float64)[:, STEADY, :2]
    points = points - points.mean(1, keepdims=True)
    if len(points) < 3:
        return 0.0
    bend = np.diff(points, 2, axis=0) * (fps / VELOCITY_RATE) ** 2
    return 100 / face_width(landmarks) * float(np.linalg.norm(bend, axis=-1).mean())


def resampled(values: np.ndarray, fps: float, times: np.ndarray) -> np.ndarray:
    """Values (T, …) at k / fps, read linearly at `times` (n,) s → (n, …) float64; the ends hold on."""
    values = np.asarray(values, np.float64)
    place = np.clip(np.asarray(times) * fps, 0, len(values) - 1)
    left = np.minimum(place.astype(int), max(len(values) - 2, 0))
    part = (place - left).reshape(-1, *[1] * (values.ndim - 1))
    return values[left] * (1 - part) + values[np.minimum(left + 1, len(values) - 1)] * part


# Negative controls: what a metric must rank below a result that fits its sound.


def frozen(landmarks: np.ndarray, at: str = "rest") -> np.ndarray:
    """One shape for ever: "rest", the frame whose lips are nearest to shut, or "mean", the strongest that can be had.

    Canonical landmarks, y up.
    """
    shape = landmarks.mean(0) if at == "mean" else landmarks[int(np.argmin(opening(landmarks)))]
    return np.repeat(shape[None], len(landmarks), axis=0)


def shuffled(landmarks: np.ndarray, fps: float, seed: int = 0, seconds: float = 1.0) -> np.ndarray:
    """Pieces of `seconds` in another order, none where it was: the right movements at the wrong times."""
    pieces = np.array_split(np.arange(len(landmarks)), max(2, round(len(landmarks) / fps / seconds)))
    order = np.random.default_rng(seed).permutation(len(pieces))
    order[order] = np.roll(order, 1)  # one cycle through all pieces: none stays
    return landmarks[np.concatenate([pieces[i] for i in order])]


def shifted(landmarks: np.ndarray, fps: float, seconds: float) -> np.ndarray:
    """The same later (or earlier, where negative) by `seconds`; the ends hold on."""
    return resampled(landmarks, fps, np.arange(len(landmarks)) / fps - seconds)


def controls(landmarks: np.ndarray, fps: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Every negative control of one result, by the name it has in tables."""
    return {
        "frozen": frozen(landmarks),
        "frozen at mean": frozen(landmarks, "mean"),
        "shuffled": shuffled(landmarks, fps, seed),
        **{f"shifted {ms:+d} ms": shifted(landmarks, fps, ms / 1000) for ms in (-200, -100, 100, 200)},
    }
