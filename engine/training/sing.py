"""Song from speech: vowels held on notes, with vibrato, slow or fast; the landmarks are stretched alike.

There is no singing footage with clear rights. WORLD (Morise, Yokomori, Ozawa 2016) takes recorded speech apart into
pitch, spectral envelope and noise; here time is bent, the pitch replaced by a melody, the envelope shifted a little,
and it is put together again. Where a note comes near the vowel's first formant or passes it, singers raise that formant
by opening the jaw (Sundberg and Skoog 1997; Echternach, Sundberg and others 2009): so do the envelope and the landmarks
here, from the pitch those papers name, by an amount set by hand. How else a mouth sings is not learned from this.
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
from engine.motion.curves import cubic, smooth
from engine.motion.net import mouth_opening
from engine.style.file import within
from engine.training.augment import RATE, equalised, in_a_room

if TYPE_CHECKING:
    from engine.training.motion import Clip

FRAME = 0.005  # s, of WORLD
SHORTEST = 0.06  # s of voice from which a vowel can be held
STEADY = 0.4  # of such a stretch, its middle: what is held
FORMANTS = 0.12  # as far as a throat is made longer or shorter
THROAT = -0.22  # its length goes with this power of the pitch: women's are a seventh shorter, an octave above men's
FIRST = 250.0, 1000.0  # Hz, where first formants are
OPEN_VOWEL = 600.0  # Hz of the first formant from which a vowel is an open one
OPENS_AT = {True: -5.0, False: 0.0}  # semitones from that formant: open vowels open further from there, others later
JAW = 0.012  # canonical units of lip opening a semitone, about a millimetre
LOWEST, HIGHEST = 90.0, 1050.0  # Hz
SLOWLY = 50  # passes of smoothing: 70 ms or so to open and to close


@dataclass(frozen=True)
class Manner:
    """How a song goes. speed: of what is not held, from – to. held: how many of the vowels are held; seconds: how
    long, from – to; notes: semitones from the speaker's own pitch, from – to; cents: of the vibrato; ring: dB more
    around 3 kHz, the singer's formant (Sundberg 1974); voice: Hz, a lower one
    is brought up to it, with as much shorter a throat as voices of that pitch have."""

    speed: tuple[float, float]
    held: float
    seconds: tuple[float, float]
    notes: tuple[float, float]
    cents: tuple[float, float]
    ring: float = 0.0
    voice: float = 0.0


MANNERS = {
    "ballad": Manner((0.6, 1.0), 0.7, (0.3, 2.0), (-4, 9), (15, 60)),
    "opera": Manner((0.5, 0.9), 0.9, (0.5, 4.0), (0, 14), (50, 120), 10.0),
    "aria": Manner((0.5, 0.9), 0.9, (0.5, 3.0), (4, 26), (40, 110), 8.0, 220.0),
    "rap": Manner((1.15, 1.6), 0.0, (0.0, 0.0), (-3, 3), (0, 10)),
}


def world() -> Any:
    """The pyworld module, which training alone needs. Raises InputError."""
    try:
        import pyworld
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
    usual = max(float(np.median(pitch[pitch > 0])), manner.voice)
    from_ = np.rint(where).astype(int)
    made = pitch[from_]
    spoken = usual * 2 ** (rng.uniform(*manner.notes) / 12) * (np.maximum(made, 1) / usual) ** 0.5
    made = np.where(made > 0, spoken, 0.0)
    for number in range(int(vowel.max(initial=-1)) + 1):
        inside = np.flatnonzero(vowel == number)
        note = usual * 2 ** (round(rng.uniform(*manner.notes)) / 12)
        time = np.arange(len(inside)) * FRAME
        wave = np.sin(2 * np.pi * rng.uniform(4.8, 6.5) * time) * np.clip((time - 0.2) / 0.3, 0, 1)
        made[inside] = np.minimum(note, HIGHEST) * 2 ** (rng.uniform(*manner.cents) / 1200 * wave)
    return made


def first_formant(envelope: np.ndarray) -> float:
    """Hz of the strongest place of a power envelope (bins,) up to RATE / 2 where a first formant can be."""
    hertz = np.linspace(0, RATE / 2, len(envelope))
    inside = (hertz >= FIRST[0]) & (hertz <= FIRST[1])
    return float(hertz[inside][np.argmax(envelope[inside] * hertz[inside] ** 2)])  # voices fall by 6 to 12 dB an octave


def raised(pitch: np.ndarray, spectrum: np.ndarray, vowel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power envelopes (m, bins) in which each held vowel's first formant is nowhere below its pitch (m,) Hz, and the
    lip opening that takes, (m,) canonical units beyond speech's."""
    hertz = np.linspace(0, RATE / 2, spectrum.shape[1])
    made, opening = spectrum.copy(), np.zeros(len(pitch))
    for number in range(int(vowel.max(initial=-1)) + 1):
        inside = np.flatnonzero(vowel == number)
        own, note = first_formant(spectrum[inside].mean(0)), float(np.median(pitch[inside]))
        beyond = 12 * np.log2(note / own) - OPENS_AT[own > OPEN_VOWEL]
        opening[inside] = JAW * max(0.0, beyond)
        if note > own:
            end = max(2 * note, 1800.0)
            from_ = np.interp(hertz, [0, note, end, hertz[-1]], [0, own, end, hertz[-1]])
            for k in inside:
                made[k] = np.exp(np.interp(from_, hertz, np.log(spectrum[k] + 1e-16)))
    return made, opening


