"""Music nobody sings in: tunes on simple waves, and a beat. Training hears it alone, where the mouth stays shut, and
beneath voices. What evaluation plays is made otherwise (`engine/evaluation/noisy.py`).
"""

from collections.abc import Callable

import numpy as np

from engine.audio.speech import RATE

TUNES = ("sine", "saw", "square", "pluck", "chord")
TUNE_SECONDS = 8.0
BEAT = 0.5  # how often there is one


def music(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) of deviation 1: one to three tunes at once, every other time with a beat."""
    made = np.zeros(count)
    for _ in range(rng.integers(1, 4)):
        made += rng.uniform(0.3, 1) * lasting(lambda: tune(str(rng.choice(TUNES)), rng), count, rng)
    if rng.random() < BEAT:
        made = made / made.std() + beat(count, rng) * 10 ** (rng.uniform(-12, 3) / 20)
    return np.asarray(made / made.std())


def lasting(part: Callable[[], np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) of one part after the other, from anywhere in the first."""
    parts = [part()]
    parts[0] = parts[0][rng.integers(0, len(parts[0])) :]
    while sum(map(len, parts)) < count:
        parts.append(part())
    return np.concatenate(parts)[:count]


def tune(kind: str, rng: np.random.Generator, rate: int = RATE) -> np.ndarray:
    """(n,) a melody on what is no voice, TUNE_SECONDS long: notes of 0.15 to 1.5 s, some with vibrato."""
    made: list[np.ndarray] = []
    while sum(map(len, made)) < TUNE_SECONDS * rate:
        at = np.arange(int(rng.uniform(0.15, 1.5) * rate)) / rate
        hertz = (
            110
            * 2 ** (rng.integers(0, 38) / 12)
            * 2 ** (rng.uniform(0, 0.08) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * at))
        )
        phase = 2 * np.pi * np.cumsum(hertz) / rate
        note = {
            "sine": lambda p, t: np.sin(p),
            "saw": lambda p, t: sum(np.sin(k * p) / k for k in range(1, 20)),
            "square": lambda p, t: sum(np.sin(k * p) / k for k in range(1, 20, 2)),
            "pluck": lambda p, t: sum(np.sin(k * p) / k * np.exp(-1.5 * k * t) for k in range(1, 15)),
            "chord": lambda p, t: sum(np.sin(m * p) * np.exp(-t) for m in (1, 1.26, 1.5, 2)),
        }[kind](phase, at)
        made.append(note * np.clip(np.minimum(at / 0.02, (at[-1] - at) / 0.05), 0, 1))
    return np.concatenate(made)[: round(TUNE_SECONDS * rate)]


def beat(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) of deviation 1: a bar of random blows of drum and brush, over and over."""
    step = round(RATE * 15 / rng.uniform(70, 150))  # a sixteenth
    at = np.arange(4 * step) / RATE
    cycles = rng.uniform(45, 90) * at + rng.uniform(1, 4) * (1 - np.exp(-at / 0.03))
    drum = np.sin(2 * np.pi * cycles) * np.exp(-at / 0.1)
    brush = np.diff(rng.standard_normal(len(at) + 1)) * np.exp(-at / rng.uniform(0.02, 0.15))
    bar = np.zeros(20 * step)
    for sixteenth in range(16):
        for blow, chance in ((drum, 0.25), (0.5 * brush, 0.5)):
            if rng.random() < chance or sixteenth == 0:
                bar[sixteenth * step : sixteenth * step + len(at)] += rng.uniform(0.4, 1) * blow
    bar[: 4 * step] += bar[16 * step :]
    made = np.resize(bar[: 16 * step], count + 16 * step)[rng.integers(0, 16 * step) :][:count]
    return np.asarray(made / made.std())
