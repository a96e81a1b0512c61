"""The style code of a reference: how somebody rests and moves, from the landmarks of a clip or of a few frames of it.

Trains nothing and takes a few hundredths of a second. The code is a triangular map of the motion codes (Knothe and
Rosenblatt's: opening first, every other code given the opening) that brings the mean and spread of what the shipped
network says to those of the reference. Because opening depends on opening alone, and is left as it is while lips are
closed, the same words have the same closures in every style; when a mouth moves stays the network's answer.

The resting expression is told by how far mouth, brows and lids sit from an average face, so part of a person's own
build gets into it: a high brow reads as a raised one. That is why it is limited, and why `strength` exists. What moves
needs a few seconds of speech; from less than `ENOUGH` frames it stays as the network has it.
"""

from dataclasses import replace

import numpy as np
import safetensors.numpy

from engine.face.canonical import Placement, to_canonical
from engine.motion.bank import BROWS, Bank
from engine.motion.generate import WEIGHTS
from engine.motion.net import OPENING, MotionNet, encode, rest_of
from engine.style.expression import expression_of
from engine.style.file import Style
from engine.style.reference import BASE, ENOUGH, NAMES, checked, find_references

GAINS = (0.4, 1.8)
HEAD = (0.2, 2.0)
BROW_GAIN = (0.3, 2.0)
LEAST_SPREAD = 0.15  # of a code's usual spread: what the network hardly moves is not blown up
CALM = 0.15  # ridge of the regression on opening: short clips bend less
SHIFT, SLOPE = 1.5, 1.0  # most a code may be moved while talking and by opening, in usual spreads


def from_landmarks(landmarks: np.ndarray, name: str) -> Style:
    """Landmarks (T, 68, 3) in pixels of a clip or of T frames of one person → its style."""
    landmarks = checked(landmarks, name)
    import torch

    net = MotionNet.load(WEIGHTS / "motion_base.safetensors", torch.device("cpu"))
    canonical, placement = to_canonical(landmarks)
    rest = resting_expression(canonical, net.average.numpy())
    found = find_references(landmarks)
    frames = np.array([found[key].frame for key in NAMES], np.int32)
    distances = np.array([found[key].distance for key in NAMES], np.float32)
    still = Style(
        name,
        rest,
        np.ones(net.sizes.codes, np.float32),
        1.0,
        relax=1.0,
        references=landmarks[frames],
        frames=frames,
        distances=distances,
    )
    if len(landmarks) < ENOUGH:
        return still
    gains, slope, shift = manner(encode(canonical - rest_of(canonical), net.basis.numpy()), net.scale[:, 0].numpy())
    head, brows = energies(canonical, placement)
    return replace(still, gains=gains, slope=slope, shift=shift, head=head, brows=brows)


def manner(codes: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A reference's codes (n, K), and the usual spread of each (K,) → gains, slope and shift (K,) float32 of its style.

    New codes are gains · code + shift + slope · opening; opening itself is only multiplied.
    """
    base = safetensors.numpy.load_file(BASE)
    over = codes.astype(np.float64) / scale
    opening = np.maximum(over[:, OPENING], 0)
    gains, slope, shift = np.ones(len(scale)), np.zeros(len(scale)), np.zeros(len(scale))
    gains[OPENING] = np.clip(np.sqrt((opening**2).mean()) / base["opening"][0], *GAINS)
    line, left = on_opening(over)
    usual, spread = base["line"].astype(np.float64), base["left"].astype(np.float64)
    gains[1:] = np.clip(left / np.maximum(spread, LEAST_SPREAD), *GAINS)
    shift[1:] = np.clip(line[0] - gains[1:] * usual[0], -SHIFT, SHIFT)
    slope[1:] = np.clip(gains[OPENING] * line[1] - gains[1:] * usual[1], -SLOPE, SLOPE)
    slope, shift = slope * scale / scale[OPENING], shift * scale
    return gains.astype(np.float32), slope.astype(np.float32), shift.astype(np.float32)


def on_opening(over: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes over their usual spread (n, K) → the line (2, K - 1) of every other code on the opening, and what spread
    (K - 1,) is left around it. A weak ridge holds the slope of short clips."""
    opening = np.maximum(over[:, OPENING], 0)
    known = np.stack([np.ones(len(over)), opening], 1)
    line = np.linalg.solve(known.T @ known + CALM * len(over) * np.diag([0.0, 1.0]), known.T @ over[:, 1:])
    return line, (over[:, 1:] - known @ line).std(0)


def energies(canonical: np.ndarray, placement: Placement) -> tuple[float, float]:
    """How much the head turns and the brows move, over how much they do in the bank."""
    bank = Bank.load(WEIGHTS / "motion_bank.safetensors")
    head = placement.rotation.std(0).mean() / bank.trajectory[:, :3].std(0).mean()
    moved = np.einsum("tb,bij->tij", bank.trajectory[:, 6:], bank.brows)[..., 1].std(0).mean()
    brows = canonical[:, BROWS, 1].std(0).mean() / moved
    return float(np.clip(head, *HEAD)), float(np.clip(brows, *BROW_GAIN))


def resting_expression(canonical: np.ndarray, average: np.ndarray) -> np.ndarray:
    """(68, 3) offsets of mouth, brows and lids from the average face, lips closed. Canonical landmarks (T, 68, 3)."""
    middle = np.median(canonical, 0)
    face = rest_of(canonical)
    face[17:48] = middle[17:48]
    return expression_of(face, average)
