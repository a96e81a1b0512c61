"""Evaluation: every metric on cases worked out by hand, and against its negative controls on real recordings."""

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.audio.load import open_audio
from engine.audio.phones import Phone, phones
from engine.errors import InputError, MissingModel
from engine.evaluation import evaluate, landmarks, metrics, picture, style, sync
from engine.face.canonical import to_canonical
from engine.take import Landmarks

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def grid() -> dict[str, np.ndarray]:
    """Canonical landmarks (75, 68, 3) at 25 fps of ten people of the GRID corpus."""
    file = DATA / "grid_others" / "landmarks.npz"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    with np.load(file) as clips:
        return {name: to_canonical(clips[name].astype(np.float32) * [1, 1, -1])[0] for name in clips.files}


def face(frames: int = 1) -> np.ndarray:
    """(frames, 68, 2) points along x from 0 to 67, y 0: a face 67 wide."""
    return np.repeat(np.stack([np.arange(68.0), np.zeros(68)], -1)[None], frames, 0)


# Landmarks by hand


def test_distances_in_per_cent_of_face_width() -> None:
    truth = face(2)
    made = truth + [3.0, 4.0]
    assert landmarks.face_width(truth) == 67
    assert landmarks.d_l(made, truth) == pytest.approx(100 * 5 / 67)
    assert landmarks.lmd(made, truth) == pytest.approx(0)  # mouths are laid over one another
    made = truth.copy()
    made[0, 48, 1] = 20.0  # in one of two frames one of 20 points rises: the others sink by 1 under the mean
    assert landmarks.lmd(made, truth) == pytest.approx(100 / 67 * (19 + 19 * 1) / 20 / 2)
    assert landmarks.d_l(made, truth, width=10.0) == pytest.approx(100 / 10 * 20 / 68 / 2)


def test_velocity_is_told_per_25th_of_a_second() -> None:
    truth = face(3)
    made = truth + np.array([0.0, 2.0, 4.0])[:, None, None] * [1, 0]  # 2 a frame
    assert landmarks.d_v(made, truth, 25.0) == pytest.approx(100 * 2 / 67)
    assert landmarks.d_v(made, truth, 50.0) == pytest.approx(100 * 4 / 67)
    assert landmarks.d_v(truth + 9, truth, 25.0) == pytest.approx(0)


def test_open_area_by_shoelace() -> None:
    points = face(2)
    points[:, 27, 1], points[:, 8, 1] = 10.0, -10.0  # y up
    outline = np.array([[0, 0], [1, 1], [2, 1], [3, 1], [4, 0], [3, -1], [2, -1], [1, -1]], float)  # 60 … 67
    points[0, 60:] = outline
    points[1, 60:] = outline * [1, 0]
    assert landmarks.mouth_area(points).tolist() == pytest.approx([6, 0])
    assert landmarks.mouth_area(points * [1, -1]).tolist() == pytest.approx([6, 0])  # y down
    assert landmarks.d_a(points[[1, 1]], points) == pytest.approx(100 * 0.5)
    crossed = points * 1.0
    crossed[0, 60:, 1] *= -1
    assert landmarks.mouth_area(crossed)[0] == 0
    assert landmarks.opening(points).tolist() == pytest.approx([2, 0])
    assert landmarks.lip_width(points).tolist() == [6, 6]


def test_jitter_counts_trembling_and_not_motion() -> None:
    still = face(5)
    moving = still + np.arange(5)[:, None, None] * [2.0, 1.0]
    assert landmarks.jitter(still, 25) == landmarks.jitter(moving, 25) == pytest.approx(0)
    shaken = still.copy()
    shaken[1::2, 27, 0] += 1.0  # one of 13 points, to and fro: its second difference is 2
    by_hand = (2 * 12 / 13 + 12 * 2 / 13) / 13
    assert landmarks.jitter(shaken, 25) == pytest.approx(100 / 67 * by_hand)


def test_resampled_reads_between_frames_and_holds_the_ends() -> None:
    values = np.array([0.0, 10.0, 20.0])
    assert landmarks.resampled(values, 10, np.array([-1, 0, 0.05, 0.1, 0.17, 9])).tolist() == pytest.approx(
        [0, 0, 5, 10, 17, 20]
    )


