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
    window, area = _view(context)
    if rig.head.name not in context.view_layer.objects:
        raise Problem(f"“{rig.collection.name}” is not in the scene that is shown: go to its scene or view layer.")
    space: Any = area.spaces.active
    for item in rig.collection.all_objects:
        item.hide_set(False)
    live.prepare(rig)
    if space.local_view is None:
        kept = [item for item in context.view_layer.objects if item.select_get()]
        for item in kept:
            item.select_set(False)
        for item in rig.collection.all_objects:
            item.select_set(True)
        region = next(region for region in area.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region):
            bpy.ops.view3d.localview(frame_selected=False)
        for item in rig.collection.all_objects:
            item.select_set(item in kept)
        for item in kept:
            item.select_set(True)
    context.view_layer.update()  # objects that were just made
    for item in rig.collection.all_objects:
        item.local_view_set(space, True)
    space.shading.type, space.shading.light, space.shading.color_type = "SOLID", "FLAT", "TEXTURE"
    space.overlay.show_relationship_lines = False
    view = space.region_3d
    turn = rig.picture.matrix_world.to_quaternion()
    view.view_perspective = "ORTHO"
    view.view_rotation = turn @ mathutils.Quaternion(FRONT)
    there = np.array([point.matrix_world.translation for point in rig.points])
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
