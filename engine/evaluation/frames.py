"""Frames against their own portrait: sharpness of the face, the background, identity, flicker; each with a control.

    python -m engine.evaluation.frames --data DIR [--identity FOLDER] [--count 12]

Portraits of `portraits/` and the demo's say the demo's sentence. Nothing here knows a truth: what is asked is whether a
frame is as sharp as its portrait, leaves the background alone, shows the same person (`identity.py`, skipped without
its weights), and does not shimmer: between frames whose head only drifts by parts of a pixel, the face, brought back,
stays the same.
"""

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from engine.audio.load import open_audio
from engine.errors import ParlandoError
from engine.evaluation import picture
from engine.evaluation.identity import Identity, distance
from engine.face import find, image
from engine.motion.generate import Motion, MotionGenerator
from engine.motion.place import place
from engine.render.renderer import Renderer

DEMO = Path(__file__).resolve().parents[2] / "demo" / "source"
FRAMES = range(10, 110, 9)  # of the sentence, at 25 fps
DRIFT = 0.3  # px a frame
DRIFTED = 12  # frames
RIM = 48  # px around a picture that is moved
MATTED = 0.03  # of the matte, below which a px is background
SHAKE = 0.4  # px of noise on the mouth's landmarks, the control of flicker


def sharpness(renderer: Renderer, frames: list[np.ndarray], points: np.ndarray) -> tuple[float, float]:
    """Mean CPBD of the face over the portrait's own; and of frames blurred by 1 px."""
    own = picture.cpbd(picture.face_crop(renderer.seen, renderer.landmarks))
    if not own:
        return float("nan"), float("nan")

    def mean(shown: list[np.ndarray]) -> float:
        pairs = zip(shown, points, strict=True)
        values = [picture.cpbd(picture.face_crop(frame, landmarks)) for frame, landmarks in pairs]
        return float(np.mean([value for value in values if value is not None])) / own

    return mean(frames), mean([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in frames])


def background(renderer: Renderer, frames: list[np.ndarray], points: np.ndarray) -> tuple[float, float, float]:
    """Least PSNR (dB) of what is beside and above the head, whatever the matte says; of what of that is outside the
    matte; and of a picture moved by a pixel."""
    height, width = renderer.seen.shape[:2]
    mask = picture.background(points, (width, height))
    if mask.mean() < 0.01:
        return float("nan"), float("nan"), float("nan")
    outside = mask if renderer.matte is None else mask & (renderer.matte < MATTED)

    def least(where: np.ndarray) -> float:
        told = (v for frame in frames if (v := picture.psnr(frame, renderer.seen, where)) is not None)
        return min(told, default=float("nan"))

    moved = picture.psnr(np.roll(renderer.seen, 1, axis=1), renderer.seen, mask)
    return least(mask), least(outside), moved or float("nan")


