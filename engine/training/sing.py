"""Song from speech: vowels held on notes, with vibrato, slow or fast; the landmarks are stretched alike.

There is no singing footage with clear rights. WORLD (Morise, Yokomori, Ozawa 2016) takes recorded speech apart into
pitch, spectral envelope and noise; here time is bent, the pitch replaced by a melody, the envelope shifted a little,
and it is put together again. What a mouth does in song, wider and rounder on high notes, is not learned from this: only
when it moves, and that it stays where it is while a note is held.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from engine.audio.load import open_audio
from engine.audio.speech import SpeechEncoder, speech_features
from engine.errors import InputError
from engine.motion.curves import cubic
from engine.training.augment import RATE, in_a_room

if TYPE_CHECKING:
    from engine.training.motion import Clip

FRAME = 0.005  # s, of WORLD
SHORTEST = 0.06  # s of voice from which a vowel can be held
STEADY = 0.4  # of such a stretch, its middle: what is held
FORMANTS = 0.12  # as far as a throat is made longer or shorter


@dataclass(frozen=True)
class Manner:
    """How a song goes. speed: of what is not held, from – to. held: how many of the vowels are held; seconds: how
    long, from – to; notes: semitones from the speaker's own pitch, from – to; cents: of the vibrato; ring: dB more
    around 3 kHz, the singer's formant (Sundberg 1974)."""

    speed: tuple[float, float]
    held: float
    seconds: tuple[float, float]
    notes: tuple[float, float]
    cents: tuple[float, float]
    ring: float = 0.0


MANNERS = {
    "ballad": Manner((0.6, 1.0), 0.7, (0.3, 2.0), (-4, 9), (15, 60)),
    "opera": Manner((0.5, 0.9), 0.9, (0.5, 4.0), (0, 14), (50, 120), 10.0),
    "rap": Manner((1.15, 1.6), 0.0, (0.0, 0.0), (-3, 3), (0, 10)),
}


def world() -> Any:
    """The pyworld module, which training alone needs. Raises InputError."""
    try:
        import pyworld  # type: ignore[import-not-found]
    except ImportError as problem:
        raise InputError("Training on song needs pyworld: pip install 'setuptools<81' pyworld==0.3.5") from problem
    return pyworld


def stretched(pitch: np.ndarray, loud: np.ndarray, manner: Manner, rng: np.random.Generator) -> tuple[Any, Any]:
    """From pitch (n,) Hz, 0 where there is no voice, and loudness (n,) of each frame: the frame each new one comes
    from (m,), and the number of the held vowel it is in, −1 outside (m,)."""
    voiced = (pitch > 0) & (loud > np.median(loud[pitch > 0]) / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(int), [0]])))
    where, vowel = [], []
    at, number = 0.0, 0
    for start, end in edges.reshape(-1, 2):
        if (end - start) * FRAME < SHORTEST or rng.random() > manner.held:
            continue
        middle, reach = (start + end) / 2, STEADY * (end - start) / 2
        loudest = start + int(np.argmax(loud[start:end]))
        middle = float(np.clip(loudest, start + reach, end - reach)) if end - start > 2 * reach else middle
        before = np.arange(at, middle - reach, rng.uniform(*manner.speed))
        seconds = float(np.exp(rng.uniform(*np.log(manner.seconds))))
        held = np.linspace(middle - reach, middle + reach, max(2, round(seconds / FRAME)))
        where += [before, held]
        vowel += [np.full(len(before), -1), np.full(len(held), number)]
        at, number = middle + reach, number + 1
    rest = np.arange(at, len(pitch) - 1, rng.uniform(*manner.speed))
    return np.concatenate([*where, rest]), np.concatenate([*vowel, np.full(len(rest), -1)])


