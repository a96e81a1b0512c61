"""Sounds on the timeline: real phones from the real engine, as markers and text strips; the animator's stays."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

JFK = Path(__file__).resolve().parents[2] / "demo" / "source" / "jfk.wav"
HEARD = [
    {"name": "M", "viseme": "MBP", "start": 0.0, "end": 0.1},
    {"name": "AY", "viseme": "AI", "start": 0.1, "end": 0.3},
    {"name": "AA", "viseme": "AI", "start": 0.3, "end": 0.5},
    {"name": "D", "viseme": "etc", "start": 1.0, "end": 1.005},
    {"name": "S", "viseme": "etc", "start": 1.01, "end": 1.2},
    {"name": "N", "viseme": "etc", "start": 3.99, "end": 4.5},
    {"name": "T", "viseme": "etc", "start": 9.0, "end": 9.1},
]


@pytest.fixture
def marks(parlando: SimpleNamespace) -> Any:
    return importlib.import_module("bl_ext.dev.parlando.addon.marks")


def names(scene: Any) -> list[tuple[str, int]]:
    return sorted(((m.name, m.frame) for m in scene.timeline_markers), key=lambda one: one[1])


def texts(scene: Any, parlando: SimpleNamespace) -> list[Any]:
    return sorted((s for _, s in parlando.strips.in_scene(scene) if s.type == "TEXT"), key=parlando.compat.left)


def test_greyed_with_a_reason(scene: Any, marks: Any) -> None:
    assert not bpy.ops.parlando.mark_sounds.poll() and "sound strip" in marks.why_not(scene)
    assert not bpy.ops.parlando.clear_marks.poll() and marks.why_no_clear(scene)


def test_markers_of_phones_and_visemes(parlando: SimpleNamespace, scene: Any, sound: Any, marks: Any) -> None:
    """24 fps, the strip's 96 frames from 10 on: what begins behind its end is left out."""
    id = parlando.strips.identify(scene, sound)
    marks.put(scene, sound, id, HEARD, 24.0, "PHONE", "MARKER")
    assert names(scene) == [("M", 10), ("AY", 12), ("AA", 17), ("S", 34)]  # D is shorter than S, N begins on the end
    marks.put(scene, sound, id, HEARD, 24.0, "VISEME", "MARKER")
    assert names(scene) == [("MBP", 10), ("AI", 12), ("etc", 34)]


def test_the_animators_own_stay(parlando: SimpleNamespace, scene: Any, sound: Any, marks: Any) -> None:
    scene.timeline_markers.new("mine", frame=10)
    id = parlando.strips.identify(scene, sound)
    marks.put(scene, sound, id, HEARD, 24.0, "PHONE", "MARKER")
    by_name = {m.name: m for m in scene.timeline_markers}
    by_name["AY"].frame, by_name["AA"].name = 13, "ah!"
    assert bpy.ops.parlando.clear_marks() == {"FINISHED"}
    assert names(scene) == [("mine", 10), ("AY", 13), ("ah!", 17)]
    assert not bpy.ops.parlando.clear_marks.poll()


def test_text_strips(parlando: SimpleNamespace, scene: Any, sound: Any, marks: Any) -> None:
    id = parlando.strips.identify(scene, sound)
    marks.put(scene, sound, id, HEARD, 24.0, "PHONE", "STRIP")
    left, right = parlando.compat.left, parlando.compat.right
    found = texts(scene, parlando)
    assert [(s.text, left(s), right(s)) for s in found] == [
        ("M", 10, 12),
        ("AY", 12, 17),
        ("AA", 17, 22),
        ("S", 34, 39),
    ]
    assert all(s.mute for s in found) and len({s.channel for s in found} - {sound.channel}) == 1
    found[1].text = "eye"
    marks.put(scene, sound, id, HEARD[:1], 24.0, "PHONE", "STRIP")
    assert sorted(s.text for s in texts(scene, parlando)) == ["M", "eye"]
    assert not names(scene)


def test_the_real_engine(parlando: SimpleNamespace, scene: Any, engine: str, idle: Any, marks: Any) -> None:
    """Through audio, engine and back; at 23.976 fps, trimmed; undone in one step."""
    scene.render.fps, scene.render.fps_base = 24, 1.001
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("Kennedy", str(JFK), 2, 30)
    if hasattr(strip, "left_handle"):
        strip.left_handle += 4
        strip.right_handle = strip.left_handle + 60
    else:
        strip.frame_final_start += 4
        strip.frame_final_end = strip.frame_final_start + 60
    scene.sequence_editor.active_strip = strip
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.parlando.mark_sounds(kind="PHONE", words="and so my fellow americans") == {"FINISHED"}
    idle()
    told = bpy.context.window_manager.parlando
    assert told.outcome == "DONE" and "are marked" in told.message
    found = names(bpy.context.scene)
    assert all(34 <= frame < 94 for _, frame in found) and len(found) >= 12
    m = next(frame for name, frame in found if name == "M")  # of "my", at 0.98 s of the file
    assert abs((m - 30) / (24 / 1.001) - 0.98) < 0.08
    bpy.ops.ed.undo()
    assert not len(bpy.context.scene.timeline_markers)


def test_a_deleted_strip_is_told(parlando: SimpleNamespace, scene: Any, engine: str, idle: Any, sound: Any) -> None:
    assert bpy.ops.parlando.mark_sounds() == {"FINISHED"}
    parlando.compat.strips(scene.sequence_editor).remove(sound)
    idle()
    assert "deleted" in bpy.context.window_manager.parlando.message and not len(scene.timeline_markers)