def test_controls_are_what_they_say(grid: dict[str, np.ndarray]) -> None:
    clip = grid["lbax4n"]
    rest = landmarks.frozen(clip)
    assert (rest == rest[0]).all() and landmarks.opening(rest)[0] == landmarks.opening(clip).min()
    mixed = landmarks.shuffled(clip, 25.0)
    assert sorted(landmarks.opening(mixed)) == sorted(landmarks.opening(clip))
    assert not (mixed[:25] == clip[:25]).all()
    late = landmarks.shifted(clip, 25.0, 0.2)
    np.testing.assert_allclose(late[5:], clip[:-5], atol=1e-6)
    opening = landmarks.opening
    assert metrics.lag(opening(late), opening(clip), 25.0)[0] == pytest.approx(0.2)
    assert len(landmarks.controls(clip, 25.0)) == 7


# Style by hand


def test_style_of_windows_by_hand() -> None:
    matrix = np.array([[1.0, 5, 9], [8, 2, 7], [6, 4, 3]])  # reference by result
    # Windows of two: (1+2)/2, (5+7)/2 | (8+4)/2, (2+3)/2: the nearest are 1.5 and 2.5.
    assert style.nearest_windows(matrix, 2) == pytest.approx((1.5 + 2.5) / 2)
    assert style.nearest_windows(matrix, 1) == pytest.approx((1 + 2 + 3) / 3)
    assert style.nearest_windows(matrix, 2, stride=2) == pytest.approx(1.5)


def test_published_code_averages_over_all_windows_so_far() -> None:
    matrix = np.array([[5.0, 1, 9], [8, 2, 5], [6, 4, 3]])
    # Windows of two: 5+2, 1+5 | 8+4, 2+3. Running means: 7/2, 13/4 | 12/2, 17/4.
    assert style.running_windows(style.along_diagonals(matrix), 3, 2, 1) == pytest.approx((13 / 4 + 17 / 4) / 2)
    assert style.nearest_windows(matrix, 2) == pytest.approx((3 + 2.5) / 2)


def test_published_code_leaves_out_frames_the_reference_lacks() -> None:
    matrix = np.array([[4.0, 6, 2], [3, 1, 5]])  # two frames of reference, three of result
    sums = style.along_diagonals(np.concatenate([matrix, np.zeros((1, 3))]))
    # Window 0: 4+1, 6+5 → 5/2, 16/4. Window 1 has frame 1 alone: 3, 1 → 3/1, 4/2.
    assert style.running_windows(sums, 2, 2, 1) == pytest.approx((2.5 + 2) / 2)


def test_style_units_by_hand() -> None:
    reference = face(30)
    made = reference + [0.0, 6.7]
    figures = style.style(reference, made, style.FPS, style.FPS)
    assert figures["sld"] == pytest.approx(10)
    assert [figures["slv"], figures["smd"]] == pytest.approx([0, 0], abs=1e-9)
    figures = style.published(reference, made, style.FPS, style.FPS, (512, 512), (512, 512))
    assert list(figures.values()) == pytest.approx([0, 0, 0], abs=1e-9)  # each frame from its own least x and y
    made = reference.copy()
    made[:, 48, 1] = 6.7
    figures = style.published(reference, made, style.FPS, style.FPS, (512, 512), (512, 512))
    assert figures["sld_published"] == pytest.approx(100 * 0.1 / 68)
    assert figures["smd_published"] == pytest.approx((6.7 * 19 / 20 + 19 * 6.7 / 20) / 20)  # px
    half = style.published(reference * 0.5, made * 0.5, style.FPS, style.FPS, (256, 256), (256, 256))
    assert half == pytest.approx(figures)
    assert np.isnan(style.published(reference, made[:9], style.FPS, style.FPS, (512, 512), (512, 512))["sld_published"])


def test_style_finds_the_same_manner_at_another_time(grid: dict[str, np.ndarray]) -> None:
    clip = grid["brbk7n"]
    own = style.style(clip[:50], clip, 25.0, 25.0)
    assert all(value < 0.5 for value in own.values())
    other = style.style(clip[:50], grid["lwbsza"], 25.0, 25.0)
    assert all(other[name] > own[name] for name in own)


