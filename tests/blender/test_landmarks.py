"""Landmarks become keyed empties and come back: exactly, fast, with the animator's edits, whatever is moved."""

import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Vector

SIZE = (640, 480)
FRAMES = 40


def face(frames: int, seed: int = 0) -> np.ndarray:
    """(T, 68, 3): a scattered face that turns, nods and talks."""
    rng = np.random.default_rng(seed)
    rest = rng.normal(0, 60, (68, 3))
    t = np.linspace(0, 6, frames)
    turn = 0.3 * np.sin(t), 0.2 * np.cos(1.3 * t), 0.1 * np.sin(2 * t)
    points = np.empty((frames, 68, 3))
    for i, (a, b, c) in enumerate(zip(*turn, strict=True)):
        x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        points[i] = rest @ (x @ y @ z).T
    points[:, 48:, 1] += 8 * np.sin(9 * t)[:, None]
    return (points + (300, 220, 15)).astype(np.float32)


def write_take(folder: Path, landmarks: np.ndarray, size: tuple[int, int] = SIZE) -> Path:
    """A take folder as far as Blender looks into it."""
    (folder / "frames").mkdir(parents=True)
    pose = np.zeros((len(landmarks), 6), np.float32)
    np.savez(
        folder / "landmarks.npz", landmarks=landmarks, pose=pose, fps=np.array([24, 1]), size=np.array(size, np.int64)
    )
    image = bpy.data.images.new("frame", 8, 6)
    for number in range(1, len(landmarks) + 1):
        image.filepath_raw, image.file_format = str(folder / "frames" / f"{number:06d}.png"), "PNG"
        image.save()
        if number == 3:
            break  # Blender needs the first few only
    bpy.data.images.remove(image)
    return folder


