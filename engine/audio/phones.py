"""Which sounds are spoken when: phones with their times, and the mouth shape (viseme) each is drawn with.

Phones come from `pocketsphinx`, which knows English alone: in other languages what it hears is the English nearest to
it, and its times are of use where its names are not. Given the words it aligns them to some 20 ms; without, it guesses
them first. Long sounds are heard piece by piece, cut where it is quiet. Moves nothing: the motion network does not read
this (see `engine/motion/generate.py`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.audio.load import Sound, open_audio
from engine.errors import InputError, MissingModel
from engine.progress import Progress, silent

RATE = 16_000  # Hz
AROUND = 0.5  # s of faint noise before and after a piece
PIECE = 20.0  # s heard at once
ALIGNED = 60.0  # s that words are aligned with: memory grows faster than the sound, 330 s took 2 GB
QUIET = RATE // 20  # samples whose loudness says where to cut
FAINT = 5e-4  # root mean square under which nothing is spoken: the recogniser hears words in any noise
SILENCE = frozenset({"SIL", "+SPN+", "+NSN+"})

# The mouth shapes animators know from Preston Blair's "Cartoon Animation", by ARPAbet phone.
_SHAPES = {
    "MBP": "M B P",
    "FV": "F V",
    "L": "L",
    "WQ": "W",
    "U": "UW UH OY",
    "O": "OW AO",
    "AI": "AA AE AH AY AW HH",
    "E": "EH EY IH IY ER",
    "etc": "CH D DH G JH K N NG R S SH T TH Y Z ZH",
}
VISEME = {phone: shape for shape, phones in _SHAPES.items() for phone in phones.split()}


@dataclass(frozen=True)
class Phone:
    """A sound as spoken: its ARPAbet name ("SIL" is silence), start and end in s."""

    name: str
    start: float
    end: float


def phones(sound: Sound, words: str | None = None, progress: Progress = silent) -> list[Phone]:
    """The sounds spoken, in order. `words`: what is said, spaces between, which needs all of the sound at once; guessed
    when None, and none if that fails. Raises InputError when the words do not fit, MissingModel."""
    try:
        import pocketsphinx
    except ImportError as problem:
        raise MissingModel(
            "Phones are found with pocketsphinx, which is not installed: pip install pocketsphinx, or create the "
            "engine's environment again in the preferences."
        ) from problem
    decoder = pocketsphinx.Decoder(loglevel="FATAL")
    if words is not None:
        if sound.duration > ALIGNED:
            raise InputError(
                f"The sound of {sound.path} is {sound.duration:.0f} s long, words are aligned with at most "
                f"{ALIGNED:.0f} s: cut it, or leave the words out."
            )
        return _heard(decoder, sound.read(RATE), words, sound.path)
    found: list[Phone] = []
    total = max(1, round(sound.duration * RATE))
    for start, piece in pieces(sound):
        progress("phones", start, total)
        at = start / RATE
        found += [Phone(p.name, p.start + at, p.end + at) for p in _heard(decoder, piece, None, sound.path)]
    progress("phones", total, total)
    return found


def pieces(sound: Sound) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, samples) of stretches of at most `PIECE` s, cut where it is quietest in the second half."""
    held, start, longest = np.zeros(0, np.float32), 0, round(PIECE * RATE)
    for block in sound.blocks(RATE, 5.0):
        held = np.concatenate([held, block])
        while len(held) > longest:
            late = held[longest // 2 : longest // QUIET * QUIET].reshape(-1, QUIET)
            cut = longest // 2 + QUIET * int((late**2).mean(1).argmin()) + QUIET // 2
            yield start, held[:cut]
            held, start = held[cut:], start + cut
    if len(held):
        yield start, held


def _heard(decoder: Any, samples: np.ndarray, words: str | None, path: Path) -> list[Phone]:
    # The aligner loses its way where sound begins or ends in the middle of something: it gets half a second around it.
    around = 1e-4 * np.random.default_rng(0).standard_normal(round(AROUND * RATE)).astype(np.float32)
    pcm = (np.clip(np.concatenate([around, samples, around]), -1, 1) * 32767).astype("<i2").tobytes()

    def hear() -> None:
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()

    guessed = words is None
    if words is None:
        decoder.activate_search()  # the recogniser: an alignment before may be in its place
        hear()
        heard = decoder.hyp()
        words = heard.hypstr if heard else ""
    known = [word for word in words.lower().split() if decoder.lookup_word(word)]
    if not known:
        return []
    try:
        decoder.set_align_text(" ".join(known))
        hear()
        decoder.set_alignment()
        hear()
    except RuntimeError as problem:
        if guessed:  # what it thought it heard does not fit: as good as nothing heard
            return []
        raise InputError(
            f"The words “{words}” cannot be aligned with the sound of {path}: give the words that are said."
        ) from problem
    found = [part for word in decoder.get_alignment() for part in word]
    times = [(part.name, part.start / 100 - AROUND, (part.start + part.duration) / 100 - AROUND) for part in found]
    spoken = [Phone(name, max(start, 0.0), end) for name, start, end in times if end > 0]
    return [phone for phone in spoken if phone.name in SILENCE or _level(samples, phone) >= FAINT]


def _level(samples: np.ndarray, phone: Phone) -> float:
    piece = samples[round(phone.start * RATE) : round(phone.end * RATE)]
    return float(np.sqrt((piece.astype(np.float64) ** 2).mean())) if len(piece) else 0.0


def write_phones(audio: Path, out: Path, words: str | None = None, progress: Progress = silent) -> dict[str, Any]:
    """The verb `phones`: {"phones": [{"name", "viseme", "start", "end"}, …]} as JSON, silences left out; what is told
    of it. Raises InputError, MissingModel, OutputError."""
    from engine.take import replacing

    found = [phone for phone in phones(open_audio(audio), words, progress) if phone.name not in SILENCE]
    told = [
        {"name": p.name, "viseme": VISEME.get(p.name, "etc"), "start": round(p.start, 3), "end": round(p.end, 3)}
        for p in found
    ]
    with replacing(out) as part:
        part.write_text(json.dumps({"phones": told}), encoding="utf-8")
    return {"phones": str(out), "count": len(told)}
