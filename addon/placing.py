"""The portrait's 68 points, placed by hand: for drawings, animals, and faces that are found wrongly or not at all.

They are one mesh of 68 vertices in front of the picture, in the picture plane's space of `landmarks.py`, to be moved in
Edit Mode with all that Blender has (proportional editing, scaling, mirroring). As long as the mesh is there, Generate
takes the portrait's points from it; deleted, the engine finds the face again. What the engine makes of them is its own.
"""

import shutil
import tempfile
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import jobs, landmarks, portrait, preferences, pump
from .jobs import Job
from .problem import Problem

OWNER = "parlando_portrait"  # on the collection: which portrait's points they are
ROLE = "parlando_placed"  # on its objects: "points" or "picture"
SIZE = "parlando_size"  # on the picture: width and height, px
_RUNS = [  # lines through the points, so that one sees which is which
    list(range(17)), list(range(17, 22)), list(range(22, 27)), list(range(27, 31)), list(range(31, 36)),
    [*range(36, 42), 36], [*range(42, 48), 42], [*range(48, 60), 48], [*range(60, 68), 60],
]  # fmt: skip
EDGES = [pair for run in _RUNS for pair in pairwise(run)]


def portrait_key(scene: bpy.types.Scene) -> str:
    """What tells the scene's portrait from others; empty without one."""
    settings = scene.parlando
    if portrait.why_none(scene):
        return ""
    if settings.portrait_source == "IMAGE":
        return f"image {settings.portrait_image.name}"
    try:
        return f"file {portrait.file_of(scene, Path())}"
    except Problem:
        return ""


def find(scene: bpy.types.Scene) -> bpy.types.Collection | None:
    """The points of the scene's portrait; None where the engine finds the face itself."""
    key = portrait_key(scene)
    placed = (c for c in scene.collection.children_recursive if key and c.get(OWNER) == key)
    return next((c for c in placed if _object(c, "points") is not None and _object(c, "picture") is not None), None)


def points_of(scene: bpy.types.Scene) -> list[list[float]] | None:
    """68 × (x, y, z) px as placed now; None where the engine finds the face itself. Raises Problem."""
    collection = find(scene)
    if collection is None:
        return None
    item, picture = _object(collection, "points"), _object(collection, "picture")
    assert item is not None and picture is not None
    mesh: Any = item.data
    if item.mode == "EDIT":
        item.update_from_editmode()
    if len(mesh.vertices) != 68:
        raise Problem(
            f"“{item.name}” has {len(mesh.vertices)} points where 68 are needed: undo that, or Place Points again."
        )
    local = np.empty(3 * 68, np.float32)
    mesh.vertices.foreach_get("co", local)
    turn = np.array(picture.matrix_world.inverted() @ item.matrix_world)
    placed = local.reshape(68, 3).astype(np.float64) @ turn[:3, :3].T + turn[:3, 3]
    return [[round(float(v), 3) for v in point] for point in landmarks.to_pixels(placed, tuple(picture[SIZE]))]


def why_not(scene: bpy.types.Scene) -> str:
    """Why points cannot be placed; empty when they can."""
    if reason := portrait.why_none(scene):
        return reason
    if portrait.is_movie(scene):
        return "Points are placed on pictures: the portrait is a movie"
    return "" if preferences.engine_python() else preferences.NO_ENGINE


def place(scene: bpy.types.Scene) -> Job:
    """Asks the engine where it sees the face and puts the points there, an average face's where it sees none. Raises
    Problem."""
    if reason := why_not(scene):
        raise Problem(f"{reason}.")
    folder = Path(tempfile.mkdtemp(prefix="parlando_points_", dir=bpy.app.tempdir))
    try:
        image = portrait.file_of(scene, folder)
        key = portrait_key(scene)
        own = scene.parlando.portrait_image if scene.parlando.portrait_source == "IMAGE" else None
        own_name = own.name if own is not None else ""
        params: dict[str, Any] = {"image": str(image), "face": scene.parlando.face}

        def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
            shown = bpy.data.images.get(own_name) if own_name else bpy.data.images.load(str(image), check_existing=True)
            shutil.rmtree(folder, ignore_errors=True)
            if shown is None:
                raise jobs.NotPlaced(f"The image “{own_name}” was deleted in the meantime: no points were placed.")
            collection = find(scene)
            if collection is not None:
                remove(collection)
            _add(scene, key, shown, np.array(result["points"]), (int(result["size"][0]), int(result["size"][1])))
            if result["found"]:
                return "The points lie where the engine sees the face: Edit Points moves them."
            return "No face was found: an average face's points lie in the picture. Edit Points moves them."

        job = jobs.begin(scene, "points", folder, params, _nothing(), deliver, {image.name: "the portrait"})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    job.title, job.temporary = "Points", True
    pump.wake()
    return job


def remove(collection: bpy.types.Collection) -> None:
    """Takes placed points away: the engine finds the face again."""
    for item in list(collection.all_objects):
        data = item.data
        bpy.data.objects.remove(item)
        if isinstance(data, bpy.types.Mesh) and data.users == 0:
            bpy.data.meshes.remove(data)
    bpy.data.collections.remove(collection)


def _nothing() -> Generator[float, None, None]:
    """There is nothing to prepare."""
    yield 1.0


def _object(collection: bpy.types.Collection, role: str) -> bpy.types.Object | None:
    return next((item for item in collection.all_objects if item.get(ROLE) == role), None)


def _add(
    scene: bpy.types.Scene, key: str, image: bpy.types.Image, points: np.ndarray, size: tuple[int, int]
) -> bpy.types.Collection:
    """The picture and the mesh of 68 vertices (68, 3) px, in a collection of their own; the mesh is active."""
    collection = bpy.data.collections.new(f"Parlando Points {Path(image.name).stem}")
    collection[OWNER] = key
    scene.collection.children.link(collection)
    placed = landmarks.to_plane(points, size)
    picture = landmarks.picture_plane(f"{image.name} picture", size, float(placed[:, 1].max()))
    node: Any = next(n for n in picture.active_material.node_tree.nodes if n.type == "TEX_IMAGE")
    node.image = image
    picture[ROLE], picture[SIZE], picture.hide_select = "picture", list(size), True
    collection.objects.link(picture)
    mesh = bpy.data.meshes.new(f"{image.name} points")
    mesh.from_pydata([tuple(v) for v in placed], EDGES, [])
    item = bpy.data.objects.new(f"{image.name} points", mesh)
    item[ROLE], item.parent = "points", picture
    item.show_in_front, item.show_wire = True, True
    start = 0
    for name, count in landmarks.REGIONS.items():
        item.vertex_groups.new(name=name).add(list(range(start, start + count)), 1.0, "REPLACE")
        start += count
    collection.objects.link(item)
    view_layer = bpy.context.view_layer
    if view_layer is not None and item.name in view_layer.objects and bpy.context.mode == "OBJECT":
        for other in view_layer.objects:
            other.select_set(False)
        item.select_set(True)
        view_layer.objects.active = item
    return collection


def rig_points(collection: bpy.types.Collection) -> tuple[bpy.types.Object, bpy.types.Object]:
    """(mesh, picture) of placed points that are there."""
    mesh, picture = _object(collection, "points"), _object(collection, "picture")
    assert mesh is not None and picture is not None
    return mesh, picture
