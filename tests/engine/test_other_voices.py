"""What training hears beside the recordings: other voices and song, in step with what the mouth did."""

import numpy as np
import pytest

from engine.evaluation.noisy import band
from engine.training import augment, sing
from engine.training.music import TUNES, beat, music, tune

RATE = augment.RATE


def voiced(seconds: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pitch and loudness of WORLD's frames: three vowels of 0.2 s with silence between them."""
    count = round(seconds / sing.FRAME)
    at = np.arange(count) * sing.FRAME
    speaks = (at % 0.33) < 0.2
    return np.where(speaks, 120.0, 0.0), np.where(speaks, 1.0, 1e-6)


def test_another_voice_is_as_long_and_another_sound() -> None:
    audio = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)
    made = [augment.other_voice(audio, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert len(made[0]) == RATE and np.isfinite(made[0]).all() and np.abs(made[0]).max() <= 1
    assert np.array_equal(made[0], made[1]) and not np.allclose(made[0], made[2])


def test_a_room_comes_after_the_sound_and_not_before() -> None:
    click = np.zeros(RATE)
    click[RATE // 2] = 1
    heard = augment.in_a_room(click, np.random.default_rng(0))
    assert np.abs(heard[: RATE // 2]).max() < 1e-9 < 1e-3 < np.abs(heard[RATE // 2 + 1 :]).max()


@pytest.mark.parametrize("name", ["ballad", "opera", "aria"])
def test_vowels_are_held_and_time_never_runs_backward(name: str) -> None:
    pitch, loud = voiced()
    where, vowel = sing.stretched(pitch, loud, sing.MANNERS[name], np.random.default_rng(3))
    assert len(where) == len(vowel) and (np.diff(where) >= -1e-9).all()
    assert where[0] == 0 and where[-1] > len(pitch) - 3 and vowel.max() >= 1
    for number in range(vowel.max() + 1):
        inside = where[vowel == number]
        assert len(inside) * sing.FRAME >= sing.MANNERS[name].seconds[0] - sing.FRAME
        assert (pitch[np.rint(inside).astype(int)] > 0).all()  # only voice is held
        assert np.ptp(inside) <= sing.STEADY * 0.2 / sing.FRAME + 1


def test_rap_is_faster_and_holds_nothing() -> None:
    pitch, loud = voiced()
    where, vowel = sing.stretched(pitch, loud, sing.MANNERS["rap"], np.random.default_rng(0))
    assert len(where) < len(pitch) and (vowel == -1).all()


def test_notes_are_held_with_vibrato_and_silence_has_no_pitch() -> None:
    pitch, loud = voiced()
    manner, rng = sing.MANNERS["opera"], np.random.default_rng(3)
    where, vowel = sing.stretched(pitch, loud, manner, rng)
    hertz = sing.melody(pitch, where, vowel, manner, rng)
    assert (hertz[pitch[np.rint(where).astype(int)] == 0] == 0).all()
    for number in range(vowel.max() + 1):
        cents = 1200 * np.log2(hertz[vowel == number] / np.median(hertz[vowel == number]))
        assert np.abs(cents).max() < 2 * manner.cents[1]


def test_an_aria_brings_a_low_voice_up_and_stays_where_people_sing() -> None:
    pitch, loud = voiced()
    manner, rng = sing.MANNERS["aria"], np.random.default_rng(1)
    where, vowel = sing.stretched(pitch, loud, manner, rng)
    hertz = sing.melody(pitch, where, vowel, manner, rng)[vowel >= 0]
    assert hertz.min() > 240 and hertz.max() < 1.1 * sing.HIGHEST


@pytest.mark.parametrize(
    ("note", "semitones"),
    [(150.0, 0.0), (450.0, 0.0), (636.0, 6.0), (900.0, 12.0)],  # of a vowel whose first formant is at 450 Hz
)
def test_a_note_above_the_first_formant_raises_it_and_opens_the_jaw(note: float, semitones: float) -> None:
    hertz = np.linspace(0, RATE / 2, 513)
    spoken = 1 / (1 + ((hertz - 450) / 60) ** 2) + 0.5 / (1 + ((hertz - 2000) / 90) ** 2) + 1e-4
    vowel = np.array([-1] * 10 + [0] * 40 + [-1] * 10)
    made, opening = sing.raised(np.full(60, note), np.tile(spoken, (60, 1)), vowel)
    assert np.allclose(opening[vowel < 0], 0) and np.allclose(made[vowel < 0], spoken)
    assert opening[30] == pytest.approx(sing.JAW * semitones, abs=1.5 * sing.JAW)
    assert abs(hertz[np.argmax(made[30])] - max(note, 450)) < 40
    assert np.argmax(made[30][200:]) == np.argmax(spoken[200:]) or note > 800  # the second stays, below the octave


def test_open_vowels_open_further_before_the_note_is_there() -> None:
    hertz = np.linspace(0, RATE / 2, 513)
    spoken = 1 / (1 + ((hertz - 760) / 70) ** 2) + 1e-4
    vowel = np.zeros(30, int)
    low, near = (sing.raised(np.full(30, note), np.tile(spoken, (30, 1)), vowel)[1][0] for note in (300.0, 700.0))
    assert low == 0 < near


def test_vowels_of_nobody_are_harmonics_through_formants() -> None:
    audio, sings = sing.vowels(4.0, np.random.default_rng(2))
    assert len(audio) == len(sings) == 4 * RATE and np.abs(audio).max() <= 1 and 0.5 < sings.mean() < 0.95
    assert not sings[:100].any() and np.abs(audio[:80]).mean() < 0.2 * np.abs(audio[sings]).mean()  # notes fade in
    again, _ = sing.vowels(4.0, np.random.default_rng(2))
    assert np.array_equal(audio, again)


def test_song_of_world_is_in_step_with_its_speech() -> None:
    pytest.importorskip("pyworld", reason="training alone needs pyworld")
    at = np.arange(RATE) / RATE
    audio = sum(np.sin(2 * np.pi * 130 * k * at) / k for k in range(1, 20)) * ((at % 0.5) < 0.3)
    song, source, vowel, wide = sing.sung(np.asarray(audio), sing.MANNERS["ballad"], np.random.default_rng(0))
    assert len(wide) == len(vowel) == len(source) and wide.min() >= 0
    assert abs(len(song) / RATE - len(source) * sing.FRAME) < 2 * sing.FRAME
    assert (np.diff(source) >= -1e-9).all() and source[0] >= 0 and source[-1] <= 1.0 and vowel.max() >= 0


@pytest.mark.parametrize("kind", TUNES)
def test_tunes_last_and_differ(kind: str) -> None:
    one, other = tune(kind, np.random.default_rng(0)), tune(kind, np.random.default_rng(1))
    assert len(one) == 8 * RATE and np.isfinite(one).all() and one.std() > 0.01 and not np.allclose(one, other)


def test_music_and_a_beat_fill_their_time_and_differ() -> None:
    for make in (music, beat, band):
        one, again, other = (make(3 * RATE, np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert len(one) == 3 * RATE and np.isfinite(one).all() and one.std() > 0.1
        assert np.array_equal(one, again) and not np.allclose(one, other)


def test_a_beat_comes_back_with_its_bar() -> None:
    made = beat(30 * RATE, np.random.default_rng(4))
    level = np.abs(made).reshape(-1, RATE // 50).mean(1) - np.abs(made).mean()
    alike = [np.corrcoef(level[lag:], level[:-lag])[0, 1] for lag in range(75, 200)]  # bars of 1.6 to 3.5 s
    assert max(alike) > 0.6


def test_babble_is_as_loud_as_ever_and_not_what_was_said() -> None:
    at = np.arange(2 * RATE) / RATE
    said = np.sin(2 * np.pi * 150 * at) * (np.sin(2 * np.pi * 3 * at) > 0)
    made = augment.babble(said, np.random.default_rng(0))
    assert len(made) == len(said) and made.std() == pytest.approx(1)
    assert abs(np.corrcoef(made, said)[0, 1]) < 0.2
    assert np.isfinite(augment.babble(np.zeros(RATE), np.random.default_rng(0))).all()


def test_all_kinds_of_sound_come_beneath_a_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    for kind in augment.KINDS:

        def beneath(sound: object, rng: np.random.Generator, kind: str = kind) -> np.ndarray:
            heard.append(kind)
            return np.zeros(RATE)

        monkeypatch.setattr(augment, kind, beneath)
    audio = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)
    for seed in range(60):
        augment.other_voice(audio, np.random.default_rng(seed))
    assert set(heard) == set(augment.KINDS) and 35 < len(heard) < 58
