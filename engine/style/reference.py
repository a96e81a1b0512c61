"""Finds the Style Reference Images: the four frames of a clip nearest the key motion templates None, M, R and O.

None is a mouth at rest or on a consonant, M pressed lips, R a wide open vowel ("ah"), O a rounded one. The templates
are mouth shapes relative to a speaker's own closed lips and own widest opening, so faces of any build can be compared;
which recordings they come from is told in `engine/weights/style_base.md`. Reads landmarks, not pictures: light,
sharpness and the direction of the gaze are not judged.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy

from engine.errors import InputError
from engine.face.canonical import to_canonical
from engine.motion.net import mouth_opening, rest_of

BASE = Path(__file__).parents[1] / "weights" / "style_base.safetensors"
NAMES = ("None", "M", "R", "O")
MOUTH = slice(48, 68)
WIDEST = 95  # percentile of the opening that counts as a speaker's widest
LIMITS = 0.06, 0.25  # canonical units between which a widest opening is believed
ENOUGH = 25  # frames from which a clip tells how wide somebody opens the mouth
NEAREST = 8  # frames of each template that are tried together
APART = 3  # frames that two references of a clip are apart, so that four pictures are four shapes


@dataclass(frozen=True)
class Reference:
    """frame: index from 0. distance: root mean square of the mouth's 20 points to the template's, canonical units at
    the size of the template's speaker."""

    frame: int
    distance: float


def find_references(landmarks: np.ndarray) -> dict[str, Reference]:
    """Landmarks (T, 68, 3) in pixels of one person → by template name the frame nearest to it.

    The four frames differ wherever there are four; from fewer, a frame may serve twice. Raises `InputError`.
    """
    landmarks = checked(landmarks, "reference")
    distances = template_distances(to_canonical(landmarks)[0])
    count = len(landmarks)
    order = np.argsort(distances, 1, kind="stable")[:, : max(NEAREST, len(NAMES))]
    chosen = np.stack([grid.ravel() for grid in np.meshgrid(*order, indexing="ij")], -1)
    total = distances[np.arange(len(NAMES)), chosen].sum(-1)
    first, second = np.triu_indices(len(NAMES), 1)
    least = np.abs(chosen[:, first] - chosen[:, second]).min(-1)
    apart = least >= APART if count >= ENOUGH else least >= 1 if count >= len(NAMES) else np.ones(len(chosen), bool)
    if not apart.any():  # every near frame lies in one short stretch
        apart = least >= min(1, int(least.max()))
    best = chosen[apart][np.argmin(total[apart])]
    return {
        name: Reference(int(k), float(distances[i, k])) for i, (name, k) in enumerate(zip(NAMES, best, strict=True))
    }


def checked(landmarks: np.ndarray, name: str) -> np.ndarray:
    """Landmarks of at least one frame, all found, as (T, 68, 3) float32. Raises `InputError`."""
    landmarks = np.asarray(landmarks, np.float32)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 3) or not len(landmarks):
        raise InputError(f"The style {name} needs landmarks of at least one frame, (T, 68, 3), not {landmarks.shape}.")
    if not np.isfinite(landmarks).all():
        raise InputError(f"The style {name} has frames without a face; leave those out.")
    return landmarks


def template_distances(canonical: np.ndarray) -> np.ndarray:
    """(4, T): how far each frame (T, 68, 3) is from each template."""
    base = safetensors.numpy.load_file(BASE)
    shapes = mouth_shapes(canonical) * base["widest"]
    apart = shapes[None] - base["templates"][:, None]
    return np.sqrt((apart**2).sum(-1).mean(-1))


def mouth_shapes(canonical: np.ndarray) -> np.ndarray:
    """(T, 20, 2): the mouth about its middle, from the speaker's closed lips, over the speaker's widest opening."""
    offsets = canonical - rest_of(canonical)
    opening = mouth_opening(offsets)
    widest = np.percentile(opening, WIDEST) if len(opening) >= ENOUGH else opening.max()
    shapes = offsets[:, MOUTH, :2]
    return (shapes - shapes.mean(1, keepdims=True)) / np.clip(widest, *LIMITS)
