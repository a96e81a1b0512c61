"""Gaze: steady while the head turns, drawn by moving the iris alone, stored, and told apart by its hash."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.face import find, image
from engine.face.canonical import rotation_vector
from engine.job import Engine
from engine.motion.gaze import held_gaze, look_units
from engine.render.iris import RADIUS, RANGE
from engine.render.pose import Pose, fit, residual
from engine.render.renderer import Renderer
from engine.request import DubRequest, FrameRequest, RenderRequest
from engine.take import Landmarks


@pytest.fixture(scope="module")
def face(portrait: Path) -> find.Face:
    return find.find(image.load(portrait))


@pytest.fixture(scope="module")
def renderer(portrait: Path, face: find.Face) -> Renderer:
    return Renderer(image.load(portrait), face, torch.device("cpu"))


def pupil(frame: np.ndarray, face: find.Face, left: int, right: int) -> np.ndarray:
    """(2,) px: the middle of what is dark between the lids."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(face.landmarks[left : right + 1, :2]).astype(np.int32)], 1)
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
    dark = (mask > 0) * np.maximum(np.percentile(grey[mask > 0], 40) - grey, 0)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return np.array([(dark * x).sum(), (dark * y).sum()]) / dark.sum()


def test_the_head_turns_and_the_eyes_stay() -> None:
    yaw, pitch = np.radians([10.0, 0.0, -6.0]), np.radians([0.0, 8.0, 5.0])
    turns = []
    for a, b in zip(yaw, pitch, strict=True):  # to the picture's right, up
        about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(-b), -np.sin(-b)], [0, np.sin(-b), np.cos(-b)]])
        turns.append(about_y @ about_x)
    gaze = held_gaze(rotation_vector(np.array(turns)))
    assert gaze[0] == pytest.approx([-10.0, 0.0], abs=1e-4) and gaze[1] == pytest.approx([0.0, -8.0], abs=1e-4)
    for turn, look in zip(turns, np.radians(gaze), strict=True):  # the direction in the picture is the viewer's again
        direction = turn @ np.array([np.tan(look[0]), np.tan(look[1]), 1.0])
        assert direction[:2] / direction[2] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert not held_gaze(np.zeros((2, 6))).any()
    roll = rotation_vector(np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]]))
    assert np.abs(held_gaze(roll)).max() < 1e-4


def test_units_of_looking() -> None:
    weights = look_units(np.array([[15.0, 0.0], [-60.0, 12.5], [0.0, 0.0]]))
    assert weights["eyeLookOutLeft"].tolist() == weights["eyeLookInRight"].tolist() == [0.5, 0.0, 0.0]
    assert weights["eyeLookOutRight"].tolist() == [0.0, 1.0, 0.0]
    assert weights["eyeLookUpLeft"].tolist() == [0.0, 0.5, 0.0] and not weights["eyeLookDownLeft"].any()


def test_irises_go_where_the_gaze_says(renderer: Renderer, face: find.Face) -> None:
    still = renderer.render(face.landmarks)
    assert np.array_equal(still, renderer.render(face.landmarks, np.zeros(2)))
    for left, right in ((36, 41), (42, 47)):
        width = float(np.linalg.norm(face.landmarks[left + 3, :2] - face.landmarks[left, :2]))
        for look in ((15.0, 0.0), (-15.0, 0.0)):
            moved = pupil(renderer.render(face.landmarks, np.array(look)), face, left, right)
            way = moved - pupil(still, face, left, right)
            assert way[0] == pytest.approx(RADIUS * width * np.sin(np.radians(look[0])), abs=0.35 * RADIUS * width)
            assert np.sign(way[0]) == np.sign(look[0])


