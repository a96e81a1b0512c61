"""The head's pose taken out of landmarks and put back."""

import numpy as np
import pytest

from engine.face.canonical import (
    OUTER_EYES,
    REFERENCE,
    RIGID,
    Placement,
    from_canonical,
    misfit,
    rotation_matrix,
    rotation_vector,
    to_canonical,
)


@pytest.fixture
def head() -> np.ndarray:
    """(68, 3) a canonical head whose rigid points are the reference's."""
    points = np.random.default_rng(3).normal(0, 0.4, (68, 3))
    points[RIGID] = REFERENCE
    return points.astype(np.float32)


def some_placements(count: int) -> Placement:
    random = np.random.default_rng(5)
    return Placement(
        rotation=random.uniform(-0.6, 0.6, (count, 3)).astype(np.float32),
        scale=random.uniform(40, 900, count).astype(np.float32),
        origin=random.uniform(0, 2000, (count, 2)).astype(np.float32),
        depth=random.uniform(-50, 50, count).astype(np.float32),
    )


def test_a_known_placement_is_found_again(head: np.ndarray) -> None:
    placed = some_placements(50)
    canonical, found = to_canonical(from_canonical(np.broadcast_to(head, (50, 68, 3)), placed))
    np.testing.assert_allclose(canonical, np.broadcast_to(head, (50, 68, 3)), atol=2e-4)
    np.testing.assert_allclose(found.rotation, placed.rotation, atol=2e-4)
    np.testing.assert_allclose(found.scale, placed.scale, rtol=1e-4)
    np.testing.assert_allclose(found.origin, placed.origin, atol=0.02)


def test_round_trip_is_exact_for_any_landmarks() -> None:
    landmarks = np.random.default_rng(1).uniform(0, 4000, (7, 68, 3)).astype(np.float32)
    canonical, placement = to_canonical(landmarks)
    np.testing.assert_allclose(from_canonical(canonical, placement), landmarks, atol=5e-3)


def test_one_frame_and_any_leading_axes(head: np.ndarray) -> None:
    one = from_canonical(head, some_placements(1)[0])
    assert one.shape == (68, 3)
    canonical, placement = to_canonical(one)
    assert canonical.shape == (68, 3) and placement.scale.shape == () and placement.rotation.shape == (3,)
    many, placements = to_canonical(np.broadcast_to(one, (2, 3, 68, 3)))
    assert many.shape == (2, 3, 68, 3) and placements.origin.shape == (2, 3, 2)
    np.testing.assert_allclose(many[1, 2], canonical, atol=1e-6)


def test_the_reference_keeps_the_contract() -> None:
    right, left = (REFERENCE[RIGID.tolist().index(point)] for point in OUTER_EYES)
    assert np.linalg.norm(left - right) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose((left + right) / 2, 0, atol=1e-6)
    tip, bridge, ear = (REFERENCE[RIGID.tolist().index(point)] for point in (30, 27, 0))
    assert tip[1] < bridge[1], "y is up"
    assert tip[2] > bridge[2] > ear[2], "z is toward the viewer"
    assert left[0] > 0, "x is right as seen in the image"


def test_turning_the_head(head: np.ndarray) -> None:
    """Positive about y: the nose goes right in the image. About x: down. About z: counter-clockwise."""
    for axis, moves in ((1, (1, 0)), (0, (0, 1))):
        turn = np.zeros(3, np.float32)
        turn[axis] = 0.4
        placed = from_canonical(head, Placement(turn, np.float32(100), np.zeros(2, np.float32), np.float32(0)))
        still = from_canonical(head, Placement(0 * turn, np.float32(100), np.zeros(2, np.float32), np.float32(0)))
        step = (placed - still)[30, :2]
        assert step @ np.array(moves) > 10
    roll = from_canonical(
        head, Placement(np.array([0, 0, 0.4], np.float32), np.float32(100), np.zeros(2, np.float32), np.float32(0))
    )
    assert roll[45, 1] < -10 < 10 < roll[36, 1]


def test_speech_does_not_move_the_pose(head: np.ndarray) -> None:
    placed = from_canonical(head, some_placements(1)[0])
    talking = placed.copy()
    talking[48:68] += 30
    talking[4:13] += 20
    talking[17:27] -= 10
    _, still = to_canonical(placed)
    _, moved = to_canonical(talking)
    np.testing.assert_array_equal(still.rotation, moved.rotation)
    np.testing.assert_array_equal(still.origin, moved.origin)


def test_misfit_tells_a_head_from_a_heap(head: np.ndarray) -> None:
    assert misfit(from_canonical(head, some_placements(1)[0])) < 1e-3
    assert misfit(np.random.default_rng(0).uniform(0, 100, (68, 3))) > 0.2


def test_rotation_vectors_and_matrices_agree() -> None:
    random = np.random.default_rng(2)
    axes = random.normal(size=(200, 3))
    vectors = axes / np.linalg.norm(axes, axis=1, keepdims=True) * random.uniform(0, 3, (200, 1))
    matrices = rotation_matrix(vectors)
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (200, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-12)
    np.testing.assert_allclose(rotation_vector(matrices), vectors, atol=1e-9)
    np.testing.assert_array_equal(rotation_vector(np.eye(3)), 0)
    quarter = rotation_matrix(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)
