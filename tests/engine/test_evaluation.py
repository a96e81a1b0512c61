"""The figures on motion are what a person gets by hand, and rank controls below the truth."""

import numpy as np
import pytest

from engine.evaluation.metrics import (
    closure_score,
    closures,
    correlation,
    jitter,
    lag,
    landmark_distance,
    silence_motion,
)
from engine.evaluation.motion import COLUMNS, Pair, measure, table, with_controls
from engine.motion.net import mouth_opening, mouth_width


def test_opening_and_width_by_hand() -> None:
    face = np.zeros((68, 3))
    face[[61, 62, 63], 1] = [0.1, 0.2, 0.3]
    face[[67, 66, 65], 1] = [0.0, -0.1, -0.2]
    face[54, 0], face[48, 0] = 0.25, -0.35
    assert mouth_opening(face) == pytest.approx(0.3)
    assert mouth_width(face) == pytest.approx(0.6)


def test_correlation_by_hand() -> None:
    assert correlation(np.array([1, 2, 3]), np.array([2, 4, 6])) == pytest.approx(1)
    assert correlation(np.array([1, 2, 3]), np.array([3, 2, 1])) == pytest.approx(-1)
    assert correlation(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4])) == pytest.approx(0.8)
    assert correlation(np.ones(4), np.array([1, 3, 2, 4])) == 0


def test_lag_finds_a_shift_and_its_sign() -> None:
    truth = np.random.default_rng(0).standard_normal(200).cumsum()
    assert lag(np.roll(truth, 5)[20:-20], truth[20:-20], 50)[0] == pytest.approx(0.1)
    assert lag(np.roll(truth, -3)[20:-20], truth[20:-20], 50)[0] == pytest.approx(-0.06)


def test_landmark_distance_by_hand() -> None:
    truth = np.zeros((2, 68, 3))
    made = truth.copy()
    made[:, 48:, 2] = 9  # depth does not count
    made[:, 48:, 0] = 5  # nor where the mouth is as a whole
    assert landmark_distance(made, truth) == 0
    made[:, 48:58, 1] += 1
    made[:, 58:68, 1] -= 1
    assert landmark_distance(made, truth) == pytest.approx(1)


def test_closures_by_hand() -> None:
    opening = np.array([0.1, 0.01, 0.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.1, 0.1])
    assert closures(opening, 0.02).tolist() == [2, 7]
    late = np.array([0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert closure_score(late, opening, 25, 0.02, 0.04) == (0.5, 1.0)
    assert closure_score(late, opening, 25, 0.02, 0.0) == (0.0, 0.0)
    assert closure_score(np.zeros(10), opening, 25, 0.02, 0.0) == (1.0, pytest.approx(0.3))


def test_silence_motion_by_hand() -> None:
    opening = np.array([0, 1, 0, 1, 0, 0, 0.1, 0, 0.1, 0])
    speech = np.array([True] * 5 + [False] * 5)
    assert silence_motion(opening, speech) == pytest.approx(0.1)


def test_jitter_by_hand() -> None:
    face = np.zeros((3, 68, 3))
    face[1, 48:, 0] = 1
    assert jitter(face, 10) == pytest.approx(200)


def test_controls_do_worse_than_the_truth() -> None:
    rng = np.random.default_rng(1)
    kernel = np.hanning(15) / np.hanning(15).sum()

    def mouth() -> np.ndarray:
        offsets = np.zeros((300, 68, 3), np.float32)
        wave = np.maximum(0, np.convolve(rng.standard_normal(300), kernel, "same")) * 0.3
        offsets[:, [65, 66, 67, 56, 57, 58], 1] = -wave[:, None]
        return offsets

    pairs = []
    for _ in range(3):
        truth = mouth()
        made = truth + rng.normal(0, 0.003, truth.shape).astype(np.float32)
        pairs.append(Pair(made, truth, np.ones(300, bool)))
    figures = {name: measure(made) for name, made in with_controls(pairs).items()}
    for name, row in figures.items():
        assert tuple(row) == COLUMNS
        if name != "result":
            assert row["opening r"] < figures["result"]["opening r"] and row["LMD"] > figures["result"]["LMD"]
    assert figures["+100 ms"]["lag ms"] == pytest.approx(100, abs=1)
    assert "opening r" in table(figures) and len(table(figures).splitlines()) == len(figures) + 1