# Sound


class Tone:
    """A sound of 1 s silence, 1 s noise, 1 s silence."""

    path = Path("tone")

    def blocks(self, rate: int, seconds: float = 1.0) -> list[np.ndarray]:
        noise = 0.1 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
        return [np.zeros(rate, np.float32), noise, np.zeros(rate, np.float32)]


def test_silence_leaves_out_its_ends() -> None:
    times = np.arange(75) / 25
    still, speaking = sync.silence(Tone(), times)  # type: ignore[arg-type]
    assert still[times < 0.8].all() and not still[(times > 0.87) & (times < 2.12)].any() and still[times > 2.2].all()
    assert speaking[(times > 1.05) & (times < 1.95)].all() and not speaking[times < 0.95].any()
    moving = np.zeros((75, 68, 3))
    moving[::2, 48:, 0] = 1.0
    assert sync.silence_motion(moving, still, speaking) == pytest.approx(100)
    moving[still] = 0.5
    assert sync.silence_motion(moving, still, speaking) == pytest.approx(0)
    assert sync.silence_motion(moving, np.zeros(75, bool), speaking) is None


def test_closure_by_hand() -> None:
    spoken = [
        Phone("SIL", 0, 0.3),
        Phone("B", 0.3, 0.5),
        Phone("AA", 0.5, 0.9),
        Phone("M", 0.9, 1.1),
    ]
    opening = np.full(50, 0.2)
    opening[12] = 0.0  # at 0.48 s: 80 ms after the middle of B
    assert sync.closures(opening, 25.0, spoken, sync.BILABIAL) == [True, False]
    assert sync.closed_on(opening, 25.0, spoken, sync.BILABIAL) == 50
    assert sync.closed_on(opening, 25.0, spoken, sync.OPEN) == 0
    opening[12], opening[13] = 0.2, 0.0  # 120 ms after
    assert sync.closed_on(opening, 25.0, spoken, sync.BILABIAL) == 0
    assert sync.closed_on(opening, 25.0, spoken[:1], sync.BILABIAL) is None
    assert sync.closed_on(opening[:15], 25.0, spoken, sync.BILABIAL) == 0  # M comes after the end: not counted


def test_phones_of_known_words() -> None:
    pytest.importorskip("pocketsphinx")
    clip, words = DATA / "grid_s1" / "bbaf2n.mp4", DATA / "grid_s1" / "words.json"
    if not clip.is_file():
        pytest.skip(f"needs {clip}")
    spoken = phones(open_audio(clip), "bin blue at f two now")
    first = next(phone for phone in spoken if phone.name == "B")
    bin_starts = next(start for start, _, word in json.loads(words.read_text())["bbaf2n"] if word == "bin")
    assert abs(first.start - bin_starts) < 0.08
    assert [phone.name for phone in spoken if phone.name in sync.BILABIAL] == ["B", "B"]


