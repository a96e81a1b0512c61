"""Faces are found where they are, at any size, turn and style, and refused in words where there are none to use."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.errors import InputError
from engine.face import find, image
from engine.face.find import Face

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def astronaut(portrait: Path) -> np.ndarray:
    return image.load(portrait).rgb


@pytest.fixture(scope="module")
def upright(astronaut: np.ndarray) -> Face:
    (face,) = find.faces(astronaut)
    return face


def error(face: Face, wanted: Face, affine: np.ndarray) -> float:
    """Mean distance of 68 points from where an affine (2, 3) of the picture puts them, in per cent of face width."""
    places = wanted.landmarks[:, :2] @ affine[:, :2].T + affine[:, 2]
    width = wanted.width * np.sqrt(abs(np.linalg.det(affine[:, :2])))
    return float(np.linalg.norm(face.landmarks[:, :2] - places, axis=1).mean() / width * 100)


def scaled(factor: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return np.array([[factor, 0, x], [0, factor, y]])


def test_points_lie_on_the_face(upright: Face) -> None:
    """Read off the picture by eye: eye corners, nose tip, mouth corners, lips, chin."""
    seen = {
        36: (195, 100),
        45: (255, 103),
        30: (224, 127),
        48: (202, 139),
        54: (244, 140),
        62: (223, 143),
        66: (222, 150),
        8: (221, 178),
    }
    for point, place in seen.items():
        assert np.hypot(*(upright.landmarks[point, :2] - place)) < 3.5
    assert upright.landmarks.shape == (68, 3) and upright.landmarks.dtype == np.float32
    assert upright.mesh.shape == (478, 3) and upright.mesh.dtype == np.float32
    assert upright.landmarks[30, 2] > upright.landmarks[36, 2] > upright.landmarks[0, 2], "z is toward the viewer"
    assert upright.score > 0.7
    np.testing.assert_allclose(upright.box[:2], upright.mesh[:, :2].min(0), atol=1e-3)


@pytest.mark.parametrize("degrees", [-90, -45, -20, 20, 45, 90])
def test_rolled_heads(astronaut: np.ndarray, upright: Face, degrees: float) -> None:
    affine = cv2.getRotationMatrix2D((225, 160), degrees, 1)
    affine[:, 2] += 60
    (face,) = find.faces(cv2.warpAffine(astronaut, affine, (640, 640), borderValue=(90, 90, 90)))
    assert error(face, upright, affine) < 2


def test_a_face_that_fills_the_frame(astronaut: np.ndarray, upright: Face) -> None:
    x0, y0, x1, y1 = upright.box.astype(int)
    affine = scaled(5, -5 * (x0 - 2), -5 * (y0 - 2))
    tight = cv2.resize(astronaut[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2], None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    assert error(find.faces(tight)[0], upright, affine) < 2


@pytest.mark.parametrize("width", [320, 140])
def test_twelve_megapixels(astronaut: np.ndarray, upright: Face, width: int) -> None:
    """A face somewhere in a large photo, the smaller one too small for a look at the whole."""
    factor = width / upright.width
    affine = scaled(factor, 3100 - factor * 225, 1900 - factor * 125)
    photo = np.random.default_rng(0).integers(90, 130, (3000, 4000, 1), np.uint8).repeat(3, -1)
    head = astronaut[20:240, 130:330]
    placed = cv2.resize(head, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    left, top = int(affine[0, 2] + factor * 130), int(affine[1, 2] + factor * 20)
    photo[top : top + placed.shape[0], left : left + placed.shape[1]] = placed
    face = find.faces(photo)[0]
    assert error(face, upright, affine) < 2.5


def test_too_small_says_how_small(tmp_path: Path, astronaut: np.ndarray, upright: Face) -> None:
    factor = 20 / upright.width
    small = cv2.resize(astronaut[:400, 30:430], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    picture = np.full((256, 256, 3), 120, np.uint8)
    picture[100 : 100 + small.shape[0], 90 : 90 + small.shape[1]] = small
    Image.fromarray(picture).save(tmp_path / "far.png")
    with pytest.raises(InputError, match=r"far\.png is too small, (1[6-9]|2[0-5]) pixels"):
        find.find(image.load(tmp_path / "far.png"))


def test_no_face(tmp_path: Path) -> None:
    y, x = np.mgrid[0:300, 0:400]
    hills = np.stack([x / 2, 120 + 60 * np.sin(x / 40 + y / 90), y / 2], -1).astype(np.uint8)
    Image.fromarray(hills).save(tmp_path / "hills.png")
    with pytest.raises(InputError, match=r"No face was found in .*hills\.png"):
        find.find(image.load(tmp_path / "hills.png"))
    for size in ((1, 1), (1, 700), (700, 3)):
        assert find.faces(np.full((*size, 3), 99, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    assert find.faces(noise) == []


def test_several_faces_largest_first(tmp_path: Path, astronaut: np.ndarray, upright: Face) -> None:
    head = astronaut[20:240, 120:340]
    row = np.full((300, 700, 3), 140, np.uint8)
    row[40:205, 20:185] = cv2.resize(head, (165, 165), interpolation=cv2.INTER_AREA)
    row[40:260, 220:440] = head[:, ::-1]
    row[40:150, 500:610] = cv2.resize(head, (110, 110), interpolation=cv2.INTER_AREA)
    found = find.faces(row)
    assert [round(face.box[0] / 10) for face in found] == [29, 6, 53]
    assert [face.width for face in found] == sorted((face.width for face in found), reverse=True)
    Image.fromarray(row).save(tmp_path / "row.png")
    picture = image.load(tmp_path / "row.png")
    np.testing.assert_array_equal(find.find(picture, 1).landmarks, found[1].landmarks)
    for which in (3, -1):
        with pytest.raises(InputError, match="3 faces"):
            find.find(picture, which)


def test_paintings_grey_and_dark(astronaut: np.ndarray, upright: Face) -> None:
    head = cv2.resize(astronaut[20:260, 110:350], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    affine = scaled(2, -220, -40)
    painted = cv2.stylization(head, sigma_s=60, sigma_r=0.6)
    grey = cv2.cvtColor(cv2.cvtColor(head, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for changed in (painted, grey, head // 4):
        assert error(find.faces(changed)[0], upright, affine) < 3


def test_same_picture_same_points(astronaut: np.ndarray, upright: Face) -> None:
    np.testing.assert_array_equal(find.faces(astronaut)[0].mesh, upright.mesh)


def test_half_a_second_at_512(astronaut: np.ndarray, upright: Face) -> None:
    spent = []
    for _ in range(3):
        start = time.process_time()
        find.faces(astronaut)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5


def test_real_portraits() -> None:
    paths = sorted((DATA / "portraits").glob("*.jpg"))[::20]
    if not paths:
        pytest.skip(f"{DATA / 'portraits'} is not there")
    for path in paths:
        face = find.find(image.load(path))
        assert face.score > 0.6, path
