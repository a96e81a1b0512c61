"""Place Points with the real engine: the mesh lies on the face; what is moved in Edit Mode is what Generate uses."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
CARTOON = REPO / "demo" / "source" / "cartoon.png"
Wait = Callable[..., None]


@pytest.fixture
def placing(parlando: SimpleNamespace) -> Any:
    return importlib.import_module(f"{parlando.jobs.__package__}.placing")


@pytest.fixture
def placed(parlando: SimpleNamespace, scene: Any, engine: str, placing: Any, idle: Wait) -> Any:
    scene.parlando.portrait_file = str(CARTOON)
    assert bpy.ops.parlando.place_points() == {"FINISHED"}
    idle()
    assert bpy.context.window_manager.parlando.outcome == "DONE", bpy.context.window_manager.parlando.message
    return placing.find(bpy.context.scene)


def test_the_mesh_lies_on_the_picture_and_follows_the_plane(placed: Any, placing: Any, scene: Any) -> None:
    mesh, picture = placing.rig_points(placed)
    points = np.array(placing.points_of(scene))
    assert points.shape == (68, 3)
    assert (points[:, :2] > 0).all() and (points[:, :2] < 640).all()
    assert points[30, 0] == pytest.approx(320, abs=40)  # the nose's tip
    picture.location = (3.0, 1.0, -2.0)
    picture.rotation_euler = (0.3, 0.2, 0.5)
    bpy.context.view_layer.update()
    assert np.array(placing.points_of(scene)) == pytest.approx(points, abs=0.01)
    assert {group.name for group in mesh.vertex_groups} >= {"jaw", "lip_inner"}
    assert len(mesh.data.edges) > 60


def test_generate_works_with_what_was_moved(
    parlando: SimpleNamespace, placed: Any, placing: Any, scene: Any, idle: Wait
) -> None:
    mesh, _ = placing.rig_points(placed)
    wanted = np.array(placing.points_of(scene))
    bpy.context.view_layer.objects.active = mesh
    bpy.ops.object.mode_set(mode="EDIT")
    import bmesh

    edited = bmesh.from_edit_mesh(mesh.data)
    edited.verts.ensure_lookup_table()
    edited.verts[54].co.x += 20 * 2 / 640  # 20 px to the right
    bmesh.update_edit_mesh(mesh.data)
    wanted[54, 0] += 20
    strip = parlando.compat.strips(scene.sequence_editor).new_sound(
        "voice", str(REPO / "demo" / "source" / "jfk.wav"), 1, 10
    )
    scene.sequence_editor.active_strip = strip
    parlando.compat.set_right(strip, parlando.compat.left(strip) + 3)
    assert bpy.ops.parlando.generate() == {"FINISHED"}
    idle()
    assert bpy.context.window_manager.parlando.outcome == "DONE", bpy.context.window_manager.parlando.message
    take = scene.parlando.takes[-1]
    with np.load(parlando.takes.folder_of(take) / "landmarks.npz", allow_pickle=False) as file:
        assert file["source_landmarks"] == pytest.approx(wanted, abs=0.01)


def test_a_point_too_many_is_told(placed: Any, placing: Any, scene: Any, parlando: SimpleNamespace) -> None:
    mesh, _ = placing.rig_points(placed)
    mesh.data.vertices.add(1)
    with pytest.raises(Exception, match="has 69 points where 68 are needed"):
        placing.points_of(scene)


def test_removed_or_another_portrait_and_the_engine_finds_the_face(
    placed: Any, placing: Any, scene: Any, astronaut: Path
) -> None:
    scene.parlando.portrait_file = str(astronaut)
    assert placing.find(scene) is None and placing.points_of(scene) is None
    scene.parlando.portrait_file = str(CARTOON)
    assert placing.points_of(scene) is not None
    assert bpy.ops.parlando.remove_points() == {"FINISHED"}
    assert placing.points_of(scene) is None
    assert not [o for o in bpy.data.objects if o.get("parlando_placed")]


def test_greyed_with_the_reason(scene: Any, placing: Any) -> None:
    assert placing.why_not(scene) == "Choose a portrait"
    assert not bpy.ops.parlando.place_points.poll()
    assert not bpy.ops.parlando.edit_points.poll()
