"""Blend to Style with the real engine: the range goes where the style goes, edits stay, one undo takes it back."""

import importlib
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

_LIVE = runpy.run_path(str(Path(__file__).with_name("test_live.py")))
_STYLES = runpy.run_path(str(Path(__file__).with_name("test_styles.py")))
speak = _LIVE["speak"]
film, made = _STYLES["film"], _STYLES["made"]
FRAMES = 6
Wait = Callable[..., None]


@pytest.fixture
def rig(parlando: SimpleNamespace, scene: Any, engine: str, astronaut: Path, idle: Wait) -> Any:
    made = speak(parlando, scene, astronaut, idle)
    parlando.live.in_background = False
    return made


@pytest.fixture
def touch(parlando: SimpleNamespace) -> Any:
    return importlib.import_module(f"{parlando.jobs.__package__}.touch")


def local(parlando: SimpleNamespace, scene: Any, touch: Any, rig: Any) -> np.ndarray:
    start = int(rig.picture["parlando_start"])
    return np.asarray(touch.local(rig, np.arange(start, start + FRAMES, dtype=np.float64)))


def state() -> Any:
    return bpy.context.window_manager.parlando


def test_the_range_goes_to_the_style_and_edits_stay(
    parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any, made: Path, idle: Wait, tmp_path: Path
) -> None:
    rig.points[57].delta_location.z = -0.02
    before = local(parlando, scene, touch, rig)
    start = int(rig.picture["parlando_start"])
    scene.parlando.style_file = str(made)
    assert bpy.ops.parlando.blend_style(region="MOUTH", start=start + 2, end=start + 5, ease=0) == {"FINISHED"}
    idle()
    assert state().outcome == "DONE" and "blended to “Ann”" in state().message
    change = local(parlando, scene, touch, rig) - before
    assert np.abs(change[:2]).max() == 0 and np.abs(change[:, :48]).max() == 0
    assert np.abs(change[2:, 48:]).max() > 1e-4
    # The same words in that style, generated whole: the mouth has moved from the one to the other.
    scene.parlando.style_file = str(made)
    bpy.ops.parlando.generate()
    idle()
    base, other = scene.parlando.takes[0], scene.parlando.takes[-1]
    motions = [
        parlando.landmarks.local_motion(parlando.landmarks.Data.load(parlando.takes.folder_of(take) / "landmarks.npz"))[
            2
        ]
        for take in (base, other)
    ]
    assert change[2:, 48:] == pytest.approx((motions[1] - motions[0])[2:, 48:], abs=2e-4)


def test_half_way_and_back_by_one_undo(
    parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any, made: Path, idle: Wait
) -> None:
    before = local(parlando, scene, touch, rig)
    changes = []
    sound_id = rig.collection["parlando_sound"]
    bpy.ops.ed.undo_push(message="before")
    for amount in (1.0, 0.5):
        bpy.ops.parlando.blend_style(region="MOUTH", amount=amount, style=str(made))
        idle()
        rig = parlando.landmarks.find(bpy.context.scene, sound_id)
        changes.append(local(parlando, scene, touch, rig) - before)
        bpy.ops.ed.undo()
        rig = parlando.landmarks.find(bpy.context.scene, sound_id)
        assert (local(parlando, scene, touch, rig) == before).all()
    assert changes[1] == pytest.approx(0.5 * changes[0], abs=1e-6)


def test_another_take_in_the_meantime_is_left_alone(
    parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any, made: Path, idle: Wait
) -> None:
    bpy.ops.parlando.blend_style(region="MOUTH", style=str(made))
    before = local(parlando, scene, touch, rig)
    rig.collection["parlando_base"] = "another"
    idle()
    assert "another take" in state().message and (local(parlando, scene, touch, rig) == before).all()
    rig.collection["parlando_base"] = scene.parlando.takes[0].name
    with pytest.raises(RuntimeError, match="does not exist"):
        bpy.ops.parlando.blend_style(region="MOUTH", style="/nowhere.safetensors")
