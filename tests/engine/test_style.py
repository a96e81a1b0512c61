"""A style is measured, saved, loaded again, refused when it is not one, and changes what it says it changes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
import torch

from engine.audio.load import open_audio
from engine.errors import InputError, OutputError
from engine.face.canonical import Placement, from_canonical, to_canonical
from engine.face.find import Face
from engine.motion.generate import Motion, MotionGenerator
from engine.motion.net import mouth_opening
from engine.motion.place import place
from engine.style.expression import LOWER_LIDS, MOST, UPPER_LIDS, expression_of
from engine.style.extract import from_landmarks
from engine.style.file import CLOSED, Style, load, save
from engine.style.reference import BASE, NAMES, find_references


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    torch.set_num_threads(1)
    return MotionGenerator.load(torch.device("cpu"))


def film(generator: MotionGenerator, loudness: float, head: float = 0.0, corners: float = 0.0) -> np.ndarray:
    """(100, 68, 3) pixels: the average face opening its mouth `loudness` times as wide as the network does, turning its
    head by `head` radians, with the mouth's corners raised."""
    net, wave = generator.net, np.sin(np.arange(100) / 3)
    usual = safetensors.numpy.load_file(BASE)["opening"][0] * net.scale[0].item()
    opening = loudness * usual / np.sqrt(1.5) * (wave + 1)
    canonical = net.average.numpy() + opening[:, None, None] * net.basis[0].numpy()
    canonical[:, [48, 54, 60, 64], 1] += corners
    turn = np.zeros((100, 3))
    turn[:, 1] = head * np.sin(np.arange(100) / 9)
    placement = Placement(turn, np.full(100, 150.0), np.full((100, 2), 300.0), np.zeros(100))
    return from_canonical(canonical, placement)


def test_a_loud_speaker_has_larger_gains(generator: MotionGenerator) -> None:
    small, large = from_landmarks(film(generator, 0.6), "small"), from_landmarks(film(generator, 1.5), "large")
    assert small.gains[0] == pytest.approx(0.6, abs=0.05)
    assert large.gains[0] == pytest.approx(1.5, abs=0.1)


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
    wide = mouth_opening(plain.offsets).max()
    assert mouth_opening(full.offsets).max() == pytest.approx(CLOSED + 0.5 * (wide - CLOSED), rel=0.02)
    assert mouth_opening(more.offsets).max() < mouth_opening(full.offsets).max()
    still = np.argmin(mouth_opening(plain.offsets))
    assert (full.offsets - plain.offsets)[still, 48, 1] == pytest.approx(0.03, abs=0.01)


def test_landmarks_that_are_none_are_refused() -> None:
    for bad in (np.zeros((0, 68, 3)), np.zeros((5, 67, 3)), np.full((5, 68, 3), np.nan)):
        with pytest.raises(InputError):
            from_landmarks(bad, "bad")


def test_references_are_the_templates_own_frames(generator: MotionGenerator) -> None:
    base = safetensors.numpy.load_file(BASE)
    frames = np.repeat(generator.net.average.numpy()[None], 60, 0)  # at rest at first …
    frames[20:] += 0.1 * generator.net.basis[1].numpy() + 0.03 * generator.net.basis[0].numpy()  # … then grimaces
    for where, name in ((slice(30, 35), "R"), (40, "O"), (50, "M")):
        frames[where] = generator.net.average.numpy()
        frames[where, 48:, :2] += base["templates"][NAMES.index(name)]
    placement = Placement(np.zeros((60, 3)), np.full(60, 150.0), np.full((60, 2), 300.0), np.zeros(60))
    found = find_references(from_canonical(frames, placement))
    assert found["O"].frame == 40 and found["M"].frame == 50
    assert 30 <= found["R"].frame < 35 and found["None"].frame < 20
    assert all(reference.distance < 0.012 for reference in found.values())


def test_references_of_few_frames(generator: MotionGenerator) -> None:
    pixels = film(generator, 1)
    four = find_references(pixels[[0, 5, 9, 14]])
    assert sorted(reference.frame for reference in four.values()) == [0, 1, 2, 3]
    assert {reference.frame for reference in find_references(pixels[:1]).values()} == {0}
    assert len({reference.frame for reference in find_references(pixels).values()}) == 4
    with pytest.raises(InputError):
        find_references(pixels[:0])


def test_the_file_keeps_references_and_code(generator: MotionGenerator, tmp_path: Path) -> None:
    pixels = film(generator, 1.3, 0.05)
    style = from_landmarks(pixels, "clip")
    save(style, tmp_path / "clip.safetensors")
    again = load(tmp_path / "clip.safetensors")
    np.testing.assert_array_equal(again.references, pixels[[r.frame for r in find_references(pixels).values()]])
    for name in ("slope", "shift", "frames", "distances", "rest"):
        np.testing.assert_array_equal(getattr(again, name), getattr(style, name))
    assert again.relax == 1 and again.brows == pytest.approx(style.brows)


def test_a_style_of_version_1_still_works(generator: MotionGenerator, tmp_path: Path, words: Path) -> None:
    tensors = {"rest": np.zeros((68, 3)), "gains": np.full(8, 0.5), "head": np.ones(1)}
    path = tmp_path / "old.safetensors"
    safetensors.numpy.save_file(
        {name: value.astype(np.float32) for name, value in tensors.items()}, path, {"format": "parlando-style-1"}
    )
    sound, times = open_audio(words), np.arange(37) / 25
    plain, styled = generator.generate(sound, times), generator.generate(sound, times, style=load(path))
    assert mouth_opening(styled.offsets).max() < 0.7 * mouth_opening(plain.offsets).max()
    assert styled.relax == 0


