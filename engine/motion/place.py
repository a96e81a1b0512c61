"""Puts motion on a portrait: canonical offsets and head pose → landmarks in the portrait's own pixels.

First the portrait is brought to rest: an open smile is closed, because offsets count from closed lips. Then come the
offsets at the size of this mouth, lids that meet wherever this eye's lids are, the head's turn about the neck, and the
portrait's own pose. Zero motion on closed lips gives back the portrait's landmarks. A style's resting expression takes
the place of the portrait's own. Renders nothing.
"""

import numpy as np

from engine.face.canonical import FLIP, Placement, from_canonical, rotation_matrix, to_canonical
from engine.face.find import Face
from engine.motion.bank import NECK
from engine.motion.generate import Motion
from engine.motion.net import INNER_LOWER, INNER_UPPER, LOWER_OUTER, UPPER_OUTER, mouth_width
from engine.style.expression import expression_of

USUAL_WIDTH = 0.58  # of a mouth at rest, canonical units: what offsets are made for
SIZES = (0.75, 1.3)  # smallest and largest scale of offsets for other mouths
OPEN = 0.015  # canonical units between the inner lips from which a portrait's mouth counts as open
LOWER_SHARE = 0.7  # of the closing done by the lower lip, the rest by the upper
JAW_SHARE = 0.5  # of the lower lip's way that the chin goes along
SMILE_WIDTH, SMILE_RISE = 0.6, 0.012  # of a mouth at rest; open smiles have 0.75 and 0.08 (portraits, medians)
RELAXED = 0.5  # share of a smile's excess that is taken back
LID_LINE = 0.12  # where lids meet: this share of the opening above the lower lid
CHUNK = 256  # frames placed at once
CHIN = np.cos(np.pi / 2 * np.minimum(np.abs(np.arange(17) - 8) / 6, 1)) ** 2  # how far the jaw line moves with it
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))  # upper, lower


def place(motion: Motion, face: Face, spend: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (T, 68, 3) float32 in source pixels and pose (T, 6) float32.

    Pose is what the head does from the portrait's own pose: a rotation vector in radians in canonical axes (x right, y
    up, z toward the viewer) and the translation in pixels (x right, y down, z toward the viewer) of the point between
    the eyes. `spend`: the landmarks are written over the motion's offsets, which an hour of them is glad of.
    """
    canonical, placement = to_canonical(face.landmarks)
    rest, size = _resting(canonical, motion)
    total = len(motion.times)
    landmarks = motion.offsets if spend else np.empty((total, 68, 3), np.float32)
    pose = np.empty((total, 6), np.float32)
    for start in range(0, total, CHUNK):
        part = slice(start, min(start + CHUNK, total))
        landmarks[part], pose[part] = _place(motion, part, rest, size, placement)
    return landmarks, pose


def place_in_film(motion: Motion, film: np.ndarray, closed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (T, 68, 3) float32 px and pose (T, 6) float32 of a film's face that says something else: lips and chin
    are the motion's, all else, the head's way too, stays the film's own, (T, 68, 3) px.

    closed: (n, 68, 3) px, frames of that face with its lips closed. The pose is the head's own in the film: its
    rotation vector in canonical axes, and where the point between the eyes lies, px.
    """
    rest, size = _resting(np.median(to_canonical(closed)[0], axis=0), motion)
    landmarks, pose = np.empty(film.shape, np.float32), np.empty((len(film), 6), np.float32)
    for start in range(0, len(film), CHUNK):
        part = slice(start, start + CHUNK)
        canonical, placement = to_canonical(film[part])
        spoken = part_lips(rest + size * motion.offsets[part].astype(np.float64))
        points = canonical.astype(np.float64)
        points[:, 48:] = spoken[:, 48:]
        points[:, :17] += CHIN[:, None] * (spoken - points)[:, :17]
        landmarks[part] = from_canonical(points, placement)
        pose[part] = np.column_stack([placement.rotation, placement.origin, np.zeros(len(points))])
    return landmarks, pose


def _resting(canonical: np.ndarray, motion: Motion) -> tuple[np.ndarray, float]:
    """A face (68, 3) with closed lips and as much of its own expression as the motion's style leaves, and the size of
    its mouth's offsets."""
    rest = at_rest(canonical.astype(np.float64))
    size = float(np.clip(mouth_width(rest) / USUAL_WIDTH, *SIZES))
    if motion.relax and motion.usual is not None:
        rest = rest - min(motion.relax, 1.0) * expression_of(rest, motion.usual)
    return rest, size


