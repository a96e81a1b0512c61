"""A style is measured, saved, loaded again, refused when it is not one, and changes what it says it changes."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from engine.audio.load import open_audio
from engine.errors import InputError, OutputError
from engine.face.canonical import Placement, from_canonical
from engine.motion.generate import MotionGenerator
from engine.motion.net import mouth_opening
from engine.style.extract import from_landmarks
from engine.style.file import Style, load, save


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    torch.set_num_threads(1)
    return MotionGenerator.load(torch.device("cpu"))


def film(generator: MotionGenerator, loudness: float, head: float = 0.0, corners: float = 0.0) -> np.ndarray:
    """(100, 68, 3) pixels: the average face opening its mouth `loudness` times as wide as usual, turning its head by
    `head` radians, with the mouth's corners raised."""
    net, wave = generator.net, np.sin(np.arange(100) / 3)
    opening = loudness * net.scale[0].item() * np.sqrt(2) * (wave + 1)
    canonical = net.average.numpy() + opening[:, None, None] * net.basis[0].numpy()
    canonical[:, [48, 54, 60, 64], 1] += corners
    turn = np.zeros((100, 3))
    turn[:, 1] = head * np.sin(np.arange(100) / 9)
    placement = Placement(turn, np.full(100, 150.0), np.full((100, 2), 300.0), np.zeros(100))
    return from_canonical(canonical, placement)


def test_a_loud_speaker_has_larger_gains(generator: MotionGenerator) -> None:
    small, large = from_landmarks(film(generator, 0.6), "small"), from_landmarks(film(generator, 1.5), "large")
    assert small.gains[0] == pytest.approx(0.6, abs=0.1)
    assert large.gains[0] == pytest.approx(1.5, abs=0.2)


def test_head_energy_is_measured(generator: MotionGenerator) -> None:
    calm, lively = from_landmarks(film(generator, 1, 0.01), "calm"), from_landmarks(film(generator, 1, 0.2), "lively")
    assert calm.head < 0.5 < lively.head


def test_a_smile_becomes_the_resting_expression(generator: MotionGenerator) -> None:
    smile, plain = (
        from_landmarks(film(generator, 1, corners=0.04), "smile"),
        from_landmarks(film(generator, 1), "plain"),
    )
    assert smile.rest[48, 1] - plain.rest[48, 1] == pytest.approx(0.04, abs=0.012)
    assert np.abs(plain.rest).max() < 0.02


def test_a_few_frames_leave_amplitudes_alone(generator: MotionGenerator) -> None:
    few = from_landmarks(film(generator, 1.6)[:4], "few")
    assert (few.gains == 1).all() and few.head == 1


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    style = Style("Ann", np.full((68, 3), 0.01, np.float32), np.linspace(0.5, 1.5, 8, dtype=np.float32), 0.7)
    save(style, tmp_path / "ann.safetensors")
    again = load(tmp_path / "ann.safetensors")
    assert again.name == "Ann" and again.head == pytest.approx(0.7)
    np.testing.assert_array_equal(again.gains, style.gains)
    np.testing.assert_array_equal(again.rest, style.rest)
    assert [path.name for path in tmp_path.iterdir()] == ["ann.safetensors"]


def test_what_is_no_style_is_refused_in_a_sentence(tmp_path: Path) -> None:
    good = {"rest": np.zeros((68, 3), np.float32), "gains": np.ones(8, np.float32), "head": np.ones(1, np.float32)}
    save_file = safetensors.numpy.save_file
    save_file(good, tmp_path / "newer.safetensors", {"format": "parlando-style-9"})
    save_file(good, tmp_path / "other.safetensors", {"format": "parlando-motion-1"})
    save_file(
        good | {"rest": np.zeros((3, 3), np.float32)}, tmp_path / "shape.safetensors", {"format": "parlando-style-1"}
    )
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 99)
    for name, words in {
        "newer": "another version",
        "other": "not a style",
        "shape": "damaged",
        "junk": "not a style file",
        "missing": "does not exist",
    }.items():
        with pytest.raises(InputError, match=words) as told:
            load(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(told.value) and name in str(told.value)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    style = Style("Ann", np.zeros((68, 3), np.float32), np.ones(8, np.float32), 1.0)
    with pytest.raises(OutputError, match="cannot be written"):
        save(style, tmp_path / "nowhere" / "ann.safetensors")


def test_strength_blends_the_style_in(generator: MotionGenerator, words: Path) -> None:
    rest = np.zeros((68, 3), np.float32)
    rest[48, 1] = 0.03
    gains = np.ones(generator.net.sizes.codes, np.float32)
    gains[0] = 0.5
    style = Style("quiet", rest, gains, 0.5)
    sound, times = open_audio(words), np.arange(37) / 25
    plain = generator.generate(sound, times)
    none, full, more = (generator.generate(sound, times, style=style, strength=g) for g in (0.0, 1.0, 1.5))
    np.testing.assert_allclose(none.offsets, plain.offsets, atol=1e-6)
    np.testing.assert_allclose(full.pose, 0.5 * plain.pose, atol=1e-6)
    assert mouth_opening(full.offsets).max() == pytest.approx(0.5 * mouth_opening(plain.offsets).max(), rel=0.05)
    assert mouth_opening(more.offsets).max() < mouth_opening(full.offsets).max()
    still = np.argmin(mouth_opening(plain.offsets))
    assert (full.offsets - plain.offsets)[still, 48, 1] == pytest.approx(0.03, abs=0.01)


def test_landmarks_that_are_none_are_refused() -> None:
    for bad in (np.zeros((0, 68, 3)), np.zeros((5, 67, 3)), np.full((5, 68, 3), np.nan)):
        with pytest.raises(InputError):
            from_landmarks(bad, "bad")
