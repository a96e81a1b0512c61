"""How loud a sound is at each step of motion, streamed. What is loud enough to be speech others decide."""

import numpy as np

from engine.audio.load import Sound

RATE = 16_000  # Hz
PIECE = 80  # samples: 5 ms
PIECES_PER_STEP = 4  # 50 steps a second
REACH = 5  # pieces to either side of a step's time that count: 50 ms in all
FAINTEST = -100.0  # dB: digital silence


def levels(sound: Sound, steps: int) -> np.ndarray:
    """(steps,) float32 dB, 0 for full scale: mean power of the 50 ms around i / 50 s, or of what the sound has there.

    Raises InputError where the sound cannot be read."""
    total, count = np.zeros(1), np.zeros(1, np.int64)
    for block in sound.blocks(RATE, 10.0):  # whole pieces but for the last block
        starts = np.arange(0, len(block), PIECE)
        total = np.append(total, total[-1] + np.cumsum(np.add.reduceat(block.astype(np.float64) ** 2, starts)))
        count = np.append(count, np.minimum(count[-1] + starts + PIECE, count[-1] + len(block)))
    middle = PIECES_PER_STEP * np.arange(steps)
    first, last = (np.clip(middle + reach, 0, len(total) - 1) for reach in (-REACH, REACH))
    heard = count[last] - count[first]
    power = (total[last] - total[first]) / np.maximum(heard, 1)
    return np.where(heard > 0, 10 * np.log10(np.maximum(power, 0) + 10 ** (FAINTEST / 10)), FAINTEST).astype(np.float32)
