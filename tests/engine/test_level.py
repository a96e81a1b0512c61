"""How loud it is at each step, and what that adds to the network's chance of speech."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.audio.level import FAINTEST, RATE, levels
from engine.audio.load import open_audio
from engine.motion.generate import EARLY, LOUD_ODDS, UNHEARD, surer


def test_levels_are_mean_powers_of_50_ms(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    audio = (rng.standard_normal(25 * RATE + 123) * np.repeat(rng.uniform(0, 0.2, 26), RATE)[: 25 * RATE + 123]).clip(
        -1, 1
    )
    audio[5 * RATE : 6 * RATE] = 0
    soundfile.write(tmp_path / "sound.wav", audio, RATE, "FLOAT")
    made = levels(open_audio(tmp_path / "sound.wav"), 1252)
    for step in (0, 1, 260, 499, 500, 501, 777, 1250):  # the ends, silence, and where two blocks meet
        piece = audio[max(0, 320 * step - 400) : 320 * step + 400].astype(np.float32).astype(np.float64)
        assert made[step] == pytest.approx(10 * np.log10((piece**2).mean() + 1e-10), abs=1e-3)
    assert made[260] == FAINTEST
    assert levels(open_audio(tmp_path / "sound.wav"), 0).shape == (0,)


def test_a_chance_of_speech_is_surer_where_it_is_loud_and_less_where_it_is_quiet() -> None:
    talking = np.full(400, 0.2, np.float32)
    talking[50:200] = 0.99  # a voice as loud as −20 dB, a pause with a breath in it, and a word begun
    level = np.full(400, -60.0, np.float32)
    level[50:200] = level[300:] = UNHEARD
    level[240:260] = UNHEARD - 25
    made = surer(talking, level)

    def odds(chance: np.ndarray | float) -> np.ndarray:
        return np.log(np.asarray(chance, np.float64) / (1 - np.asarray(chance, np.float64)))

    quieter, as_loud = LOUD_ODDS
    np.testing.assert_allclose(odds(made[210:290]), odds(0.2) + quieter, atol=1e-3)
    np.testing.assert_allclose(odds(made[300 - EARLY :]), odds(0.2) + as_loud, atol=1e-3)
    assert (made[50:200] > 0.99).all()


def test_a_quiet_voice_that_surely_speaks_is_not_silenced_and_is_learned() -> None:
    talking, level = np.full(3000, 0.995, np.float32), np.full(3000, UNHEARD - 30, np.float32)
    level[::7] -= 10
    talking[2500:] = 0.4
    made = surer(talking, level)
    assert (made[:2500] > 0.95).all(), "a mouth moves in full"
    assert made[100] < talking[100] and (made[2510::7] > 0.9).all(), "by and by this is how loud the voice is"


def test_it_looks_a_little_ahead() -> None:
    rng = np.random.default_rng(1)
    talking, level = rng.random(300).astype(np.float32), rng.uniform(-60, -10, 300).astype(np.float32)
    level[180:200] = -60
    changed = talking.copy(), level.copy()
    changed[0][200:], changed[1][200:] = 0.9, 0.0
    made, other = surer(talking, level), surer(*changed)
    np.testing.assert_array_equal(made[: 200 - EARLY], other[: 200 - EARLY])
    assert np.abs(made[200 - EARLY : 200] - other[200 - EARLY : 200]).max() > 0.1
    assert surer(talking[:3], level[:3]).shape == (3,)
    assert surer(talking[:0], level[:0]).shape == (0,)
