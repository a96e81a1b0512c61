"""The 68 landmarks as keyed empties: engine's motion in, animator's edits out.

Spaces. A pixel of the portrait (x right, y down, z toward the viewer, all in pixels) lies in the picture plane's space
at X = (x − W/2)·s, Y = −z·s, Z = (H/2 − y)·s, with s = 2 / max(W, H): upright, facing −Y, the longer side 2 units. The
head empty is the plane's child and carries the pose; the 68 are the head's children, and so is what the eyes look at:
an empty before them, its `location` zero when they look as in the portrait. So plane⁻¹ · world of a landmark is its
pixel, wherever the plane is moved. `location` and the head's `rotation_euler` are the engine's; `delta_location`
(and the head's other deltas) are the animator's: a new take never takes them away. An animator who moved a landmark or
the head in `location`, or turned the head, finds that edit in the deltas when the next take comes.

Nothing here renders and nothing here calls the engine.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import compat, pins, pulls, strips, takes
from .problem import Problem

# iBUG order; sides are the speaker's own.
REGIONS = {
    "jaw": 17,
    "brow_r": 5,
    "brow_l": 5,
    "nose": 9,
    "eye_r": 6,
    "eye_l": 6,
    "lip_outer": 12,
    "lip_inner": 8,
}
NAMES = tuple(f"{region}_{number:02d}" for region, count in REGIONS.items() for number in range(count))
COLOURS = {
    "jaw": (0.6, 0.6, 0.6, 1.0),
    "brow": (0.9, 0.7, 0.2, 1.0),
    "nose": (0.5, 0.8, 0.5, 1.0),
    "eye": (0.3, 0.6, 1.0, 1.0),
    "lip": (1.0, 0.35, 0.35, 1.0),
}
RIGID = np.array([27, 28, 29, 30, 33, 36, 39, 42, 45])  # nose and eye corners: points that speech does not move
_PAIRS = [
    *((i, 16 - i) for i in range(8)), *((i, 43 - i) for i in range(17, 22)), (31, 35), (32, 34), (36, 45), (37, 44),
    (38, 43), (39, 42), (40, 47), (41, 46), (48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63),
    (65, 67),
]  # fmt: skip
MIRROR = np.arange(68)  # of a point, the one on the other side
MIRROR[[a for a, _ in _PAIRS]], MIRROR[[b for _, b in _PAIRS]] = [b for _, b in _PAIRS], [a for a, _ in _PAIRS]
LONGER_SIDE = 2.0  # units
OWNER = "parlando_sound"  # on the collection and its objects: the sound strip's id
ROLE = "parlando_role"  # "picture", "head", "camera"
INDEX = "parlando_index"  # of a landmark, 0–67
START = "parlando_start"  # on the picture: timeline frame of the take's first
BASE = "parlando_base"  # on the collection: the take whose landmarks `location` holds
_LINEAR, _BEZIER = 1, 2  # of bpy.types.Keyframe.interpolation, as foreach_set takes it
_CAMERA_DISTANCE = 5.0
_EDIT = 1e-6  # units: a location further than this from what was keyed is an edit, 0.0003 px at 512²


@dataclass
class Data:
    """What landmarks.npz of a take holds, and all else in it to hand on."""

    landmarks: np.ndarray  # (T, 68, 3) px
    size: tuple[int, int]
    arrays: dict[str, np.ndarray]

    @classmethod
    def load(cls, path: Path) -> "Data":
        """Reads it. Raises Problem."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            landmarks = arrays["landmarks"].astype(np.float64)
            width, height = (int(n) for n in arrays["size"])
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as problem:
            raise Problem(f"The landmarks {path} cannot be read: generate the take again.") from problem
        if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 3) or len(landmarks) == 0:
            raise Problem(f"The landmarks {path} are not 68 points a frame: generate the take again.")
        return cls(landmarks, (width, height), arrays)

    @property
    def gaze(self) -> np.ndarray:
        """(T, 2) degrees to the picture's right and up."""
        return self.arrays.get("gaze", np.zeros((len(self.landmarks), 2), np.float32))

    def edited(self, moved: np.ndarray, gaze: np.ndarray | None) -> dict[str, np.ndarray]:
        """All of it with other landmarks, and gaze where that is known."""
        return {**self.arrays, "landmarks": moved} | ({} if gaze is None else {"gaze": gaze})


LOOK_AHEAD = 2.0  # distances between the outer eye corners from the eyes to the gaze's empty
DISTANCE = "parlando_distance"  # on it: the same in units


