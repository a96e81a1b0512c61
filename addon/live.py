"""The live picture: while landmarks are moved or scrubbed over, the current frame is rendered under them.

Handlers only note that something changed. `step()`, called by a timer in a window and by `pump()`, compares the 68
points as Blender shows them with what the take was rendered from, asks the warm engine for one frame, newest first, and
shows the answer on a plane of its own, a breath in front of the picture. That plane is not rendered, not saved, not
selectable and no step of undo: takes and the picture plane are not touched. Pictures wider than PREVIEW_SIDE come
smaller while something is dragged. Quiet during playback, rendering and in background (unless `in_background` is set).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat, jobs, landmarks, preferences, takes
from .engine_process import Request
from .landmarks import Data, Rig
from .problem import Problem

ROLE = "live"
INTERVAL, WAITING = 0.03, 0.008  # s between two looks; while an answer is awaited
SNAP, SNAP_GAZE = 0.02, 0.05  # px and degrees, as `engine/take.py`: a frame moved no further is the take's own
PREVIEW_SIDE = 512  # px, longer side while dragging
KEPT_FILES = 4
IN_FRONT = -0.001  # units toward the viewer
in_background = False  # tests and scripts that call `pump()` themselves may set it


@dataclass
class _State:
    """What is on its way and what is shown. Nothing of it is kept in the file."""

    dirty: bool = True
    request: Request | None = None
    # take folder, points (68, 3) px, gaze (2,), whether it is a preview
    shown: tuple[str, np.ndarray, np.ndarray, bool] | None = None
    known: tuple[Path, int, Data] | None = None  # the last landmarks.npz read, with its time
    message: str = ""
    seconds: float = 0.0  # the engine took for the last one
    asked: int = 0  # how often


_state = _State()


def message() -> str:
    """Why there is no live picture though it is switched on; empty when all is well."""
    return _state.message


def waiting() -> bool:
    """Whether a frame is on its way or a change was not looked at yet."""
    return _state.request is not None or _state.dirty


def step() -> bool:
    """Asks for the current frame when its landmarks changed, puts the picture away where it is not needed; whether
    anything happened. Never blocks."""
    if bpy.app.background and not in_background:
        return False
    scene = compat.sequencer_scene(bpy.context)
    if not scene.parlando.live or _playing() or bpy.app.is_job_running("RENDER"):
        _state.dirty = True  # looked at when it is over
        return _put_away(scene)
    if _state.shown is not None and _state.shown[3] and not _dragging():
        _state.dirty = True  # the preview's full picture
    if not _state.dirty or _state.request is not None:
        return False
    _state.dirty = False
    try:
        return _look(scene)
    except Problem as problem:
        _state.message = str(problem)
        return _put_away(scene)


def points_now(rig: Rig, size: tuple[int, int]) -> np.ndarray:
    """(68, 3) float32 pixels where Blender shows the landmarks now."""
    inverse = np.array(rig.picture.matrix_world.inverted_safe())
    world = np.array([point.matrix_world.translation for point in rig.points])
    return landmarks.to_pixels(world @ inverse[:3, :3].T + inverse[:3, 3], size).astype(np.float32)


def switched(self: Any, context: bpy.types.Context) -> None:
    """Called when `scene.parlando.live` is switched."""
    _state.dirty, _state.message = True, ""
    if not self.live and isinstance(self.id_data, bpy.types.Scene):
        _put_away(self.id_data)
    wake()


def wake() -> None:
    """Starts the timer, in a window."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=INTERVAL, persistent=True)


