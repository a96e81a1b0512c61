"""Drawn faces: what a blink and an open mouth look like where all is even colour and line."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.face import image, points
from engine.render.renderer import Renderer

SOURCE = Path(__file__).resolve().parents[2] / "demo" / "source"
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    picture = image.load(SOURCE / "cartoon.png")
    face = points.face_at(picture, points.read(SOURCE / "cartoon_points.json"))
    return Renderer(picture, face, torch.device("cpu"))


def blinked(landmarks: np.ndarray, by: float) -> np.ndarray:
    moved = landmarks.copy()
    for upper, lower in LIDS:
        moved[upper] += by * (moved[lower] - moved[upper])
    return moved


def inside(landmarks: np.ndarray, eye: slice) -> np.ndarray:
    """(H, W) bool: within the six points of an eye, well off its line."""
    mask = np.zeros((640, 640), np.uint8)
    cv2.fillPoly(mask, [np.round(landmarks[eye, :2]).astype(np.int32)], 1)
    return cv2.erode(mask, np.ones((13, 13), np.uint8)) > 0


@pytest.mark.parametrize("eye", [slice(36, 42), slice(42, 48)])
def test_a_shut_eye_is_skin_within_its_line(renderer: Renderer, eye: slice) -> None:
    """The lids of a photograph, stretched over eyes this large, were black blobs and left the white to be seen."""
    landmarks = renderer.landmarks
    within = inside(landmarks, eye)
    cheek = renderer.seen[int(landmarks[29, 1]), int(landmarks[29, 0] - 25)].astype(int)
    frame = renderer.render(blinked(landmarks, 1.0)).astype(int)
    skin = np.abs(frame - cheek).max(2) < 12
    open_share = (np.abs(renderer.seen.astype(int) - cheek).max(2) < 12)[within].mean()
    assert skin[within].mean() > 0.9 and open_share < 0.1
    assert (frame.min(2) > 240)[within].mean() < 0.005  # no white is left


def test_half_a_blink_has_lid_above_and_eye_below(renderer: Renderer) -> None:
    landmarks = renderer.landmarks
    frame = renderer.render(blinked(landmarks, 0.5)).astype(int)
    within = inside(landmarks, slice(36, 42))
    middle = landmarks[36:42, 1].mean()
    rows = np.arange(640)[:, None]
    white = frame.min(2) > 240
    edge = np.abs(frame - [40, 38, 52]).max(2) < 40
    beside = within & (np.abs(rows - middle) < 14) & (np.arange(640)[None] < landmarks[36:42, 0].mean() - 36)
    assert edge[beside].mean() > 0.1 and not (np.abs(renderer.seen - [40, 38, 52.0]).max(2) < 40)[beside].any()
    assert white[within & (rows < middle - 15)].mean() < 0.02 < 0.2 < white[within & (rows > middle + 15)].mean()


def test_brows_and_what_is_around_the_eyes_stay(renderer: Renderer) -> None:
    frame = renderer.render(blinked(renderer.landmarks, 1.0))
    brow = renderer.landmarks[17:27, :2]
    (x0, y0), (x1, y1) = np.floor(brow.min(0)).astype(int) - 10, np.ceil(brow.max(0)).astype(int)
    assert np.abs(frame[y0:y1, x0:x1].astype(int) - renderer.seen[y0:y1, x0:x1]).mean() < 0.5
