"""Song: a held note keeps the mouth open, an instrument on the same note does not open it; the styles for song."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import engine.style.file as style_file
from engine.audio.load import open_audio
from engine.motion.generate import Motion, MotionGenerator
from engine.motion.net import mouth_opening

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"
RATE = 16_000
CLOSED = 0.02
FORMANTS = {  # Hz, bandwidths; Peterson and Barney (1952), a singer's throat above
    "a": ((730, 90), (1090, 110), (2440, 120), (3100, 150)),
    "o": ((570, 90), (840, 100), (2410, 120), (3100, 150)),
    "e": ((530, 80), (1840, 110), (2480, 120), (3200, 150)),
}


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    return MotionGenerator.load(torch.device("cpu"))


def held(vowel: str | None, note: float, seconds: float = 4.0, cents: float = 60.0) -> np.ndarray:
    """(n,) a note with vibrato and a second of silence on either side: sung on a vowel, or played by a saw."""
    at = np.arange(round(seconds * RATE)) / RATE
    hertz = note * 2 ** (cents / 1200 * np.sin(2 * np.pi * 5.5 * at) * np.clip((at - 0.3) / 0.3, 0, 1))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    sound = np.zeros(len(at))
    for k in range(1, int(7000 / note)):
        level = np.full(len(at), 1.0 / k)
        if vowel is not None:
            level = level / k  # a voice falls 12 dB an octave
            for centre, width in FORMANTS[vowel]:
                level = level * (1 + 30 / (1 + ((k * hertz - centre) / width) ** 2))
        sound += level * np.sin(k * phase)
    sound *= np.clip(np.minimum(at / 0.08, (seconds - at) / 0.2), 0, 1)
    return np.pad(0.5 * sound / np.abs(sound).max(), RATE)


def motion(generator: MotionGenerator, sound: np.ndarray, path: Path) -> Motion:
    soundfile.write(path, sound, RATE)
    times = np.arange(round(len(sound) / RATE * 25)) / 25
    return generator.generate(open_audio(path), times, head=0, blinks=0)


@pytest.mark.parametrize("vowel", list(FORMANTS))
@pytest.mark.parametrize("note", [165.0, 262.0])
def test_a_held_note_keeps_the_mouth_open(generator: MotionGenerator, vowel: str, note: float, tmp_path: Path) -> None:
    opening = mouth_opening(motion(generator, held(vowel, note), tmp_path / "a.wav").offsets)
    during = opening[round(1.4 * 25) : round(4.7 * 25)]
    assert (during > CLOSED).mean() > 0.9
    assert during.std() < 0.5 * during.mean()  # and does not follow the vibrato
    assert opening[:8].max() < CLOSED and opening[-6:].max() < CLOSED


@pytest.mark.parametrize("note", [165.0, 262.0])
def test_an_instrument_does_not_open_it(generator: MotionGenerator, note: float, tmp_path: Path) -> None:
    opening = mouth_opening(motion(generator, held(None, note), tmp_path / "a.wav").offsets)
    assert (opening > CLOSED).mean() < 0.1


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