def _look(scene: bpy.types.Scene) -> bool:
    """Compares and asks; whether anything happened."""
    rig = landmarks.in_use(scene)
    if rig is None:
        return False
    take = takes.by_name(scene, rig.picture.get("parlando_take", ""))
    if takes.why_not_usable(take) or take is None:
        return _put_away(scene)
    index = scene.frame_current - int(rig.picture[landmarks.START])
    if not 0 <= index < take.frames:
        return _put_away(scene)
    plane = _plane(rig)  # made before anything is dragged
    folder = takes.folder_of(take)
    data = _read(folder / "landmarks.npz")
    points = points_now(rig, data.size)
    if index >= len(data.landmarks) or not np.isfinite(points).all():
        return _put_away(scene)
    own = data.gaze[index]
    now = landmarks.gaze_now(rig)
    gaze = own if now is None else now
    if np.abs(points - data.landmarks[index]).max() <= SNAP and np.abs(gaze - own).max() <= SNAP_GAZE:
        _state.message = ""
        return _put_away(scene)
    preview = _dragging() and max(data.size) > PREVIEW_SIDE
    if _state.shown is not None:
        of, there, look, is_preview = _state.shown
        still = np.abs(there - points).max() <= SNAP / 2 and np.abs(look - gaze).max() <= SNAP_GAZE / 2
        if of == str(folder) and (preview or not is_preview) and still:
            return _set_visible(plane, True)
    if not preferences.engine_python():
        raise Problem(f"{preferences.NO_ENGINE}.")
    image = Path(bpy.path.abspath(take.image))
    if not image.is_file():
        raise Problem(f"The portrait {image} of the take “{take.name}” is gone: put it back there.")
    _ask(scene, rig, folder, image, take.face, index, points, gaze, preview)
    return True


def _ask(
    scene: bpy.types.Scene,
    rig: Rig,
    take: Path,
    image: Path,
    face: int,
    index: int,
    points: np.ndarray,
    gaze: np.ndarray,
    preview: bool,
) -> None:
    """Sends one request for the points (68, 3) px and gaze (2,) degrees on frame `index` of the take."""
    out = Path(bpy.app.tempdir) / "parlando_live"
    out.mkdir(parents=True, exist_ok=True)
    _state.asked += 1
    params = {
        "landmarks": points.tolist(),
        "gaze": gaze.tolist(),
        "image": str(image),
        "take": str(take),
        "face": face,
        "number": index,
        "side": PREVIEW_SIDE if preview else None,
        "out": str(out / f"live_{_state.asked % KEPT_FILES}.png"),
    }
    owner, name = rig.collection[landmarks.OWNER], scene.name

    def hear(event: dict[str, Any]) -> None:
        if event["event"] not in {"done", "error", "cancelled"}:
            return
        _state.request = None
        if event["event"] == "error":
            _state.message = str(event.get("message", ""))
        elif event["event"] == "cancelled":
            _state.dirty = True
        else:
            _state.message = ""
            _state.seconds = float(event["result"]["seconds"])
            _show(name, owner, str(take), Path(event["result"]["frame"]), points, gaze, preview)

    engine = jobs.client()
    engine.refresh()
    _state.request = engine.ask("frame", params, hear)
    wake()


def _show(
    scene_name: str, owner: str, take: str, picture: Path, points: np.ndarray, gaze: np.ndarray, preview: bool
) -> None:
    """Puts an answer on the live plane, if the landmarks it was made for are still there and wanted."""
    scene = bpy.data.scenes.get(scene_name)
    if scene is None or not scene.parlando.live or _playing():
        return
    try:
        rig = landmarks.find(scene, owner)
    except Problem:
        return  # told by the next look
    if rig is None:
        return
    plane = _plane(rig)
    node = plane.material_slots[0].material.node_tree.nodes.active
    if node.image is None:
        node.image = bpy.data.images.load(str(picture))
        node.image.name = "Parlando live"
    else:
        node.image.filepath = str(picture)
        node.image.reload()
    _state.shown = take, points, gaze, preview
    _set_visible(plane, True)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def _read(path: Path) -> Data:
    """The landmarks of a take, read once."""
    try:
        time = path.stat().st_mtime_ns
    except OSError as problem:
        raise Problem(f"The landmarks {path} are gone: generate the take again.") from problem
    if _state.known is None or _state.known[:2] != (path, time):
        _state.known = path, time, Data.load(path)
    return _state.known[2]


def prepare(rig: Rig) -> None:
    """Makes the live plane now, so that it is part of whatever view is set up for these landmarks."""
    _plane(rig)


