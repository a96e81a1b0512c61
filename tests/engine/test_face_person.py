"""The person's matte: who is in it, who is not, and where its edge lies."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.face import find, image
from engine.face.person import person_matte

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def astronaut(portrait: Path) -> np.ndarray:
    return image.load(portrait).rgb


def test_head_and_suit_are_in_and_the_wall_is_out(astronaut: np.ndarray) -> None:
    matte = person_matte(astronaut)
    assert matte.shape == (512, 512) and matte.dtype == np.float32
    assert matte.min() >= 0 and matte.max() <= 1
    assert matte[85:145, 190:260].min() > 0.9, "face"
    assert matte[340:480, 150:220].mean() > 0.9, "suit"
    assert matte[5:100, 320:370].max() < 0.1 and matte[20:150, 5:60].mean() < 0.1, "wall and flag"


def test_edge_follows_the_hair(astronaut: np.ndarray) -> None:
    """Along a row through the hair, whose pixels turn bright at 155 and 296, the matte turns within three pixels."""
    row = person_matte(astronaut)[60]
    inside = np.flatnonzero(row > 0.5)
    assert abs(int(inside.min()) - 155) <= 3 and abs(int(inside.max()) - 296) <= 3


def test_any_size(astronaut: np.ndarray) -> None:
    whole = person_matte(astronaut)
    large = person_matte(cv2.resize(astronaut, (1501, 1507), interpolation=cv2.INTER_CUBIC))
    assert large.shape == (1507, 1501)
    assert np.abs(cv2.resize(large, (512, 512), interpolation=cv2.INTER_AREA) - whole).mean() < 0.02
    assert person_matte(np.full((3, 2, 3), 9, np.uint8)).shape == (3, 2)


def test_nobody() -> None:
    y, x = np.mgrid[0:300, 0:400]
    hills = np.stack([x / 2, 120 + 60 * np.sin(x / 40 + y / 90), y / 2], -1).astype(np.uint8)
    assert person_matte(hills).mean() < 0.2


def test_real_portraits() -> None:
    paths = sorted((DATA / "portraits").glob("*.jpg"))[::20]
    if not paths:
        pytest.skip(f"{DATA / 'portraits'} is not there")
    covered = []
    for path in paths:
        picture = image.load(path)
        matte = person_matte(picture.rgb)
        points = find.find(picture).mesh[:, :2].round().astype(int).clip(0, np.array(picture.size) - 1)
        covered.append((matte[points[:, 1], points[:, 0]] > 0.8).mean())
    assert np.mean(covered) > 0.97 and min(covered) > 0.85