def moved_exactly(frame: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) moved by parts of a pixel (2,), as a band-limited signal moves: by its Fourier transform."""
    whole = np.pad(frame.astype(np.float64), ((RIM, RIM), (RIM, RIM), (0, 0)), "reflect")
    down, across = np.fft.fftfreq(whole.shape[0])[:, None, None], np.fft.fftfreq(whole.shape[1])[None, :, None]
    turn = np.exp(-2j * np.pi * (across * shift[0] + down * shift[1]))
    return np.fft.ifft2(np.fft.fft2(whole, axes=(0, 1)) * turn, axes=(0, 1)).real[RIM:-RIM, RIM:-RIM]


def flicker(renderer: Renderer, landmarks: np.ndarray) -> dict[str, float]:
    """Mean change (of 255) from frame to frame of a face that drifts by parts of a pixel, brought back to its place
    exactly. Its controls: a frame moved exactly and rounded to 8 bits, which no renderer can be better than; moved
    bilinearly; and rendered with shaking landmarks of the mouth."""
    rng = np.random.default_rng(0)
    low, high = np.floor(landmarks[:, :2].min(0)).astype(int), np.ceil(landmarks[:, :2].max(0)).astype(int)
    low = np.maximum(low, 0)
    still = renderer.render(landmarks)

    def shaken(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
        points = points.copy()
        points[48:, :2] += SHAKE * rng.standard_normal((20, 2))
        return renderer.render(points)

    def bilinear(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
        to = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        return cv2.warpAffine(still, to, still.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)

    makers: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "flicker": lambda points, shift: renderer.render(points),
        "flicker moved exactly": lambda points, shift: np.clip(np.rint(moved_exactly(still, shift)), 0, 255),
        "flicker moved bilinearly": bilinear,
        "flicker shaken": shaken,
    }
    found = {}
    for name, make in makers.items():
        faces = []
        for step in range(DRIFTED):
            shift = np.array([DRIFT, 0.6 * DRIFT]) * step
            points = landmarks.copy()
            points[:, :2] += shift
            faces.append(moved_exactly(make(points, shift)[..., :3], -shift)[low[1] : high[1], low[0] : high[0]])
        found[name] = float(np.mean([np.abs(b - a).mean() for a, b in pairwise(faces)]))
    return found


def figures(
    renderer: Renderer, motion: Motion, identity: Identity | None, other: np.ndarray | None
) -> dict[str, float]:
    """All of one portrait. `other`: another face's numbers, identity's control."""
    face = find.face_of(renderer.mesh.astype(np.float32), 1.0)
    points = place(motion, face)[0][list(FRAMES)]
    frames = [renderer.render(landmarks) for landmarks in points]
    found: dict[str, float] = {}
    found["sharpness"], found["sharpness blurred"] = sharpness(renderer, frames, points)
    names = ("background dB", "background outside the matte dB", "background moved 1 px")
    found |= dict(zip(names, background(renderer, frames, points), strict=True))
    found |= flicker(renderer, points[len(points) // 2])
    if identity is not None:
        own = identity(renderer.seen, renderer.landmarks)
        pairs = zip(frames, points, strict=True)
        found["identity"] = float(np.mean([distance(own, identity(frame, at)) for frame, at in pairs]))
        if other is not None:
            found["identity of another"] = distance(own, other)
    return found


def table(data: Path, weights: Path | None = None, count: int = 12) -> tuple[dict[str, list[float]], int]:
    """Mean, least and most of every figure over portraits, and how many these are. `weights`: of `Identity`."""
    times = np.arange(FRAMES.stop) / 25
    motion = MotionGenerator.load(torch.device("cpu")).generate(open_audio(DEMO / "jfk.wav"), times, seed=0)
    identity = Identity(weights) if weights is not None else None
    index = json.loads((data / "portraits" / "index.json").read_text())
    files = [data / "portraits" / entry["file"] for entry in index[:: max(1, len(index) // (count - 1))]]
    rows, other = [], None
    for path in tqdm([DEMO / "astronaut.png", *files[: count - 1]], mininterval=10):
        try:
            loaded = image.load(path)
            renderer = Renderer(loaded, find.find(loaded), torch.device("cpu"))
        except ParlandoError as problem:
            tqdm.write(str(problem))
            continue
        rows.append(figures(renderer, motion, identity, other))
        other = identity(renderer.seen, renderer.landmarks) if identity is not None else None
    of_all = (np.nanmean, np.nanmin, np.nanmax)
    names = rows[-1] if rows else {}
    return {name: [float(f([row[name] for row in rows if name in row])) for f in of_all] for name in names}, len(rows)


def main(report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.evaluation.frames", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    parser.add_argument("--identity", type=Path, help="folder `model` of npm's @vladmandic/face-api@1.7.15")
    parser.add_argument("--count", type=int, default=12, help="portraits")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    made, count = table(chosen.data, chosen.identity, chosen.count)
    report(markdown(made, count))
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(made, indent=1), encoding="utf-8")


def markdown(table: dict[str, list[float]], count: int) -> str:
    """A table of mean, least and most over the portraits."""
    lines = [f"| {count} portraits | mean | least | most |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {' | '.join(f'{value:.3g}' for value in values)} |" for name, values in table.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
