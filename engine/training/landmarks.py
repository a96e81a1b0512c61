"""Tracks faces in a folder of videos and pictures once, for the training stages to read.

    python -m engine.training.landmarks --data DIR --out FILE.npz [--mesh]

FILE.npz holds, by file name without its ending: `<name>` (T, 68, 3) or for pictures (68, 3) float32 in source pixels, z
toward the viewer; `<name>_fps` float64 for videos; `<name>_found` (T,) bool for videos; with --mesh `<name>_mesh`
(…, 478, 3) float32. Files without a usable face are told and left out. Trains nothing.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engine.errors import InputError
from engine.face import find, image, track

VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".m4v"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}


def collect(folder: Path, mesh: bool = False) -> dict[str, np.ndarray]:
    """The arrays of every video and picture in a folder, as the module's docstring names them."""
    arrays: dict[str, np.ndarray] = {}
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEOS | PICTURES)
    for path in tqdm(paths, unit="file", file=sys.stderr):
        try:
            if path.suffix.lower() in VIDEOS:
                tracked = track.track(path, mesh=mesh)
                arrays[path.stem] = tracked.landmarks
                arrays[f"{path.stem}_fps"] = np.array(float(tracked.fps))
                arrays[f"{path.stem}_found"] = tracked.found
                dense = tracked.mesh
            else:
                face = find.find(image.load(path))
                arrays[path.stem] = face.landmarks
                dense = face.mesh if mesh else None
            if dense is not None:
                arrays[f"{path.stem}_mesh"] = dense
        except InputError as problem:
            tqdm.write(str(problem), file=sys.stderr)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.landmarks", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of videos and pictures")
    parser.add_argument("--out", type=Path, required=True, help="npz file to write")
    parser.add_argument("--mesh", action="store_true", help="keep the 478 points of the mesh as well")
    chosen = parser.parse_args()
    arrays = collect(chosen.data, chosen.mesh)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    beside = chosen.out.with_name(f".{chosen.out.name}.part")
    with beside.open("wb") as out:
        np.savez(out, **arrays)
    os.replace(beside, chosen.out)


if __name__ == "__main__":
    main()