def test_phones_without_pocketsphinx_say_what_to_install(monkeypatch: pytest.MonkeyPatch, words: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pocketsphinx", None)
    with pytest.raises(MissingModel, match="pip install pocketsphinx"):
        phones(open_audio(words))


# Pictures


def test_edge_width_by_hand() -> None:
    row = np.array([[10, 10, 20, 60, 110, 150, 160, 160, 90, 90]], np.uint8)
    widths = picture.edge_widths(np.repeat(row, 3, 0))
    # A rise of 5 px from 10 to 160 is as wide from any pixel inside; a step is 2 wide, the least there is.
    assert widths[0, 2:6].tolist() == [5, 5, 5, 5]
    assert widths[0, 8] == 2
    row = np.array([[10, 10, 20, 60, 120, 150, 160, 160, 160, 160]], np.uint8)
    assert np.flatnonzero(picture.upright_edges(np.repeat(row, 3, 0))[1]).tolist() == [3]  # 120 − 20, against 90 at 4


def test_streaks_by_hand() -> None:
    assert picture.streaks(np.array([[1, 1, 0, 1, 1, 1, 0]], bool)).tolist() == [[1, 2, 0, 1, 2, 3, 0]]


def test_cpbd_of_an_edge_by_hand() -> None:
    def edge(lights: list[int]) -> np.ndarray:
        line = np.concatenate([np.full(40, lights[0]), lights, np.full(128 - 40 - len(lights), lights[-1])])
        return np.repeat(line[None].astype(np.uint8), 128, 0)

    assert picture.cpbd(edge([20, 120, 220])) == 1  # 2 px of 3 that are just noticeable: 1 − exp(−(2/3)^3.6) = 0.21
    assert picture.cpbd(edge([20, 50, 180, 220])) == 1  # 3 of 3: 1 − 1/e = 0.63
    assert picture.cpbd(edge([20, 50, 140, 190, 220])) == 0  # 4 of 3: 1 − exp(−(4/3)^3.6) = 0.94
    assert picture.cpbd(edge([20, 26, 42, 50, 54])) == 1  # 4 of 5, for the contrast is 34: 1 − exp(−0.8^3.6) = 0.36
    assert picture.cpbd(np.full((128, 128), 99, np.uint8)) is None
    assert picture.cpbd(edge([20, 120, 220])[:50]) is None  # no whole block


def test_cpbd_ranks_blur(portrait: Path) -> None:
    rgb = cv2.cvtColor(cv2.imread(str(portrait)), cv2.COLOR_BGR2RGB)
    values = [picture.cpbd(rgb)] + [picture.cpbd(cv2.GaussianBlur(rgb, (0, 0), sigma)) for sigma in (0.8, 1.5, 2.5, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.3 and values[-1] < 0.1


def test_psnr_by_hand() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    b = a.copy()
    b[0, 0] = 255
    assert picture.psnr(a, b) == pytest.approx(10 * np.log10(16))
    assert picture.psnr(a, a) == 99
    mask = np.ones((4, 4), bool)
    mask[0, 0] = False
    assert picture.psnr(a, b, mask) == 99
    assert picture.psnr(a, b, ~mask) == pytest.approx(0)
    assert picture.psnr(a, b, mask & ~mask) is None


def test_mouth_patches_do_not_see_size_or_turn(portrait: Path) -> None:
    rgb = cv2.cvtColor(cv2.imread(str(portrait)), cv2.COLOR_BGR2RGB)
    points = np.random.default_rng(0).uniform(80, 160, (68, 2)) + [120, 0]
    points[48:] = np.random.default_rng(1).uniform(0, 40, (20, 2)) + [200, 130]
    shape = picture.patch_shape(points[None])
    turn = np.vstack([cv2.getRotationMatrix2D((256, 256), 20, 0.8), [0, 0, 1]])
    turned = cv2.warpAffine(rgb, turn[:2], (512, 512))
    moved = points @ turn[:2, :2].T + turn[:2, 2]
    here = picture.aligned_mouth(rgb, points, shape)
    assert here.shape == (96, 96, 3)
    assert picture.mouth_l1(picture.aligned_mouth(turned, moved, shape), here) < 0.02
    elsewhere = picture.aligned_mouth(rgb, points + 40, shape)
    assert picture.mouth_l1(elsewhere, here) > 0.05


def test_background_has_no_head_and_nothing_below_the_mouth() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (3, 68, 2)) + [200, 200]
    points[:, 48:, 1] = 270
    mask = picture.background(points, (500, 400))
    assert mask.shape == (400, 500)
    assert mask[10, 250] and mask[250, 10] and mask[250, 490]
    assert not mask[210, 250] and not mask[160, 250] and not mask[271, 10]


# All of it


def save(path: Path, points: np.ndarray, fps: float = 25) -> Path:
    Landmarks(points.astype(np.float32), np.zeros((len(points), 6)), Fraction(fps), (256, 256)).save(path)
    return path


def test_a_truth_is_like_itself_and_controls_are_not(tmp_path: Path) -> None:
    source = DATA / "grid_others" / "landmarks.npz"
    if not source.is_file():
        pytest.skip(f"needs {source}")
    with np.load(source) as clips:
        points = clips["lbax4n"].astype(np.float32) * [1, 1, -1]
    truth = save(tmp_path / "truth.npz", points)
    sound, said = DATA / "grid_others" / "lbax4n.mp4", "lay blue at x four now"
    same = evaluate.evaluate(truth, truth, truth, sound, words=said)
    assert same.keys() == evaluate.FIGURES.keys()
    for name in ("lmd", "d_l", "d_v", "d_a", "sld", "slv", "smd", "lag_ms"):
        assert same[name] == pytest.approx(0, abs=1e-4)
    assert [same["opening_r"], same["width_r"]] == pytest.approx([1, 1])
    assert same["silence"] == pytest.approx(same["silence_truth"], abs=1e-3)
    assert same["closure"] == same["closure_truth"] and same["closure_margin"] == same["closure_margin_truth"]
    assert same["cpbd"] is same["mouth_l1"] is same["background_psnr"] is None
    late = evaluate.evaluate(save(tmp_path / "late.npz", landmarks.shifted(points, 25, 0.2)), truth, truth)
    assert late["lag_ms"] == pytest.approx(200)
    still = evaluate.evaluate(
        save(tmp_path / "still.npz", np.repeat(points[:1], 75, 0)), truth, truth, sound, words=said
    )
    assert still["opening_r"] == 0 and still["lag_ms"] is None and still["silence"] == 0
    for bad in (late, still):
        assert all(bad[name] > same[name] for name in ("lmd", "d_l", "d_v", "d_a"))  # type: ignore[operator]
    assert all(still[name] > same[name] for name in ("sld", "slv", "smd"))  # type: ignore[operator]


def test_other_frame_rates_are_brought_to_the_truths(tmp_path: Path, grid: dict[str, np.ndarray]) -> None:
    points = np.asarray(grid["lwbsza"]) * [100, -100, 100] + [128, 128, 0]
    truth = save(tmp_path / "truth.npz", points)
    faster = save(tmp_path / "faster.npz", landmarks.resampled(points, 25, np.arange(150) / 50), 50)
    figures = evaluate.evaluate(faster, truth)
    assert figures["d_l"] == pytest.approx(0, abs=0.01) and figures["opening_r"] > 0.999  # type: ignore[operator]
    assert figures["sld"] is None and figures["silence"] is None


@pytest.mark.slow
def test_videos_with_sound_and_pictures(tmp_path: Path) -> None:
    clip = DATA / "grid_others" / "sbwe5n.mp4"
    if not clip.is_file():
        pytest.skip(f"needs {clip}")
    figures = evaluate.evaluate(clip, clip, clip)
    assert figures["cpbd"] == figures["cpbd_truth"] and 0 < figures["cpbd"] < 1  # type: ignore[operator]
    assert figures["mouth_l1"] == 0 and figures["lmd"] < 1e-4 and figures["silence"] is not None


def test_what_cannot_be_measured_is_told(tmp_path: Path, grid: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"landmarks\.npz"):
        evaluate.evaluate(tmp_path, tmp_path)
    short = save(tmp_path / "short.npz", grid["lwbsza"][:3])
    with pytest.raises(InputError, match="only 3 frames"):
        evaluate.evaluate(short, short)


# What a metric is for: it must rank a result that follows its sound above results that do not.


def test_controls_rank_below_a_result_that_follows(grid: dict[str, np.ndarray]) -> None:
    chance = np.random.default_rng(0)
    for name, truth in grid.items():
        # A plausible result: nine tenths of the truth's motion, with noise of a tracker's size.
        rest = landmarks.frozen(truth)
        result = rest + 0.9 * (truth - rest) + chance.normal(0, 0.004, truth.shape)
        for control, points in landmarks.controls(result, 25.0).items():
            for metric in (landmarks.lmd, landmarks.d_a, landmarks.d_l):
                assert metric(points, truth) > metric(result, truth), (name, control, metric.__name__)
            r = metrics.correlation(landmarks.opening(points), landmarks.opening(truth))
            assert r < metrics.correlation(landmarks.opening(result), landmarks.opening(truth)), (name, control)
