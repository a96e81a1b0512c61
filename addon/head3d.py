"""A 3D head to speak: asked of the engine (its verb `head`), built as a mesh with ARKit's 52 shape keys on an empty.

The empty turns the head. Mesh and empty become what `face3d` keys. Nothing here knows how the head is made.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import jobs, preferences, pump
from .jobs import Job
from .problem import Problem

FORMAT = "parlando-head-1"
# Colour and roughness of each material; others are grey.
LOOKS = {
    "Skin": ((0.53, 0.30, 0.21), 0.55),
    "Lips": ((0.42, 0.17, 0.14), 0.42),
    "Mouth": ((0.25, 0.06, 0.05), 0.5),
    "Tongue": ((0.42, 0.13, 0.12), 0.4),
    "Gums": ((0.42, 0.14, 0.13), 0.35),
    "Teeth": ((0.78, 0.73, 0.63), 0.25),
    "Lashes": ((0.02, 0.015, 0.012), 0.8),
    "Eyeballs": ((0.80, 0.77, 0.74), 0.15),
    "Iris": ((0.13, 0.07, 0.035), 0.15),
    "Pupil": ((0.004, 0.004, 0.004), 0.1),
}


def why_not(scene: bpy.types.Scene) -> str:
    """Why no head can be added; empty when one can."""
    if any(job.verb == "head" for job in jobs.active()):
        return "A head is being made"
    return "" if preferences.engine_python() else preferences.NO_ENGINE


def add_head(scene: bpy.types.Scene) -> Job:
    """Queues a head at the 3D cursor. Raises Problem."""
    if reason := why_not(scene):
        raise Problem(f"{reason}.")
    folder = Path(tempfile.mkdtemp(prefix="parlando_head_", dir=bpy.app.tempdir))
    wheels = preferences.get().wheels_folder
    params = {"out": str(folder / "head.npz"), "wheels": bpy.path.abspath(wheels) if wheels else None}
    cursor: Any = scene.cursor.location
    place = (cursor[0], cursor[1], cursor[2])

    def prepare() -> Generator[float, None, None]:
        yield 1.0

    def deliver(job: Job, scene: bpy.types.Scene, result: dict[str, Any]) -> str:
        try:
            mesh = build(scene, Path(job.params["out"]), place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return f"“{mesh.name}” has {len(mesh.data.shape_keys.key_blocks) - 1} face units: Key 3D Face lets it speak."

    job = jobs.begin(scene, "head", folder, params, prepare(), deliver)
    job.title, job.stage = "3D Head", "fetching the head"
    pump.wake()
    return job


def build(scene: bpy.types.Scene, path: Path, place: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Any:
    """Makes mesh and empty of the engine's file, its neck's foot at `place`; the mesh's object. Raises Problem."""
    data = _load(path)
    mesh: Any = bpy.data.meshes.new("Parlando Head")
    sizes = data["sizes"]
    mesh.vertices.add(len(data["points"]))
    mesh.vertices.foreach_set("co", data["points"].ravel())
    mesh.loops.add(len(data["loops"]))
    mesh.loops.foreach_set("vertex_index", data["loops"])
    mesh.polygons.add(len(sizes))
    mesh.polygons.foreach_set("loop_start", np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32))
    mesh.polygons.foreach_set("material_index", data["material"])
    mesh.polygons.foreach_set("use_smooth", np.ones(len(sizes), bool))
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", data["uv"].ravel())
    for name in data["materials"]:
        mesh.materials.append(_material(str(name)))
    mesh.update(calc_edges=True)
    mesh.validate()
    head = bpy.data.objects.new("Parlando Head", mesh)
    pose = bpy.data.objects.new("Parlando Head Pose", None)
    pose.empty_display_type, pose.empty_display_size = "ARROWS", 0.15
    for item in (pose, head):
        scene.collection.objects.link(item)
    head.parent = pose
    pose.location = (place[0], place[1], place[2] - float(data["points"][:, 2].min()))
    head.shape_key_add(name="Basis")
    for unit, first, end in zip(data["units"], data["start"], data["start"][1:], strict=False):
        moved = data["points"].copy()
        moved[data["index"][first:end]] += data["offset"][first:end]
        key: Any = head.shape_key_add(name=str(unit), from_mix=False)
        key.data.foreach_set("co", moved.ravel())
        key.value = 0.0  # 1 from Blender 5.0 on
    settings = scene.parlando_face
    settings.mesh, settings.head, settings.bone = head, pose, ""
    return head


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
        if str(data["format"]) != FORMAT:
            raise ValueError("another version")
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as problem:
        raise Problem(f"The head {path} cannot be read ({problem}): add the head again.") from problem
    return data


def _material(name: str) -> bpy.types.Material:
    """The material of that name that an earlier head brought, else a new one."""
    title = f"Parlando {name}"
    if (found := bpy.data.materials.get(title)) is not None:
        return found
    material: Any = bpy.data.materials.new(title)
    colour, roughness = LOOKS.get(name, ((0.5, 0.5, 0.5), 0.5))
    material.diffuse_color, material.roughness = (*colour, 1.0), roughness
    if material.node_tree is None:
        material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.inputs["Roughness"].default_value = roughness
    return material