def _plane(rig: Rig) -> bpy.types.Object:
    """The live plane of these landmarks: the picture's mesh with a picture of its own."""
    for item in rig.collection.all_objects:
        if item.get(landmarks.ROLE) == ROLE:
            return item
    plane = bpy.data.objects.new(f"{rig.picture.name} live", rig.picture.data)
    plane[landmarks.ROLE] = ROLE
    plane.parent = rig.picture
    plane.location.y = IN_FRONT
    plane.hide_render = plane.hide_select = True
    plane.scale = (0.0, 0.0, 0.0)
    slot = plane.material_slots[0]
    slot.link = "OBJECT"
    slot.material = landmarks.material(plane.name)
    rig.collection.objects.link(plane)
    landmarks.show_in_local_views(rig, plane)
    _state.shown = None
    return plane


def _set_visible(plane: bpy.types.Object, visible: bool) -> bool:
    """Shows or puts away the plane; whether that changed anything. By scale: a visibility switch would rebuild the
    scene's dependencies in the middle of a drag."""
    size = 1.0 if visible else 0.0
    if plane.scale.x == size:
        return False
    plane.scale = (size, size, size)
    return True


def _planes(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    collections = (c for c in scene.collection.children_recursive if c.get(landmarks.OWNER))
    return [item for c in collections for item in c.all_objects if item.get(landmarks.ROLE) == ROLE]


def _put_away(scene: bpy.types.Scene) -> bool:
    return any([_set_visible(plane, False) for plane in _planes(scene)])


def _playing() -> bool:
    return any(window.screen.is_animation_playing for window in bpy.context.window_manager.windows)


def _dragging() -> bool:
    """Whether something is being transformed."""
    return any(
        operator.bl_idname.startswith(("TRANSFORM_OT", "GRAPH_OT", "ANIM_OT_change_frame"))
        for window in bpy.context.window_manager.windows
        for operator in window.modal_operators
    )


def _tick() -> float | None:
    """What the timer calls."""
    if not any(scene.parlando.live for scene in bpy.data.scenes) and _state.request is None:
        return None
    if _state.request is not None:
        jobs.client().pump()
    step()
    return WAITING if _state.request is not None else INTERVAL


@bpy.app.handlers.persistent
def _on_change(*_: Any) -> None:
    """The scene or its frame changed. May be called from a render's thread: only notes it."""
    _state.dirty = True


@bpy.app.handlers.persistent
def _on_undo(*_: Any) -> None:
    """What is shown may be of another time now."""
    _state.dirty, _state.shown = True, None
    wake()


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    """Another file: what is on its way is of the old one."""
    _state.dirty, _state.shown, _state.known, _state.message = True, None, None, ""
    wake()


@bpy.app.handlers.persistent
def _before_save(*_: Any) -> None:
    """Nothing live is saved: it is made again when it is needed."""
    for scene in bpy.data.scenes:
        for plane in _planes(scene):
            remove(plane)
    _state.dirty, _state.shown = True, None


def remove(plane: bpy.types.Object) -> None:
    """Takes a live plane away, its material and picture too."""
    material = plane.material_slots[0].material if plane.material_slots else None
    bpy.data.objects.remove(plane)
    if material is not None and material.users == 0:
        image = material.node_tree.nodes.active.image
        bpy.data.materials.remove(material)
        if image is not None and image.users == 0:
            bpy.data.images.remove(image)


def _handlers() -> list[tuple[Any, Any]]:
    handlers = bpy.app.handlers
    return [
        (handlers.depsgraph_update_post, _on_change),
        (handlers.frame_change_post, _on_change),
        (handlers.undo_post, _on_undo),
        (handlers.redo_post, _on_undo),
        (handlers.load_post, _on_load),
        (handlers.save_pre, _before_save),
    ]


def register() -> None:
    """Listens, and starts the timer."""
    global _state
    _state = _State()
    for handlers, function in _handlers():
        handlers.append(function)
    wake()


def unregister() -> None:
    """Stops listening and takes every live plane away."""
    for handlers, function in _handlers():
        handlers.remove(function)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    for scene in bpy.data.scenes:
        for plane in _planes(scene):
            remove(plane)
