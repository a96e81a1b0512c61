"""Face units: the solver against SciPy's, shut lids, closed lips, real films, and the verb."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from engine import cli
from engine.face import find, image
from engine.face.canonical import from_canonical, rotation_matrix, to_canonical
from engine.motion import units
from engine.motion.net import mouth_opening
from engine.motion.place import at_rest
from engine.take import Landmarks

REPO = Path(__file__).resolve().parents[2]
DATA = REPO.parent / "shared" / "data"
FILMS = DATA / "grid_others" / "landmarks.npz"
MOUTH = slice(48, 68)


@pytest.fixture(scope="module")
def shapes() -> units.FaceUnits:
    return units.FaceUnits.load()


@pytest.fixture(scope="module")
def face(portrait: Path) -> find.Face:
    return find.find(image.load(portrait))


@pytest.fixture(scope="module")
def rest(face: find.Face) -> np.ndarray:
    return at_rest(to_canonical(face.landmarks)[0].astype(np.float64))


def made_of(landmarks: np.ndarray, face: find.Face | None = None) -> Landmarks:
    source = (face.landmarks, face.mesh) if face is not None else (None, None)
    return Landmarks(landmarks, np.zeros((len(landmarks), 6), np.float32), Fraction(25), (512, 512), *source)


def films() -> list[np.ndarray]:
    if not FILMS.exists():
        pytest.skip(f"{FILMS} is not here")
    with np.load(FILMS) as file:
        return [file[name] * np.array([1, 1, -1], np.float32) for name in file]


def test_names_are_arkits_and_every_unit_moves_something(shapes: units.FaceUnits) -> None:
    assert {"jawOpen", "mouthClose", "mouthSmileLeft", "mouthSmileRight", "browInnerUp"} <= set(shapes.names)
    assert shapes.basis.shape == (len(shapes.names), 68, 3)
    assert (np.linalg.norm(shapes.basis, axis=2).max(axis=1) > 0.02).all()


def test_sides_are_the_speakers_own(shapes: units.FaceUnits) -> None:
    moved = np.linalg.norm(shapes.basis, axis=2)
    left, right = (moved[shapes.names.index(f"mouthSmile{side}")] for side in ("Left", "Right"))
    assert left[54] > 3 * left[48] and right[48] > 3 * right[54]  # 54 is the speaker's left corner


def test_the_solver_finds_what_scipys_finds(shapes: units.FaceUnits, rest: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 0.03, (5, 68, 3))
    found = shapes.solve(offsets, rest)
    trust = units._trust().ravel()
    basis = shapes.scaled(rest).reshape(len(shapes.names), -1) * trust
    lids = [i for i, name in enumerate(shapes.names) if name.startswith(("eyeBlink", "eyeWide"))]
    for offset, mine in zip(offsets, found, strict=True):
        # The cost of weights as rows of a least-squares problem: |√ridge·w + cost/√ridge|² differs by a constant.
        root = np.sqrt(units.RIDGE)
        cost = units.LASSO * np.linalg.norm(basis, axis=1)
        rows = np.concatenate([basis.T, root * np.eye(len(basis))])
        right = np.concatenate([offset.ravel() * trust, -cost / root])
        theirs = lsq_linear(rows, right, (0, 1), tol=1e-12).x
        theirs[lids] = mine[lids]
        assert np.abs(mine - theirs).max() < 0.01


def test_no_offset_is_no_weight(shapes: units.FaceUnits, rest: np.ndarray) -> None:
    assert not shapes.solve(np.zeros((2, 68, 3)), rest).any()


@pytest.mark.parametrize("name", ["jawOpen", "mouthPucker", "mouthSmileLeft", "browInnerUp", "mouthRight"])
def test_a_unit_put_on_comes_back(shapes: units.FaceUnits, rest: np.ndarray, name: str) -> None:
    which = shapes.names.index(name)
    weights = shapes.solve(0.6 * shapes.scaled(rest)[[which]], rest)[0]
    assert weights.argmax() == which and weights[which] > 0.35


def test_a_shut_eye_is_a_whole_blink(shapes: units.FaceUnits, rest: np.ndarray) -> None:
    offsets = np.zeros((2, 68, 3))
    for upper, lower in units.LIDS["Left"]:
        offsets[1, upper] = rest[lower] - rest[upper]
    weights = shapes.solve(offsets, rest)
    left, right = (weights[:, shapes.names.index(f"eyeBlink{side}")] for side in ("Left", "Right"))
    assert left[0] == 0 and left[1] > 0.99 and not right.any()


def test_frames_do_not_know_each_other(shapes: units.FaceUnits, rest: np.ndarray) -> None:
    offsets = np.random.default_rng(1).normal(0, 0.03, (7, 68, 3))
    assert np.allclose(shapes.solve(offsets, rest)[3], shapes.solve(offsets[3:4], rest)[0], atol=1e-6)


def test_real_films_are_rebuilt_and_closed_lips_stay_closed(shapes: units.FaceUnits) -> None:
    errors, controls = [], []
    for landmarks in films():
        canonical, _ = to_canonical(landmarks)
        rest = units.rest_of_film(canonical)
        offsets = canonical - rest
        weights = shapes.solve(offsets, rest)
        rebuilt = shapes.offsets(weights, rest)
        errors.append(np.square((offsets - rebuilt)[:, MOUTH, :2]).sum(-1).mean() ** 0.5)
        controls.append(np.square(offsets[:, MOUTH, :2]).sum(-1).mean() ** 0.5)
        gap = mouth_opening(canonical)
        jaw = weights[:, shapes.names.index("jawOpen")] - weights[:, shapes.names.index("mouthClose")]
        assert jaw[gap < 0.02].mean() < 0.08 < 0.12 < jaw[gap > np.quantile(gap, 0.9)].mean()
        assert np.corrcoef(gap, mouth_opening(rest + rebuilt))[0, 1] > 0.9
        shuffled = np.random.default_rng(0).permutation(len(gap))
        assert abs(np.corrcoef(gap[shuffled], mouth_opening(rest + rebuilt))[0, 1]) < 0.5
    assert np.mean(np.array(errors) / controls) < 0.25


def test_the_head_is_told_from_the_portraits_own_pose(face: find.Face) -> None:
    canonical, own = to_canonical(face.landmarks[None])
    turned = np.stack([own.rotation[0], own.rotation[0] + np.array([0, 0.2, 0], np.float32)])
    placed = type(own)(turned, *(np.repeat(getattr(own, n), 2, 0) for n in ("scale", "origin", "depth")))
    found = units.units_of(made_of(from_canonical(np.repeat(canonical, 2, 0), placed), face))
    assert np.abs(found.head[0]).max() < 1e-4
    expected = rotation_matrix(turned[0]).T @ rotation_matrix(turned[1])
    assert np.abs(rotation_matrix(found.head[1]) - expected).max() < 1e-3


def test_the_verb(face: find.Face, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_of(np.repeat(face.landmarks[None], 3, 0), face).save(tmp_path / "landmarks.npz")
    argv = ["units", "--landmarks", str(tmp_path / "landmarks.npz"), "--out", str(tmp_path / "units.npz"), "--json"]
    assert cli.main(argv) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["frames"] == 3
    with np.load(tmp_path / "units.npz", allow_pickle=False) as file:
        assert file["weights"].shape == (3, len(file["names"])) and file["head"].shape == (3, 3)
        assert file["fps"].tolist() == [25, 1] and 0 <= file["weights"].min() <= file["weights"].max() <= 1


def test_the_verb_tells_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["units", "--landmarks", str(tmp_path / "no.npz"), "--out", str(tmp_path / "units.npz")]) == 2
    assert "no.npz does not exist" in capsys.readouterr().err and not (tmp_path / "units.npz").exists()


@pytest.mark.skipif(not (DATA / "ict_facekit").exists(), reason="ICT-FaceKit is not here")
def test_the_shipped_units_are_what_the_script_makes(shapes: units.FaceUnits) -> None:
    from engine.training import face_units

    vertices = json.loads((DATA / "landmark_indices.json").read_text())["ict_facekit_vertices_of_ibug68"]
    with np.load(DATA / "ict_facekit" / "ict_facekit.npz") as file:
        names, basis, neutral = face_units.derive(dict(file), vertices)
    assert tuple(names) == shapes.names
    assert np.allclose(basis, shapes.basis, atol=1e-6) and np.allclose(neutral, shapes.neutral, atol=1e-6)


def test_serve_knows_units(face: find.Face, tmp_path: Path) -> None:
    made_of(face.landmarks[None], face).save(tmp_path / "landmarks.npz")
    params = {"landmarks": str(tmp_path / "landmarks.npz"), "out": str(tmp_path / "units.npz")}
    asked = json.dumps({"id": 1, "verb": "units", "params": params}) + "\n"
    child = subprocess.Popen(
        [sys.executable, "-m", "engine", "serve", "--device", "cpu"],
        cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(asked)
    child.stdin.flush()
    events = []
    for line in child.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] in {"done", "error"}:
            break
    child.stdin.close()
    child.wait(20)
    assert events[-1]["event"] == "done" and events[-1]["result"]["frames"] == 1, events
