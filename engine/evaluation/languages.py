"""Ten languages: do lips close where they should, and is a mouth's shape that of the vowel? Speech is espeak-ng's.

    python -m engine.evaluation.languages [--weights DIR]

espeak-ng knows when each of its sounds begins, in every language alike; no recordings of ten languages with faces are
to be had with clear rights. It is a robot's speech, hastier at closures than people's. Training hears it say nonsense
in fourteen languages (`engine/training/espeak.py`), never these sentences, never in these persons' voices but the
first, and six of these languages not at all. The first sentences are Article 1 of the Universal Declaration of Human
Rights.
"""

from dataclasses import dataclass

import numpy as np

from engine.audio.phones import Phone
from engine.evaluation.motion import CLOSED, answered, printed
from engine.motion.generate import MotionGenerator
from engine.motion.net import CODES_PER_SECOND, mouth_opening, mouth_width
from engine.training.augment import RATE
from engine.training.espeak import BILABIAL, BURST, LANGUAGES, say

VOICES = (("", 45), ("+f3", 60), ("+m3", 35))  # a person, and the pitch
SPEED = 140  # words a minute
NEAR = 4  # steps to either side of a sound's middle in which it may close
LATE = 10  # steps, of the control
ALONE = 0.18  # s from a tongue's sound to any sound of the lips
LIPS, TONGUE = BILABIAL | frozenset("fvwβʋɸ"), frozenset("tdkgɡnsz")
OPEN, NARROW = frozenset("aɑæɐä"), frozenset("iyuɯɨʉ")
ROUND, SPREAD = frozenset("uoɔyøœɒ"), frozenset("ieɛɪ")
TEXTS = {
    "en-us": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood. My mother bought a big paper map. Maybe "
    "people from the small village will come back by bus.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt "
    "und sollen einander im Geist der Brüderlichkeit begegnen. Meine Mutter backt bald braunes Brot. Am Abend kommen "
    "beide Buben mit dem Bus.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros. Mi mamá compra un buen pan. El hombre pobre "
    "no puede comprar un barco.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de "
    "consciência, devem agir uns para com os outros em espírito de fraternidade. Minha mãe comprou um bom pão. O pobre "
    "homem pode beber bem pouco.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
    "conscience et doivent agir les uns envers les autres dans un esprit de fraternité. Papa a bu un bon bol de soupe. "
    "Maman promet un beau bouquet.",
    "ru": "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью и "
    "должны поступать в отношении друг друга в духе братства. Мама и папа пьют молоко. Бабушка купила большой белый "
    "хлеб.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और "
    "अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए। मेरा भाई बाज़ार में पानी पीता है।",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح "
    "الإخاء. باب البيت مفتوح. بنت مريم تحب أمها.",
    "cmn": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
    "妈妈买了八本书。爸爸跑步去买面包，朋友们不怕冷。",
    "ja": "すべてのにんげんは、うまれながらにしてじゆうであり、かつ、そんげんとけんりとについてびょうどうである。"
    "ままはぱんをたべました。ぼくのまちのびじゅつかんはとてもべんりです。",
}
HEAD = """| | /p b m/ | closed | late | on tongue's | open vowels: opening | narrow | spread vowels: width | round |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


@dataclass
class Row:
    """Of one language: counts and shares of closures, and means in canonical units."""

    sounds: int
    closed: float
    late: float
    tongue: float
    open: float
    narrow: float
    spread: float
    round: float


def middle(sound: Phone) -> float:
    """s: when the sound's closure, or the sound, is half way."""
    return sound.start - sum(BURST) / 2 if sound.name[0] == "p" else (sound.start + sound.end) / 2


def heard(text: str, language: str, generator: MotionGenerator) -> Row:
    """What the mouth does with a text in all voices. Raises InputError."""
    closed: list[bool] = []
    late: list[bool] = []
    tongue: list[bool] = []
    shapes: dict[str, list[float]] = {"open": [], "narrow": [], "spread": [], "round": []}
    for voice, pitch in VOICES:
        audio, spoken = say(text, language + voice, SPEED, pitch)
        made = answered(generator, audio, RATE)
        opening, width = mouth_opening(made), mouth_width(made)
        of_lips = np.array([middle(sound) for sound in spoken if sound.name[0] in LIPS])
        for sound in spoken:
            kind, at = sound.name[0], round(middle(sound) * CODES_PER_SECOND)
            around = [opening[max(0, at + by - NEAR) : at + by + NEAR + 1].min() < CLOSED for by in (0, LATE)]
            if kind in BILABIAL:
                closed.append(around[0])
                late.append(around[1])
            if kind in TONGUE and np.abs(of_lips - middle(sound)).min() > ALONE:
                tongue.append(around[0])
            if kind in OPEN | NARROW:
                shapes["open" if kind in OPEN else "narrow"].append(opening[at])
            if kind in ROUND | SPREAD:
                shapes["round" if kind in ROUND else "spread"].append(width[at])
    means = {name: float(np.mean(values)) for name, values in shapes.items()}
    shares = [100 * float(np.mean(values)) for values in (closed, late, tongue)]
    return Row(len(closed), *shares, **means)


def rows(generator: MotionGenerator) -> dict[str, Row]:
    """By language. Raises InputError."""
    return {language: heard(text, language, generator) for language, text in TEXTS.items()}


def markdown(made: dict[str, Row]) -> str:
    """A table, a row a language; a star where nonsense of it was trained on."""
    met = {language.split("-")[0] for language in LANGUAGES}
    return HEAD + "".join(
        f"| {language}{' *' if language.split('-')[0] in met else ''} | {row.sounds} | {row.closed:.0f} | "
        f"{row.late:.0f} | {row.tongue:.0f} | {row.open:.3f} | {row.narrow:.3f} | "
        f"{row.spread:+.3f} | {row.round:+.3f} |\n"
        for language, row in made.items()
    )


if __name__ == "__main__":
    printed("engine.evaluation.languages", __doc__, lambda generator: markdown(rows(generator)))