def test_only_the_eyes_change_and_no_further_than_eyes_turn(renderer: Renderer, face: find.Face) -> None:
    still, looked = renderer.render(face.landmarks), renderer.render(face.landmarks, np.array([20.0, 0.0]))
    changed = np.argwhere((still != looked).any(axis=-1))
    eyes = face.landmarks[36:48, :2]
    unit = renderer.shape.frame.unit
    assert len(changed) > 20
    assert (changed[:, ::-1] > eyes.min(0) - 0.3 * unit).all() and (changed[:, ::-1] < eyes.max(0) + 0.3 * unit).all()
    most = renderer.render(face.landmarks, np.array([RANGE[0], 0.0]))
    assert np.array_equal(most, renderer.render(face.landmarks, np.array([180.0, 0.0])))


def test_lids_follow_a_look_down(renderer: Renderer, face: find.Face) -> None:
    eye = renderer.eyes[0]
    pose, zero = _still(renderer)
    ahead = eye.contours(zero, pose)[0][4, 1]
    assert eye.contours(zero, pose, np.array([0.0, -15.0]))[0][4, 1] > ahead + 0.02 * eye.width
    assert eye.contours(zero, pose, np.array([15.0, 0.0]))[0][4, 1] == pytest.approx(ahead)


def _still(renderer: Renderer) -> tuple[Pose, np.ndarray]:
    pose = fit(renderer.landmarks, renderer.landmarks)
    left = residual(renderer.landmarks, renderer.landmarks, pose, renderer.shape.frame.unit)
    return pose, renderer.flow.coefficients(pose, left)


def test_gaze_moves_evenly(renderer: Renderer, face: find.Face) -> None:
    """A slow look to the side has no jump in it, from the first hundredth of a degree on."""
    frames = [renderer.render(face.landmarks, np.array([d, 0.0])).astype(np.float32) for d in np.arange(0, 6, 0.25)]
    steps = np.array([np.abs(b - a).sum() for a, b in pairwise(frames)])
    assert steps.max() < 4 * np.median(steps)


def test_a_take_has_its_gaze_and_an_edit_renders_just_its_frames(speech: Path, portrait: Path, tmp_path: Path) -> None:
    engine = Engine("cpu")
    request = DubRequest(speech, portrait, tmp_path / "a", frames=20, preview=False)
    engine.dub(request)
    made = Landmarks.load(tmp_path / "a" / "landmarks.npz")
    assert made.gaze is not None and made.gaze.shape == (20, 2) and 0 < np.abs(made.gaze).max() < 25
    assert made.gaze == pytest.approx(held_gaze(made.pose), abs=1e-4)
    made.gaze[5] += (10, 0)
    made.save(tmp_path / "edited.npz")
    result = engine.render(
        RenderRequest(tmp_path / "edited.npz", portrait, tmp_path / "b", take=tmp_path / "a", preview=False)
    )
    assert (result.rendered, result.reused) == (1, 19)
    engine.dub(replace(request, gaze=0.0, out=tmp_path / "c"))
    assert Landmarks.load(tmp_path / "c" / "landmarks.npz").gaze is None
    frame = FrameRequest(
        made.landmarks[5].tolist(), portrait, tmp_path / "f.png", made.gaze[5].tolist(), tmp_path / "a"
    )
    engine.frame(frame)
    one, of_take = (cv2.imread(str(path)) for path in (tmp_path / "f.png", tmp_path / "b" / "frames" / "000006.png"))
    assert np.array_equal(one, of_take)
    with pytest.raises(InputError, match="two numbers"):
        engine.frame(replace(frame, gaze=[1.0, float("nan")]))
    with pytest.raises(InputError, match="gaze is 2"):
        engine.dub(replace(request, gaze=2.0, out=tmp_path / "d"))


def test_a_file_with_a_broken_gaze_is_refused(tmp_path: Path) -> None:
    landmarks = np.zeros((3, 68, 3), np.float32)
    made = Landmarks(landmarks, np.zeros((3, 6)), Fraction(25), (8, 8), gaze=np.zeros((2, 2)))
    made.save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="gaze of shape"):
        Landmarks.load(tmp_path / "a.npz")
    replace(made, gaze=np.full((3, 2), np.inf)).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="frame 1"):
        Landmarks.load(tmp_path / "a.npz")
