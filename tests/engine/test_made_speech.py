"""Speech of nobody: espeak-ng says when lips close; training learns that of it and nothing else."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.audio.phones import Phone
from engine.errors import InputError
from engine.evaluation import languages
from engine.motion.generate import MotionGenerator
from engine.training import espeak
from engine.training.motion import Clip, crop, examples

RATE = espeak.RATE
REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def voice() -> None:
    pytest.importorskip("espeakng_loader", reason="training and evaluation alone need it")


def test_sounds_come_in_order_and_a_p_is_silent_before_it_bursts() -> None:
    audio, spoken = espeak.say("Mi papá bebe agua, mamá ama.", "es", 140)
    assert [sound.name[0] for sound in spoken[:5]] == ["m", "i", "p", "a", "p"]
    assert all(one.start <= one.end <= next.start + 1e-6 for one, next in itertools.pairwise(spoken))
    assert spoken[-1].end <= len(audio) / RATE + 1e-6

    def loud(start: float, end: float) -> float:
        return float(np.abs(audio[int(start * RATE) : int(end * RATE)]).mean())

    for start, end, closed in espeak.closures([sound for sound in spoken if sound.name in "pa"]):
        if closed:
            assert loud(start, end) < 0.02 < loud(start - 0.08, start - 0.02)


def test_the_same_words_are_the_same_sound_in_another_process() -> None:
    script = "from engine.training.espeak import say; print(say('Hello, how are you?', 'en-us+f3')[0].tobytes().hex())"
    said = [subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True) for _ in range(2)]
    assert len(said[0].stdout) > 10_000 and said[0].stdout == said[1].stdout


def test_what_is_known_of_the_lips() -> None:
    said = "apa ata obu idi"
    spoken = [Phone(sound, 0.1 * k, 0.1 * (k + 1)) for k, sound in enumerate(said) if sound != " "]
    times = np.arange(300) / 200
    known = espeak.shut(spoken, times)

    def at(letter: int) -> float:
        return float(known[round(200 * (0.1 * letter + 0.05))])

    closed_before_the_burst = known[round(200 * 0.08)]
    assert closed_before_the_burst == 1 and at(0) == 0 and at(2) == 0  # a p a
    assert at(5) == 0  # from one open vowel to the other across a t
    assert at(9) == 1 and at(10) == 0  # o b u
    assert at(13) == -1  # between narrow vowels lips may be anywhere


def test_silence_is_where_nothing_sounds_for_a_while() -> None:
    audio = np.zeros(3 * RATE)
    audio[RATE : 2 * RATE] = 0.5 * np.sin(np.arange(RATE))
    silent = espeak.in_silence(audio, 150)
    assert silent[:46].all() and not silent[46:112].any() and silent[112:].all()  # 80 ms before, 240 ms after
    assert not espeak.in_silence(np.tile(audio[RATE : RATE + 4000], 12), 150).any()


def test_nonsense_is_by_seed_and_full_of_lips() -> None:
    first, again, other = (espeak.nonsense(np.random.default_rng(seed), 5) for seed in (1, 1, 2))
    assert first == again != other and first.count(".") == 5
    assert 0.1 < sum(first.count(letter) for letter in "pbm") / len(first) < 0.3


def test_a_voice_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match="no voice klingon-9"):
        espeak.say("a", "klingon-9")


def test_without_a_face_only_closed_lips_are_learned() -> None:
    steps = 150
    shut = np.full(steps, -1, np.float32)
    shut[40:60], shut[80:100] = 1, 0
    features, still = np.zeros((steps, 512), np.float32), np.zeros((steps, 68, 3), np.float32)
    nobody = Clip("a", "nobody", features, still, np.ones(steps, np.float32), kind="nobody", shut=shut)
    film = Clip("b", "somebody", features, still, np.ones(steps, np.float32))
    codes = np.full((steps, 8), 0.1, np.float32)
    made, seen = examples([nobody, film], [codes, codes], np.ones(8))
    assert not made.known[:-1].any() and torch.equal(made.known[-1] > 0, torch.from_numpy(shut >= 0))
    assert torch.equal(made.closed > 0, torch.from_numpy(shut > 0))
    assert seen.known.all() and not seen.closed.any()
    parts = crop(made, np.random.default_rng(0))
    assert parts[4].shape == (9, 100) and parts[0].shape == (512, 108)


def test_lips_close_in_a_language_never_trained_on() -> None:
    generator = MotionGenerator.load(torch.device("cpu"))
    assert "ja" not in espeak.LANGUAGES
    row = languages.heard(languages.TEXTS["ja"], "ja", generator)
    assert row.sounds > 30 and row.closed > 80
    assert row.closed > 30 + max(row.late, row.tongue)  # the controls: late, and where the tongue speaks
    assert row.open > 1.1 * row.narrow and row.spread > row.round
    table = languages.markdown({"ja": row, "de": row}).splitlines()
    assert table[2].startswith("| ja |") and table[3].startswith("| de * |")


def test_every_language_of_the_table_is_one_espeak_speaks(tmp_path: Path) -> None:
    for language in languages.TEXTS:
        for voice, pitch in languages.VOICES:
            audio, spoken = espeak.say("a", language + voice, 150, pitch)
            assert len(audio) and spoken
    assert not {voice for voice, _ in languages.VOICES} & set(espeak.VOICES) - {""}
