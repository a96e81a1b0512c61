"""Small tools on curves over time: cubic sampling, smoothing, soft limits. Arrays only; knows no faces."""

import numpy as np


def cubic(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Samples (n, ...) rows at fractional positions `at` (m,) by Catmull-Rom; beyond the ends the end values hold."""
    at = np.clip(at, 0, len(values) - 1)
    base = np.minimum(at.astype(np.int64), max(0, len(values) - 2))
    u = (at - base).reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
    before, here, there, after = (values[np.clip(base + k, 0, len(values) - 1)] for k in (-1, 0, 1, 2))
    bend = 2 * before - 5 * here + 4 * there - after
    return here + u / 2 * (there - before + u * (bend + u * (3 * (here - there) + after - before)))


def smooth(values: np.ndarray, times: int) -> np.ndarray:
    """(n, ...) rows averaged with their neighbours by 1/4, 1/2, 1/4, `times` times; the ends repeat."""
    for _ in range(times):
        padded = np.concatenate([values[:1], values, values[-1:]])
        values = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    return values


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth rise between."""
    x = np.clip((values - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def soft_limit(values: np.ndarray, free: float, most: float) -> np.ndarray:
    """Unchanged within ±`free`, bent smoothly so that nothing passes ±`most`."""
    size = np.abs(values)
    room = most - free
    return np.where(size <= free, values, np.sign(values) * (free + room * np.tanh((size - free) / room)))