@pytest.fixture
def take(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> Any:
    """A take of the sound strip, registered in the scene."""
    return register(parlando, scene, sound, write_take(tmp_path / "voice_001", face(FRAMES)), FRAMES)


def register(
    parlando: SimpleNamespace, scene: Any, sound: Any, folder: Path, frames: int, offset: float | None = None
) -> Any:
    info = parlando.takes.TakeInfo(
        name=folder.name,
        folder=folder,
        sound_id=parlando.strips.identify(scene, sound),
        sound_name=sound.name,
        frames=frames,
        fps=(24, 1),
        size=SIZE,
        image=folder / "portrait.png",
        style=None,
        face=0,
        base=folder.name,
        note="",
        offset=offset,
    )
    return parlando.takes.register_in(scene, info)


def world(rig: Any, frame: int) -> np.ndarray:
    """(68, 3) where Blender itself puts the empties."""
    bpy.context.scene.frame_set(frame)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return np.array([p.evaluated_get(depsgraph).matrix_world.translation for p in rig.points])


def test_names(parlando: SimpleNamespace) -> None:
    names = parlando.landmarks.NAMES
    assert len(names) == 68 and len(set(names)) == 68
    assert (names[0], names[17], names[22], names[27], names[36], names[45]) == (
        "jaw_00", "brow_r_00", "brow_l_00", "nose_00", "eye_r_00", "eye_l_03",
    )  # fmt: skip
    assert (names[48], names[60], names[67]) == ("lip_outer_00", "lip_inner_00", "lip_inner_07")


def test_mapping_is_upright_and_faces_the_viewer(parlando: SimpleNamespace) -> None:
    pixels = np.array([[320.0, 240, 0], [640, 240, 0], [320, 0, 0], [320, 240, 320]])
    points = parlando.landmarks.to_plane(pixels, SIZE)
    assert np.allclose(points, [[0, 0, 0], [1, 0, 0], [0, 0, 0.75], [0, -1, 0]])
    assert np.allclose(parlando.landmarks.to_pixels(points, SIZE), pixels)


def test_blender_puts_them_where_the_pixels_are(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    truth = face(FRAMES)
    for index in (0, 17, FRAMES - 1):
        there = parlando.landmarks.to_pixels(world(rig, 10 + index), SIZE)
        assert np.abs(there - truth[index]).max() < 0.01
    assert rig.points[51].name == "lip_outer_03" and rig.points[51].parent == rig.head


def test_round_trip_through_the_curves(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert back.shape == (FRAMES, 68, 3) and back.dtype == np.float32
    assert np.abs(back - face(FRAMES)).max() < 0.01


def test_a_large_picture_keeps_its_precision(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    size, truth = (4000, 3000), face(FRAMES) * 6 + (0, 0, 200)
    take = register(parlando, scene, sound, write_take(tmp_path / "large", truth, size), FRAMES)
    rig = parlando.landmarks.add(scene, take, 1)
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, size) - truth).max() < 0.01


def test_the_head_carries_the_head_motion(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    """What the empties have of their own is speech alone: points that do not speak stand still on the head."""
    rig = parlando.landmarks.add(scene, take, 10)
    rigid = rig.points[36]
    values = np.array(
        [[fc.evaluate(frame) for fc in parlando.compat.curves(rigid)] for frame in range(10, 10 + FRAMES)]
    )
    assert np.ptp(values, axis=0).max() < 1e-5
    turned = np.array([[fc.evaluate(f) for fc in parlando.compat.curves(rig.head)] for f in range(10, 10 + FRAMES)])
    assert np.ptp(turned, axis=0).max() > 0.1


def test_the_animators_edit(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    point = rig.points[57]
    for frame, z in ((19, 0.0), (20, -0.1), (21, 0.0)):
        point.delta_location.z = z
        point.keyframe_insert("delta_location", frame=frame)
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    moved = np.abs(back - face(FRAMES)).max(axis=2)
    assert np.argwhere(moved > 0.02).tolist() == [[10, 57]]
    assert np.allclose(moved[10, 57], 0.1 * 320, atol=5)
    there = parlando.landmarks.to_pixels(world(rig, 20), SIZE)
    assert np.abs(there - back[10]).max() < 0.01


def test_head_deltas_scale_and_a_moved_plane(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    rig.head.delta_rotation_euler = (0.1, -0.2, 0.3)
    rig.head.delta_location = (0.1, 0.2, 0.3)
    rig.head.scale = (1.1, 0.9, 1.2)
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    there = parlando.landmarks.to_pixels(world(rig, 25), SIZE)
    assert np.abs(there - back[15]).max() < 0.01
    rig.picture.location, rig.picture.rotation_euler = (3, 4, 5), (0.4, 0.5, 0.6)
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, SIZE) - back).max() == 0


def test_curves_between_keys_modifiers_and_mutes(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    sparse, noisy, muted, linear, stepped, beyond = (rig.points[i] for i in (0, 8, 16, 20, 24, 28))
    points = (sparse, noisy, muted, linear, stepped, beyond)
    for point in points:
        for frame, x in ((12, 0.0), (20, 0.0), (28.5, 0.2), (40, 0.3)):
            point.delta_location.x = x
            point.keyframe_insert("delta_location", index=0, frame=frame)
    curve = {p: next(c for c in parlando.compat.curves(p) if c.data_path == "delta_location") for p in points}
    for key in curve[linear].keyframe_points:
        key.interpolation = "LINEAR"
    for key in curve[stepped].keyframe_points:
        key.interpolation = "CONSTANT"
    curve[beyond].extrapolation = "LINEAR"
    curve[noisy].modifiers.new("NOISE")
    curve[muted].mute = True
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    for frame in (10, 12, 15, 20, 25, 28, 29, 39, 40, 49):
        there = parlando.landmarks.to_pixels(world(rig, frame), SIZE)
        others = [i for i in range(68) if i != 16]
        assert np.abs(there - back[frame - 10])[others].max() < 0.01


def test_constraints_and_drivers_are_asked_of_blender(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    limit = rig.points[30].constraints.new("LIMIT_LOCATION")
    limit.use_max_y, limit.max_y, limit.owner_space = True, -0.5, "WORLD"
    scene.frame_set(33)
    back = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert scene.frame_current == 33
    there = parlando.landmarks.to_pixels(world(rig, 20), SIZE)
    assert np.abs(there - back[10]).max() < 0.01
    assert back[10, 30, 2] >= 0.5 * 320 - 0.01


def test_a_new_generation_keeps_the_edits(
    parlando: SimpleNamespace, scene: Any, sound: Any, take: Any, tmp_path: Path
) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    rig.points[57].delta_location.z = -0.1
    rig.points[57].keyframe_insert("delta_location", frame=20)
    again = register(parlando, scene, sound, write_take(tmp_path / "voice_002", face(50, seed=5)), 50)
    parlando.landmarks.update(scene, again, 12)
    rig = parlando.landmarks.find(scene, again.sound_id)
    back = parlando.landmarks.read(scene, rig, 50, SIZE)
    moved = np.abs(back - face(50, seed=5)).max(axis=2)
    assert moved[:, 57].min() > 10 and np.delete(moved, 57, axis=1).max() < 0.01
    keyed = [c for c in parlando.compat.curves(rig.points[57]) if c.data_path == "delta_location"]
    assert [len(c.keyframe_points) for c in keyed] == [1, 1, 1]
    assert rig.picture.active_material.node_tree.nodes.active.image.name.startswith("Parlando voice_002")


def test_an_edit_of_location_becomes_a_delta_and_moves_with_the_sound(
    parlando: SimpleNamespace, scene: Any, sound: Any, take: Any, tmp_path: Path
) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    scene.frame_set(20)
    point = rig.points[57]
    point.location.z -= 0.1
    point.keyframe_insert("location", frame=20)
    edited = parlando.landmarks.read(scene, rig, FRAMES, SIZE) - face(FRAMES)
    again = register(parlando, scene, sound, write_take(tmp_path / "voice_002", face(50, seed=5)), 50)
    parlando.landmarks.update(scene, again, 16)
    rig = parlando.landmarks.find(scene, again.sound_id)
    back = parlando.landmarks.read(scene, rig, 50, SIZE)
    moved = np.abs(back - face(50, seed=5)).max(axis=2)
    assert np.argwhere(moved > 0.02).tolist() == [[10, 57]]
    assert np.linalg.norm(edited[10, 57]) == pytest.approx(32, abs=0.1)
    assert np.linalg.norm((back - face(50, seed=5))[10, 57]) == pytest.approx(32, abs=0.1)


def test_what_is_edited_stays_on_its_word_when_the_sound_is_trimmed(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path
) -> None:
    take = register(parlando, scene, sound, write_take(tmp_path / "voice_001", face(FRAMES)), FRAMES, 0.0)
    bpy.ops.parlando.use_take(take="voice_001")
    rig = parlando.landmarks.add(scene, take, 10)
    rig.points[57].delta_location.z = -0.1
    rig.points[57].keyframe_insert("delta_location", frame=20)
    bpy.ops.parlando.pin_frames(start=18, end=28)
    held = {frame: world(rig, frame) for frame in (10, 20, 24, 28)}
    parlando.compat.lay(sound, 10, 26, 106)
    parlando.generate.use_take(scene, "voice_001")
    assert int(rig.picture["parlando_start"]) == 10  # trimmed only: the word is where it was
    shorter = register(parlando, scene, sound, write_take(tmp_path / "voice_002", face(30, seed=5)), 30, 16.0)
    parlando.generate.use_take(scene, shorter.name)
    rig = parlando.landmarks.in_use(scene)
    assert int(rig.picture["parlando_start"]) == 26
    (curve,) = [c for c in parlando.compat.curves(rig.points[57]) if c.data_path == "delta_location"][2:]
    assert curve.keyframe_points[0].co.x == 20
    (pin,) = scene.parlando.pins
    assert (pin.first, pin.last) == (-8, 2) and parlando.pin_frames.frames_of(rig, pin) == (18, 28)
    assert np.abs(world(rig, 28) - held[28]).max() < 1e-5
    (strip,) = [s for _, s in parlando.strips.in_scene(scene) if s.get("parlando_take")]
    seen = parlando.compat.left(strip), parlando.compat.right(strip)
    assert seen == (10, 106) and strip.strip_elem_from_frame(30).filename == "000005.png"
    parlando.compat.move_to(sound, 126)
    parlando.generate.use_take(scene, "voice_001")
    rig = parlando.landmarks.in_use(scene)
    assert parlando.pin_frames.frames_of(rig, scene.parlando.pins[0]) == (118, 128)
    assert all(np.abs(world(rig, frame + 100) - there).max() < 1e-5 for frame, there in held.items())


def test_the_plane_shows_the_sequence(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10, camera=True)
    node = rig.picture.active_material.node_tree.nodes.active
    assert node.image.source == "SEQUENCE"
    user = node.image_user
    assert (user.frame_start, user.frame_duration, user.frame_offset) == (10, FRAMES, 0) and user.use_auto_refresh
    corners = np.array([v.co for v in rig.picture.data.vertices])
    assert np.allclose(np.ptp(corners, axis=0), (2.0, 0.0, 1.5))
    behind = parlando.landmarks.to_plane(face(FRAMES), SIZE)[..., 1].max()
    assert corners[:, 1].min() > behind  # all empties are in front
    assert scene.camera is not None and scene.camera.data.type == "ORTHO"
    loops = {tuple(round(c) for c in d.uv) for d in rig.picture.data.uv_layers[0].data}
    assert loops == {(0, 0), (1, 0), (1, 1), (0, 1)}
    lower_left = rig.picture.data.vertices[0].co
    assert lower_left.x < 0 and lower_left.z < 0 and tuple(rig.picture.data.uv_layers[0].data[0].uv) == (0.0, 0.0)


def test_what_a_camera_sees_is_the_take(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    """Frame 11 of the scene is the take's second frame: its own colours, upright, clear where it is clear."""
    folder = write_take(tmp_path / "voice_001", face(3), (40, 20))
    image = bpy.data.images.new("second", 40, 20, alpha=True)
    pixels = np.zeros((20, 40, 4), np.float32)
    pixels[..., :3], pixels[..., 3] = np.array([200, 50, 50]) / 255, 1
    pixels[10:, :20] = (0, 0, 1, 1)  # Blender counts rows from below: above left
    pixels[:10, 20:] = 0  # clear below right
    image.pixels.foreach_set(pixels.ravel())
    image.filepath_raw, image.file_format = str(folder / "frames" / "000002.png"), "PNG"
    image.save()
    parlando.landmarks.add(scene, register(parlando, scene, sound, folder, 3), 10, camera=True)
    scene.sequence_editor_clear()
    render = scene.render
    if not hasattr(scene, "cycles"):
        pytest.skip("this Blender comes without Cycles")
    render.engine, render.resolution_x, render.resolution_y, render.resolution_percentage = "CYCLES", 40, 20, 100
    scene.cycles.samples, scene.cycles.device, render.film_transparent = 1, "CPU", True
    scene.view_settings.view_transform = "Standard"
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    render.filepath = str(tmp_path / "seen.png")
    scene.frame_set(11)
    bpy.ops.render.render(write_still=True)
    seen = np.array(bpy.data.images.load(render.filepath).pixels[:]).reshape(20, 40, 4) * 255
    assert np.abs(seen[15, 10] - (0, 0, 255, 255)).max() < 1.5
    assert np.abs(seen[15, 30] - (200, 50, 50, 255)).max() < 1.5
    assert seen[5, 30, 3] < 1.5


def test_adding_again_keeps_edits(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    rig.points[57].delta_location.z = -0.1
    again = parlando.landmarks.add(scene, take, 10, camera=True)
    assert len([o for o in bpy.data.objects if o.get("parlando_index") is not None]) == 68
    assert again.points[57].delta_location.z == pytest.approx(-0.1) and scene.camera is not None
    parlando.landmarks.add(scene, take, 10, camera=True)
    assert len([o for o in bpy.data.objects if o.type == "CAMERA"]) == 1


def test_adding_again_makes_up_for_deleted_ones(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    bpy.data.objects.remove(rig.points[3])
    rig = parlando.landmarks.add(scene, take, 10)
    assert len([o for o in bpy.data.objects if o.get("parlando_index") is not None]) == 68
    assert rig.points[51].name == "lip_outer_03" and rig.points[3].name == "jaw_03"


def test_a_deleted_landmark_is_told_by_name(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    rig = parlando.landmarks.add(scene, take, 10)
    bpy.data.objects.remove(rig.points[51])
    with pytest.raises(parlando.problem.Problem, match="lip_outer_03"):
        parlando.landmarks.find(scene, take.sound_id)


def test_survives_save_and_load(parlando: SimpleNamespace, scene: Any, take: Any, tmp_path: Path) -> None:
    parlando.landmarks.add(scene, take, 10)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))
    scene = bpy.context.scene
    take = scene.parlando.takes["voice_001"]
    assert parlando.takes.folder_of(take) == tmp_path / "voice_001" and tuple(take.fps) == (24, 1)
    rig = parlando.landmarks.find(scene, take.sound_id)
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, SIZE) - face(FRAMES)).max() < 0.01


def test_a_thousand_frames_in_less_than_a_second(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path
) -> None:
    take = register(parlando, scene, sound, write_take(tmp_path / "long", face(1000)), 1000)
    taken = []
    for _ in range(3):  # the machine is shared
        parlando.landmarks._remove(scene, take.sound_id)
        start = time.perf_counter()
        rig = parlando.landmarks.add(scene, take, 1)
        taken.append(time.perf_counter() - start)
    start = time.perf_counter()
    parlando.landmarks.read(scene, rig, 1000, SIZE)
    print(f"1000 frames: added in {min(taken):.2f} s, read in {time.perf_counter() - start:.3f} s")
    assert min(taken) < 1.0


def test_unreadable_landmarks(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    (parlando.takes.folder_of(take) / "landmarks.npz").write_bytes(b"nothing")
    with pytest.raises(parlando.problem.Problem, match="cannot be read"):
        parlando.landmarks.add(scene, take, 10)
    assert not [o for o in bpy.data.objects if o.get("parlando_index") is not None]


def test_rates_are_fractions(parlando: SimpleNamespace, scene: Any) -> None:
    scene.render.fps, scene.render.fps_base = 24, 1.001
    assert parlando.audio.fps_of(scene) == Fraction(24000, 1001)


def test_look_at_the_face(parlando: SimpleNamespace, scene: Any, take: Any) -> None:
    """From the front, the rest hidden, and what is added later seen too."""
    views = [a for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "VIEW_3D"]
    cube = bpy.data.objects.new("cube", bpy.data.meshes.new("cube"))
    scene.collection.objects.link(cube)
    cube.select_set(True)
    rig = parlando.landmarks.add(scene, take, 10)
    if not views:
        with pytest.raises(RuntimeError, match="no 3D View"):
            bpy.ops.parlando.look_at_face()
        return
    space = views[0].spaces.active
    try:
        for _ in range(2):  # again in local view: all the same
            assert bpy.ops.parlando.look_at_face() == {"FINISHED"}
            assert space.local_view is not None and space.region_3d.view_perspective == "ORTHO"
            if bpy.app.version >= (5, 0):  # 4.5 tells it only of views that were drawn
                assert not [i.name for i in rig.collection.all_objects if not i.local_view_get(space)]
            assert not cube.local_view_get(space) and cube.select_get() and not rig.head.select_get()
        ahead = space.region_3d.view_rotation.to_matrix() @ Vector((0, 0, -1))
        assert tuple(ahead) == pytest.approx((0, 1, 0), abs=1e-6)
        assert bpy.ops.parlando.add_handles() == {"FINISHED"}
        if bpy.app.version >= (5, 0):
            assert all(handle.local_view_get(space) for handle in parlando.handles.find(rig).values())
    finally:
        with bpy.context.temp_override(area=views[0], region=views[0].regions[-1]):
            bpy.ops.view3d.localview()
