"""Drawn faces: what a blink and an open mouth look like where all is even colour and line."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.face import image, points
from engine.face.find import Face
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


SKIN, LINE = (236, 200, 178), (20, 20, 25)


def face_with_eyes(high: float, iris: float) -> tuple[image.Picture, Face]:
    """A face of skin in dark lines, with eyes `high` units high whose dark iris is `iris` units wide."""
    placed = [list(p[:2]) for p in points.read(SOURCE / "cartoon_points.json")]
    picture, unit = np.full((640, 640, 3), SKIN, np.uint8), 280.0
    wide, tall, y = 0.17 * unit, high * unit / 2, 290.0
    for start, x in ((36, 235.0), (42, 405.0)):
        middle, radii = (round(x), round(y)), (round(wide), round(tall))
        cv2.ellipse(picture, middle, radii, 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(picture, middle, round(iris * unit / 2), (60, 40, 30), -1)
        cv2.ellipse(picture, middle, radii, 0, 0, 360, LINE, 5)
        for k, angle in enumerate(np.radians([180, 240, 300, 0, 60, 120])):
            placed[start + k] = [x + wide * np.cos(angle), y + tall * np.sin(angle)]
    for line in (range(17), range(27, 31), range(48, 60)):
        cv2.polylines(picture, [np.round([placed[k] for k in line]).astype(np.int32)], line.start == 48, LINE, 5)
    loaded = image.Picture(picture, None, Path("drawn"), f"drawn {high} {iris}")
    return loaded, points.face_at(loaded, placed)


@pytest.mark.parametrize("high, iris", [(0.12, 0.1), (0.16, 0.15), (0.3, 0.28), (0.38, 0.15), (0.1, 0.1)])
def test_eyes_of_any_size_shut_whatever_touches_their_line(high: float, iris: float) -> None:
    picture, face = face_with_eyes(high, iris)
    drawn = Renderer(picture, face, torch.device("cpu"))
    assert drawn.interior.drawn
    frame = drawn.render(blinked(face.landmarks, 1.0)).astype(int)
    for eye in (slice(36, 42), slice(42, 48)):
        mask = np.zeros((640, 640), np.uint8)
        cv2.fillPoly(mask, [np.round(face.landmarks[eye, :2]).astype(np.int32)], 1)
        within = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0
        upper = within & (np.arange(640)[:, None] < 290 + 0.1 * high * 280)  # the shut lids' line is further down
        assert (np.abs(frame - SKIN).max(2) < 14)[upper].mean() > 0.85
        assert (frame.min(2) > 240)[within].mean() < 0.02


def test_the_chins_line_keeps_its_width_while_the_jaw_drops(renderer: Renderer) -> None:
    """What is below a jaw gives way to it; a line that does so is half as wide."""
    chin = renderer.landmarks[8, :2]
    moved = renderer.landmarks.copy()
    drop = 0.14 * renderer.shape.frame.unit
    moved[4:13, 1] += drop * np.array([0.3, 0.6, 0.85, 1, 1, 1, 0.85, 0.6, 0.3])
    moved[[*range(55, 60), 65, 66, 67], 1] += drop

    def width(frame: np.ndarray, y: float) -> float:
        """px of line below the chin, by how dark it is."""
        column = (
            frame[round(y) - 25 : round(y) + 25, round(chin[0]) - 3 : round(chin[0]) + 4].astype(float).mean((1, 2))
        )
        return float(((column.max() - column) / np.ptp(column)).clip(0.3, 1).sum() - 0.3 * len(column))

    before, after = width(renderer.seen, chin[1]), width(renderer.render(moved), chin[1] + drop)
    assert after > 0.85 * before, (before, after)


DARK = (120, 30, 40)


def face_with_mouth(filled: tuple[tuple[int, int, int], ...]) -> tuple[image.Picture, Face]:
    """A face of skin in dark lines. `filled`: what is seen in its open mouth, from above; else the mouth is a line."""
    placed = np.array(points.read(SOURCE / "cartoon_points.json"), float)[:, :2]
    picture = np.full((640, 640, 3), SKIN, np.uint8)
    middle, wide = (placed[48] + placed[54]) / 2, (placed[54, 0] - placed[48, 0]) / 2
    above, below = (-6, 34) if filled else (8, 8)

    def edge(at: np.ndarray, bend: float, away: float = 0.0) -> np.ndarray:
        """The lips' line at -1 to 1, and beside it."""
        return middle + np.column_stack([wide * at, bend * (1 - at**2) + away])

    line = np.linspace(-1, 1, 41)
    mouth = np.concatenate([edge(line, above), edge(line, below)[::-1]])
    shape = np.zeros((640, 640), np.uint8)
    cv2.fillPoly(shape, [np.round(mouth).astype(np.int32)], 1)
    band = (above + below) / max(1, len(filled))
    for k, color in enumerate(filled):
        picture[(shape > 0) & (np.arange(640)[:, None] >= middle[1] + (above + k * band if k else -99))] = color
    cv2.polylines(picture, [np.round(mouth).astype(np.int32)], True, LINE, 5, cv2.LINE_AA)
    for part in (range(17), range(27, 31)):
        cv2.polylines(picture, [np.round(placed[part]).astype(np.int32)], False, LINE, 5, cv2.LINE_AA)
    out = 5 if filled else 14
    five, three = np.array([-0.65, -0.35, 0, 0.35, 0.65]), np.array([-0.45, 0, 0.45])
    placed[49:54], placed[[59, 58, 57, 56, 55]] = edge(five, above, -out), edge(five, below, out)
    placed[61:64], placed[[67, 66, 65]] = edge(three, above, 0), edge(three, below, 0)
    placed[[48, 54]], placed[[60, 64]] = edge(np.array([-1, 1.0]), 0), edge(np.array([-0.93, 0.93]), above)
    loaded = image.Picture(picture, None, Path("drawn"), f"mouth {filled}")
    return loaded, points.face_at(loaded, placed.tolist())


