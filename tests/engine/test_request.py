"""What may be asked: kinds and limits, the same for whoever asks."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.request import DoctorRequest, DubRequest, FrameRequest, RenderRequest, StyleRequest

FILES = {"audio": "a.wav", "image": "i.png", "out": "take"}


def test_json_becomes_what_the_command_line_makes() -> None:
    asked = DubRequest.of({**FILES, "fps": [30000, 1001], "frames": None, "strength": 1, "points": [[1, 2.5]]})
    assert asked == DubRequest(
        Path("a.wav"), Path("i.png"), Path("take"), fps=Fraction(30000, 1001), strength=1, points=[[1, 2.5]]
    )
    assert StyleRequest.of({"source": "c", "name": "n", "out": "o", "start": 1, "end": 2.5}).part == (1, 2.5)
    assert DoctorRequest.of({}) == DoctorRequest()


def test_unknown_and_missing_options_are_named() -> None:
    with pytest.raises(InputError, match="no option singing"):
        DubRequest.of({**FILES, "singing": True})
    with pytest.raises(InputError, match="option image, out is missing"):
        DubRequest.of({"audio": "a.wav"})


@pytest.mark.parametrize(
    ("name", "low", "high", "beyond"),
    [
        ("strength", 0, 1.5, 1.6),
        ("gaze", 0.0, 1.0, -0.1),
        ("frames", 1, 999_999, 1_000_000),
        ("seed", 0, 2**32 - 1, -1),
        ("side", 64, 4096, 63),
        ("fps", Fraction(1), Fraction(240), Fraction(241)),
    ],
)
def test_limits_hold_and_are_told(name: str, low: object, high: object, beyond: object) -> None:
    asked = DubRequest.of(FILES)
    for value in (low, high):
        assert getattr(replace(asked, **{name: value}), name) == value
    with pytest.raises(InputError, match=f"{name} is {beyond}, it goes from"):
        replace(asked, **{name: beyond})


def test_a_gaze_is_an_amount_or_two_angles() -> None:
    points = [[1.0, 2.0, 3.0]] * 68
    assert FrameRequest(points, Path("i.png"), Path("f.png"), gaze=[20.0, -5.0]).gaze == [20.0, -5.0]
    with pytest.raises(InputError, match="gaze is 20"):
        DubRequest.of({**FILES, "gaze": 20})
    with pytest.raises(InputError, match="landmarks is"):
        RenderRequest.of({"landmarks": points, "image": "i.png", "out": "o"})
