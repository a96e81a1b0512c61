"""Takes the head's pose out of landmarks and puts it back: image pixels ↔ canonical landmarks, what the networks see.

Canonical axes: x right as seen in the image, y up, z toward the viewer; unit: the distance of the outer eye corners;
origin: the point between them. One similarity transform a frame, fitted to points that speech does not move. Does not
smooth over time and knows no perspective.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# iBUG points that neither speech nor brows move: temples and ears, nose bridge, tip and base, eye corners.
RIGID = np.array([0, 1, 15, 16, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45])
OUTER_EYES = (36, 45)

# Where the rigid points lie on a face at the viewer: the median of 202 frontal portraits, made symmetric.
REFERENCE = np.array(
    [
        [-0.8238, -0.0359, -0.5778],
        [-0.8220, -0.2085, -0.6411],
        [0.8220, -0.2085, -0.6411],
        [0.8238, -0.0359, -0.5778],
        [0.0000, 0.0303, 0.2702],
        [0.0000, -0.1390, 0.3703],
        [0.0000, -0.3018, 0.4941],
        [0.0000, -0.4036, 0.5156],
        [-0.1648, -0.4902, 0.2573],
        [-0.1022, -0.5331, 0.2770],
        [0.0000, -0.5426, 0.2966],
        [0.1022, -0.5331, 0.2770],
        [0.1648, -0.4902, 0.2573],
        [-0.5000, 0.0000, 0.0000],
        [-0.1972, -0.0201, 0.0591],
        [0.1972, -0.0201, 0.0591],
        [0.5000, 0.0000, 0.0000],
    ]
)

# Image axes (y down) to canonical axes (y up). Its own inverse.
FLIP = np.array([1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Placement:
    """Where a head is in the image: landmarks = origin + scale · flip_y(R · canonical).

    rotation: (..., 3) rotation vector in radians in canonical axes, zero when facing the viewer.
    scale: (...,) pixels per canonical unit. origin: (..., 2) pixels. depth: (...,) pixels, the origin's z, which has no
    meaning but for giving back the landmarks exactly.
    """

    rotation: np.ndarray
    scale: np.ndarray
    origin: np.ndarray
    depth: np.ndarray

    def __getitem__(self, index: Any) -> "Placement":
        """The placement of some of the frames."""
        return Placement(self.rotation[index], self.scale[index], self.origin[index], self.depth[index])


def to_canonical(landmarks: np.ndarray) -> tuple[np.ndarray, Placement]:
    """(..., 68, 3) landmarks in image pixels (y down, z toward the viewer) → canonical (..., 68, 3) float32, placement.

    The outer eye corners come to lie at distance 1 and the origin between them as far as the rigid fit over all of
    `RIGID` says: measuring the two corners alone would let their jitter shake the whole face.
    """
    points = np.asarray(landmarks, np.float64) * FLIP
    rotation, scale, translation = _fit(REFERENCE, points[..., RIGID, :])
    canonical = np.einsum("...nj,...jk->...nk", points - translation[..., None, :], rotation) / scale[..., None, None]
    origin = translation * FLIP
    placement = Placement(
        rotation=rotation_vector(rotation).astype(np.float32),
        scale=scale.astype(np.float32),
        origin=origin[..., :2].astype(np.float32),
        depth=origin[..., 2].astype(np.float32),
    )
    return canonical.astype(np.float32), placement


def from_canonical(canonical: np.ndarray, placement: Placement) -> np.ndarray:
    """Canonical (..., 68, 3) → landmarks (..., 68, 3) float32 in image pixels: the inverse of `to_canonical`."""
    turned = np.einsum("...nj,...kj->...nk", np.asarray(canonical, np.float64), rotation_matrix(placement.rotation))
    origin = np.concatenate([placement.origin, placement.depth[..., None]], -1).astype(np.float64)
    scale = np.asarray(placement.scale, np.float64)[..., None, None]
    return (origin[..., None, :] + scale * turned * FLIP).astype(np.float32)


def misfit(landmarks: np.ndarray) -> np.ndarray:
    """(...,) how far the rigid points of (..., 68, 3) landmarks are from a head's, in the image, in canonical units."""
    points = np.asarray(landmarks, np.float64)[..., RIGID, :] * FLIP
    rotation, scale, translation = _fit(REFERENCE, points)
    turned = np.einsum("nj,...kj->...nk", REFERENCE, rotation)
    apart = points - translation[..., None, :] - scale[..., None, None] * turned
    return np.sqrt((apart[..., :2] ** 2).sum(-1).mean(-1)) / np.maximum(scale, 1e-9)


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) in radians → matrices (..., 3, 3), by Rodrigues' formula."""
    vector = np.asarray(vector, np.float64)
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    cross = np.zeros((*vector.shape, 3))
    cross[..., 0, 1], cross[..., 0, 2] = -vector[..., 2], vector[..., 1]
    cross[..., 1, 0], cross[..., 1, 2] = vector[..., 2], -vector[..., 0]
    cross[..., 2, 0], cross[..., 2, 1] = -vector[..., 1], vector[..., 0]
    once = np.sinc(angle / np.pi)
    twice = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + once * cross + twice * (cross @ cross)


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) → vectors (..., 3) in radians, of angles below π."""
    matrix = np.asarray(matrix, np.float64)
    axis = np.stack(
        [
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ],
        -1,
    )
    sine = np.linalg.norm(axis, axis=-1) / 2
    angle = np.arctan2(sine, (np.trace(matrix, axis1=-2, axis2=-1) - 1) / 2)
    return axis / (2 * np.sinc(angle / np.pi)[..., None])


def _fit(reference: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotation (..., 3, 3), scale (...,), translation (..., 3) with points ≈ translation + scale · R · reference.

    Least squares after Umeyama (1991). reference: (n, 3); points: (..., n, 3).
    """
    middle = reference.mean(0)
    centred = reference - middle
    mean = points.mean(-2)
    covariance = np.einsum("...ni,nj->...ij", points - mean[..., None, :], centred)
    left, strengths, right = np.linalg.svd(covariance)
    signs = np.ones_like(strengths)
    signs[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)
    rotation = (left * signs[..., None, :]) @ right
    scale = (strengths * signs).sum(-1) / (centred**2).sum()
    return rotation, scale, mean - scale[..., None] * np.einsum("...ij,j->...i", rotation, middle)
