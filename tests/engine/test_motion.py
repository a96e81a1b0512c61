"""Sound becomes motion in step, still in silence and closed on closures; a portrait takes it on without breaking."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from engine.audio.load import open_audio
from engine.audio.speech import speech_features
from engine.errors import InputError
from engine.evaluation.metrics import correlation, silence_motion
from engine.face.canonical import to_canonical
from engine.face.find import Face
from engine.motion.bank import BLINK_SECONDS, MOST, Bank
from engine.motion.curves import cubic, smooth, soft_limit
from engine.motion.generate import ENDING, LOOK_AHEAD, WEIGHTS, Motion, MotionGenerator
from engine.motion.net import MotionNet, MotionSizes, encode, mouth_opening, mouth_width
from engine.motion.place import at_rest, place

REPO = Path(__file__).resolve().parents[2]
DATA = REPO.parent / "shared" / "data"


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    torch.set_num_threads(1)
    return MotionGenerator.load(torch.device("cpu"))


@pytest.fixture(scope="module")
def neutral(generator: MotionGenerator) -> np.ndarray:
    """(68, 3) canonical: the average face of the shipped weights, lips closed."""
    return generator.net.average.numpy().copy()


def face_of(canonical: np.ndarray) -> Face:
    """A face of 200 px between the outer eye corners, at the middle of a 1000 px picture, a little turned."""
    from engine.face.canonical import Placement, from_canonical

    placement = Placement(np.array([0.05, -0.15, 0.04]), np.array(200.0), np.array([500.0, 400.0]), np.array(0.0))
    landmarks = from_canonical(canonical, placement)
    return SimpleNamespace(landmarks=landmarks)  # type: ignore[return-value]  # all that place reads of a Face


def still(count: int) -> Motion:
    """No motion at all."""
    return Motion(
        np.zeros((count, 68, 3), np.float32),
        np.zeros((count, 6), np.float32),
        np.zeros(count, np.float32),
        False,
        np.arange(count) / 25,
    )


def test_cubic_goes_through_its_samples_and_follows_a_parabola() -> None:
    values = (np.arange(10.0) ** 2)[:, None]
    np.testing.assert_allclose(cubic(values, np.arange(10.0)), values)
    assert cubic(values, np.array([4.5]))[0, 0] == pytest.approx(20.25)
    assert cubic(values, np.array([-3.0, 42.0]))[:, 0].tolist() == [0, 81]


def test_smoothing_keeps_a_ramp_and_softens_a_spike() -> None:
    ramp = np.arange(8.0)
    np.testing.assert_allclose(smooth(ramp, 1)[1:-1], ramp[1:-1])
    np.testing.assert_allclose(smooth(np.array([0, 0, 4.0, 0, 0]), 1), [0, 1, 2, 1, 0])


def test_soft_limit_leaves_the_small_and_holds_the_large() -> None:
    out = soft_limit(np.array([-30.0, -5.0, 0.0, 6.0, 30.0]), 6.0, 12.0)
    np.testing.assert_allclose(out[1:4], [-5, 0, 6])
    assert 11 < out[4] < 12 and out[0] == -out[4]


def test_codes_turn_into_landmarks_and_back(generator: MotionGenerator) -> None:
    codes = np.random.default_rng(0).normal(0, 0.05, (20, generator.net.sizes.codes)).astype(np.float32)
    basis = generator.net.basis.numpy()
    offsets = np.einsum("tk,kij->tij", codes, basis)
    np.testing.assert_allclose(mouth_opening(offsets), codes[:, 0], atol=1e-5)
    np.testing.assert_allclose(encode(offsets, basis), codes, atol=1e-4)
    assert not offsets[:, 17:48].any()  # speech leaves brows, nose and eyes alone


def test_weights_are_small() -> None:
    assert sum((WEIGHTS / f"motion_{part}.safetensors").stat().st_size for part in ("base", "bank")) < 6e6
    assert (WEIGHTS / "motion_base.md").is_file()


def test_generates_at_the_times_asked(generator: MotionGenerator, speech: Path) -> None:
    sound = open_audio(speech)
    slow, fast = (generator.generate(sound, np.arange(round(11 * fps)) / fps) for fps in (24000 / 1001, 50.0))
    assert slow.offsets.shape == (264, 68, 3) and slow.offsets.dtype == np.float32
    assert fast.pose.shape == (550, 6) and fast.closed.shape == (550,)
    at = slow.times * 50
    same = cubic(mouth_opening(fast.offsets), at)[:-2]
    np.testing.assert_allclose(mouth_opening(slow.offsets)[:-2], same, atol=0.02)
    assert correlation(mouth_opening(slow.offsets)[:-2], same) > 0.995


def test_speaks_and_rests(generator: MotionGenerator, speech: Path, tmp_path: Path) -> None:
    heard, rate = soundfile.read(speech, dtype="float32")
    quiet = 0.0005 * np.random.default_rng(0).standard_normal(3 * rate).astype(np.float32)
    soundfile.write(
        tmp_path / "s.wav", np.concatenate([quiet, heard[: 3 * rate], quiet, heard[3 * rate :], quiet]), rate
    )
    times = np.arange(20 * 25) / 25
    motion = generator.generate(open_audio(tmp_path / "s.wav"), times)
    opening = mouth_opening(motion.offsets)
    silent = (times < 2.8) | ((times > 7.2) & (times < 8.8)) | (times > 18)
    speaking = ((times > 3.3) & (times < 6)) | ((times > 9.3) & (times < 17))
    assert opening[speaking].max() > 0.1 and opening[speaking].std() > 0.03
    assert silence_motion(opening[silent | speaking], speaking[silent | speaking]) < 0.1
    resting = (times < 2.8) | ((times > 7.8) & (times < 8.8)) | (times > 19)
    assert opening[resting].max() < 0.02
    moved = np.abs(np.diff(motion.offsets[:, 48:], axis=0)).max((1, 2))
    assert moved[resting[1:] & resting[:-1]].max() < 0.002, "a mouth that waits is still"
    assert moved.max() > 0.04
    assert not motion.silent


def test_silent_sound_leaves_the_mouth_shut(generator: MotionGenerator, silence: Path) -> None:
    motion = generator.generate(open_audio(silence), np.arange(25) / 25)
    assert motion.silent
    assert not motion.offsets[:, 48:].any() and not motion.offsets[:, :17].any()


def test_noise_is_not_speech(generator: MotionGenerator, tmp_path: Path) -> None:
    noise = 0.03 * np.random.default_rng(5).standard_normal(4 * 16000)
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    motion = generator.generate(open_audio(tmp_path / "noise.wav"), np.arange(100) / 25)
    assert mouth_opening(motion.offsets).max() < 0.02


def test_looks_no_further_ahead_than_300_ms(generator: MotionGenerator, speech: Path, tmp_path: Path) -> None:
    assert LOOK_AHEAD <= 0.3
    heard, rate = soundfile.read(speech, dtype="float32")
    soundfile.write(tmp_path / "a.wav", heard, rate, subtype="FLOAT")
    heard[4 * rate :] = heard[: len(heard) - 4 * rate].copy()
    soundfile.write(tmp_path / "b.wav", heard, rate, subtype="FLOAT")
    times = np.arange(11 * 25) / 25
    a, b = (generator.generate(open_audio(tmp_path / f"{name}.wav"), times, head=0) for name in "ab")
    before = times <= 4 - LOOK_AHEAD
    np.testing.assert_allclose(a.offsets[before], b.offsets[before], atol=1e-4)
    assert np.abs(a.offsets[~before] - b.offsets[~before]).max() > 0.05


def test_the_same_seed_gives_the_same_motion(generator: MotionGenerator, words: Path) -> None:
    sound, times = open_audio(words), np.arange(37) / 25
    first, again, other = (generator.generate(sound, times, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.pose, again.pose)
    np.testing.assert_array_equal(first.offsets, again.offsets)
    assert np.abs(first.pose - other.pose).max() > 1e-3
    np.testing.assert_array_equal(first.offsets[:, 48:], other.offsets[:, 48:])  # a seed never changes what is said


def test_amounts_of_head_blinks_and_brows(generator: MotionGenerator, speech: Path) -> None:
    sound, times = open_audio(speech), np.arange(275) / 25
    off, one, two = (generator.generate(sound, times, head=x, blinks=x, brows=x) for x in (0.0, 1.0, 2.0))
    assert not off.pose.any() and not off.closed.any() and not off.offsets[:, 17:27].any()
    np.testing.assert_allclose(two.offsets[:, 17:27], 2 * one.offsets[:, 17:27], atol=1e-6)
    alone = generator.generate(sound, times, head=0.0)  # brows need no head motion
    np.testing.assert_array_equal(alone.offsets[:, 17:27], one.offsets[:, 17:27])
    np.testing.assert_allclose(two.pose, 2 * one.pose, rtol=1e-5)
    assert (two.closed > 0.5).sum() > (one.closed > 0.5).sum() > 0
    with pytest.raises(InputError, match="head"):
        generator.generate(sound, times, head=2.1)


def test_codes_stream_like_one_piece(generator: MotionGenerator, speech: Path) -> None:
    sound = open_audio(speech)
    from engine.audio.speech import speech_features

    features = np.concatenate(list(speech_features(sound, generator.encoder)))
    whole = np.concatenate(list(generator._answers(iter([features]))))
    pieces = np.concatenate(list(generator._answers(iter(np.array_split(features, 77)))))
    assert len(whole) == len(features)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_a_sound_that_ends_a_hair_before_a_step_is_heard_whole(generator: MotionGenerator, tmp_path: Path) -> None:
    path = tmp_path / "hair.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(44_099), 44_100)
    sound = open_audio(path)
    heard = sum(map(len, speech_features(sound, generator.encoder)))
    codes, talking = generator.codes(sound)
    assert heard == 51
    assert len(codes) == len(talking) == heard + ENDING
    assert np.isfinite(codes).all()


def test_the_banks_brows_are_brows() -> None:
    """Their main component raises or lowers both, smoothly along each and alike on both sides. Once its numbers lay in
    another order, and every third point of a brow stood up."""
    main = Bank.load(WEIGHTS / "motion_bank.safetensors").brows[0, :, 1]
    assert (np.sign(main) == np.sign(main[0])).all()
    assert np.abs(np.diff(main[:5])).max() < 0.12 and np.abs(np.diff(main[5:])).max() < 0.12
    np.testing.assert_allclose(main[:5], main[:4:-1], atol=0.08)


def test_half_an_hour_of_head_motion_neither_drifts_nor_jumps() -> None:
    bank = Bank.load(WEIGHTS / "motion_bank.safetensors")
    rng = np.random.default_rng(0)
    count = 30 * 60 * 25
    talking = (np.sin(np.arange(count) / 200) > -0.7).astype(np.float32)
    drive = np.stack([talking * rng.uniform(0.3, 1, count), talking], -1)
    pose, brows = bank.head_and_brows(drive, np.random.default_rng(1), np.arange(count, dtype=float))
    degrees = np.degrees(pose[:, :3])
    assert np.abs(pose[:, :3]).max() <= MOST + 1e-6
    assert (np.abs(degrees) < 6.5).mean() > 0.93
    minutes = degrees.reshape(30, -1, 3)
    assert np.abs(minutes.mean(1)).max() < 3
    assert 0.7 < minutes[-5:].std() / minutes[:5].std() < 1.4
    assert np.abs(np.diff(degrees, axis=0)).max() < 4  # degrees a step of 1/25 s
    assert degrees.std(0).min() > 0.5 and degrees.std(0).max() < 4
    assert len(np.unique(np.round(pose[::250, 0], 5))) > 100  # no loop
    assert np.isfinite(brows).all()


def test_joins_of_stretches_are_as_smooth_as_real_motion() -> None:
    bank = Bank.load(WEIGHTS / "motion_bank.safetensors")
    real = np.concatenate([np.diff(p, 2, axis=0) for p in np.split(bank.trajectory[:, :3], bank.ends[:-1])])
    drive = np.full((5000, 2), 0.8)
    pose, _ = bank.head_and_brows(drive, np.random.default_rng(2), np.arange(5000.0))
    made = np.diff(pose[:, :3], 2, axis=0)
    assert np.percentile(np.abs(made), 99.9) < 1.5 * np.percentile(np.abs(real), 99.9)


def test_other_seeds_begin_otherwise() -> None:
    """After a moment of silence few stretches fit well, and 24 seeds had 5 beginnings."""
    bank = Bank.load(WEIGHTS / "motion_bank.safetensors")
    drive = np.concatenate([np.zeros((12, 2)), np.full((60, 2), 0.8)])
    begun = [bank.head_and_brows(drive, np.random.default_rng(seed), np.arange(38.0))[0] for seed in range(24)]
    assert len({np.round(pose, 5).tobytes() for pose in begun}) >= 12
    speed = np.degrees(np.abs(np.diff(np.stack(begun)[..., :3], axis=1))).max()
    assert speed < 3  # degrees a step of 1/25 s: no head starts with a jerk


def test_head_comes_to_rest_in_long_silence() -> None:
    bank = Bank.load(WEIGHTS / "motion_bank.safetensors")
    drive = np.concatenate([np.full((500, 2), 0.9), np.zeros((500, 2))])
    pose, _ = bank.head_and_brows(drive, np.random.default_rng(0), np.arange(1000.0))
    speed = np.abs(np.diff(pose[:, :3], axis=0)).mean(1)
    assert speed[700:].mean() < 0.2 * speed[100:450].mean()


def test_blinks_are_as_often_and_as_long_as_in_life() -> None:
    bank = Bank.load(WEIGHTS / "motion_bank.safetensors")
    times = np.arange(10 * 60 * 25) / 25
    closed = bank.blink_curve(times, np.random.default_rng(0), 1.0)
    shut = closed > 0.5
    blinks = (np.diff(shut.astype(int)) == 1).sum()
    assert 10 < blinks / 10 < 35  # a minute
    assert 0.04 < shut.sum() / 25 / blinks < BLINK_SECONDS
    assert closed.min() >= 0 and closed.max() <= 1 and closed.max() > 0.95


def test_no_motion_gives_back_a_portrait_with_closed_lips(neutral: np.ndarray) -> None:
    neutral[[61, 62, 63], 1] = neutral[[67, 66, 65], 1] + 0.002
    face = face_of(neutral)
    landmarks, pose = place(still(3), face)
    assert landmarks.dtype == np.float32 and pose.shape == (3, 6)
    np.testing.assert_allclose(landmarks, np.repeat(face.landmarks[None], 3, 0), atol=0.02)
    assert not pose.any()


def test_an_open_smile_is_closed_first(neutral: np.ndarray) -> None:
    smile = neutral.copy()
    smile[[48, 60], 0] -= 0.07
    smile[[54, 64], 0] += 0.07
    smile[[48, 54, 60, 64], 1] += 0.06
    smile[[61, 62, 63], 1] += 0.02
    smile[[65, 66, 67], 1] -= 0.08
    smile[55:60, 1] -= 0.08
    rest = at_rest(smile.astype(np.float64))
    assert abs(mouth_opening(rest)) < 1e-6
    assert mouth_width(neutral) < mouth_width(rest) < mouth_width(smile)
    for outer, inner in ((51, 62), (57, 66)):  # lips keep their thickness
        thick = abs(smile[outer, 1] - smile[inner, 1])
        assert abs(rest[outer, 1] - rest[inner, 1]) == pytest.approx(thick, abs=1e-4)
    chin_up, lip_up = rest[8, 1] - smile[8, 1], rest[66, 1] - smile[66, 1]
    assert 0 < chin_up < lip_up and rest[66, 1] - smile[66, 1] > smile[62, 1] - rest[62, 1]
    np.testing.assert_array_equal(rest[17:48], smile[17:48])


def test_the_astronauts_smile_closes_and_lids_meet(portrait: Path) -> None:
    from engine.face.find import find
    from engine.face.image import load

    face = find(load(portrait))
    motion = still(2)
    motion.closed[1] = 1
    canonical, _ = to_canonical(place(motion, face)[0])
    assert mouth_opening(to_canonical(face.landmarks)[0]) > 0.08
    assert abs(mouth_opening(canonical[0])) < 0.005
    below = canonical[0, [48, 54], 1].mean() - canonical[0, :, 1]
    for beside, further in ((55, 56), (59, 58)):  # the lower lip stays round: of portraits 0.77 to 0.85
        assert 0.75 < below[beside] / below[further] < 0.9
    lids = canonical[:, [37, 38, 43, 44], 1] - canonical[:, [41, 40, 47, 46], 1]
    assert lids[0].min() > 0.03 and np.abs(lids[1]).max() < 0.005


def test_inner_lips_never_cross(neutral: np.ndarray) -> None:
    motion = still(50)
    motion.offsets[:, 48:] = np.random.default_rng(0).normal(0, 0.05, (50, 20, 3))
    canonical, _ = to_canonical(place(motion, face_of(neutral))[0])
    assert (canonical[:, [61, 62, 63], 1] - canonical[:, [67, 66, 65], 1]).min() > -1e-3
    assert (canonical[:, 57, 1] <= canonical[:, 66, 1] + 1e-3).all()


def test_head_turns_about_the_neck_and_pose_says_so(neutral: np.ndarray) -> None:
    motion = still(2)
    motion.pose[1, :3] = np.radians([0, 8, 0])
    landmarks, pose = place(motion, face_of(neutral))
    np.testing.assert_allclose(pose[1, :3], np.radians([0, 8, 0]), atol=1e-6)
    moved = landmarks[1] - landmarks[0]
    assert moved[30, 0] > 15  # turned to its left the nose goes right in the picture
    eyes = moved[[36, 45]].mean(0)
    np.testing.assert_allclose(pose[1, 3:], eyes, atol=1.5)
    _, there = to_canonical(landmarks)
    turned = np.degrees(there.rotation[1] - there.rotation[0])
    assert turned[1] == pytest.approx(8, abs=0.5)


def test_network_is_rebuilt_from_its_file(tmp_path: Path, generator: MotionGenerator) -> None:
    generator.net.save(tmp_path / "net.safetensors", "a test")
    again = MotionNet.load(tmp_path / "net.safetensors", torch.device("cpu"))
    features = torch.randn(1, 512, 30, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for a, b in zip(generator.net(features), again(features), strict=True):
            torch.testing.assert_close(a, b)


def test_a_network_of_members_answers_their_mean() -> None:
    torch.manual_seed(0)
    sizes = MotionSizes(features=12, hidden=8, codes=3, members=3)
    net = MotionNet(sizes).eval()
    features = torch.randn(2, 12, 20)
    with torch.inference_mode():
        together = net(features)
        alone = []
        for k in range(3):
            one = MotionNet(replace(sizes, members=1)).eval()
            parts = {name: value.chunk(3)[k] for name, value in net.named_parameters()}
            one.load_state_dict(parts | dict(net.named_buffers()))
            alone.append(one(features))
    for a, mean in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(a, torch.stack(mean).mean(0))
        assert not torch.allclose(mean[0], mean[1])


@pytest.mark.skipif(not (DATA / "grid_others").is_dir(), reason="needs ../shared/data/grid_others")
def test_lips_follow_speakers_never_heard(generator: MotionGenerator) -> None:
    from engine.evaluation.motion import measure, read_pairs, with_controls

    with np.load(DATA / "grid_others" / "landmarks.npz") as stored:
        names = sorted(stored.files)
    figures = {
        name: measure(pairs)
        for name, pairs in with_controls(read_pairs(DATA / "grid_others", names, generator)).items()
    }
    result = figures["result"]
    assert result["opening r"] > 0.68
    assert abs(result["lag ms"]) < 20
    assert 0.7 < result["amplitude"] < 1.4
    for name in ("frozen closed", "shuffled", "-200 ms", "-100 ms", "+100 ms", "+200 ms"):
        assert figures[name]["opening r"] < result["opening r"] - 0.2
        assert figures[name]["LMD"] > result["LMD"]


@pytest.mark.skipif(not (DATA / "grid_s1").is_dir(), reason="needs ../shared/data/grid_s1")
def test_lips_close_on_bin_and_place(generator: MotionGenerator) -> None:
    """The first word of these held-out clips begins with b or p: the lips must be shut near its start."""
    words = json.loads((DATA / "grid_s1" / "words.json").read_text())
    names = [name for name in sorted(words)[-100:] if name[0] in "bp"][:12]
    assert len(names) == 12 or names == [] or len(names) > 3
    told = []
    for name in names:
        start = next(start for start, _, word in words[name] if word != "sil")
        times = start + np.arange(-0.08, 0.121, 0.02)
        motion = generator.generate(open_audio(DATA / "grid_s1" / f"{name}.mp4"), times, head=0, blinks=0)
        told.append(mouth_opening(motion.offsets).min() < 0.015)
    assert np.mean(told or [True]) > 0.8
