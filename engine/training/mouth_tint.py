"""Fits how bright and which colour teeth are, from skin and eye whites, on portraits that show their teeth.

    python -m engine.training.mouth_tint --data ../shared/data [--landmarks L.npz]

Three linear regressions in the logarithm of linear light, three numbers each: engine/weights/mouth_tint.safetensors.
It does not segment teeth: a smile's inside is its brightest 40 per cent.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from engine.render import mouth
from engine.tensors import packed


def landmarks_of(rgb: np.ndarray) -> np.ndarray:
    from engine.face import find

    return find.faces(rgb)[0].landmarks


def teeth_of(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """Median linear RGB (3,) of the brightest 40 % between the lips; None when too few pixels show."""
    upper, lower = mouth.inner_lips(landmarks)
    if mouth.lip_gap(landmarks) < 4.0:
        return None
    upper, lower = upper[8:25], lower[8:25]  # the front teeth: the lips' corners are lip and shadow
    middle = 0.5 * (upper + lower)
    inside = np.concatenate([middle + 0.6 * (upper - middle), (middle + 0.6 * (lower - middle))[::-1]])
    pixels = mouth._patch(rgb, inside)
    if len(pixels) < 30:
        return None
    light = pixels @ mouth.LUMINANCE
    return np.median(pixels[light >= np.percentile(light, 60)], axis=0)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--landmarks", type=Path, help="npz of (68, 3) or (478, 3) by file name; else they are found")
    options = parser.parse_args(arguments)
    folder = options.data / "portraits"
    mesh = json.loads((options.data / "landmark_indices.json").read_text())["mediapipe_478_to_ibug68"]
    known = dict(np.load(options.landmarks)) if options.landmarks else {}
    rows = []
    for entry in json.loads((folder / "index.json").read_text()):
        if entry["lip_gap"] < 0.05:
            continue
        rgb = cv2.cvtColor(cv2.imread(str(folder / entry["file"])), cv2.COLOR_BGR2RGB)
        points = known[entry["file"]] if known else landmarks_of(rgb)
        points = points[mesh] if len(points) == 478 else points
        teeth = teeth_of(rgb, points)
        if teeth is not None:
            rows.append((*mouth.tint_features(*mouth.measure_light(rgb, points)), teeth))
    teeth = np.log(np.maximum(np.array([r[3] for r in rows]), 2e-3))
    luma = np.log(np.array([r[3] for r in rows]) @ mouth.LUMINANCE)
    goals = {"luminance": luma, "red": teeth[:, 0] - teeth[:, 1], "blue": teeth[:, 2] - teeth[:, 1]}
    weights = {}
    for i, (name, goal) in enumerate(goals.items()):
        x = np.array([r[i] for r in rows])
        weights[name] = np.linalg.lstsq(x, goal, rcond=None)[0].astype(np.float32)
        rest = np.std(x @ weights[name] - goal)
        print(f"{name}: {weights[name].round(3)}, {len(rows)} portraits, rest {rest:.3f} of {np.std(goal):.3f}")
    out = Path(mouth.TINT)
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(packed(weights, {"format": "1"}))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
