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
    sums, samples = [np.zeros(1)], 0
    for block in sound.blocks(RATE, 10.0):  # whole pieces but for the last block
        sums.append(np.add.reduceat(block.astype(np.float64) ** 2, np.arange(0, len(block), PIECE)))
        samples += len(block)
    total = np.cumsum(np.concatenate(sums))
    middle = PIECES_PER_STEP * np.arange(steps)
    first, last = (np.clip(middle + reach, 0, len(total) - 1) for reach in (-REACH, REACH))
    heard = np.minimum(last * PIECE, samples) - first * PIECE
    power = (total[last] - total[first]) / np.maximum(heard, 1)
    return np.where(heard > 0, 10 * np.log10(np.maximum(power, 0) + 10 ** (FAINTEST / 10)), FAINTEST).astype(np.float32)