def parted(landmarks: np.ndarray, by: float) -> np.ndarray:
    """Jaw and lower lip lower by so many px."""
    moved = landmarks.copy()
    moved[4:13, 1] += by * np.array([0.3, 0.6, 0.85, 1, 1, 1, 0.85, 0.6, 0.3])
    moved[[55, 59], 1] += 0.7 * by
    moved[[*range(56, 59), 65, 66, 67], 1] += by
    return moved


def dark(frame: np.ndarray) -> np.ndarray:
    """(H, W) bool: within 3 px of a line."""
    return cv2.dilate((frame.max(2) < 75).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0


def test_lips_drawn_as_an_outline_keep_it_to_the_corners() -> None:
    """Line beside the inner lips' corners was taken for cavity, as in photographs, and smeared away."""
    picture, face = face_with_eyes(0.3, 0.15)
    drawn = Renderer(picture, face, torch.device("cpu"))
    moved = parted(face.landmarks, 22)
    lips = moved[[*range(48, 60), 48], :2]
    along = np.concatenate([np.linspace(a, b, 12) for a, b in pairwise(lips)])
    at = tuple(np.round(along).astype(int)[:, ::-1].T)
    assert dark(drawn.render(moved))[at].mean() > 0.93


def test_a_mouth_drawn_as_a_line_opens_within_lines() -> None:
    picture, face = face_with_mouth(())
    drawn = Renderer(picture, face, torch.device("cpu"))
    moved = parted(face.landmarks, 22)
    near = dark(drawn.render(moved))
    for point in (61, 62, 63, 65, 66, 67):
        x, y = np.round(moved[point, :2]).astype(int)
        assert near[y, x], point


def test_shut_lips_have_one_line_between_them(renderer: Renderer) -> None:
    """The points of this line's two edges were 1.2 px apart, and teeth gleamed through."""
    wider = renderer.landmarks.copy()
    wider[[48, 60], 0] -= 6
    wider[[54, 64], 0] += 6
    mask = np.zeros((640, 640), np.uint8)
    cv2.fillPoly(mask, [np.round(wider[48:60, :2]).astype(np.int32)], 1)
    frame = renderer.render(wider).astype(int)
    assert (frame.min(2) > 120)[mask > 0].mean() < 0.01
    assert (renderer.render(parted(wider, 5)).min(2) > 120)[mask > 0].mean() > 0.03


@pytest.mark.parametrize("filled", [(DARK,), (LINE,), ((250, 250, 250), DARK)])
def test_a_mouth_drawn_open_stays_what_is_in_it(filled: tuple[tuple[int, int, int], ...]) -> None:
    """Dark and nothing else stays so, without teeth or tongue; white in it are teeth, which do not fill it."""
    picture, face = face_with_mouth(filled)
    drawn = Renderer(picture, face, torch.device("cpu"))
    assert drawn.interior.drawn
    for by in (-12.0, 15.0):
        moved = parted(face.landmarks, by)
        frame = drawn.render(moved).astype(int)
        mask = np.zeros((640, 640), np.uint8)
        cv2.fillPoly(mask, [np.round(moved[60:, :2]).astype(np.int32)], 1)
        within = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
        assert within.sum() > 200
        white = (frame.min(2) > 235)[within].mean()
        if len(filled) == 1:
            assert (np.abs(frame - filled[0]).max(2) < 25)[within].mean() > 0.8 and white == 0
        else:
            assert 0.02 < white < 0.6


def test_drawn_teeth_end_where_they_were_drawn() -> None:
    picture, face = face_with_mouth(((250, 250, 250), DARK))
    drawn = Renderer(picture, face, torch.device("cpu"))
    x = round(face.landmarks[62, 0])

    def last_white(frame: np.ndarray) -> int:
        """Row, in the mouth's middle."""
        rows = slice(round(face.landmarks[51, 1]), round(face.landmarks[57, 1]) + 25)
        return int(np.flatnonzero(frame[rows, x].min(1) > 235).max())

    assert abs(last_white(drawn.render(parted(face.landmarks, 20))) - last_white(picture.rgb)) <= 3
