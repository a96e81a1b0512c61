"""Held notes: is a mouth that sings open, and is it shut while the same note is played? Sound by formant synthesis.

    python -m engine.evaluation.held [--weights DIR]

Five vowels of two throats on notes from A2 to A5, with vibrato; an instrument's saw and a whistle's sine on the same
notes are the control. No recordings of singers with clear rights are to be had. Training hears other synthetic vowels
(`vowels` in `engine/training/sing.py`: notes under 1.5 s, drawn formants) and never these.
"""

import numpy as np

from engine.evaluation.motion import CLOSED, answered, printed
from engine.motion.generate import MotionGenerator
from engine.motion.net import CODES_PER_SECOND, mouth_opening

RATE = 16_000  # Hz
NOTES = (110, 165, 262, 392, 523, 659, 784, 880)  # Hz
FORMANTS = {  # Hz, bandwidths: Peterson and Barney (1952), men's; a singer's throat above
    "a": ((730, 90), (1090, 110), (2440, 120), (3100, 150)),
    "o": ((570, 90), (840, 100), (2410, 120), (3100, 150)),
    "e": ((530, 80), (1840, 110), (2480, 120), (3200, 150)),
    "i": ((270, 60), (2290, 100), (3010, 120), (3500, 150)),
    "u": ((300, 60), (870, 100), (2240, 120), (3100, 150)),
}
SHORTER = 1.15  # times as high are the formants of the second throat
SECONDS, QUIET = 4.0, 1.0


def held(vowel: str, note: float, throat: float = 1.0, cents: float = 60.0) -> np.ndarray:
    """(n,) at RATE: SECONDS of a note with vibrato between QUIET ones. `vowel`: one of FORMANTS, or "saw", "sine"."""
    at = np.arange(round(SECONDS * RATE)) / RATE
    hertz = note * 2 ** (cents / 1200 * np.sin(2 * np.pi * 5.5 * at) * np.clip((at - 0.3) / 0.3, 0, 1))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    sound = np.zeros(len(at))
    for k in range(1, 2 if vowel == "sine" else int(7000 / note)):
        level = np.full(len(at), 1.0 / k)
        if vowel in FORMANTS:
            level = level / k  # a voice falls 12 dB an octave
            for centre, width in FORMANTS[vowel]:
                level = level * (1 + 30 / (1 + ((k * hertz - throat * centre) / width) ** 2))
        sound += level * np.sin(k * phase)
    sound *= np.clip(np.minimum(at / 0.08, (SECONDS - at) / 0.2), 0, 1)
    return np.pad(0.5 * sound / np.abs(sound).max(), round(QUIET * RATE))


def opening(generator: MotionGenerator, sound: np.ndarray) -> np.ndarray:
    """(n,) canonical units at 50 Hz: the lips' opening while `sound` is heard."""
    return mouth_opening(answered(generator, sound, RATE))


def open_share(openings: np.ndarray) -> float:
    """Per cent of the note, its ends left out, in which the lips are open."""
    inside = slice(round((QUIET + 0.4) * CODES_PER_SECOND), round((QUIET + SECONDS - 0.3) * CODES_PER_SECOND))
    return 100 * float((openings[inside] > CLOSED).mean())


def rows(generator: MotionGenerator) -> dict[str, list[float]]:
    """By what sounds, the share of NOTES for which lips are open."""
    made = {}
    for throat, name in ((1.0, "low voice"), (SHORTER, "high voice")):
        for vowel in FORMANTS:
            shares = [open_share(opening(generator, held(vowel, note, throat))) for note in NOTES]
            made[f"/{vowel}/, {name}"] = shares
    for other in ("saw", "sine"):
        made[f"nobody: {other}"] = [open_share(opening(generator, held(other, note))) for note in NOTES]
    return made


def markdown(made: dict[str, list[float]]) -> str:
    """A table, a row for each that sounds."""
    head = f"| | {' | '.join(f'{note} Hz' for note in NOTES)} |\n| --- |{' --- |' * len(NOTES)}\n"
    return head + "".join(f"| {name} | {' | '.join(f'{x:.0f}' for x in row)} |\n" for name, row in made.items())


if __name__ == "__main__":
    printed("engine.evaluation.held", __doc__, lambda generator: markdown(rows(generator)))
