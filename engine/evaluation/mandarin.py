"""Another language: the shipped motion on eleven minutes of Mandarin nobody trained it on, against the mouth of a rig.

`facegood/` has 116 rig values a frame and no landmarks. They are mapped to landmarks here: each value moves the 68
points of ICT-FaceKit by the expression of that name. What the map cannot know is how far this rig's units move a mouth,
so only correlations count, and of these the lip opening: the rig's lips get hardly wider or narrower.

In `names.json` each name stands one place before its column: as they stand, brows and noses speak and jaws are still;
moved by one, left and right of every pair move alike.
"""

import json
from pathlib import Path

import numpy as np

from engine.audio.load import open_audio
from engine.evaluation.motion import Pair
from engine.face.canonical import to_canonical
from engine.motion.curves import cubic
from engine.motion.generate import MotionGenerator, decode
from engine.motion.net import CODES_PER_SECOND, LOWER_FACE
from engine.training.motion import speaks

FPS = 30.0
SHIFT = 1  # columns by which names.json is early
EXPRESSIONS = {  # of the rig's values: ICT-FaceKit's expressions at weight 1
    "mouth_stretch_c": {"jawOpen": 1.0},
    "mouth_oh_c": {"jawOpen": 0.45, "mouthFunnel": 0.6},
    "mouth_oo_c": {"jawOpen": 0.2, "mouthPucker": 0.9},
    **{f"mouth_pucker_{side}": {"mouthPucker": 0.5} for side in "lr"},
    **{f"mouth_funnel_{part}{side}": {"mouthFunnel": 0.25} for part in "du" for side in "lr"},
    **{f"mouth_lowerLipDepress_{side}": {f"mouthLowerDown_{side.upper()}": 1.0} for side in "lr"},
    **{f"mouth_upperLipRaise_{side}": {f"mouthUpperUp_{side.upper()}": 1.0} for side in "lr"},
    **{f"mouth_press_{side}": {f"mouthPress_{side.upper()}": 1.0} for side in "lr"},
    **{f"mouth_suck_d{side}": {"mouthRollLower": 0.5} for side in "lr"},
    **{f"mouth_suck_u{side}": {"mouthRollUpper": 0.5} for side in "lr"},
    **{f"mouth_lipStretch_{side}": {f"mouthStretch_{side.upper()}": 1.0} for side in "lr"},
    **{f"mouth_lipCornerPull_{side}": {f"mouthSmile_{side.upper()}": 1.0} for side in "lr"},
}


def movements(data: Path) -> dict[int, np.ndarray]:
    """Of the rig's columns that move a mouth: how (68, 3) at weight 1, canonical."""
    names = json.loads((data / "facegood" / "names.json").read_text(encoding="utf-8"))
    indices = json.loads((data / "landmark_indices.json").read_text(encoding="utf-8"))
    vertices = indices["ict_facekit_vertices_of_ibug68"]
    (file,) = (data / "ict_facekit").glob("*.npz")
    with np.load(file) as ict:
        neutral = ict["N"][vertices].astype(np.float64)
        moves = {str(name): ict["E"][k][vertices].astype(np.float64) for k, name in enumerate(ict["names"])}

    def canonical(face: np.ndarray) -> np.ndarray:
        return to_canonical((face * [1, -1, 1])[None].astype(np.float32))[0][0]

    rest = canonical(neutral)
    return {
        names.index(name) + SHIFT: canonical(neutral + sum(w * moves[part] for part, w in parts.items())) - rest
        for name, parts in EXPRESSIONS.items()
    }


def read_pairs(data: Path, generator: MotionGenerator) -> dict[str, Pair]:
    """By take: what the generator makes of its sound, and the rig's mouth."""
    moves = movements(data)
    pairs = {}
    for path in sorted((data / "facegood").glob("*.npy")):
        rig = np.load(path, allow_pickle=False).astype(np.float64)
        mouth = np.einsum("tc,cij->tij", rig[:, list(moves)], np.stack(list(moves.values())))
        sound = open_audio(path.with_suffix(".flac"))
        steps = int((len(rig) - 1) / FPS * CODES_PER_SECOND) + 1
        truth = cubic(mouth.astype(np.float32), np.arange(steps) / CODES_PER_SECOND * FPS)
        truth[:, [k for k in range(68) if k not in LOWER_FACE]] = 0
        codes, _ = generator.codes(sound)
        made = decode(cubic(codes, np.arange(steps)), generator.net.basis.cpu().numpy())
        pairs[path.stem] = Pair(made, truth, speaks(sound, steps) > 0)
    return pairs