def test_damaged_codes_are_refused(generator: MotionGenerator, tmp_path: Path) -> None:
    style = from_landmarks(film(generator, 1), "clip")
    for number, change in enumerate(
        ({"shift": style.shift[:3]}, {"frames": style.frames[:2]}, {"slope": style.slope * np.nan})
    ):
        path = tmp_path / f"damaged{number}.safetensors"
        save(Style(**{**vars(style), **change}), path)
        with pytest.raises(InputError, match="damaged"):
            load(path)


def test_every_style_has_the_closures_of_none(generator: MotionGenerator, speech: Path) -> None:
    sound, times = open_audio(speech), np.arange(275) / 25
    plain = generator.generate(sound, times)
    shut = mouth_opening(plain.offsets) < CLOSED
    assert 10 < shut.sum() < 250
    for loudness in (0.5, 1.7):
        style = from_landmarks(film(generator, loudness, 0.1, 0.03), "any")
        for strength in (0.5, 1.0, 1.5):
            styled = mouth_opening(generator.generate(sound, times, style=style, strength=strength).offsets)
            assert ((styled < CLOSED + 1e-3) | ~shut).mean() > 0.99
            assert ((styled > CLOSED - 1e-3) | shut).mean() > 0.99


def test_expression_is_limited_and_leaves_lips_closed(generator: MotionGenerator) -> None:
    average = generator.net.average.numpy()
    assert not expression_of(average, average)[:48].any()
    face = average + np.random.default_rng(0).normal(0, 0.1, (68, 3)).astype(np.float32)
    told = expression_of(face, average)
    assert np.abs(told).max() <= MOST + 1e-6 and not told[27:36].any()
    assert mouth_opening(told) == pytest.approx(0, abs=1e-6)
    eyes = (average + told)[UPPER_LIDS, 1] - (average + told)[LOWER_LIDS, 1]
    assert (eyes > 0.5 * (average[UPPER_LIDS, 1] - average[LOWER_LIDS, 1])).all()


def test_a_style_takes_the_place_of_the_portraits_expression(generator: MotionGenerator) -> None:
    average = generator.net.average.numpy()
    smiling = average.copy()
    smiling[[48, 54, 60, 64], 1] += 0.05
    placement = Placement(np.zeros(3), np.array(200.0), np.array([500.0, 400.0]), np.array(0.0))
    face: Face = SimpleNamespace(landmarks=from_canonical(smiling, placement))  # type: ignore[assignment]
    nothing = (
        np.zeros((1, 68, 3), np.float32),
        np.zeros((1, 6), np.float32),
        np.zeros(1, np.float32),
        False,
        np.zeros(1),
    )
    kept = to_canonical(place(Motion(*nothing), face)[0])[0][0]
    eased = to_canonical(place(Motion(*nothing, 1.0, average), face)[0])[0][0]
    assert kept[48, 1] - average[48, 1] == pytest.approx(0.05, abs=0.005)
    assert eased[48, 1] - average[48, 1] == pytest.approx(0, abs=0.01)


def test_motion_without_style_is_as_it_was(generator: MotionGenerator, words: Path) -> None:
    """The steps of `generate` before styles had a code, to the last bit."""
    from engine.motion.bank import BROWS, RATE
    from engine.motion.curves import cubic
    from engine.motion.generate import decode

    sound, times = open_audio(words), np.arange(37) / 25
    motion = generator.generate(sound, times, seed=5)
    codes, talking = generator.codes(sound)
    offsets = decode(cubic(codes, times * 50), generator.net.basis.numpy())
    rng = [np.random.default_rng([5, k]) for k in (0, 1)]
    moved, brows = generator.bank.head_and_brows(generator.drive(sound, talking), rng[0], times * RATE)
    offsets[:, BROWS] += np.einsum("tb,bij->tij", brows, generator.bank.brows).astype(np.float32)
    np.testing.assert_array_equal(motion.offsets, offsets)
    np.testing.assert_array_equal(motion.pose, moved.astype(np.float32))
    np.testing.assert_array_equal(motion.closed, generator.bank.blink_curve(times, rng[1], 1.0))
    assert motion.relax == 0 and motion.usual is None


def test_lips_stay_as_thick_as_they_are(generator: MotionGenerator) -> None:
    """How thick lips are is build: a style neither brings the reference's nor takes the portrait's away."""
    average = generator.net.average.numpy()
    full = average.copy()
    full[[50, 51, 52], 1] += 0.05
    full[[49, 53], 1] += 0.025
    full[[58, 57, 56], 1] -= 0.05
    full[[59, 55], 1] -= 0.025
    told = expression_of(full, average)
    np.testing.assert_allclose(told[[50, 51, 52], 1], told[[61, 62, 63], 1], atol=1e-6)
    np.testing.assert_allclose(told[[58, 57, 56], 1], told[[67, 66, 65], 1], atol=1e-6)
    smile = average.copy()
    smile[[48, 54], 1] += 0.05  # corners up: that is expression, and is told
    assert (expression_of(smile, average)[[48, 54], 1] > 0.02).all()
