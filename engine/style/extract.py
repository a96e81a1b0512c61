"""A style from the landmarks of a reference clip, or of a few frames of it. Statistics only; trains nothing.

The resting expression is told by how far mouth corners and brows sit from an average face, so a person's own build gets
into it: a high brow reads as a raised one. That is why it is limited, and why `strength` exists. Amplitudes need a few
seconds of speech; from less than `ENOUGH` frames they stay as they are.
"""

import numpy as np

from engine.errors import InputError
from engine.face.canonical import to_canonical
from engine.motion.bank import BROWS, Bank
from engine.motion.generate import WEIGHTS
from engine.motion.net import MotionNet, encode, rest_of
from engine.style.file import Style

ENOUGH = 25
GAINS = (0.4, 1.8)
HEAD = (0.2, 2.0)
MOST = 0.05  # canonical units a resting point may move
CORNERS = [48, 54, 60, 64]


def from_landmarks(landmarks: np.ndarray, name: str) -> Style:
    """Landmarks (T, 68, 3) in pixels of a clip or of T frames of one person → its style."""
    landmarks = np.asarray(landmarks, np.float32)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 3) or not len(landmarks):
        raise InputError(f"The style {name} needs landmarks of at least one frame, (T, 68, 3), not {landmarks.shape}.")
    if not np.isfinite(landmarks).all():
        raise InputError(f"The style {name} has frames without a face; leave those out.")
    import torch

    net = MotionNet.load(WEIGHTS / "motion_base.safetensors", torch.device("cpu"))
    canonical, placement = to_canonical(landmarks)
    closed = rest_of(canonical)
    gains, head = np.ones(net.sizes.codes), 1.0
    if len(landmarks) >= ENOUGH:
        codes = encode(canonical - closed, net.basis.numpy())
        gains = np.clip(codes.std(0) / net.scale[:, 0].numpy(), *GAINS)
        bank = Bank.load(WEIGHTS / "motion_bank.safetensors")
        head = float(np.clip(placement.rotation.std(0).mean() / bank.trajectory[:, :3].std(0).mean(), *HEAD))
    return Style(name, resting_expression(closed, canonical, net.average.numpy()), gains.astype(np.float32), head)


def resting_expression(closed: np.ndarray, canonical: np.ndarray, average: np.ndarray) -> np.ndarray:
    """(68, 3) offsets: corners of the mouth up or down and apart or together, brows up or down."""
    rest = np.zeros((68, 3), np.float32)
    middle = [51, 57, 62, 66]
    up = (closed[CORNERS, 1].mean() - closed[middle, 1].mean()) - (
        average[CORNERS, 1].mean() - average[middle, 1].mean()
    )
    out = ((closed[54, 0] - closed[48, 0]) - (average[54, 0] - average[48, 0])) / 2
    side = np.sign(average[CORNERS, 0])
    rest[CORNERS, 0] = np.clip(out, -MOST, MOST) * side
    rest[CORNERS, 1] = np.clip(up, -MOST, MOST)
    for near, far in ((49, 48), (59, 48), (53, 54), (55, 54), (61, 60), (67, 60), (63, 64), (65, 64)):
        rest[near] = 0.5 * rest[far]
    raised = np.median(canonical[:, BROWS, 1], 0) - average[BROWS, 1]
    rest[BROWS, 1] = np.clip(raised, -MOST, MOST)
    return rest
