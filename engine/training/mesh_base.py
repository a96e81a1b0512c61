"""The average face's mesh, for pictures in which no face is found: the mean of frontal portraits.

    python -m engine.training.mesh_base --data DIR

Writes engine/weights/mesh_base.safetensors: `mesh` (478, 3), level, facing the viewer, symmetric, the outer eye corners
at distance 1, x right, y down, z toward the viewer. Trains nothing.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engine.errors import ParlandoError
from engine.face import find, image
from engine.face.canonical import FLIP, rotation_matrix, to_canonical
from engine.face.mesh import MIRROR
from engine.face.points import MESH
from engine.take import replacing
from engine.tensors import packed


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.mesh_base", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    folder = parser.parse_args(arguments).data / "portraits"
    meshes = []
    for entry in tqdm(json.loads((folder / "index.json").read_text()), mininterval=10):
        try:
            face = find.find(image.load(folder / entry["file"]))
        except ParlandoError:
            continue
        _, there = to_canonical(face.landmarks[None])
        turn = rotation_matrix(there.rotation[0])
        origin = np.append(there.origin[0], there.depth[0])
        mesh = ((face.mesh - origin) * FLIP / there.scale[0]) @ turn * FLIP
        if np.degrees(np.linalg.norm(there.rotation[0])) < 15:
            meshes.append((mesh + mesh[MIRROR] * [-1, 1, 1]) / 2)
    with replacing(MESH) as part:
        part.write_bytes(packed({"mesh": np.median(meshes, 0).astype(np.float32)}, {"format": "1"}))
    print(f"wrote {MESH}, the median of {len(meshes)} portraits")


if __name__ == "__main__":
    main()
