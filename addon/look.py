"""Look at the Face: a 3D View from the front, the picture in its own colours and nothing else in the way.

Uses what Blender has: an orthographic view, flat solid shading with textures, and local view (Numpad / leaves it).
"""

from typing import Any

import bpy
import mathutils
import numpy as np

from . import live
from .landmarks import Rig
from .problem import Problem

ROOM = 3.4  # view distance over the size of the landmarks
FRONT = (0.5**0.5, 0.5**0.5, 0.0, 0.0)  # a quaternion: along +Y


def at_face(context: bpy.types.Context, rig: Rig) -> None:
    """Turns the 3D View in use, else the largest one. Raises Problem where there is none."""
    live.prepare(rig)
    _only(context, rig.collection, rig.picture)
    there = np.array([point.matrix_world.translation for point in rig.points])
    _frame(context, there)


def at_points(context: bpy.types.Context, mesh: bpy.types.Object, picture: bpy.types.Object) -> None:
    """The same for points placed by hand, and into their Edit Mode. Raises Problem."""
    if context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    _only(context, mesh.users_collection[0], picture)
    vertices: Any = mesh.data
    _frame(context, np.array([mesh.matrix_world @ vertex.co for vertex in vertices.vertices]))
    for item in context.view_layer.objects:
        item.select_set(item == mesh)
    context.view_layer.objects.active = mesh
    bpy.ops.object.mode_set(mode="EDIT")
    scene = context.scene
    if scene is not None:
        scene.tool_settings.mesh_select_mode = (True, False, False)


def _only(context: bpy.types.Context, collection: bpy.types.Collection, picture: bpy.types.Object) -> None:
    """Shows a collection and nothing else, from the picture's front."""
    window, area = _view(context)
    if picture.name not in context.view_layer.objects:
        raise Problem(f"“{collection.name}” is not in the scene that is shown: go to its scene or view layer.")
    space: Any = area.spaces.active
    objects = list(collection.all_objects)
    for item in objects:
        item.hide_set(False)
    if space.local_view is None:
        kept = [item for item in context.view_layer.objects if item.select_get()]
        for item in kept:
            item.select_set(False)
        fixed = [item for item in objects if item.hide_select]
        for item in objects:
            item.hide_select = False
            item.select_set(True)
        region = next(region for region in area.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region):
            bpy.ops.view3d.localview(frame_selected=False)
        for item in objects:
            item.select_set(item in kept)
            item.hide_select = item in fixed
        for item in kept:
            item.select_set(True)
    context.view_layer.update()  # objects that were just made
    for item in objects:
        item.local_view_set(space, True)
    space.shading.type, space.shading.light, space.shading.color_type = "SOLID", "FLAT", "TEXTURE"
    space.overlay.show_relationship_lines = False
    view = space.region_3d
    turn = picture.matrix_world.to_quaternion()
    view.view_perspective = "ORTHO"
    view.view_rotation = turn @ mathutils.Quaternion(FRONT)


def _frame(context: bpy.types.Context, there: np.ndarray) -> None:
    """Brings points (N, 3) of the world into the middle of the view."""
    _, area = _view(context)
    space: Any = area.spaces.active
    view = space.region_3d
    low, high = there.min(axis=0), there.max(axis=0)
    view.view_location = (low + high) / 2
    view.view_distance = ROOM * float(np.linalg.norm(high - low))


def _view(context: bpy.types.Context) -> tuple[bpy.types.Window, bpy.types.Area]:
    """A 3D View and its window."""
    area = context.area
    if area is not None and area.type == "VIEW_3D" and context.window is not None:
        return context.window, area
    views = [(w, a) for w in context.window_manager.windows for a in w.screen.areas if a.type == "VIEW_3D"]
    if not views:
        raise Problem("There is no 3D View on the screen: open one first.")
    return max(views, key=lambda view: view[1].width * view[1].height)
