"""Lids that come down where the open eye shows hardly any: as light as lids are, and only there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.evaluation.lids import lights, lines, stretched
from engine.face import find, image
from engine.render.lid import LIGHT, MOST, unfolded
from engine.render.patch import Slit
from engine.render.renderer import Renderer

UNIT, SKIN = 200.0, 180
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))


def eye(lid: int, room: float) -> tuple[np.ndarray, ...]:
    """A picture (120, 120, 3) of skin with an open eye 66 px long, what is above it as light as `lid` up to `room` px,
    and what `unfolded` wants to know of it."""
    x = np.linspace(0, 66, 9)
    lift = 9 * np.sin(np.pi * x / 66)
    upper, lower = np.stack([x + 27, 60 - lift], -1), np.stack([x + 27, 60 + lift], -1)
    nodes = np.stack(np.meshgrid(np.arange(120), np.arange(120)), -1).astype(np.float32)
    slit = Slit.between(upper, lower)
    heights = slit.heights(nodes)
    picture = np.full((120, 120, 3), SKIN, np.uint8)
    picture[(heights[..., 0] > -room) & (heights[..., 0] < 0)] = lid
    at = (nodes[..., 0] - 27) / 66
    return picture, heights, at, np.full(at.shape, room), np.full(at.shape, 3.0)


def test_a_dark_lid_comes_down_as_light_as_lids_are() -> None:
    picture, heights, at, room, lashes = eye(90, 14.0)
    made = unfolded(picture, heights, at, room, lashes, UNIT)
    assert made is not None and made.dtype == np.uint8
    middle = (np.abs(at - 0.5) < 0.2) & (heights[..., 0] < -5) & (heights[..., 0] > -9)
    assert made[middle].mean() == pytest.approx(LIGHT * SKIN, rel=0.1)
    assert picture[middle].mean() == 90
    elsewhere = (heights[..., 0] > -1) | (heights[..., 0] < -16)
    assert np.abs(made.astype(int) - picture)[elsewhere].max() <= 5  # lashes, eye, brow and what is below
    again = unfolded(picture.astype(np.float32), heights, at, room, lashes, UNIT)
    assert again is not None and np.abs(again - made).max() <= 0.51


@pytest.mark.parametrize(("lid", "room"), [(150, 14.0), (90, 30.0)])
def test_a_light_lid_and_a_high_one_stay(lid: int, room: float) -> None:
    assert unfolded(*eye(lid, room), UNIT) is None


def test_black_is_not_made_light_without_end() -> None:
    picture, heights, at, room, lashes = eye(40, 14.0)
    made = unfolded(picture, heights, at, room, lashes, UNIT)
    assert made is not None
    middle = (np.abs(at - 0.5) < 0.2) & (heights[..., 0] < -5) & (heights[..., 0] > -9)
    assert 40 < made[middle].mean() < 1.1 * MOST * 40
    nothing = unfolded(np.zeros_like(picture), heights, at, room, lashes, UNIT)
    assert nothing is None or nothing.max() <= 2


def test_an_eye_of_a_few_pixels_stays() -> None:
    picture, heights, at, room, lashes = eye(90, 14.0)
    tiny = tuple(values[::30, ::30] for values in (picture, heights, at, room, lashes))
    assert unfolded(*tiny, UNIT) is None  # type: ignore[arg-type]


def test_a_portraits_shadowed_lids_blink_lighter(portrait: Path) -> None:
    """The demo's portrait with shadow between brows and eyes."""
    seen = image.load(portrait)
    face = find.find(seen)
    rgb = seen.rgb.astype(np.float32)
    points = face.landmarks
    unit = float(np.linalg.norm(points[45, :2] - points[36, :2]))
    for brow, lid in (((18, 19, 20), (37, 38)), ((23, 24, 25), (43, 44))):
        top, bottom = points[list(brow), 1].mean() - 0.05 * unit, points[list(lid), 1].mean()
        middle = points[list(lid), 0].mean()
        y, x = np.ogrid[: rgb.shape[0], : rgb.shape[1]]
        inside = np.exp(-((2 * (y - (top + bottom) / 2) / (bottom - top)) ** 4) - ((x - middle) / (0.2 * unit)) ** 4)
        rgb *= (1 - 0.65 * inside)[..., None]
    lowered = points.copy()
    lowered[[17, 18, 19, 20, 21, 22, 23, 24, 25, 26], 1] += 0.08 * unit  # brows that sit low, as the shadow says
    dark = image.Picture(rgb.astype(np.uint8), None, Path("shadow"), "shadow")
    shadowed = replace(face, landmarks=lowered)
    renderer = Renderer(dark, shadowed, torch.device("cpu"))
    shut = lowered.copy()
    for upper, lower in LIDS:
        shut[[upper, lower]] = shut[lower]
    own, plain = renderer.render(shut), stretched(renderer, shut)
    for made, control in zip(lights(own, shut), lights(plain, shut), strict=True):
        assert made > 1.15 * control
    np.testing.assert_array_equal(renderer.render(lowered), stretched(renderer, lowered))  # open eyes are as they were


def test_shut_lids_meet_in_a_line_of_lashes(portrait: Path) -> None:
    """As dark as the open eye's lashes, only where lids meet, and not while the eye is open."""
    seen = image.load(portrait)
    face = find.find(seen)
    renderer = Renderer(seen, face, torch.device("cpu"))
    shut = face.landmarks.copy()
    for upper, lower in LIDS:
        shut[[upper, lower]] = shut[lower]
    own, plain = renderer.render(shut), stretched(renderer, shut)
    for made, control in zip(lines(own, shut), lines(plain, shut), strict=True):
        assert 0.15 < made < min(0.6, 0.85 * control)
    darker = plain.astype(int).sum(-1) - own.astype(int).sum(-1)
    unit = float(np.linalg.norm(face.landmarks[45, :2] - face.landmarks[36, :2]))
    y, _ = np.nonzero(darker > 60)
    assert len(y) and np.abs(y - shut[[37, 38, 43, 44], 1].mean()).max() < 0.12 * unit
    np.testing.assert_array_equal(renderer.render(face.landmarks), stretched(renderer, face.landmarks))
