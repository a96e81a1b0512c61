"""Speech of nobody, in many languages: espeak-ng says nonsense and knows when each of its sounds begins.

No face goes with it. It teaches that lips close on /p b m/, whatever the language and the voice, and come to rest in
silence, but not on what the tongue alone makes; where they go otherwise is learned from films. Half of it is heard in
rooms and noise, a third is sung (`sing.py`). Needs espeakng-loader (GPL-3.0-or-later): training and evaluation use it,
the engine does not. `engine/evaluation/languages.py` measures with other texts, voices and languages than those here.
"""

import ctypes
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from engine.audio.load import open_audio
from engine.audio.phones import Phone
from engine.audio.speech import SpeechEncoder, speech_features
from engine.errors import InputError
from engine.training.augment import RATE, other_voice
from engine.training.sing import FRAME, MANNERS, sung

if TYPE_CHECKING:
    from engine.training.motion import Clip

LANGUAGES = ("en-us", "de", "es", "it", "pt-br", "pl", "nl", "sv", "tr", "id", "fi", "cs", "hu", "ro")
VOICES = ("", "+m1", "+m2", "+m5", "+m7", "+m8", "+f1", "+f4", "+f5")
SUNG = ("ballad", "opera", "aria", "aria")
SAID, SONGS = 4, 2  # of each language
SENTENCES = {False: 14, True: 7}  # said, and sung, which takes four times as long
LIPS, TONGUE, VOWELS = "pbm", "tdkgsnlrvfzh", "aaaeeiioou"  # letters that all these languages read much alike
BILABIAL = frozenset("pbm")  # by the first sign of a sound's name in IPA
OPEN = frozenset("aɑæɐäeɛɔoœəʌɜ")
NARROW = frozenset("iɪuʊy")
INNER = frozenset("tdkgnlrɾɡŋszʃhxjɹ")  # made behind the lips
AHEAD = 64  # bytes of zeros after a text: espeak-ng looks beyond its end
SILENCE = 1.5  # s before and after what is said: lips come to rest
FAINT = 0.003  # of the loudest: not heard
BURST = 0.035, 0.002  # s before espeak-ng's /p/ begins, which is when it bursts: the lips were closed from – to


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_HEARD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS, _EVENTS_IN_IPA, _PHONEME, _UTF8, _SPEED, _PITCH = 2, 3, 7, 1, 1, 3


@cache
def _library() -> tuple[Any, int]:
    """espeak-ng, ready, and its sampling rate. Raises InputError."""
    try:
        import espeakng_loader
    except ImportError as problem:
        raise InputError("Made speech needs espeak-ng: pip install espeakng-loader==0.2.4") from problem
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 200, espeakng_loader.get_data_path().encode(), _EVENTS_IN_IPA)
    if rate <= 0:
        raise InputError("espeak-ng does not start: pip install --force-reinstall espeakng-loader==0.2.4")
    return library, rate


def say(text: str, voice: str, speed: int = 150, pitch: int = 50) -> tuple[np.ndarray, list[Phone]]:
    """Mono sound (n,) float32 at 16 kHz and its sounds, named in IPA without stress. `voice`: a language, with +m1 to
    +f5 another person; speed in words a minute, pitch 0 to 100. Raises InputError."""
    library, rate = _library()
    blocks, begins = [], []

    def heard(wave: Any, count: int, events: Any) -> int:
        if wave and count:
            blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        number = 0
        while events[number].type:
            event = events[number]
            if event.type == _PHONEME:
                name = event.id.string.decode("utf-8", "ignore").lstrip("ˈˌ")
                begins.append((event.milliseconds / 1000, name))
            number += 1
        return 0

    callback = _HEARD(heard)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()):
        raise InputError(f"espeak-ng has no voice {voice}.")
    library.espeak_SetParameter(_SPEED, speed, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath and flutter: else by the clock
    encoded = ctypes.create_string_buffer(text.encode(), len(text.encode()) + AHEAD)
    if library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None):
        raise InputError(f"espeak-ng does not say: {text[:40]}")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        soundfile.write(file, np.concatenate(blocks), rate)
        audio = open_audio(file).read(RATE)
    ends = [at for at, _ in begins[1:]] + [len(audio) / RATE]
    return audio, [Phone(name, at, end) for (at, name), end in zip(begins, ends, strict=True) if name]


