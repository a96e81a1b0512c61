"""The face nets in PyTorch give what the original runtime gives, and gradients."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.face import image, nets
from engine.face.mesh import IBUG, MIRROR, POINTS, Crop, points_in

# What LiteRT 2.3.0 says of the astronaut's pixels [60:188, 161:289], each doubled: mesh points in the 256² crop, and
# the detector's best anchor on the whole picture at 128².
LITERT_POINTS = {
    1: (127.166, 143.660, -46.327),
    13: (124.836, 166.511, -11.032),
    14: (123.447, 179.628, -5.047),
    33: (69.841, 82.815, 7.875),
    61: (82.804, 158.764, 15.474),
    152: (120.518, 231.001, 20.748),
    263: (188.559, 88.069, 6.751),
    291: (168.222, 162.392, 15.062),
    468: (84.866, 83.325, 1.074),
    473: (170.805, 87.501, 0.984),
}
LITERT_PRESENCE = 28.04609
LITERT_ANCHOR, LITERT_SCORE, LITERT_BOX = 141, 2.4778564, (4.799, -3.651, 23.478, 23.478)


@pytest.fixture(scope="module")
def astronaut(portrait: Path) -> np.ndarray:
    return image.load(portrait).rgb


def as_input(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()


def test_mesh_net_agrees_with_the_original_runtime(astronaut: np.ndarray) -> None:
    crop = astronaut[60:188, 161:289].repeat(2, 0).repeat(2, 1)
    with torch.inference_mode():
        points, presence, _ = nets.load("face", "landmarks")(as_input(crop) / 255)
    points = points.reshape(POINTS, 3).numpy()
    for number, wanted in LITERT_POINTS.items():
        np.testing.assert_allclose(points[number], wanted, atol=2e-3)
    assert float(presence) == pytest.approx(LITERT_PRESENCE, abs=2e-3)


def test_detector_agrees_with_the_original_runtime(astronaut: np.ndarray) -> None:
    small = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        boxes, scores = nets.load("face", "detector")(as_input(small) / 127.5 - 1)
    assert int(scores.argmax()) == LITERT_ANCHOR
    assert float(scores.max()) == pytest.approx(LITERT_SCORE, abs=2e-3)
    np.testing.assert_allclose(boxes[0, LITERT_ANCHOR, :4], LITERT_BOX, atol=3e-3)


def test_gradients_reach_the_picture(astronaut: np.ndarray) -> None:
    crop = as_input(astronaut[60:188, 161:289].repeat(2, 0).repeat(2, 1)) / 255
    crop.requires_grad_(True)
    points, _, _ = nets.load("face", "landmarks")(crop)
    lip = points.reshape(POINTS, 3)[14, 1]
    (gradient,) = torch.autograd.grad(lip, crop)
    assert torch.isfinite(gradient).all()
    with torch.no_grad():
        moved, _, _ = nets.load("face", "landmarks")(crop + 1e-3 * gradient / gradient.norm())
    rise = float(moved.reshape(POINTS, 3)[14, 1] - lip.detach())
    assert rise == pytest.approx(1e-3 * float(gradient.norm()), rel=0.2)


def test_a_batch_is_its_parts(astronaut: np.ndarray) -> None:
    net = nets.load("face", "landmarks")
    batch = torch.cat([as_input(astronaut[:256, :256]), as_input(astronaut[60:316, 100:356])]) / 255
    with torch.inference_mode():
        together = net(batch)[0]
        apart = torch.cat([net(one[None])[0] for one in batch])
    torch.testing.assert_close(together, apart, atol=2e-3, rtol=0)


def test_padding_as_tensorflow_pads() -> None:
    assert nets._same_pads(torch.zeros(1, 1, 128, 127), (5, 3), [2, 2]) == (1, 1, 1, 2)
    assert nets._same_pads(torch.zeros(1, 1, 8, 8), (3, 3), [1, 1]) == (1, 1, 1, 1)


def test_tables_are_consistent() -> None:
    assert len(set(IBUG.tolist())) == 68
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(POINTS))
    assert MIRROR[33] == 263 and MIRROR[61] == 291 and MIRROR[1] == 1


def test_points_move_with_the_picture(astronaut: np.ndarray) -> None:
    """Shifting, mirroring and enlarging the picture does the same to the points."""
    crop = Crop(np.array([225.0, 126.0]), 170.0, 0.0)
    points, score = points_in(astronaut, crop, views=4)
    assert score > 0.99
    shifted = np.roll(astronaut, (7, -11), (0, 1))
    moved, _ = points_in(shifted, Crop(crop.centre + (-11, 7), crop.side, 0.0), views=4)
    np.testing.assert_allclose(moved[:, :2], points[:, :2] + (-11, 7), atol=0.05)
    flipped, _ = points_in(
        np.ascontiguousarray(astronaut[:, ::-1]), Crop(np.array([511 - 225.0, 126.0]), crop.side, 0.0), views=4
    )
    mirrored = flipped[MIRROR] * (-1, 1, 1) + (511, 0, 0)
    np.testing.assert_allclose(mirrored, points, atol=0.05)
    large = cv2.resize(astronaut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    enlarged, _ = points_in(large, Crop((crop.centre + 0.5) * 3 - 0.5, crop.side * 3, 0.0), views=4)
    np.testing.assert_allclose((enlarged + (0.5, 0.5, 0)) / 3 - (0.5, 0.5, 0), points, atol=0.6)