def sung(audio: np.ndarray, manner: Manner, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Mono `audio` (n,) at RATE as song (m,); the second of `audio` each FRAME of it comes from (k,); which held vowel
    each is in (k,), −1 outside; by how many canonical units the lips are further open than spoken (k,)."""
    pyworld = world()
    audio = np.ascontiguousarray(audio, np.float64)
    pitch, at = pyworld.dio(audio, RATE, frame_period=1000 * FRAME)
    pitch = pyworld.stonemask(audio, pitch, at, RATE)
    envelope = pyworld.cheaptrick(audio, pitch, at, RATE)
    noise = pyworld.d4c(audio, pitch, at, RATE)
    if not (pitch > 0).any():
        raise InputError("There is no voice in the sound to make a song of.")
    usual = float(np.median(pitch[pitch > 0]))
    where, vowel = stretched(pitch, envelope.sum(1), manner, rng)
    pitch = melody(pitch, where, vowel, manner, rng)
    low = np.floor(where).astype(int)
    share = (where - low)[:, None]
    spectrum = np.exp((1 - share) * np.log(envelope[low] + 1e-16) + share * np.log(envelope[low + 1] + 1e-16))
    bins = np.arange(spectrum.shape[1])
    raised_by = max(1.0, manner.voice / usual)
    warp = bins * rng.uniform(1 - FORMANTS, 1 + FORMANTS) * raised_by**THROAT
    warp = np.clip(warp, 0, bins[-1])
    low_bin = np.minimum(warp.astype(int), bins[-1] - 1)
    part = warp - low_bin
    spectrum = spectrum[:, low_bin] * (1 - part) + spectrum[:, low_bin + 1] * part
    spectrum, opening = raised(pitch, spectrum, vowel)
    hertz = bins / bins[-1] * RATE / 2
    spectrum *= 10 ** (manner.ring * np.exp(-0.5 * ((hertz - 2900) / 350) ** 2) / 10)
    apart = np.clip(noise[low] * (1 - share) + noise[low + 1] * share, 0, 1)
    apart = apart * rng.random()  # trained voices have less breath
    made = pyworld.synthesize(
        np.ascontiguousarray(pitch), np.ascontiguousarray(spectrum), np.ascontiguousarray(apart), RATE, 1000 * FRAME
    )
    loudness = 10 ** (-rng.uniform(1, 15) / 20)
    return made / max(float(np.abs(made).max()), 1e-9) * loudness, where * FRAME, vowel, smooth(opening, SLOWLY)


def songs(
    clip: "Clip",
    film: Path,
    manners: list[str],
    jaw: np.ndarray,
    encoder: SpeechEncoder,
    rng: np.random.Generator,
) -> list[Any]:
    """A training clip as song in each of these manners, its landmarks stretched with the sound and, on high notes, the
    lips further open: `jaw` (68, 3) is what an opening of 1 moves."""
    audio = open_audio(film).read(RATE)
    made = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "song.wav"
        for number, name in enumerate(manners):
            song, source, _, opening = sung(audio, MANNERS[name], rng)
            song = equalised(song, rng)
            if rng.random() < 0.5:
                song = in_a_room(song, rng)
            soundfile.write(file, song / max(1.0, float(np.abs(song).max())), RATE, "FLOAT")
            features = np.concatenate(list(speech_features(open_audio(file), encoder)))
            times = np.arange(len(features)) * 0.02
            frames = np.arange(len(source)) * FRAME
            at = np.interp(times, frames, source) * 50
            keep = (at <= clip.steps - 1) & (times <= len(source) * FRAME)
            speech = np.interp(at[keep], np.arange(clip.steps), clip.speech) > 0.5
            offsets = cubic(clip.offsets, at[keep])
            spoken = mouth_opening(offsets)
            wide = within(spoken + np.interp(times[keep], frames, opening)) - within(spoken)
            made.append(
                replace(
                    clip,
                    name=f"{clip.name}~{name}{number}",
                    features=features[: len(at)][keep],
                    offsets=(offsets + wide[:, None, None] * jaw).astype(np.float32),
                    speech=speech.astype(np.float32),
                    level=None,
                )
            )
    return made


def vowels(seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Notes of 0.3 to 1.5 s, each on a vowel anybody could sing: a pulse train through four formants, with vibrato and
    some breath. (n,) at RATE, at most 1; and where a note sounds in full, (n,) bool."""
    made: list[np.ndarray] = []
    sings: list[np.ndarray] = []
    while sum(map(len, made)) < seconds * RATE:
        at = np.arange(int(rng.uniform(0.3, 1.5) * RATE)) / RATE
        note = LOWEST * (HIGHEST / LOWEST) ** rng.random()
        cents = rng.uniform(0, 100) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * at + rng.uniform(0, 7))
        pitch = note * 2 ** (cents / 1200)
        throat = rng.uniform(0.85, 1.2)
        first = max(rng.uniform(280, 850) * throat, note * rng.uniform(0.7, 1.1))
        second = max(rng.uniform(700, 2400) * throat, first + 250)
        formants = first, second, max(rng.uniform(2300, 3100) * throat, second + 250), rng.uniform(3100, 3900) * throat
        widths = rng.uniform(60, 160, 4)
        fall, ring = rng.uniform(1.0, 2.2), rng.uniform(10, 40)  # 6 to 13 dB an octave

        def gain(hertz: np.ndarray, formants: Any = formants, widths: Any = widths, ring: float = ring) -> np.ndarray:
            peaks = [1 + ring / (1 + ((hertz - f) / w) ** 2) for f, w in zip(formants, widths, strict=True)]
            return np.asarray(np.prod(peaks, axis=0))

        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        sound = np.zeros(len(at))
        for k in range(1, int(0.9 * RATE / 2 / note) + 1):
            sound += gain(k * pitch) / k**fall * np.sin(k * phase)
        white = np.fft.rfft(rng.standard_normal(len(at)))
        breath = np.fft.irfft(white * gain(np.linspace(0, RATE / 2, len(white))), len(at))
        sound = sound / sound.std() + breath / breath.std() * 10 ** rng.uniform(-3, -0.7)
        made.append(sound * np.clip(np.minimum(at / 0.05, (at[-1] - at) / 0.1), 0, 1))
        sings.append((at > 0.08) & (at < at[-1] - 0.12))
    audio, where = np.concatenate(made), np.concatenate(sings)
    return audio[: round(seconds * RATE)] / np.abs(audio).max(), where[: round(seconds * RATE)]
