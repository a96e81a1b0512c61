"""Speech with noise or music under it, to see what the motion still follows. Makes sound, measures nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from engine.audio.load import Sound, open_audio
from engine.training.augment import noise

RATE = 16_000  # Hz
KINDS = ("noise", "music")
CHORDS = (0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2)  # semitones: I vi IV V


def under(kind: str, decibels: float, folder: Path, seed: int = 0) -> Callable[[Path], Sound]:
    """What opens a film's sound with noise or a band `decibels` below the speech (whole clips' powers); copies lie in
    `folder`. Raises InputError as `open_audio`."""

    def heard(path: Path) -> Sound:
        speech = np.concatenate(list(open_audio(path).blocks(RATE, 10.0))).astype(np.float64)
        rng = np.random.default_rng([seed, sum(path.name.encode())])
        other = noise(len(speech), rng) if kind == "noise" else band(len(speech), rng)
        level = np.sqrt((speech**2).mean() / max((other**2).mean(), 1e-12)) * 10 ** (-decibels / 20)
        mixed = speech + level * other
        file = folder / f"{path.stem}_{kind}_{decibels:g}.wav"
        soundfile.write(file, mixed / max(1.0, np.abs(mixed).max()), RATE)
        return open_audio(file)

    return heard


def band(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) at RATE: four chords on strings and a bass, kick, snare and hat, in a key and at a speed of its own."""
    beat = round(RATE * 60 / rng.uniform(80, 140))
    tonic = 220 * 2 ** (rng.integers(-5, 6) / 12)
    time = np.arange(4 * beat) / RATE
    bars = []
    for chord in CHORDS:
        voices = [tonic * 2 ** (note / 12) * detuned for note in chord for detuned in (0.997, 1.0, 1.003)]
        strings = sum(np.sin(2 * np.pi * k * f * time + f * k) / k**1.5 for f in voices for k in range(1, 10))
        swell = np.minimum(1, np.minimum(time / 0.15, (time[-1] - time) / 0.1))
        low = tonic * 2 ** (chord[0] / 12) / 4
        since = time % (beat / RATE)
        bass = (np.sin(2 * np.pi * low * time) + 0.5 * np.sin(4 * np.pi * low * time)) * np.exp(-since / 0.25)
        bars.append(0.15 * strings * swell + 0.8 * bass)
    played = np.concatenate(bars)
    at = np.arange(beat) / RATE
    kick = np.sin(2 * np.pi * (50 * at + 2.5 * (1 - np.exp(-at / 0.025)))) * np.exp(-at / 0.12)
    white = rng.standard_normal(beat)
    snare = white * np.exp(-at / 0.07) + 0.5 * np.sin(2 * np.pi * 190 * at) * np.exp(-at / 0.06)
    hat = np.diff(white, prepend=0.0) * np.exp(-(at % (beat / 2 / RATE)) / 0.03)
    drums = np.concatenate([1.2 * kick + 0.25 * hat, 0.5 * snare + 0.25 * hat])
    played += np.resize(drums, len(played))
    start = int(rng.integers(0, len(played)))
    return np.resize(np.roll(played, -start), count)
