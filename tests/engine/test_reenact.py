"""The figures on re-enacted pictures and the stand-ins of its ablation are what a person gets by hand."""

import cv2
import numpy as np
import pytest
import torch

from engine.evaluation.reenact import SYSTEMS, Nearest, markdown, slopes, thin_plate
from engine.render.generator import NEAR, SLOTS


def test_without_network_the_nearer_candidate_counts_e_times_as_much() -> None:
    patterns = torch.ones(1, SLOTS, 4, 8, 8)
    patterns[:, 3, 3] = 0  # known nowhere
    support = torch.ones(1, 1, 8, 8)
    apart = torch.tensor([[0.1, 0.1, 0.1 - NEAR, 5.0, 0.1]])
    shares = Nearest()(patterns[:, 0, :3], patterns[:, 0, :3], patterns, support, apart)
    assert shares[0, :, 4, 4].tolist() == pytest.approx([1 / (3 + np.e), np.e / (3 + np.e), 0, 0], abs=1e-5)
    assert not Nearest()(patterns[:, 0, :3], patterns[:, 0, :3], patterns, 0 * support, apart).any()


def test_edges_are_steeper_in_a_sharp_picture() -> None:
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None] * 0.1, (1, 8, 8, 3))
    assert slopes(ramp) == pytest.approx(np.full((1, 8, 8), 0.1))
    sharp = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(sharp[0], (0, 0), 1.0)[None]
    assert slopes(blurred).mean() < 0.5 * slopes(sharp).mean()


def test_a_thin_plate_brings_a_point_to_its_target_and_leaves_the_corners() -> None:
    picture = np.zeros((60, 60, 3), np.uint8)
    picture[28:33, 28:33] = 255
    made = thin_plate(picture, np.array([[30.0, 30.0]]), np.array([[36.0, 33.0]]))
    y, x = np.nonzero(made[..., 0] > 128)
    assert (x.mean(), y.mean()) == pytest.approx((36, 33), abs=0.7)


def test_table_has_a_row_for_each_system_over_the_thin_plates() -> None:
    figures = {name: (2.0 * k, 3.0 * k, 4.0 * k, 0.5) for k, name in enumerate(SYSTEMS)}
    rows = markdown({"set": figures}).splitlines()
    assert len(rows) == 2 + len(SYSTEMS)
    assert rows[2 + SYSTEMS.index("result")] == "| **result** | 6 (3.00) | 9 (3.00) | 12 (3.00) | 0.50 |"