def nonsense(rng: np.random.Generator, sentences: int) -> str:
    """Words of one to four syllables, many sounds of the lips among them."""

    def one(letters: str) -> str:
        return letters[rng.integers(len(letters))]

    def word() -> str:
        made = one(VOWELS) if rng.random() < 0.15 else ""
        for _ in range(rng.integers(1, 4)):
            made += one(LIPS if rng.random() < 0.4 else TONGUE) + one(VOWELS)
        return made + (one("pmbnslrt") if rng.random() < 0.35 else "")

    return " ".join(" ".join(word() for _ in range(rng.integers(4, 8))) + "." for _ in range(sentences))


def closures(spoken: Iterable[Phone]) -> Iterator[tuple[float, float, float]]:
    """When the lips are surely closed (1.0) or surely not (0.0): from – to in s, what comes later goes before."""
    sounds = list(spoken)
    names = [sound.name[0] for sound in sounds]
    for k, sound in enumerate(sounds):
        middle, length = (sound.start + sound.end) / 2, sound.end - sound.start
        if names[k] in OPEN | NARROW:
            reach = min(0.03, length / 4)
            yield middle - reach, middle + reach, 0.0
        if k + 2 < len(sounds) and names[k] in OPEN and names[k + 1] in INNER and names[k + 2] in OPEN:
            yield middle, (sounds[k + 2].start + sounds[k + 2].end) / 2, 0.0
    for sound, name in zip(sounds, names, strict=True):
        if name == "p":
            yield sound.start - BURST[0], sound.start - BURST[1], 1.0
        elif name in BILABIAL:
            reach = max(0.012, (sound.end - sound.start) / 2 - 0.012)
            middle = (sound.start + sound.end) / 2
            yield middle - reach, middle + reach, 1.0


def shut(spoken: Iterable[Phone], times: np.ndarray) -> np.ndarray:
    """(n,) float32 at `times` (n,) s: lips closed 1, open 0, not known −1."""
    known = np.full(len(times), -1, np.float32)
    for start, end, closed in closures(spoken):
        known[(times >= start) & (times <= end)] = closed
    return known


def in_silence(audio: np.ndarray, steps: int) -> np.ndarray:
    """(steps,) bool at 50 Hz: nothing was heard for 240 ms, and nothing will be for 80."""
    size = RATE // 50
    loud = np.abs(np.pad(audio, (0, max(0, steps * size - len(audio))))[: steps * size]).reshape(steps, size).max(1)
    heard = np.flatnonzero(loud > FAINT * loud.max())
    at = np.arange(steps)
    last, next_ = np.searchsorted(heard, at, "right") - 1, np.searchsorted(heard, at)
    since = np.where(last >= 0, at - heard[np.maximum(last, 0)], steps)
    until = np.where(next_ < len(heard), heard[np.minimum(next_, len(heard) - 1)] - at, steps)
    return (since > 12) & (until > 4)


def spoken_clips(encoder: SpeechEncoder, rng: np.random.Generator, songs: bool = True) -> list["Clip"]:
    """Training clips without a face, said and, with `songs`, sung."""
    from tqdm import tqdm

    from engine.training.motion import Clip, speaks

    made = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "voice.wav"
        for language in tqdm(LANGUAGES, desc="made speech"):
            for number in range(SAID + SONGS * songs):
                sings = number >= SAID
                voice = language + VOICES[rng.integers(len(VOICES))]
                speed, pitch = int(rng.integers(110, 200)), int(rng.integers(25, 75))
                audio, sounds = say(nonsense(rng, SENTENCES[sings]), voice, speed, pitch)
                audio = np.pad(audio, round(SILENCE * RATE))
                sounds = [Phone(one.name, one.start + SILENCE, one.end + SILENCE) for one in sounds]
                source = np.arange(len(audio) / RATE / FRAME) * FRAME
                if sings:
                    audio, source, _, _ = sung(audio, MANNERS[SUNG[rng.integers(len(SUNG))]], rng)
                soundfile.write(file, audio / max(1.0, float(np.abs(audio).max())), RATE, "FLOAT")
                steps = int(len(audio) / RATE * 50) + 1
                heard = speaks(open_audio(file), steps)
                silent = in_silence(audio, steps)
                if number % 2:
                    soundfile.write(file, other_voice(audio, rng), RATE, "FLOAT")
                features = np.concatenate(list(speech_features(open_audio(file), encoder)))[:steps]
                times = np.interp(np.arange(len(features)) / 50, np.arange(len(source)) * FRAME, source)
                known = shut(sounds, times)
                heard, silent = heard[: len(features)], silent[: len(features)]
                known[silent], heard[silent] = 1, 0
                nothing = np.zeros((len(features), 68, 3), np.float32)
                made.append(Clip(f"{voice}~{number}", "nobody", features, nothing, heard, kind="nobody", shut=known))
    return made
