"""What needs the sound: when there is silence, which sounds are spoken when, and whether lips close on /p b m/.

Phones come from `engine.audio.phones`; where it guesses wrongly the figures of result and truth suffer alike: compare
them with one another. Landmarks without sound are measured in `landmarks.py` and `metrics.py`.
"""

import numpy as np

from engine.audio.load import Sound
from engine.audio.phones import Phone

RATE = 16_000  # Hz
FRAME = 160  # samples, 10 ms
QUIET = 0.4  # of the way in dB from the quietest to the loudest twentieth of the sound: below is silence
SPAN = (15.0, 60.0)  # dB from one to the other: with less there is no telling, more is not counted
SHORTEST = 0.3  # s a silence must last to count
MARGIN = 0.15  # s at either end of a silence left out: lips open before the sound and settle after it
CLOSED = 0.025  # canonical units (eye-corner distance): trackers give shut lips 0.003, the least opening 0.05
NEAR = 0.08  # s
BILABIAL = frozenset({"P", "B", "M"})
OPEN = frozenset({"AA", "AE", "AH", "AO", "AW", "AY", "EH", "EY", "OW"})


def levels(sound: Sound) -> np.ndarray:
    """(n,) loudness of each 10 ms in dB, 0 for full scale."""
    samples = np.concatenate([np.zeros(0, np.float32), *sound.blocks(RATE, 10.0)])
    samples = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    return 10 * np.log10(np.maximum((samples.astype(np.float64) ** 2).mean(1), 1e-12))


def silence(sound: Sound, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T,) bool each, at `times` (T,) s: in a silence (its ends left out), and in speech; the rest is neither."""
    loudness = np.convolve(np.pad(levels(sound), 2, mode="edge"), np.ones(5) / 5, "valid")
    low, high = np.percentile(loudness, [5, 95])
    low = max(low, high - SPAN[1])
    quiet = (loudness < low + QUIET * (high - low)) & (high - low >= SPAN[0])
    quiet_for_long = np.zeros_like(quiet)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(int)))
    margin = round(MARGIN * RATE / FRAME)
    speaking = np.ones_like(quiet)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= SHORTEST * RATE / FRAME:
            first = start if start == 0 else start + margin
            last = end if end == len(quiet) else end - margin
            quiet_for_long[first:last] = True
            speaking[start:end] = False
    index = np.clip((times * RATE / FRAME).astype(int), 0, len(quiet) - 1)
    return quiet_for_long[index], speaking[index]


def silence_motion(landmarks: np.ndarray, still: np.ndarray, speaking: np.ndarray) -> float | None:
    """Mouth motion in silence, % of that in speech: mean speed of the 20 points of canonical landmarks (T, 68, 3).

    None when there is no silence or no speech; 0 for a mouth that never moves.
    """
    speed = np.linalg.norm(np.diff(landmarks[:, 48:68, :2], axis=0), axis=-1).mean(-1)
    quiet, loud = speed[still[1:] & still[:-1]], speed[speaking[1:] & speaking[:-1]]
    if not len(quiet) or not len(loud):
        return None
    return 100 * float(quiet.mean() / max(float(loud.mean()), 1e-12))


def closed_on(opening: np.ndarray, fps: float, spoken: list[Phone], names: frozenset[str]) -> float | None:
    """% of the phones of these names on which the lips close, as `closures` has it. None when no such phone is spoken
    within the landmarks' time.

    On /p b m/ (`BILABIAL`) lips should close; on open vowels (`OPEN`) not, which is what shows up a shut mouth.
    """
    hits = closures(opening, fps, spoken, names)
    return 100 * float(np.mean(hits)) if hits else None


def closures(opening: np.ndarray, fps: float, spoken: list[Phone], names: frozenset[str]) -> list[bool]:
    """For each phone of these names, in order, whether the lips close on it: the opening (T,) falls under `CLOSED` at
    some time from 80 ms before to 80 ms after the phone's middle. Phones after the landmarks' end are left out."""
    hits = []
    for phone in spoken:
        middle = (phone.start + phone.end) / 2
        if phone.name not in names or middle > (len(opening) - 1) / fps:
            continue
        first, last = int(np.ceil((middle - NEAR) * fps)), int(np.floor((middle + NEAR) * fps))
        hits.append(bool((opening[max(first, 0) : last + 1] < CLOSED).any()))
    return hits
