"""Style transfer: what it learns, what it must leave alone, and how its styles are kept in files."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.numpy
import torch

from engine.audio.load import open_audio
from engine.cli import main
from engine.errors import InputError
from engine.face import find, image
from engine.face.canonical import to_canonical
from engine.motion.generate import MotionGenerator
from engine.motion.net import mouth_opening, mouth_width
from engine.motion.place import place
from engine.style import file
from engine.style.extract import from_landmarks
from engine.style.file import Style
from engine.style.transfer import fit

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"
FPS = 25.0
TIMES = np.arange(150) / FPS


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    return MotionGenerator.load(torch.device("cpu"))


@pytest.fixture(scope="module")
def reference(generator: MotionGenerator) -> np.ndarray:
    """Landmarks of somebody who, whenever the lips open, pulls the left mouth corner down and forward: no style code
    knows of that."""
    motion = generator.generate(open_audio(SOURCE / "jfk.wav"), TIMES, head=0, blinks=0)
    offsets = motion.offsets.copy()
    opening = np.clip(mouth_opening(offsets), 0, None)
    for point, share in ((54, 1.0), (53, 0.6), (55, 0.6), (64, 0.8)):
        offsets[:, point, 1] -= 0.7 * share * opening
    face = find.find(image.load(SOURCE / "astronaut.png"))
    return place(replace(motion, offsets=offsets), face)[0]


@pytest.fixture(scope="module")
def code(reference: np.ndarray) -> Style:
    return from_landmarks(reference, "crooked")


@pytest.fixture(scope="module")
def fitted(reference: np.ndarray) -> Style:
    return fit(reference, "crooked", open_audio(SOURCE / "jfk.wav"), fps=FPS)


def crooked(offsets: np.ndarray) -> float:
    """How far the left corner follows the opening, canonical units per unit."""
    opening = mouth_opening(offsets)
    return float(np.polyfit(opening, offsets[:, 54, 1] - offsets[:, 48, 1], 1)[0])


def test_it_learns_what_the_code_cannot_say(
    generator: MotionGenerator, reference: np.ndarray, code: Style, fitted: Style
) -> None:
    sound = open_audio(SOURCE / "jfk.wav")
    wanted = crooked(to_canonical(reference)[0])
    by_code, by_transfer, half = (
        crooked(generator.generate(sound, TIMES, head=0, style=style, strength=strength).offsets)
        for style, strength in ((code, 1.0), (fitted, 1.0), (fitted, 0.5))
    )
    assert wanted < -0.4
    assert abs(by_transfer - wanted) < 0.6 * abs(by_code - wanted)
    assert by_transfer < half < by_code  # γ in between is in between


def test_it_learns_from_a_silent_clip(generator: MotionGenerator, reference: np.ndarray, code: Style) -> None:
    sound = open_audio(SOURCE / "jfk.wav")
    wanted = crooked(to_canonical(reference)[0])
    before, after = (
        generator.generate(sound, TIMES, head=0, style=style).offsets
        for style in (code, fit(reference, "mute", fps=FPS))
    )
    assert abs(crooked(after) - wanted) < 0.6 * abs(crooked(before) - wanted)
    np.testing.assert_allclose(mouth_opening(after), mouth_opening(before), atol=1e-4)


def test_lips_open_and_close_as_before(generator: MotionGenerator, code: Style, fitted: Style) -> None:
    sound = open_audio(SOURCE / "jfk.wav")
    before, after = (generator.generate(sound, TIMES, style=style).offsets for style in (code, fitted))
    np.testing.assert_allclose(mouth_opening(after), mouth_opening(before), atol=1e-4)
    assert np.abs(mouth_width(after) - mouth_width(before)).max() > 1e-3  # the rest moves


def test_nothing_of_it_at_strength_0_and_in_silence(generator: MotionGenerator, fitted: Style, tmp_path: Path) -> None:
    sound = open_audio(SOURCE / "jfk.wav")
    plain = generator.generate(sound, TIMES, seed=3)
    styled = generator.generate(sound, TIMES, seed=3, style=fitted, strength=0.0)
    np.testing.assert_allclose(styled.offsets, plain.offsets, atol=1e-6)
    import soundfile

    soundfile.write(tmp_path / "still.wav", np.zeros(32000), 16000)
    still = generator.generate(open_audio(tmp_path / "still.wav"), TIMES[:40], head=0, brows=0, style=fitted).offsets
    assert np.ptp(still, axis=0).max() < 1e-5


def test_the_same_clip_gives_the_same_file_and_it_comes_back(
    reference: np.ndarray, fitted: Style, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    file.save(fitted, one)
    file.save(fit(reference, "crooked", open_audio(SOURCE / "jfk.wav"), fps=FPS), two)
    assert one.stat().st_size < 100_000
    back, again = file.load(one), file.load(two)
    assert again.adapter is not None
    assert back.adapter is not None and fitted.adapter is not None
    for name, value in vars(fitted.adapter).items():
        np.testing.assert_array_equal(getattr(back.adapter, name), value.astype(np.float32))
        np.testing.assert_array_equal(getattr(again.adapter, name), getattr(back.adapter, name))


def test_a_damaged_adapter_is_told(fitted: Style, tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    file.save(fitted, path)
    with safetensors.safe_open(path, "np") as stored:
        about = stored.metadata()
    whole = safetensors.numpy.load_file(path)
    for broken in (
        {name: value for name, value in whole.items() if name != "adapter.shapes"},
        whole | {"adapter.first": whole["adapter.first"][:, :, :2].copy()},
        whole | {"adapter.second": np.full_like(whole["adapter.second"], np.nan)},
    ):
        path.write_bytes(safetensors.numpy.save(broken, about))
        with pytest.raises(InputError, match="damaged"):
            file.load(path)


def test_too_short_and_bad_options(reference: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="too few"):
        fit(reference[:10], "short", fps=FPS)
    picture = SOURCE / "astronaut.png"
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture.read_bytes())
    out = tmp_path / "s.safetensors"
    for options, told in (
        (["--fit", "5"], "folder of pictures"),
        (["--fit", "-1"], "0 to 3600"),
        (["--audio", str(SOURCE / "jfk.wav")], "--fit"),
    ):
        assert main(["style", str(folder), "--out", str(out), *options]) == 2
        words = capsys.readouterr().err.strip().splitlines()[-1]
        assert told in words and not out.exists()


def test_a_silent_film_has_no_sound_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    """Fitting without the sound because it could not be read would be failing in silence."""
    from engine.job import _heard

    film = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 64))  # type: ignore[attr-defined]
    for _ in range(10):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    assert _heard(None, film, None, tmp_path) is None
    sound = _heard(SOURCE / "jfk.wav", film, (0.1, 0.3), tmp_path)
    assert sound is not None and sound.duration > 10
    part = _heard(None, SOURCE / "jfk.wav", (2.5, 4.0), tmp_path)
    assert part is not None and part.duration == pytest.approx(1.5, abs=1e-3)
    whole = open_audio(SOURCE / "jfk.wav").read(24000)[60000:96000]
    assert part.read(24000) == pytest.approx(whole, abs=2e-4)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes()[:100])
    with pytest.raises(InputError, match=r"broken\.mp4"):
        _heard(None, broken, None, tmp_path)
