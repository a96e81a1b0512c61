"""Derives what each ARKit face unit does to the 68 landmarks, from the expressions of a 3D head.

    python -m engine.training.face_units --data ../shared/data
    python -m engine.training.face_units --data ../shared/data --check FILE.npz …

ICT-FaceKit's expression shapes (MIT) carry ARKit's names. Each is put on its neutral head alone, at full weight; what
that does to the 68 points, seen in canonical space as the engine sees every face, is the unit. Writes
engine/weights/face_units.safetensors. Nothing is fitted to recordings, and no mesh is kept.
With --check it only measures the written units on landmarks of takes or films, and on `grid_others/`.

Units the 68 points cannot tell are left out: gaze, cheeks, nose, tongue, the jaw's way forward, and squints, which the
points cannot tell from half a blink.
"""

import argparse
import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from engine.face.canonical import FLIP, to_canonical
from engine.motion.net import mouth_opening
from engine.motion.units import FORMAT, PATH, FaceUnits, offsets_of
from engine.take import Landmarks, replacing
from engine.tensors import packed

PAIRED = (
    "browDown", "browOuterUp", "eyeBlink", "eyeWide", "mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch",
    "mouthPress", "mouthLowerDown", "mouthUpperUp",
)  # fmt: skip
SINGLE = (
    "jawOpen", "jawLeft", "jawRight", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
)  # fmt: skip
MERGED = {"browInnerUp": ("browInnerUp_L", "browInnerUp_R")}  # one unit at ARKit, two shapes in the head


def sources() -> dict[str, tuple[str, ...]]:
    """ARKit's name of each unit → the shapes of the head that make it."""
    units = {**MERGED, **{name: (name,) for name in SINGLE}}
    for name in PAIRED:
        units |= {f"{name}Left": (f"{name}_L",), f"{name}Right": (f"{name}_R",)}
    return dict(sorted(units.items()))


def derive(head: dict[str, np.ndarray], vertices: list[int]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, displacements (U, 68, 3) and the neutral face (68, 3), both canonical."""
    neutral = head["N"][vertices].astype(np.float64)
    shapes = {str(n): e for n, e in zip(head["names"], head["E"][:, vertices].astype(np.float64), strict=True)}
    still, _ = to_canonical(neutral * FLIP)
    units = sources()
    moved = np.stack([neutral + sum(shapes[part] for part in parts) for parts in units.values()])
    canonical, _ = to_canonical(moved * FLIP)
    return list(units), canonical - still, still


def measure(made: Landmarks) -> dict[str, float]:
    """How well the units tell these landmarks: errors are shares of the error with all weights zero."""
    units = FaceUnits.load()
    offsets, rest = offsets_of(made)
    weights = units.solve(offsets, rest)
    rebuilt = units.offsets(weights, rest)

    def error(points: slice) -> float:
        left = np.square((offsets - rebuilt)[:, points, :2]).sum(-1).mean()
        return float(np.sqrt(left / np.square(offsets[:, points, :2]).sum(-1).mean()))

    gap = mouth_opening(rest + offsets)
    jaw = weights[:, units.names.index("jawOpen")] - weights[:, units.names.index("mouthClose")]
    closed, wide = gap < 0.02, gap > np.quantile(gap, 0.9)
    return {
        "mouth": error(slice(48, 68)),
        "brows": error(slice(17, 27)),
        "chin": error(slice(5, 12)),
        "opening r": float(np.corrcoef(gap, mouth_opening(rest + rebuilt))[0, 1]),
        "jaw closed": float(jaw[closed].mean()) if closed.any() else float("nan"),
        "jaw open": float(jaw[wide].mean()),
    }


def check(data: Path, files: list[Path]) -> None:
    """Prints `measure` of each file and of the films in `grid_others/`."""
    rows = {}
    with np.load(data / "grid_others" / "landmarks.npz") as films:
        for name in films:
            points = films[name] * np.array([1, 1, -1], np.float32)  # z: toward the viewer
            rows[name] = measure(Landmarks(points, np.zeros((len(points), 6), np.float32), Fraction(25), (256, 256)))
    rows["their mean"] = {
        key: float(np.nanmean([row[key] for row in rows.values()])) for key in next(iter(rows.values()))
    }
    rows |= {str(file): measure(Landmarks.load(file)) for file in files}
    print(" " * 24 + "".join(f"{key:>12}" for key in rows["their mean"]))
    for name, row in rows.items():
        print(f"{name[-24:]:24}" + "".join(f"{value:12.3f}" for value in row.values()))


def main() -> None:
    """Reads the head, writes the units; or measures them."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.face_units", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ict_facekit/")
    parser.add_argument("--check", type=Path, nargs="*", metavar="FILE", help="measure on these landmarks.npz instead")
    options = parser.parse_args()
    if options.check is not None:
        check(options.data, options.check)
        return
    vertices = json.loads((options.data / "landmark_indices.json").read_text())["ict_facekit_vertices_of_ibug68"]
    with np.load(options.data / "ict_facekit" / "ict_facekit.npz", allow_pickle=False) as file:
        names, basis, neutral = derive(dict(file), vertices)
    metadata = {"format": FORMAT, "names": json.dumps(names)}
    with replacing(PATH) as part:
        part.write_bytes(packed({"basis": basis.astype(np.float32), "neutral": neutral.astype(np.float32)}, metadata))
    for name, unit in zip(names, basis, strict=True):
        size = np.linalg.norm(unit, axis=1)
        print(f"{name:18} largest {size.max():.3f} at point {size.argmax()}")


if __name__ == "__main__":
    main()
