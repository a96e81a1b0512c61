"""Lays the mouth's interior over real speaking mouths and measures it against them; nothing is trained.

    python -m engine.training.mouth_check --data ../shared/data --sheet sheet.png

From a frame of each clip with lips closed the interior is built; on the clip's own open frames it replaces what is
between the real lips. Its controls are an even grey, which L1 likes best, and a black hole. `match` is the correlation
of light inside the lips with the real one's, `bright` the share of it that is as bright as lit teeth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from engine.face import track
from engine.render import mouth

CLIPS = ("hill.mp4", "ocasio_cortez.mp4")


def frames_of(path: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    while True:
        read, frame = video.read()
        if not read:
            return frames
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def view(rgb: np.ndarray, points: np.ndarray, width: int = 200) -> np.ndarray:
    """The mouth's surroundings, 4/5 as high as wide."""
    middle, scale = points[[48, 54, 62, 66], :2].mean(0), width / (0.85 * np.linalg.norm(points[45] - points[36]))
    shift = [width / 2 - middle[0] * scale, 0.4 * width - middle[1] * scale]
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(rgb, matrix, (width, int(0.8 * width)), flags=cv2.INTER_CUBIC)


def measure(real: np.ndarray, shown: np.ndarray) -> dict[str, float]:
    """Of RGB in [0, 1] (N, 3) inside the lips."""
    a, b = real @ mouth.LUMINANCE, shown @ mouth.LUMINANCE
    match = float(np.corrcoef(a, b)[0, 1]) if b.std() > 1e-3 else 0.0
    return {"l1": float(np.abs(real - shown).mean()), "match": match, "bright": float((b > 0.6).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    rows = []
    for clip in CLIPS:
        path = options.data / "addresses" / clip
        frames, points = frames_of(path), track.track(path).landmarks
        gap = np.array([mouth.lip_gap(p) for p in points]) / np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
        order = np.argsort(gap)
        closed = order[: len(order) // 12]  # the widest of them: closed and not pursed
        rest = int(closed[np.argmax(np.linalg.norm(points[closed, 48] - points[closed, 54], axis=1))])
        interior = mouth.MouthInterior(frames[rest], points[rest])
        wide = [int(i) for i in order[len(order) // 5 :] if i < len(frames)]
        scores: dict[str, list[dict[str, float]]] = {"interior": [], "grey": [], "black": [], "real": []}
        pairs = {}
        for i in wide:
            real = frames[i].astype(np.float32) / 255.0
            layer = interior.layer(points[i], (0, 0, real.shape[1], real.shape[0]))
            inside = layer[:, :, 3] > 0.9
            if inside.sum() < 30:
                continue
            truth = real[inside]
            grey = np.broadcast_to(np.median(truth, axis=0), truth.shape)
            for name, shown in (
                ("interior", layer[inside][:, :3]),
                ("grey", grey),
                ("black", 0.1 * np.ones_like(truth)),
                ("real", truth),
            ):
                scores[name].append(measure(truth, shown))
            alpha = layer[:, :, 3:]
            pairs[i] = (np.clip((real * (1 - alpha) + layer[:, :, :3] * alpha) * 255, 0, 255)).astype(np.uint8)
        for name, values in scores.items():
            print(clip, f"{name:9s}", *(f"{k} {np.mean([v[k] for v in values]):.3f}" for k in values[0]))
        chosen = [wide[j] for j in np.linspace(0, len(wide) - 1, 8).astype(int) if wide[j] in pairs]
        start = view(frames[rest], points[rest])
        rows.append(np.hstack([start, *(view(frames[i], points[i]) for i in chosen)]))
        rows.append(np.hstack([start, *(view(pairs[i], points[i]) for i in chosen)]))
    if options.sheet:
        width = min(r.shape[1] for r in rows)
        cv2.imwrite(str(options.sheet), cv2.cvtColor(np.vstack([r[:, :width] for r in rows]), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