def _place(
    motion: Motion, part: slice, rest: np.ndarray, size: float, placement: Placement
) -> tuple[np.ndarray, np.ndarray]:
    offsets = motion.offsets[part].astype(np.float64)
    offsets[:, :17] *= size
    offsets[:, 48:] *= size
    points = part_lips(rest + offsets)
    points = close_lids(points, motion.closed[part])
    turn = rotation_matrix(motion.pose[part, :3])
    sway = motion.pose[part, 3:].astype(np.float64)
    moved = np.einsum("tij,tnj->tni", turn, points - NECK) + NECK + sway[:, None]
    count = len(moved)
    own = Placement(
        rotation=np.repeat(placement.rotation[None], count, 0),
        scale=np.repeat(placement.scale[None], count),
        origin=np.repeat(placement.origin[None], count, 0),
        depth=np.repeat(placement.depth[None], count),
    )
    eyes = np.einsum("tij,j->ti", turn, -NECK) + NECK + sway
    translation = float(placement.scale) * (eyes @ rotation_matrix(placement.rotation).T) * FLIP
    return from_canonical(moved, own), np.concatenate([motion.pose[part, :3], translation], -1).astype(np.float32)


def at_rest(canonical: np.ndarray) -> np.ndarray:
    """(68, 3) with the lips closed: mainly lower lip and jaw come up; lips keep their thickness.

    A mouth that was open in a smile also gets narrower and straighter, half way to a mouth at rest: speech with a fixed
    broad smile looks strange, and a mouth pulled all the way leaves the cheeks of a smile around it.
    """
    gap = canonical[INNER_UPPER, 1] - canonical[INNER_LOWER, 1]
    if gap.mean() < OPEN:
        return canonical
    rest = canonical.copy()
    gap = np.maximum(gap, 0)
    drop = np.zeros(68)
    rise = np.zeros(68)
    drop[INNER_UPPER] = (1 - LOWER_SHARE) * gap
    rise[INNER_LOWER] = LOWER_SHARE * gap
    for outer, inner, share in UPPER_OUTER:
        drop[outer] = share * drop[inner]
    for outer, inner, share in LOWER_OUTER:
        rise[outer] = share * rise[inner]
    rise[:17] = JAW_SHARE * rise[66] * CHIN
    rest[:, 1] += rise - drop
    lips = rest[48:]
    middle = lips[[0, 6], 0].mean()
    half = mouth_width(rest) / 2
    out = (lips[:, 0] - middle) / half
    lips[:, 0] -= out * RELAXED * max(0.0, half - SMILE_WIDTH / 2)
    raised = lips[[0, 6], 1].mean() - lips[[14, 18], 1].mean() - SMILE_RISE
    lips[:, 1] -= out**2 * RELAXED * max(0.0, raised)
    return rest


def part_lips(points: np.ndarray) -> np.ndarray:
    """(T, 68, 3): where inner lips would cross they touch; outer lips stay outside the inner ones."""
    upper, lower = points[:, INNER_UPPER, 1], points[:, INNER_LOWER, 1]
    over = np.maximum(lower - upper, 0) / 2
    points[:, INNER_UPPER, 1] = upper + over
    points[:, INNER_LOWER, 1] = lower - over
    for outer, inner, share in UPPER_OUTER:
        if share == 1:
            points[:, outer, 1] = np.maximum(points[:, outer, 1], points[:, inner, 1])
    for outer, inner, share in LOWER_OUTER:
        if share == 1:
            points[:, outer, 1] = np.minimum(points[:, outer, 1], points[:, inner, 1])
    return points


def close_lids(points: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """(T, 68, 3) with lids shut by `closed` (T,) 0 to 1: at 1 they meet, near the lower lid."""
    amount = closed[:, None].astype(np.float64)
    for upper, lower in LIDS:
        meet = points[:, lower] + LID_LINE * (points[:, upper] - points[:, lower])
        points[:, upper] += amount * (meet - points[:, upper])
        points[:, lower] += amount * (meet - points[:, lower])
    return points
