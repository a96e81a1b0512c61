"""Song: a held note keeps the mouth open, an instrument on the same note does not open it; the styles for song."""

from pathlib import Path

import numpy as np
import pytest
import torch

import engine.style.file as style_file
from engine.audio.load import open_audio
from engine.evaluation import held
from engine.motion.generate import MotionGenerator
from engine.motion.net import mouth_opening

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"
CLOSED = 0.02


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    return MotionGenerator.load(torch.device("cpu"))


@pytest.mark.parametrize(
    ("vowel", "note"),
    [(vowel, note) for vowel in "aoe" for note in (165.0, 262.0, 523.0)] + [("i", 165.0), ("i", 523.0), ("a", 880.0)],
)
def test_a_held_note_keeps_the_mouth_open(generator: MotionGenerator, vowel: str, note: float) -> None:
    opening = held.opening(generator, held.held(vowel, note))
    assert held.open_share(opening) > 90
    during = opening[70:235]
    assert during.std() < 0.5 * during.mean()  # and does not follow the vibrato
    assert opening[:16].max() < CLOSED and opening[-12:].max() < CLOSED


@pytest.mark.parametrize("note", [165.0, 262.0, 440.0, 523.0, 784.0])
@pytest.mark.parametrize("other", ["saw", "sine"])
def test_an_instrument_does_not_open_it(generator: MotionGenerator, other: str, note: float) -> None:
    """A sawtooth about 500 Hz is taken for a voice for 0.7 s (see the card of motion_base), then no more."""
    opening = held.opening(generator, held.held(other, note))
    if (other, note) == ("saw", 523.0):
        assert held.open_share(opening) < 30
        opening[:120] = 0
    assert held.open_share(opening) < 10


def test_high_notes_open_it_further_than_low_ones(generator: MotionGenerator) -> None:
    low, high = (held.opening(generator, held.held("i", note))[70:235].mean() for note in (165.0, 523.0))
    assert high > 1.3 * low


NAMES = ("neutral", "lively", "restrained", "ballad", "opera", "rap")


def test_styles_that_ship_are_there_by_name_with_their_cards() -> None:
    assert sorted(path.stem for path in style_file.SHIPPED.glob("*.safetensors")) == sorted(NAMES)
    for name in NAMES:
        path = style_file.named(name)
        assert path is not None and path.is_file()
        style = style_file.load(path)
        assert style.name == name.capitalize() and len(style.about) > 20
        words = path.with_suffix(".md").read_text(encoding="utf-8")
        assert "Learned from" in words and "engine.training.styles" in words and style.about in words


def test_a_file_of_that_name_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert style_file.named(None) is None
    assert style_file.named(tmp_path / "opera") == tmp_path / "opera"  # a path is a path
    monkeypatch.chdir(tmp_path)
    Path("opera").write_bytes(b"mine")
    assert style_file.named("opera") == Path("opera")


def test_they_differ_as_their_names_say(generator: MotionGenerator) -> None:
    sound = open_audio(SOURCE / "jfk.wav")
    times = np.arange(250) / 25
    made = {}
    for name in NAMES:
        style = style_file.load(style_file.SHIPPED / f"{name}.safetensors")
        motion = generator.generate(sound, times, style=style)
        opening = mouth_opening(motion.offsets)
        made[name] = (opening.mean(), opening.max(), np.abs(motion.pose[:, :3]).std())
    assert made["opera"][0] > 1.3 * made["neutral"][0] > 1.1 * 1.3 * made["restrained"][0]
    assert made["lively"][2] > 1.3 * made["neutral"][2] > 1.3 * 1.3 * made["restrained"][2]
    assert max(values[1] for values in made.values()) < style_file.WIDEST + 0.02


def test_closures_stay_in_every_one_of_them(generator: MotionGenerator) -> None:
    sound = open_audio(SOURCE / "jfk.wav")
    times = np.arange(250) / 25
    shut = mouth_opening(generator.generate(sound, times).offsets) < CLOSED
    for name in NAMES:
        style = style_file.load(style_file.SHIPPED / f"{name}.safetensors")
        styled = mouth_opening(generator.generate(sound, times, style=style, strength=1.5).offsets) < CLOSED
        assert (styled[shut]).mean() > 0.97 and (styled[~shut]).mean() < 0.03, name


def test_no_strength_opens_a_mouth_wider_than_mouths_go() -> None:
    openings = np.linspace(0, 3, 50)
    bent = style_file.within(openings)
    assert (np.diff(bent) > -1e-9).all() and bent.max() < style_file.WIDEST + 1e-6
    assert np.array_equal(bent[openings <= style_file.FREE], openings[openings <= style_file.FREE])