@dataclass
class Rig:
    """The objects of one set of landmarks, found anew each time."""

    collection: bpy.types.Collection
    picture: bpy.types.Object
    head: bpy.types.Object
    points: list[bpy.types.Object]  # 68, in iBUG order
    gaze: bpy.types.Object | None = None  # what the eyes look at; not in older files, or deleted

    @property
    def keyed(self) -> list[bpy.types.Object]:
        """All whose `location` is the engine's."""
        return [self.head, *self.points, *([self.gaze] if self.gaze is not None else [])]


def to_plane(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(…, 3) pixels → (…, 3) units in the picture plane's space."""
    width, height = size
    scale = LONGER_SIDE / max(width, height)
    x, y, z = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return np.stack([(x - width / 2) * scale, -z * scale, (height / 2 - y) * scale], axis=-1)


def to_pixels(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The inverse of `to_plane`."""
    width, height = size
    scale = LONGER_SIDE / max(width, height)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x / scale + width / 2, height / 2 - z / scale, -y / scale], axis=-1)


def head_motion(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """The head empty's location (T, 3) in plane units and Euler XYZ angles (T, 3), as float32 holds them.

    Rotation from the portrait's own pose, about the head's centre: the best rigid fit to points that speech does not
    move. The take's `pose` says the same in the axes of the portrait's head, which differ from the picture's.
    """
    points = to_plane(data.landmarks, data.size)
    rest = to_plane(data.arrays.get("source_landmarks", data.landmarks[0]).astype(np.float64), data.size)
    middle, rest_middle = points[:, RIGID].mean(axis=1), rest[RIGID].mean(axis=0)
    spread = np.einsum("tni,nj->tij", points[:, RIGID] - middle[:, None], rest[RIGID] - rest_middle)
    u, _, v = np.linalg.svd(spread)  # Kabsch (1976)
    mirrored = np.linalg.det(u @ v) < 0
    u[mirrored, :, 2] *= -1
    turn = u @ v
    centre = np.array([0.0, rest[[0, 16], 1].mean() - rest_middle[1], 0.0])  # as deep as the ears
    angles = np.unwrap(to_euler(turn), axis=0)
    return (middle + turn @ centre).astype(np.float32), angles.astype(np.float32)


def find(scene: bpy.types.Scene, sound_id: str) -> Rig | None:
    """The landmarks of a sound strip; None without. Raises Problem when some of their objects are gone."""
    collection = _collection(scene, sound_id)
    if collection is None:
        return None
    objects = sorted(collection.all_objects, key=lambda o: o.session_uid, reverse=True)
    roles = {o.get(ROLE): o for o in objects if o.get(ROLE)}  # of an object and its duplicates the oldest comes last
    points = {int(o[INDEX]): o for o in objects if o.get(INDEX) is not None}
    if "picture" not in roles or "head" not in roles:
        raise Problem(
            f"The landmarks “{collection.name}” have no picture or head any more: delete them and add new ones."
        )
    lost = [NAMES[i] for i in range(68) if i not in points]
    if lost:
        raise Problem(f"The landmark {lost[0]} of “{collection.name}” was deleted: undo that or add landmarks again.")
    return Rig(collection, roles["picture"], roles["head"], [points[i] for i in range(68)], roles.get("gaze"))


def in_use(scene: bpy.types.Scene) -> Rig | None:
    """The landmarks the active object belongs to, else those of the sound in use, else the scene's first.

    Raises Problem as `find`.
    """
    view_layer = bpy.context.view_layer
    active = view_layer.objects.active if view_layer is not None else None
    ids = [c.get(OWNER) for c in active.users_collection] if active is not None else []
    take = takes.shown(scene, strips.sound_in_use(scene))
    ids.append(take.sound_id if take is not None else None)
    ids += [c.get(OWNER) for c in scene.collection.children_recursive]
    for id in ids:
        if id and (rig := find(scene, id)) is not None:
            return rig
    return None


def add(scene: bpy.types.Scene, take: Any, start: int, camera: bool = False) -> Rig:
    """Landmarks of a take, keyed from frame `start` on.

    Those its sound strip has already are brought to the take and keep their edits; only when some of them were deleted
    they are made anew.
    """
    base = takes.by_name(scene, take.base) or take
    data = Data.load(takes.folder_of(base) / "landmarks.npz")
    try:
        rig = find(scene, take.sound_id)
    except Problem:
        rig = None
        _remove(scene, take.sound_id)
    if rig is not None:
        update(scene, take, start)
        if rig.gaze is None:
            rig.gaze = _add_gaze(rig, Data.load(takes.folder_of(base) / "landmarks.npz"))
            set_motion(rig, layer_of(scene, take.sound_id, data), start)
        if camera and not any(item.get(ROLE) == "camera" for item in rig.collection.all_objects):
            _add_camera(scene, rig.collection, rig.picture, data.size)
        return rig
    collection = bpy.data.collections.new(f"Parlando {take.sound_name}")
    collection[OWNER], collection[BASE] = take.sound_id, base.name
    scene.collection.children.link(collection)
    picture = _add_picture(collection, take, data)
    head = bpy.data.objects.new(f"{take.sound_name} head", None)
    head.parent, head[ROLE] = picture, "head"
    eyes = float(
        np.linalg.norm(to_plane(data.landmarks[0, 45], data.size) - to_plane(data.landmarks[0, 36], data.size))
    )
    head.empty_display_type, head.empty_display_size = "ARROWS", 0.6 * eyes
    head.show_name = head.show_in_front = True  # it is the head's handle
    collection.objects.link(head)
    points = []
    for index, name in enumerate(NAMES):
        point = bpy.data.objects.new(name, None)
        point.parent, point[INDEX] = head, index
        point.empty_display_type, point.empty_display_size = "SPHERE", 0.025 * eyes
        point.show_in_front = True
        point.color = COLOURS[name.split("_")[0]]
        collection.objects.link(point)
        points.append(point)
    rig = Rig(collection, picture, head, points)
    action = bpy.data.actions.new(f"Parlando {take.sound_name}")
    layer = action.layers.new("Layer")
    layer.strips.new(type="KEYFRAME")
    for item in (head, *points):
        _slot(action, item)
    rig.gaze = _add_gaze(rig, data)
    set_motion(rig, layer_of(scene, take.sound_id, data), start)
    show(rig, take)
    if camera:
        _add_camera(scene, collection, picture, data.size)
    return rig


def show_in_local_views(rig: Rig, item: bpy.types.Object) -> None:
    """A new object of the landmarks is seen wherever their picture is, in local views too."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            space: Any = area.spaces.active
            if area.type == "VIEW_3D" and space.local_view is not None and rig.picture.local_view_get(space):
                item.local_view_set(space, True)


def _add_gaze(rig: Rig, data: Data) -> bpy.types.Object:
    """What the eyes look at, in front of them."""
    rest = local_motion(data)[2].mean(axis=0).astype(np.float64)
    eyes = float(np.linalg.norm(rest[45] - rest[36]))
    item = bpy.data.objects.new("gaze", None)
    item[ROLE], item[DISTANCE] = "gaze", LOOK_AHEAD * eyes
    item.parent = rig.head
    item.matrix_parent_inverse = Matrix.Translation(rest[[36, 39, 42, 45]].mean(axis=0) - (0.0, LOOK_AHEAD * eyes, 0.0))
    item.empty_display_type, item.empty_display_size = "CIRCLE", 0.12 * eyes
    item.color, item.show_in_front, item.show_name = (0.2, 0.9, 0.9, 1.0), True, True
    item.lock_rotation = item.lock_scale = (True, True, True)
    rig.collection.objects.link(item)
    show_in_local_views(rig, item)
    give_slot(rig, item)
    return item


def give_slot(rig: Rig, item: bpy.types.Object) -> None:
    """Lets another object be keyed on the landmarks' own action."""
    animation = rig.head.animation_data
    if animation is not None and animation.action is not None:
        _slot(animation.action, item)


def update(scene: bpy.types.Scene, take: Any, start: int | None) -> None:
    """Brings existing landmarks to a take: its picture, and its engine motion where that is another, from frame `start`
    on, where they are for None. Edits stay.

    Raises Problem, before anything was changed, where they cannot be keyed.
    """
    rig = find(scene, take.sound_id)
    if rig is None:
        return
    check(rig)
    start = int(rig.picture[START]) if start is None else start
    base = takes.by_name(scene, take.base) or take
    before = takes.by_name(scene, rig.collection.get(BASE, ""))
    later = takes.between(before, base) if before is not None else 0  # in the sound
    moved = start - later - int(rig.picture[START])  # the sound itself
    if before is None or before.name != base.name or moved:
        data = Data.load(takes.folder_of(base) / "landmarks.npz")
        if before is not None and (takes.folder_of(before) / "landmarks.npz").is_file():
            known = Data.load(takes.folder_of(before) / "landmarks.npz")
            keep_edits(rig, layer_of(scene, take.sound_id, known))
        if moved:
            for item in rig.keyed:
                _shift_edits(item, moved)
            for item in rig.collection.all_objects:
                if item.get(ROLE) == "handle":
                    _shift_edits(item, moved, ("location", "delta_location"))
        pins.move(scene, take.sound_id, -later)
        set_motion(rig, layer_of(scene, take.sound_id, data), start)
        rig.collection[BASE] = base.name
    show(rig, take)


def local_motion(data: Data) -> pins.Layer:
    """What is keyed, all float32: the head's location and angles (T, 3), the points' locations on it (T, 68, 3), and
    how far the gaze's empty is moved (T, 3), in its distances from the eyes."""
    place, angles = head_motion(data)
    turn = from_euler(angles.astype(np.float64))
    points = to_plane(data.landmarks, data.size)
    local = np.einsum("tji,tnj->tni", turn, points - place[:, None].astype(np.float64))
    look = np.zeros((len(local), 3), np.float32)
    if "gaze" in data.arrays:
        look[:, [0, 2]] = np.tan(np.radians(data.arrays["gaze"]))
    return place, angles, local.astype(np.float32), look


def layer_of(scene: bpy.types.Scene, sound_id: str, data: Data) -> pins.Layer:
    """What `location` and the head are keyed with: a take's motion, and what was there on pinned frames."""
    return pins.hold(local_motion(data), pins.of(scene, sound_id), data.arrays)


def check(rig: Rig) -> None:
    """Raises Problem where something of the landmarks cannot be keyed, or keys would not say where it is."""
    for item in rig.keyed:
        data: Any = item.animation_data
        if data is not None and any(not track.mute for track in data.nla_tracks):
            raise Problem(
                f"The animation of “{item.name}” was pushed down to the NLA: mute its tracks there and try again."
            )
        if not item.is_editable or (data is not None and data.action is not None and not data.action.is_editable):
            raise Problem(f"“{item.name}” or its action is linked from another file: make it local and try again.")


def keep_edits(rig: Rig, keyed: pins.Layer) -> None:
    """Where `location`, or the head's rotation, is not what was `keyed`, an animator moved it: the deltas get that.

    A property whose curve was muted or deleted says nothing.
    """
    place, angles, local, look = keyed
    start = int(rig.picture[START])
    frames = np.arange(start, start + len(local), dtype=np.float64)
    engines = [(rig.head, place), *((point, local[:, i]) for i, point in enumerate(rig.points))]
    if rig.gaze is not None:
        engines.append((rig.gaze, look * np.float32(rig.gaze[DISTANCE])))
    for item, engine in engines:
        edit = values(item, "location", frames) - engine
        edit[:, ~_curved(item, "location")] = 0.0
        touched = np.abs(edit).max(axis=1) > _EDIT
        if touched.any():
            _key_edit(item, "delta_location", frames, touched, values(item, "delta_location", frames) + edit)
    turned = values(rig.head, "rotation_euler", frames)
    touched = np.abs(turned - angles).max(axis=1) > _EDIT
    if touched.any() and rig.head.rotation_mode == "XYZ" and _curved(rig.head, "rotation_euler").all():
        delta = from_euler(values(rig.head, "delta_rotation_euler", frames))
        back = from_euler(angles.astype(np.float64)).transpose(0, 2, 1)
        _key_edit(rig.head, "delta_rotation_euler", frames, touched, to_euler(delta @ from_euler(turned) @ back))


def _key_edit(item: bpy.types.Object, path: str, frames: np.ndarray, touched: np.ndarray, moved: np.ndarray) -> None:
    """Keys a delta as `moved` (T, 3) on `touched` frames, and as it is on those before and after."""
    near = touched.copy()
    near[1:] |= touched[:-1]
    near[:-1] |= touched[1:]
    wanted = np.where(touched[:, None], moved, values(item, path, frames))
    curves = channels(item)
    for axis in range(3):
        curve = curves.find(path, index=axis) or curves.new(path, index=axis)
        for frame in np.flatnonzero(near):
            key = curve.keyframe_points.insert(frames[frame], wanted[frame, axis], options={"FAST"})
            key.interpolation = "LINEAR"
        curve.update()


def set_motion(rig: Rig, layer: pins.Layer, start: int) -> None:
    """Keys `location` of all and the head's rotation, one key a frame from `start` on. Deltas are not touched."""
    place, angles, local, look = layer
    times = np.arange(start, start + len(local), dtype=np.float32)
    rig.head.rotation_mode = "XYZ"
    _key(rig.head, "location", times, place)
    _key(rig.head, "rotation_euler", times, angles)
    for index, item in enumerate(rig.points):
        _key(item, "location", times, local[:, index])
    if rig.gaze is not None:
        _key(rig.gaze, "location", times, look * np.float32(rig.gaze[DISTANCE]))
    rig.picture[START] = start
    _follow_curves(rig)


def _follow_curves(rig: Rig) -> None:
    """Properties are what their new curves say now: until Blender evaluates them they would look like edits."""
    scene = bpy.context.scene
    assert scene is not None
    frame = np.array([scene.frame_current_final])
    for item in rig.keyed:
        item.location = values(item, "location", frame)[0]
    rig.head.rotation_euler = values(rig.head, "rotation_euler", frame)[0]


def show(rig: Rig, take: Any) -> None:
    """Lets the picture plane show a take's frames from its first key on."""
    folder = takes.frames_folder(take)
    _own_material(rig.picture)
    node = next(n for n in rig.picture.active_material.node_tree.nodes if n.type == "TEX_IMAGE")
    first = strips.first_in(folder)
    path = strips.as_stored(first)
    image = bpy.data.images.get(f"Parlando {take.name}")
    if image is None or image.filepath != path:
        image = bpy.data.images.load(str(first))
        image.name = f"Parlando {take.name}"
        image.alpha_mode = "STRAIGHT"
        image.filepath = path
    image.source = "SEQUENCE"
    old, node.image = node.image, image
    if old is not None and old != image and old.users == 0:
        bpy.data.images.remove(old)
    user = node.image_user
    user.frame_duration, user.frame_start, user.frame_offset = take.frames, int(rig.picture[START]), 0
    user.use_auto_refresh, user.use_cyclic = True, False
    rig.picture["parlando_take"] = take.name


def _own_material(picture: bpy.types.Object) -> None:
    """In a copied scene two planes share mesh and material: each shows a take of its own."""
    others = [item for item in bpy.data.objects if item.get(ROLE) == "picture" and item != picture]
    mesh: Any = picture.data
    if any(item.data == mesh for item in others):
        mesh = picture.data = mesh.copy()
    if any(item.active_material == mesh.materials[0] for item in others):
        mesh.materials[0] = mesh.materials[0].copy()


def read(scene: bpy.types.Scene, rig: Rig, count: int, size: tuple[int, int]) -> np.ndarray:
    """(count, 68, 3) float32 pixels: the first of `read_all`."""
    return read_all(scene, rig, count, size)[0]


def read_all(
    scene: bpy.types.Scene, rig: Rig, count: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(count, 68, 3) float32 pixels as the curves, deltas and the head's edits make them, from the first key on; and
    the gaze (count, 2) float32 in degrees, None where nothing here says it.

    Plain curves and the pulls of handles are evaluated as numbers. With other constraints, drivers, NLA or another
    parent Blender evaluates the whole scene frame by frame, which is slow but right.
    """
    start = int(rig.picture[START])
    frames = np.arange(start, start + count, dtype=np.float64)
    held = [pulls.read(point) for point in rig.points]
    pulled = {handle.name: handle for of_point in held for handle, _ in of_point or ()}
    gaze = rig.gaze
    if (
        any(of_point is None for of_point in held)
        or len(rig.head.constraints)
        or any(_evaluated_by_blender(item) for item in rig.keyed)
        or (gaze is not None and (len(gaze.constraints) or gaze.parent != rig.head))
        or any(_evaluated_by_blender(handle) or len(handle.constraints) for handle in pulled.values())
        or rig.head.parent != rig.picture
        or any(point.parent != rig.head for point in rig.points)
        or not all(item.matrix_parent_inverse.is_identity for item in (rig.head, *rig.points))
    ):
        points, look = _read_scene(scene, rig, start, count)
        return to_pixels(points, size).astype(np.float32), to_degrees(gaze, look) if gaze is not None else None
    head = {name: values(rig.head, name, frames) for name in _HEAD_PROPERTIES}
    turn = from_euler(head["delta_rotation_euler"]) @ from_euler(head["rotation_euler"])
    turn = turn * (head["scale"] * head["delta_scale"])[:, None, :]
    place = head["location"] + head["delta_location"]
    local = np.stack(
        [values(item, "location", frames) + values(item, "delta_location", frames) for item in rig.points], axis=1
    )
    at = {n: values(h, "location", frames) + values(h, "delta_location", frames) for n, h in pulled.items()}
    for index, of_point in enumerate(held):
        for handle, matrix in of_point or ():
            local[:, index] += at[handle.name] @ matrix.T
    points = np.einsum("tij,tnj->tni", turn, local) + place[:, None]
    if gaze is None:
        return to_pixels(points, size).astype(np.float32), None
    look = values(gaze, "location", frames) + values(gaze, "delta_location", frames)
    return to_pixels(points, size).astype(np.float32), to_degrees(gaze, look)


def to_degrees(gaze: bpy.types.Object, offset: np.ndarray) -> np.ndarray:
    """Where the eyes look, (…, 2) float32 to the picture's right and up, when the gaze's empty is moved by `offset`
    (…, 3) units in the head's axes."""
    away = np.maximum(float(gaze[DISTANCE]) - offset[..., 1], 1e-6)
    return np.degrees(np.arctan2(offset[..., [0, 2]], away[..., None])).astype(np.float32)


def gaze_now(rig: Rig) -> np.ndarray | None:
    """(2,) float32 degrees where Blender shows the gaze now."""
    if rig.gaze is None:
        return None
    there = rig.head.matrix_world.inverted_safe() @ rig.gaze.matrix_world.translation
    return to_degrees(rig.gaze, np.array(there - rig.gaze.matrix_parent_inverse.translation))


_HEAD_PROPERTIES = ("location", "rotation_euler", "scale", "delta_location", "delta_rotation_euler", "delta_scale")


def _collection(scene: bpy.types.Scene, sound_id: str) -> bpy.types.Collection | None:
    found = (c for c in scene.collection.children_recursive if sound_id and c.get(OWNER) == sound_id)
    return next(found, None)


def _evaluated_by_blender(item: bpy.types.Object) -> bool:
    data = item.animation_data
    return bool(
        (data is not None and (len(data.drivers) or any(not track.mute for track in data.nla_tracks)))
        or any(curve.data_path.startswith("constraints") for curve in compat.curves(item))
        or item.rotation_mode != "XYZ"
    )


def _read_scene(scene: bpy.types.Scene, rig: Rig, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 68, 3) in the picture plane's space, as Blender evaluates the scene, and how far the gaze's empty is
    from its rest (count, 3) in the head's. Raises Problem where no view layer evaluates them."""
    points, look = np.empty((count, 68, 3)), np.zeros((count, 3))
    layer = _layer_with(scene, rig)
    before = scene.frame_current, scene.frame_subframe
    try:
        for index in range(count):
            scene.frame_set(start + index)
            depsgraph: Any = layer.depsgraph
            depsgraph.update()
            inverse = np.array(rig.picture.evaluated_get(depsgraph).matrix_world.inverted())
            world = np.array([p.evaluated_get(depsgraph).matrix_world.translation for p in rig.points])
            points[index] = world @ inverse[:3, :3].T + inverse[:3, 3]
            if rig.gaze is not None:
                there = rig.gaze.evaluated_get(depsgraph).matrix_world.translation
                there = rig.head.evaluated_get(depsgraph).matrix_world.inverted_safe() @ there
                look[index] = there - rig.gaze.matrix_parent_inverse.translation
    finally:
        scene.frame_set(before[0], subframe=before[1])
    return points, look


def _layer_with(scene: bpy.types.Scene, rig: Rig) -> bpy.types.ViewLayer:
    """The first view layer that evaluates all landmarks: what is excluded or disabled in viewports stands still."""
    hidden = rig.picture
    for layer in scene.view_layers:
        layer.update()
        depsgraph: Any = layer.depsgraph
        still = [item for item in (rig.picture, *rig.keyed) if not item.evaluated_get(depsgraph).is_evaluated]
        if not still:
            return layer
        hidden = still[0]
    raise Problem(
        f"“{hidden.name}” of “{rig.collection.name}” is excluded from the view layer or disabled in viewports, so "
        "Blender does not move it: switch it on in the Outliner. Hiding it with H is no hindrance."
    )


def _remove(scene: bpy.types.Scene, sound_id: str) -> None:
    """Takes the collection of a sound strip's landmarks and all in it away."""
    collection = _collection(scene, sound_id)
    if collection is not None:
        for item in list(collection.all_objects):
            bpy.data.objects.remove(item)
        bpy.data.collections.remove(collection)


def _slot(action: bpy.types.Action, item: bpy.types.Object) -> None:
    """A slot of the action for an object, and its channels."""
    slot = action.slots.new(id_type="OBJECT", name=item.name)
    animation: Any = item.animation_data_create()
    animation.action, animation.action_slot = action, slot
    layers: Any = action.layers
    layers[0].strips[0].channelbag(slot, ensure=True)


def channels(item: bpy.types.Object) -> Any:
    """The F-curves of an object's slot, to find and add to."""
    return channelbag(item, item.name).fcurves


def channelbag(owner: bpy.types.ID, name: str) -> Any:
    """The channelbag of a datablock's action; what is missing of either is made. Raises Problem."""
    data: Any = owner.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(f"Parlando {name}")
    action = data.action
    if not action.is_editable:
        raise Problem(f"The action “{action.name}” is linked from another file: make it local to key “{owner.name}”.")
    if data.action_slot is None:
        data.action_slot = action.slots.new(id_type=owner.id_type, name=name)
    layer = action.layers[0] if len(action.layers) else action.layers.new("Layer")
    strip = layer.strips[0] if len(layer.strips) else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(data.action_slot, ensure=True)


def _curved(item: bpy.types.Object, path: str) -> np.ndarray:
    """(3,): which numbers of a property curves move."""
    found = np.zeros(3, bool)
    for curve in compat.curves(item):
        if curve.data_path == path and not curve.mute and curve.array_index < 3:
            found[curve.array_index] = True
    return found


def _shift_edits(item: bpy.types.Object, frames: int, paths: tuple[str, ...] = ("delta_",)) -> None:
    """Moves the keys of deltas (what begins with `paths`) in time: the sound they belong to was moved."""
    for curve in compat.curves(item):
        if not curve.data_path.startswith(paths):
            continue
        for part in ("co", "handle_left", "handle_right"):
            pairs = np.empty(2 * len(curve.keyframe_points), np.float32)
            curve.keyframe_points.foreach_get(part, pairs)
            pairs[0::2] += frames
            curve.keyframe_points.foreach_set(part, pairs)
        curve.update()


def _key(item: bpy.types.Object, path: str, times: np.ndarray, values: np.ndarray) -> None:
    """Replaces the keys of a three-number property: times (T,), values (T, 3), float32, linear between."""
    curves = channels(item)
    interpolation = np.full(len(times), _LINEAR, np.int32)
    pairs = np.empty((len(times), 2), np.float32)
    pairs[:, 0] = times
    for axis in range(3):
        curve = curves.find(path, index=axis) or curves.new(path, index=axis)
        curve.keyframe_points.clear()
        curve.keyframe_points.add(len(times))
        pairs[:, 1] = values[:, axis]
        curve.keyframe_points.foreach_set("co", pairs.ravel())
        curve.keyframe_points.foreach_set("interpolation", interpolation)
        curve.update()


def values(item: bpy.types.Object, path: str, frames: np.ndarray) -> np.ndarray:
    """(T, 3) of a property over `frames`: its curves where there are some, else what it is set to."""
    values = np.tile(np.array(getattr(item, path), np.float64), (len(frames), 1))
    for curve in compat.curves(item):
        if curve.data_path == path and not curve.mute and curve.array_index < 3:
            values[:, curve.array_index] = evaluate(curve, frames)
    return values


def evaluate(curve: bpy.types.FCurve, frames: np.ndarray) -> np.ndarray:
    """The curve at `frames` (T,). Keys are read in one go; Blender is asked only where neither a key nor a straight
    line says the value."""
    count = len(curve.keyframe_points)
    if len(curve.modifiers) or count == 0 or len(frames) == 1:  # reading 10,000 keys for one value takes longer
        return np.array([curve.evaluate(frame) for frame in frames])
    pairs = np.empty(2 * count, np.float32)
    curve.keyframe_points.foreach_get("co", pairs)
    times, keyed = pairs[0::2].copy(), pairs[1::2].astype(np.float64)
    if count == len(frames) and (times == frames).all():
        return keyed
    values = np.interp(frames, times, keyed)
    straight = np.isin(frames, times)
    if curve.extrapolation == "CONSTANT":
        straight |= (frames < times[0]) | (frames > times[-1])
    if count > 1:
        kinds = np.empty(count, np.int32)
        curve.keyframe_points.foreach_get("interpolation", kinds)
        curve.keyframe_points.foreach_get("handle_right", pairs)
        leaving = pairs[1::2].astype(np.float64)
        curve.keyframe_points.foreach_get("handle_left", pairs)
        arriving = pairs[1::2].astype(np.float64)
        flat = (keyed[:-1] == keyed[1:]) & (leaving[:-1] == keyed[:-1]) & (arriving[1:] == keyed[1:])
        line = (kinds[:-1] == _LINEAR) | ((kinds[:-1] == _BEZIER) & flat)
        inside = (frames > times[0]) & (frames < times[-1])
        straight[inside] |= line[np.searchsorted(times, frames[inside]) - 1]
    for index in np.flatnonzero(~straight):
        values[index] = curve.evaluate(frames[index])
    return values


def from_euler(angles: np.ndarray) -> np.ndarray:
    """Blender's XYZ Euler angles (T, 3) → matrices (T, 3, 3): X is applied first."""
    (a, b, c), (d, e, f) = np.cos(angles).T, np.sin(angles).T
    rows = [b * c, d * e * c - a * f, a * e * c + d * f, b * f, d * e * f + a * c, a * e * f - d * c, -e, d * b, a * b]
    return np.stack(rows, axis=-1).reshape(-1, 3, 3)


def to_euler(turn: np.ndarray) -> np.ndarray:
    """The inverse of `from_euler`, for heads that look up or down less than 90°."""
    y = np.arcsin(np.clip(-turn[:, 2, 0], -1.0, 1.0))
    x = np.arctan2(turn[:, 2, 1], turn[:, 2, 2])
    z = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
    return np.stack([x, y, z], axis=-1)


def _add_picture(collection: bpy.types.Collection, take: Any, data: Data) -> bpy.types.Object:
    """The upright plane with the picture, behind all points."""
    depth = to_plane(data.landmarks, data.size)[..., 1].max()
    plane = picture_plane(f"{take.sound_name} picture", data.size, float(depth))
    plane[ROLE], plane[OWNER], plane["parlando_size"] = "picture", take.sound_id, list(data.size)
    collection.objects.link(plane)
    return plane


def picture_plane(name: str, size: tuple[int, int], depth: float) -> bpy.types.Object:
    """A plane for a picture of `size` px, a little behind points up to `depth` units deep; in no collection yet."""
    corners = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float64) * size  # px, from the lower left on
    vertices = to_plane(np.concatenate([corners, np.zeros((4, 1))], axis=1), size)
    vertices[:, 1] = depth + 0.02
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([tuple(v) for v in vertices], [], [(0, 1, 2, 3)])
    layer = mesh.uv_layers.new(name="UVMap")
    for loop, uv in zip(layer.data, ((0, 0), (1, 0), (1, 1), (0, 1)), strict=True):
        loop.uv = uv
    mesh.materials.append(material(name))
    return bpy.data.objects.new(name, mesh)


def material(name: str) -> bpy.types.Material:
    """The picture as it is, without light, transparent where it is."""
    material = bpy.data.materials.new(name)
    compat.use_nodes(material)
    tree = material.node_tree
    tree.nodes.clear()
    image = tree.nodes.new("ShaderNodeTexImage")
    light = tree.nodes.new("ShaderNodeEmission")
    clear = tree.nodes.new("ShaderNodeBsdfTransparent")
    mix = tree.nodes.new("ShaderNodeMixShader")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    for column, node in enumerate((image, light, mix, output)):
        node.location = (300 * column, 0)
    clear.location = (300, -200)
    image.extension = "CLIP"
    for start, end in (
        (image.outputs["Color"], light.inputs["Color"]),
        (image.outputs["Alpha"], mix.inputs[0]),
        (clear.outputs[0], mix.inputs[1]),
        (light.outputs[0], mix.inputs[2]),
        (mix.outputs[0], output.inputs["Surface"]),
    ):
        tree.links.new(start, end)
    tree.nodes.active = image  # what Solid view shows
    material.surface_render_method = "BLENDED"
    return material


def _add_camera(
    scene: bpy.types.Scene, collection: bpy.types.Collection, picture: bpy.types.Object, size: tuple[int, int]
) -> None:
    """An orthographic camera that sees just the picture; the scene's if it has none."""
    camera = bpy.data.objects.new(f"{picture.name} camera", bpy.data.cameras.new(f"{picture.name} camera"))
    lens: Any = camera.data
    lens.type, lens.ortho_scale = "ORTHO", LONGER_SIDE
    camera.parent, camera[ROLE] = picture, "camera"
    camera.location, camera.rotation_euler = (0.0, -_CAMERA_DISTANCE, 0.0), (np.pi / 2, 0.0, 0.0)
    collection.objects.link(camera)
    if scene.camera is None:
        scene.camera = camera
