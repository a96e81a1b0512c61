"""Points placed by hand: a drawing speaks, a wrong place is told, what was placed stays to the px."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.face import find, image, points
from engine.face.mesh import IBUG
from engine.job import Engine
from engine.render.renderer import Renderer
from engine.request import DubRequest, RenderRequest
from engine.take import Landmarks

REPO = Path(__file__).resolve().parents[2]
CARTOON = REPO / "demo" / "source" / "cartoon.png"
PLACED = REPO / "demo" / "source" / "cartoon_points.json"


def opened(landmarks: np.ndarray, by: float) -> np.ndarray:
    moved = landmarks.copy()
    moved[[55, 56, 57, 58, 59, 65, 66, 67, 7, 8, 9], 1] += by
    return moved


@pytest.fixture(scope="module")
def face() -> find.Face:
    return points.face_at(image.load(CARTOON), points.read(PLACED))


def test_the_landmarks_lie_where_they_were_placed(face: find.Face) -> None:
    assert face.landmarks[:, :2] == pytest.approx(np.array(points.read(PLACED)), abs=1e-3)
    assert face.mesh[IBUG] == pytest.approx(face.landmarks)
    jaw, nose = face.landmarks[[0, 16], 2].mean(), face.landmarks[30, 2]
    assert nose > jaw + 50  # depth toward the viewer


def test_a_drawings_mouth_opens_and_its_eyes_stay(face: find.Face) -> None:
    picture = image.load(CARTOON)
    renderer = Renderer(picture, face, torch.device("cpu"))
    frame = renderer.render(opened(face.landmarks, 60.0))
    changed = np.abs(frame.astype(int) - picture.rgb).max(2)
    assert changed[440:500, 280:360].mean() > 40  # the mouth
    assert changed[236:368, 176:464].mean() < 3  # the eyes
    assert changed[366:386, 190:282].max() < 40  # the jaw once pulled their outlines along here


def test_a_face_that_is_found_is_corrected_not_replaced(portrait: Path) -> None:
    picture = image.load(portrait)
    found = find.find(picture)
    moved = found.landmarks[:, :2].copy()
    moved[54] += [6.0, -3.0]
    made = points.face_at(picture, moved.tolist())
    assert made.landmarks[54, :2] == pytest.approx(moved[54], abs=1e-3)
    assert made.landmarks[36, :2] == pytest.approx(found.landmarks[36, :2], abs=1e-3)
    assert made.mesh[10] == pytest.approx(found.mesh[10], abs=1.0)  # the forehead
    assert np.linalg.norm(made.mesh[:, :2] - found.mesh[:, :2], axis=1).max() < 10.0


def test_without_a_face_an_average_one_is_offered(tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((300, 400, 3), 128, np.uint8))
    told = points.points_of(grey)
    assert told["found"] is False and told["size"] == [400, 300]
    made = points.face_at(image.load(grey), told["points"])
    assert made.landmarks == pytest.approx(np.array(told["points"]), abs=1e-2)
    assert 80 < np.ptp(made.landmarks[:, 0]) < 250
    assert points.points_of(REPO / "demo" / "source" / "astronaut.png")["found"] is True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p[:-1], "67 points are given"),
        (lambda p: [*p[:48], [-40.0, 10.0], *p[49:]], "Point 48 lies outside the picture cartoon.png"),
        (lambda p: [*p[:5], [float("nan"), 1.0], *p[6:]], "Point 5 is not a number"),
        (lambda p: [[x / 100 + 300, y / 100 + 300] for x, y in p], "span"),
        (lambda p: [*p[:45], p[36], *p[46:]], "points 36 and 45"),
    ],
)
def test_points_that_cannot_be_used_are_told(change, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=told):
        points.face_at(image.load(CARTOON), change(points.read(PLACED)))


def test_a_drawing_speaks_and_its_edits_render_without_the_file(words: Path, tmp_path: Path) -> None:
    engine = Engine("cpu")
    given = points.read(PLACED)
    made = engine.dub(DubRequest(words, CARTOON, tmp_path / "take", frames=4, points=given, preview=False))
    assert made.frames == 4
    known = Landmarks.load(tmp_path / "take" / "landmarks.npz")
    assert known.source_landmarks is not None
    assert known.source_landmarks[:, :2] == pytest.approx(np.array(given), abs=1e-3)
    known.landmarks[2, 57, 1] += 5
    known.save(tmp_path / "edited.npz")
    again = engine.render(
        RenderRequest(tmp_path / "edited.npz", CARTOON, tmp_path / "b", take=tmp_path / "take", preview=False)
    )
    assert (again.rendered, again.reused) == (1, 3)


def test_by_command(tmp_path: Path) -> None:
    out = tmp_path / "points.json"
    command = [sys.executable, "-m", "engine", "landmarks", str(CARTOON), "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["size"] == [640, 640]
    assert len(points.read(out)) == 68
    (tmp_path / "bad.json").write_text("[1, 2")
    with pytest.raises(InputError, match="not a file of points"):
        points.read(tmp_path / "bad.json")
