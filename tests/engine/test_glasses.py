"""Glasses are told, and their rims stay while lids come down behind them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.face import find, image
from engine.render.glasses import wears
from engine.render.renderer import Renderer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "portraits"
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))


@pytest.fixture(scope="module")
def face(portrait: Path) -> find.Face:
    return find.find(image.load(portrait))


@pytest.fixture(scope="module")
def glasses(portrait: Path, face: find.Face) -> np.ndarray:
    """The portrait three times as large, with glasses drawn on it."""
    rgb = cv2.resize(image.load(portrait).rgb, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    points = 3 * face.landmarks[:, :2] + 1
    unit = float(np.linalg.norm(points[45] - points[36]))
    for eye in (slice(36, 42), slice(42, 48)):
        middle = points[eye].mean(0)
        low, high = middle - [0.24 * unit, 0.17 * unit], middle + [0.24 * unit, 0.2 * unit]
        cv2.rectangle(rgb, low.astype(int).tolist(), high.astype(int).tolist(), (30, 25, 25), round(0.025 * unit))
    bridge = [
        (points[eye].mean(0) + [side * 0.24 * unit, -0.06 * unit]).astype(int).tolist()
        for eye, side in ((slice(36, 42), 1), (slice(42, 48), -1))
    ]
    cv2.line(rgb, bridge[0], bridge[1], (30, 25, 25), round(0.025 * unit))
    return rgb


def test_a_bridge_tells_glasses(portrait: Path, face: find.Face, glasses: np.ndarray) -> None:
    assert not wears(image.load(portrait).rgb, face.landmarks)
    assert wears(glasses, 3 * face.landmarks)


def test_rims_stay_while_lids_come_down(face: find.Face, glasses: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = image.Picture(glasses, None, Path("glasses"), "glasses")
    large = find.face_of(face.mesh * np.float32(3), 1.0)
    blinked = large.landmarks.copy()
    for upper, lower in LIDS:
        blinked[upper] = blinked[lower] + 0.1 * (blinked[upper] - blinked[lower])
    unit = float(np.linalg.norm(blinked[45] - blinked[36]))

    def moved() -> float:
        """How much the upper rims changed, of 255, over the middle of each eye."""
        frame = Renderer(picture, large, torch.device("cpu")).render(blinked).astype(int)
        changes = []
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = large.landmarks[eye, :2].mean(0)
            rim = np.s_[int(y - 0.2 * unit) : int(y - 0.15 * unit), int(x - 0.12 * unit) : int(x + 0.12 * unit)]
            changes.append(np.abs(frame[rim] - glasses[rim]).mean())
        return float(max(changes))

    kept = moved()
    monkeypatch.setattr("engine.render.renderer.wears", lambda rgb, landmarks: False)
    assert kept < 6 < 10 < moved()


def test_people_with_and_without() -> None:
    if not DATA.exists():
        pytest.skip(f"needs {DATA}")
    index = json.loads((DATA / "index.json").read_text())

    def told(which: list[int]) -> list[bool]:
        loaded = [image.load(DATA / index[k]["file"]) for k in which]
        return [wears(one.rgb, find.find(one).landmarks) for one in loaded]

    assert sum(told([228, 64, 96, 4, 86, 148])) == 6
    assert sum(told([51, 101, 150, 9, 36, 208])) == 0
