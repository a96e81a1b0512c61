"""Another language: the shipped motion on two takes of Mandarin it was not trained on, against the mouth of a rig.

The rig (`engine/training/rig.py`) is the one whose other takes are trained on: this shows what is learned of it, not
what another Chinese face would do, of which there is none with clear rights.
"""

from pathlib import Path

import numpy as np

from engine.audio.load import open_audio
from engine.evaluation.motion import Pair
from engine.motion.curves import cubic
from engine.motion.generate import MotionGenerator, decode
from engine.training.motion import speaks
from engine.training.rig import HELD_OUT, mouths, takes


def read_pairs(data: Path, generator: MotionGenerator) -> dict[str, Pair]:
    """By held-out take: what the generator makes of its sound, and the rig's mouth."""
    pairs = {}
    for take in takes(data):
        if take.stem not in HELD_OUT:
            continue
        sound, truth = open_audio(take), mouths(data, take)
        codes, _ = generator.codes(sound)
        made = decode(cubic(codes, np.arange(len(truth))), generator.net.basis.cpu().numpy())
        pairs[take.stem] = Pair(made, truth, speaks(sound, len(truth)) > 0)
    return pairs
