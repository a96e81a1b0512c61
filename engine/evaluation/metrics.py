"""How well one mouth follows another: figures on landmarks over time. numpy only; knows no files, sound or networks.

All take canonical landmarks or offsets of them, y up; sequences to compare have the same length and rate.
"""

import numpy as np

MOUTH = slice(48, 68)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two curves; 0 when either does not move, for what is still follows nothing."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / size) if size > 1e-12 else 0.0


def lag(made: np.ndarray, truth: np.ndarray, rate: float, most: float = 0.4) -> tuple[float, float]:
    """By how many seconds `made` comes after `truth` where they agree best within ±`most` s, and r there."""
    best = (0.0, correlation(made, truth))
    reach = min(round(most * rate), len(made) - 3)
    for shift in range(-reach, reach + 1):
        late = made[max(0, shift) : len(made) + min(0, shift)]
        early = truth[max(0, -shift) : len(truth) + min(0, -shift)]
        r = correlation(late, early)
        if r > best[1] + 1e-9:
            best = (shift / rate, r)
    return best


def landmark_distance(made: np.ndarray, truth: np.ndarray) -> float:
    """LMD: mean distance of the mouth's points (T, 68, 3), in x and y, each mouth centred: in the units given."""
    a, b = made[:, MOUTH, :2], truth[:, MOUTH, :2]
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return float(np.linalg.norm(a - b, axis=-1).mean())


def closures(opening: np.ndarray, closed: float) -> np.ndarray:
    """Index of the narrowest step of each stretch (at least one step) where `opening` is below `closed`."""
    shut = np.concatenate([[False], np.asarray(opening) < closed, [False]])
    starts, ends = np.flatnonzero(~shut[:-1] & shut[1:]), np.flatnonzero(shut[:-1] & ~shut[1:])
    return np.array([s + int(np.argmin(opening[s:e])) for s, e in zip(starts, ends, strict=True)], np.int64)


def closure_score(
    made: np.ndarray, truth: np.ndarray, rate: float, closed: float, window: float = 0.08
) -> tuple[float, float]:
    """Of the truth's closures, the share where `made` is closed within ±`window` s; and of `made`'s closed steps, the
    share where the truth is. (1, 1) is perfect, 0 for none; a mouth that is always shut scores (1, low)."""

    def share(events: np.ndarray, other: np.ndarray) -> float:
        reach = round(window * rate)
        hits = [bool((other[max(0, e - reach) : e + reach + 1] < closed).any()) for e in events]
        return float(np.mean(hits)) if hits else 0.0

    precision_events = np.flatnonzero(np.asarray(made) < closed)
    return share(closures(truth, closed), made), share(precision_events, truth)


def silence_motion(opening: np.ndarray, speech: np.ndarray) -> float:
    """Mean speed of the lip opening where `speech` (T,) is false, over that where it is true. 0 is a still mouth."""
    speed = np.abs(np.diff(opening))
    both = speech[1:] == speech[:-1]
    quiet, loud = speed[both & ~speech[1:]], speed[both & speech[1:]]
    if not len(quiet) or not len(loud) or loud.mean() == 0:
        return 0.0
    return float(quiet.mean() / loud.mean())


def jitter(landmarks: np.ndarray, rate: float) -> float:
    """Mean size of the mouth points' acceleration (T, 68, 3), units per s²: what flickers."""
    return float(np.linalg.norm(np.diff(landmarks[:, MOUTH], 2, axis=0), axis=-1).mean() * rate**2)
