"""Other voices from the recordings there are: speed and pitch, timbre, rooms, and noise, music or people beneath; the
landmarks follow in time.

Played slower a voice is lower, and its throat longer, as with another speaker; what the mouth did is then stretched
alike. Everything else changes the sound only.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from engine.audio.load import open_audio
from engine.audio.speech import SpeechEncoder, speech_features
from engine.motion.curves import cubic
from engine.training.music import music

if TYPE_CHECKING:
    from engine.training.motion import Clip

RATE = 16_000  # Hz
SPEEDS = (0.85, 0.9, 0.95, 1.0, 1.06, 1.12, 1.18, 1.0)  # of the copies, in turn
OCTAVE = 1000.0  # Hz: where the tilt leaves the level as it is
ROOM, BENEATH = 0.6, 0.8  # how often there is one, and something beneath the voice
KINDS = {"noise": 0.5, "music": 0.3, "babble": 0.2}  # of what is beneath, how often each
LOUDEST = {"noise": 0.0, "music": 0.0, "babble": 8.0}  # dB at least that it is below the voice …
FAINTEST = 30.0  # … and at most


def other_voice(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mono `audio` (n,) at RATE through a random equaliser and room, at a random level, with noise, music or people
    beneath it; (n,) float64."""
    made = equalised(audio.astype(np.float64), rng)
    if rng.random() < ROOM:
        made = in_a_room(made, rng)
    if rng.random() < BENEATH:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        other = {"noise": noise, "music": music}[kind](len(made), rng) if kind != "babble" else babble(audio, rng)
        made = made + other * made.std() * 10 ** (-rng.uniform(LOUDEST[kind], FAINTEST) / 20)
    return made / max(float(np.abs(made).max()), 1e-9) * 10 ** (-rng.uniform(1, 20) / 20)


def equalised(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tilt of up to 4/3 dB an octave and two bells of up to 8 dB."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(audio), 1 / RATE), 60))
    gain = rng.uniform(-4, 4) * (octaves - np.log2(OCTAVE)) / 3
    for _ in range(2):
        middle, width = np.log2(rng.uniform(150, 6000)), rng.uniform(0.3, 1)
        gain = gain + rng.uniform(-8, 8) * np.exp(-0.5 * ((octaves - middle) / width) ** 2)
    return np.fft.irfft(np.fft.rfft(audio) * 10 ** (gain / 20), len(audio))


def in_a_room(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With an exponential tail of noise, 80 to 350 ms to −60 dB."""
    at = np.arange(RATE // 4) / RATE
    tail = rng.standard_normal(len(at)) * np.exp(-6.9 * at / rng.uniform(0.08, 0.35)) * rng.uniform(0.02, 0.12)
    tail[0] = 1
    size = len(audio) + len(tail)
    return np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(tail, size), size)[: len(audio)]


def noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) of deviation 1, white to pink."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    made = np.fft.irfft(spectrum / (np.arange(len(spectrum)) + 50) ** rng.uniform(0, 0.8), count)
    return np.asarray(made / made.std())


def babble(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) of deviation 1: what `audio` (n,) says, backward, in several voices at once."""
    made = np.zeros(len(audio))
    for _ in range(rng.integers(3, 7)):
        at = np.arange(len(audio)) * rng.uniform(0.8, 1.25) + rng.integers(0, len(audio))
        made += np.interp(at % (len(audio) - 1), np.arange(len(audio)), audio[::-1])
    return np.asarray(made / max(float(made.std()), 1e-9))


def varied(
    clip: "Clip", film: Path, copies: int, encoder: SpeechEncoder, rng: np.random.Generator, first: int = 0
) -> list["Clip"]:
    """Copies of a training clip made from `film`, each in another voice, speed (from the `first` of SPEEDS on) and
    place."""
    audio = open_audio(film).read(RATE)
    made = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "voice.wav"
        for copy in range(first, first + copies):
            speed = SPEEDS[copy % len(SPEEDS)]
            # Another rate in the header is another speed: reading it resamples.
            soundfile.write(file, other_voice(audio, rng), round(RATE * speed), "FLOAT")
            features = np.concatenate(list(speech_features(open_audio(file), encoder)))
            at = np.arange(len(features)) * speed
            at = at[at <= clip.steps - 1]
            speech = np.interp(at, np.arange(clip.steps), clip.speech) > 0.5
            made.append(
                replace(
                    clip,
                    name=f"{clip.name}~{copy}",
                    features=features[: len(at)],
                    offsets=cubic(clip.offsets, at).astype(np.float32),
                    speech=speech.astype(np.float32),
                    level=None,
                )
            )
    return made
