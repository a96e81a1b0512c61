"""Speech with noise or music under it, to see what the motion still follows. Makes sound, measures nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from engine.audio.load import Sound, open_audio
from engine.training.augment import noise
from engine.training.motion import TUNE_SECONDS, tune

RATE = 16_000  # Hz
KINDS = ("noise", "music")
TUNES = ("saw", "pluck", "chord")


def under(kind: str, decibels: float, folder: Path, seed: int = 0) -> Callable[[Path], Sound]:
    """What opens a film's sound with noise or a tune `decibels` below the speech (whole clips' powers); copies lie in
    `folder`. Raises InputError as `open_audio`."""

    def heard(path: Path) -> Sound:
        speech = np.concatenate(list(open_audio(path).blocks(RATE, 10.0))).astype(np.float64)
        rng = np.random.default_rng([seed, sum(path.name.encode())])
        if kind == "noise":
            other = noise(len(speech), rng)
        else:
            times = int(np.ceil(len(speech) / (RATE * TUNE_SECONDS)))
            other = np.concatenate([tune(str(rng.choice(TUNES)), rng) for _ in range(times)])[: len(speech)]
        level = np.sqrt((speech**2).mean() / max((other**2).mean(), 1e-12)) * 10 ** (-decibels / 20)
        mixed = speech + level * other
        file = folder / f"{path.stem}_{kind}_{decibels:g}.wav"
        soundfile.write(file, mixed / max(1.0, np.abs(mixed).max()), RATE)
        return open_audio(file)

    return heard
