"""Eleven minutes of Mandarin with a face: the mouth of `facegood`'s rig as landmarks.

`facegood/` has 116 rig values a frame and no landmarks. They are mapped to landmarks here: each value moves the 68
points of ICT-FaceKit by the expression of that name. How far this rig's units move a mouth the map cannot know;
training brings it to the amplitude of the others. A rig that waits is closed, even for a moment, whatever people do
then, so nothing is learned of its pauses.

In `names.json` each name stands one place before its column: as they stand, brows and noses speak and jaws are still;
moved by one, left and right of every pair move alike.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.audio.load import open_audio
from engine.audio.speech import SpeechEncoder, speech_features
from engine.face.canonical import to_canonical
from engine.motion.curves import cubic
from engine.motion.net import CODES_PER_SECOND, LOWER_FACE

if TYPE_CHECKING:
    from engine.training.motion import Clip

AROUND = 2  # steps around what is heard that are learned from
HELD_OUT = ("2_05", "3_16")  # takes: measured on, never trained on
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


def mouths(data: Path, take: Path) -> np.ndarray:
    """(n, 68, 3) float32: what the rig's mouth does in a take, canonical, from rest, at 50 Hz."""
    moves = movements(data)
    rig = np.load(take.with_suffix(".npy"), allow_pickle=False).astype(np.float64)
    mouth = np.einsum("tc,cij->tij", rig[:, list(moves)], np.stack(list(moves.values())))
    steps = int((len(rig) - 1) / FPS * CODES_PER_SECOND) + 1
    made = cubic(mouth.astype(np.float32), np.arange(steps) / CODES_PER_SECOND * FPS)
    made[:, [k for k in range(68) if k not in LOWER_FACE]] = 0
    return np.asarray(made)


def takes(data: Path) -> list[Path]:
    """The takes' sounds, by name."""
    return sorted((data / "facegood").glob("*.flac"))


def rig_clips(data: Path, encoder: SpeechEncoder) -> list["Clip"]:
    """The takes but HELD_OUT as training clips."""
    from engine.training.motion import Clip, audible, speaks, widen

    made = []
    for take in takes(data):
        if take.stem in HELD_OUT:
            continue
        sound, offsets = open_audio(take), mouths(data, take)
        features = np.concatenate(list(speech_features(sound, encoder)))[: len(offsets)]
        offsets = offsets[: len(features)]
        known = widen(audible(sound, len(offsets)), AROUND)
        made.append(
            Clip(take.stem, "facegood", features, offsets, speaks(sound, len(offsets)), kind="rig", known=known)
        )
    return made