def melody(
    pitch: np.ndarray, where: np.ndarray, vowel: np.ndarray, manner: Manner, rng: np.random.Generator
) -> np.ndarray:
    """(m,) Hz, 0 where there is no voice: spoken pitch between notes, and a note with vibrato in each held vowel."""
    usual = float(np.median(pitch[pitch > 0]))
    from_ = np.rint(where).astype(int)
    made = pitch[from_]
    spoken = usual * 2 ** (rng.uniform(*manner.notes) / 12) * (np.maximum(made, 1) / usual) ** 0.5
    made = np.where(made > 0, spoken, 0.0)
    for number in range(int(vowel.max(initial=-1)) + 1):
        inside = np.flatnonzero(vowel == number)
        note = usual * 2 ** (round(rng.uniform(*manner.notes)) / 12)
        time = np.arange(len(inside)) * FRAME
        wave = np.sin(2 * np.pi * rng.uniform(4.8, 6.5) * time) * np.clip((time - 0.2) / 0.3, 0, 1)
        made[inside] = note * 2 ** (rng.uniform(*manner.cents) / 1200 * wave)
    return made


def sung(audio: np.ndarray, manner: Manner, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mono `audio` (n,) at RATE as song (m,), the second of `audio` each FRAME of it comes from (k,), and which held
    vowel each is in (k,), −1 outside."""
    pyworld = world()
    audio = np.ascontiguousarray(audio, np.float64)
    pitch, at = pyworld.dio(audio, RATE, frame_period=1000 * FRAME)
    pitch = pyworld.stonemask(audio, pitch, at, RATE)
    envelope = pyworld.cheaptrick(audio, pitch, at, RATE)
    noise = pyworld.d4c(audio, pitch, at, RATE)
    if not (pitch > 0).any():
        raise InputError("There is no voice in the sound to make a song of.")
    where, vowel = stretched(pitch, envelope.sum(1), manner, rng)
    pitch = melody(pitch, where, vowel, manner, rng)
    low = np.floor(where).astype(int)
    share = (where - low)[:, None]
    spectrum = np.exp((1 - share) * np.log(envelope[low] + 1e-16) + share * np.log(envelope[low + 1] + 1e-16))
    bins = np.arange(spectrum.shape[1])
    warp = bins * rng.uniform(1 - FORMANTS, 1 + FORMANTS)
    warp = np.clip(warp, 0, bins[-1])
    low_bin = np.minimum(warp.astype(int), bins[-1] - 1)
    part = warp - low_bin
    spectrum = spectrum[:, low_bin] * (1 - part) + spectrum[:, low_bin + 1] * part
    hertz = bins / bins[-1] * RATE / 2
    spectrum *= 10 ** (manner.ring * np.exp(-0.5 * ((hertz - 2900) / 350) ** 2) / 10)
    apart = np.clip(noise[low] * (1 - share) + noise[low + 1] * share, 0, 1)
    made = pyworld.synthesize(
        np.ascontiguousarray(pitch), np.ascontiguousarray(spectrum), np.ascontiguousarray(apart), RATE, 1000 * FRAME
    )
    return made / max(float(np.abs(made).max()), 1e-9) * 10 ** (-rng.uniform(1, 15) / 20), where * FRAME, vowel


def songs(clip: "Clip", film: Path, manners: list[str], encoder: SpeechEncoder, rng: np.random.Generator) -> list[Any]:
    """A training clip as song in each of these manners, its landmarks stretched with the sound."""
    audio = open_audio(film).read(RATE)
    made = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "song.wav"
        for number, name in enumerate(manners):
            song, source, _ = sung(audio, MANNERS[name], rng)
            if rng.random() < 0.5:
                song = in_a_room(song, rng)
            soundfile.write(file, song / max(1.0, float(np.abs(song).max())), RATE, "FLOAT")
            features = np.concatenate(list(speech_features(open_audio(file), encoder)))
            times = np.arange(len(features)) * 0.02
            at = np.interp(times, np.arange(len(source)) * FRAME, source) * 50
            keep = (at <= clip.steps - 1) & (times <= len(source) * FRAME)
            speech = np.interp(at[keep], np.arange(clip.steps), clip.speech) > 0.5
            made.append(
                replace(
                    clip,
                    name=f"{clip.name}~{name}{number}",
                    features=features[: len(at)][keep],
                    offsets=cubic(clip.offsets, at[keep]).astype(np.float32),
                    speech=speech.astype(np.float32),
                )
            )
    return made
