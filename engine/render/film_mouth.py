"""What the mouth of somebody in a film shows, taken from other frames of the same film whose mouths were alike.

A film of a person who speaks has the person's own teeth, tongue and lips in its own light. Some of its frames stand for
all the shapes that its mouth takes; for a frame the nearest of them are warped onto its landmarks as Intermediate Style
Patterns are (`pattern.py`) and mixed. All the shares go smoothly with the landmarks, so nothing jumps between frames.
Where the film never opened its mouth so far the mouth proxy stays.
"""

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.render.patch import Box
from engine.render.pattern import (
    COARSE,
    FINE,
    SIZE,
    SPAN,
    Pattern,
    Patterns,
    apart,
    inverse,
    lay,
    placed,
    square_of,
    square_within,
    support,
)
from engine.render.texture import Pixels

Array = NDArray[np.floating]

NEAREST = 3  # frames of the film that are mixed
NEAR = 0.01  # units by which one of two is nearer for e times the share
KNOWN = 0.5  # of what is mixed: where less of it is known the mouth proxy shows
ROUNDS = 10  # of Lloyd's algorithm


class FilmMouth:
    """Mouths of one film. `draw` puts what they show into a frame at any landmarks."""

    def __init__(self, mouths: Sequence[Pattern], skin: Array) -> None:
        """`skin`: mean RGB (3,) of the reference frame's, which all are matched to."""
        self.patterns = Patterns(mouths, skin, alike=True)
        self.points = [mouth.in_square for mouth in mouths]
        told = " ".join(mouth.fingerprint for mouth in mouths)
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()[:16]

    def draw(self, frame: Pixels, landmarks: Array, limits: Box) -> None:
        """Into `frame` (h, w, 3), which shows `limits` of the picture; `landmarks` (68, 3) px of the picture."""
        affine, at = square_within(landmarks, limits)
        which, shares = self.chosen(at)
        size = size_for(SIZE * float(np.hypot(affine[0, 0], affine[1, 0])))
        shown = self.patterns.draw(at, size, which).astype(np.float32) / 255
        known = shares.astype(np.float32)[:, None, None] * shown[..., 3]
        whole = known.sum(0)
        seen = np.clip(whole / KNOWN, 0.0, 1.0) * cv2.resize(support(at), (size, size))
        mixed = (known[..., None] * shown[..., :3]).sum(0) / np.maximum(whole, 1e-3)[..., None]
        lay(frame, affine, 1.0 - seen, mixed * seen[..., None])

    def chosen(self, at: Array) -> tuple[list[int], Array]:
        """Which mouths (n,), and the share of each (n,), show a mouth at landmarks (68, 2) px of its square.

        The share of one that is about to be left for another has gone to 0 before.
        """
        away = np.array([apart(own, at) for own in self.points])
        order = np.argsort(away, kind="stable")[: NEAREST + 1]
        from_first = away[order] - away[order[0]]
        shares = np.exp(-from_first / NEAR)
        if len(order) > NEAREST:
            order, last = order[:NEAREST], from_first[NEAREST]
            shares = shares[:NEAREST] * ((1.0 - from_first[:NEAREST] / last) if last > 0 else 1.0)
        return order.tolist(), shares / shares.sum()


def size_for(wide: float) -> int:
    """Px of a square that is `wide` px in the picture: SIZE, twice or four times that."""
    return SIZE * (1 if wide <= COARSE * SIZE else 2 if wide <= COARSE * FINE else 4)


def shapes(landmarks: Array) -> Array:
    """(N, 40) units of the face: where the mouth's landmarks are in its square, of (N, 68, 3) px."""
    squares = [placed(points[48:68, :2], inverse(square_of(points))) for points in landmarks]
    return np.stack(squares).reshape(len(landmarks), -1) / (SIZE / SPAN)


def medoids(values: Array, count: int) -> NDArray[np.int64]:
    """Which of values (N, D) stand for all, in order, `count` at most: each the nearest to the mean of its own cluster
    (Lloyd's algorithm, begun at values far from one another)."""
    chosen = [int(np.argmin(((values - values.mean(0)) ** 2).sum(1)))]
    least = ((values - values[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count and least.max() > 0:
        chosen.append(int(np.argmax(least)))
        least = np.minimum(least, ((values - values[chosen[-1]]) ** 2).sum(1))
    centres = values[chosen].astype(np.float64)

    def squared() -> Array:
        return np.asarray((values**2).sum(1)[:, None] - 2 * values @ centres.T + (centres**2).sum(1))

    for _ in range(ROUNDS):
        nearest = squared().argmin(1)
        centres = np.stack([values[mine].mean(0) for k in range(len(centres)) if (mine := nearest == k).any()])
    return np.unique(squared().argmin(0))
