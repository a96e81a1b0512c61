"""Values given at a few points, carried smoothly to all others nearby. Numpy only."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def bump(distance: Array) -> Array:
    """Wendland's kernel of the distance over its radius: 1 at 0, 0 from 1 on, twice smooth."""
    t = np.maximum(1.0 - distance, 0.0)
    return t**4 * (4.0 * distance + 1.0)


def interpolation(centres: Array, radii: Array, points: Array, ridge: float = 1e-3) -> Array:
    """(N, K): weights that carry values at `centres` (K, 2) to `points` (N, 2), each smoothly within its radius."""

    def kernel(at: Array) -> Array:
        return bump(np.linalg.norm(at[:, None] - centres[None], axis=-1) / radii)

    own = kernel(centres) + ridge * np.eye(len(centres))
    return np.linalg.solve(own.T, kernel(points).T).T
