"""Log-mel features of a sound, streamed: 24 kHz, 80 bands, 512-point STFT, window 1/60 s, shift 1/120 s.

At 24 kHz the shift is exactly 200 samples, so frame k is centred on k / 120 s for ever. Whole or in blocks, the numbers
are the same. Does not normalise: the scale is fixed, and silence has a floor.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from engine.audio.load import Sound

RATE = 24_000  # Hz
SHIFT = 200  # samples, 1/120 s
WINDOW = 400  # samples, 1/60 s
STFT = 512
MELS = 80
FRAMES_PER_SECOND = RATE // SHIFT
FLOOR = 1e-5  # of the mel energy: about the level of 16-bit silence


@lru_cache
def mel_bank(rate: int, bins: int, bands: int) -> np.ndarray:
    """(bands, bins) float32 triangular filters on Slaney's scale with unit area, from 0 Hz to half the rate."""

    def to_mel(hertz: np.ndarray) -> np.ndarray:
        high = 15 + np.log(np.maximum(hertz, 1e-9) / 1000) / (np.log(6.4) / 27)
        return np.where(hertz < 1000, hertz * 3 / 200, high)

    def to_hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * (np.log(6.4) / 27)))

    edges = to_hertz(np.linspace(0, to_mel(np.array(rate / 2)), bands + 2))
    hertz = np.linspace(0, rate / 2, bins)
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    area = 2 / (edges[2:] - edges[:-2])[:, None]
    return (np.maximum(0, np.minimum(rise, fall)) * area).astype(np.float32)


def centred_frames(blocks: Iterator[np.ndarray], size: int, shift: int) -> Iterator[np.ndarray]:
    """(n, size) pieces of audio, frame k centred on sample k * shift; before the start and after the end is silence.

    n samples give n // shift + 1 frames, however they were cut into blocks.
    """
    held = np.zeros(size // 2, np.float32)
    total = made = 0
    for block in blocks:
        total += len(block)
        held = np.concatenate([held, block])
        count = (len(held) - size) // shift + 1
        if count > 0:
            yield np.lib.stride_tricks.sliding_window_view(held, size)[: count * shift : shift]
            held = held[count * shift :]
            made += count
    count = total // shift + 1 - made
    if total and count > 0:
        held = np.pad(held, (0, max(0, (count - 1) * shift + size - len(held))))
        yield np.lib.stride_tricks.sliding_window_view(held, size)[: count * shift : shift]


def log_mel(sound: Sound, seconds: float = 10.0) -> Iterator[np.ndarray]:
    """(n, 80) float32 natural-log mel energies, 120 a second, streamed in blocks of about `seconds`."""
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    bank = mel_bank(RATE, STFT // 2 + 1, MELS)
    for frames in centred_frames(sound.blocks(RATE, seconds), WINDOW, SHIFT):
        power = np.abs(np.fft.rfft(frames * window, STFT).astype(np.complex64)) ** 2
        yield np.log(np.maximum(power @ bank.T, FLOOR))
