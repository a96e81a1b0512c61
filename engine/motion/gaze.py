"""Where the eyes look: on one point while the head turns about it, as in life (the vestibulo-ocular reflex).

Gaze is two numbers a frame: degrees by which the eyes turn in the head, to the picture's right and up, from where they
look in the portrait.
"""

import numpy as np

from engine.face.canonical import rotation_matrix

LOOKS = {  # ARKit's units at weight 1: degrees to the picture's right and up. Sides are the speaker's own
    "eyeLookOutRight": (-30.0, 0.0),
    "eyeLookInRight": (30.0, 0.0),
    "eyeLookOutLeft": (30.0, 0.0),
    "eyeLookInLeft": (-30.0, 0.0),
    "eyeLookUpRight": (0.0, 25.0),
    "eyeLookUpLeft": (0.0, 25.0),
    "eyeLookDownRight": (0.0, -25.0),
    "eyeLookDownLeft": (0.0, -25.0),
}


def held_gaze(pose: np.ndarray) -> np.ndarray:
    """(T, 2) float32: the gaze that stays on its point while the head turns by `pose` (T, 6 or 3), rotation vectors in
    canonical axes (x right, y up, z toward the viewer)."""
    ahead = rotation_matrix(pose[:, :3])[:, 2]  # the viewer's direction in the head's axes
    turn = np.arctan2(ahead[:, :2], ahead[:, 2:])
    return np.degrees(turn).astype(np.float32)


def look_units(gaze: np.ndarray) -> dict[str, np.ndarray]:
    """Weights (T,), 0 to 1, of ARKit's eight units of looking, from gaze (T, 2)."""
    weights = {}
    for name, (right, up) in LOOKS.items():
        share = gaze[:, 0] / right if right else gaze[:, 1] / up
        weights[name] = np.clip(share, 0.0, 1.0).astype(np.float32)
    return weights
