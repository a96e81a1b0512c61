"""First Steps: each is found done when it is, the next one is offered, and the example is a take's whole input."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def steps(parlando: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    import importlib

    module = importlib.import_module(f"{parlando.jobs.__package__}.first_steps")
    monkeypatch.setattr(parlando.preferences, "own_folder", lambda name: tmp_path / "own" / name)
    return module


def titles(steps: Any, scene: Any) -> list[str]:
    return [step.title for step in steps.steps(scene) if step.done]


def test_from_nothing_to_the_example(
    parlando: SimpleNamespace, scene: Any, steps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert titles(steps, scene) == [] and steps.next_step(scene) == 0
    monkeypatch.setenv("PARLANDO_ENGINE_PYTHON", "/usr/bin/python3")
    assert titles(steps, scene) == ["Give Parlando its engine"] and steps.next_step(scene) == 1
    parlando.jobs._state.check = {"healthy": False, "problems": ["no models"]}
    assert steps.next_step(scene) == 1
    parlando.jobs._state.check = {"healthy": True, "problems": []}
    assert steps.next_step(scene) == 2  # no window here, so no Sequencer
    scene.frame_set(50)
    scene.frame_end = 60
    assert bpy.ops.parlando.use_example() == {"FINISHED"}
    strip = parlando.strips.sound_in_use(scene)
    assert strip.name == "Example" and parlando.compat.left(strip) == 50 and scene.frame_end == 50 + 264 - 1
    assert Path(strip.sound.filepath).parent == tmp_path / "own" / "example"  # a copy: updates replace the extension
    assert Path(scene.parlando.portrait_file).read_bytes() == (REPO / "demo/source/astronaut.png").read_bytes()
    assert {"Add a sound strip", "Choose a portrait"} <= set(titles(steps, scene))
    assert parlando.generate.why_not_generate(scene) == ""
    assert bpy.ops.parlando.use_example() == {"FINISHED"}  # again: beside, not on top
    channels = [strip.channel for _, strip in parlando.strips.in_scene(scene)]
    assert len(set(channels)) == 2


def test_without_the_example_the_button_says_so(steps: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(steps, "EXAMPLE", tmp_path)
    assert "install Parlando again" in steps.why_no_example()
    assert not bpy.ops.parlando.use_example.poll()


def test_closing_and_bringing_back(parlando: SimpleNamespace) -> None:
    panel = bpy.types.PARLANDO_PT_first_steps_view3d
    assert panel.poll(bpy.context)
    assert bpy.ops.parlando.close_first_steps() == {"FINISHED"}
    assert not panel.poll(bpy.context)
    parlando.preferences.get().first_steps = True
    assert panel.poll(bpy.context)


def test_the_sequencer_opens_once(steps: Any, parlando: SimpleNamespace) -> None:
    if not bpy.context.window_manager.windows:
        with pytest.raises(parlando.problem.Problem, match="no window"):
            steps.open_sequencer()
        return
    assert not steps.sequencers()
    steps.open_sequencer()
    assert len(steps.sequencers()) == 1
    steps.open_sequencer()
    assert len(steps.sequencers()) == 1
