"""Touch Up: the tools change the animator's layer as they say, and nothing else."""

import importlib
import runpy
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

_TAKES = runpy.run_path(str(Path(__file__).with_name("test_landmarks.py")))  # takes of numbers, without an engine
FRAMES, SIZE, face, register, write_take = (
    _TAKES[name] for name in ("FRAMES", "SIZE", "face", "register", "write_take")
)
START, END = 10, 49  # of the take on the timeline
ALL = np.arange(START - 5, END + 6, dtype=np.float64)
MOUTH = list(range(48, 68))
verbs = bpy.ops.parlando


@pytest.fixture
def touch(parlando: SimpleNamespace) -> Any:
    module = importlib.import_module(f"{parlando.landmarks.__package__}.touch")
    module._copied = None
    return module


def talking(frames: int, seed: int = 3) -> np.ndarray:
    """(T, 68, 3) px: a still, even face that looks aside and talks, with pauses and a crooked smile."""
    rng = np.random.default_rng(seed)
    mirror = importlib.import_module("bl_ext.dev.parlando.addon.landmarks").MIRROR
    rest = rng.normal(0, 60, (68, 3))
    rest = 0.5 * (rest + rest[mirror] * (-1, 1, 1))
    rest[:, 0] += np.where(np.arange(68) == mirror, 0, 40 * np.sign(rest[:, 0]))
    t = np.arange(frames)
    points = np.repeat(rest[None], frames, axis=0)
    loud = np.clip(np.sin(2 * np.pi * t / 20), 0, None)  # half of the frames are silent
    points[:, [65, 66, 67], 1] += 30 * loud[:, None]
    points[:, 48:60, 1] += rng.normal(0, 3, (frames, 12)) * loud[:, None]
    points[:, 54] += np.outer(loud, (10.0, -6.0, 2.0))  # the left corner up and out
    return points @ turned().T + (300, 220, 15)


def turned() -> np.ndarray:
    """A portrait that looks 30° aside and is tilted by 25°."""
    a, b = np.radians(30), np.radians(25)
    aside = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilted = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return tilted @ aside


@pytest.fixture
def take(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> Any:
    return register(
        parlando, scene, sound, write_take(tmp_path / "voice_001", talking(FRAMES).astype(np.float32)), FRAMES
    )


@pytest.fixture
def rig(parlando: SimpleNamespace, scene: Any, take: Any) -> Any:
    rig = parlando.landmarks.add(scene, take, START)
    parlando.handles.add(rig, data_of(parlando, take))
    return rig


def data_of(parlando: SimpleNamespace, take: Any) -> Any:
    return parlando.landmarks.Data.load(parlando.takes.folder_of(take) / "landmarks.npz")


def seen(scene: Any, rig: Any, frames: np.ndarray = ALL) -> np.ndarray:
    """(T, 68, 3) on the head, as Blender itself shows them frame by frame."""
    there = []
    for frame in frames:
        scene.frame_set(int(frame))
        inverse = np.array(rig.head.matrix_world.inverted())
        there.append([inverse[:3, :3] @ p.matrix_world.translation + inverse[:3, 3] for p in rig.points])
    return np.array(there)


def curves(parlando: SimpleNamespace, item: Any, path: str) -> list[Any]:
    return [curve for curve in parlando.compat.curves(item) if curve.data_path == path]


def keys(curve: Any) -> list[tuple[Any, ...]]:
    return [
        (*k.co, *k.handle_left, *k.handle_right, k.interpolation, k.handle_left_type, k.handle_right_type)
        for k in curve.keyframe_points
    ]


def engines(parlando: SimpleNamespace, rig: Any) -> list[Any]:
    """All keys that the engine's motion has, and the handles'."""
    items = (rig.head, *rig.points, *parlando.handles.find(rig).values())
    return [
        keys(curve)
        for item in items
        for curve in parlando.compat.curves(item)
        if not curve.data_path.startswith("delta")
    ]


def animated(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    """An animator's own work: a handle with keys, a landmark with Bézier keys, one moved without a key."""
    jaw = parlando.handles.find(rig)["jaw"]
    for frame, z in ((12, 0.0), (24, -0.1), (40, 0.02)):
        jaw.location.z = z
        jaw.keyframe_insert("location", frame=frame)
    for frame, x in ((8, 0.0), (14, 0.05), (19, -0.04), (33, 0.1), (41, 0.02), (52, 0.06)):
        rig.points[57].delta_location.x = x
        rig.points[57].keyframe_insert("delta_location", index=0, frame=frame)
    rig.points[51].delta_location.z = 0.03


TOOLS = {
    "smooth": lambda: verbs.smooth_motion(region="MOUTH", start=20, end=36, amount=2.0),
    "amplify": lambda: verbs.amplify_motion(region="MOUTH", start=20, end=36, amount=1.7),
    "quiet": lambda: verbs.amplify_motion(region="MOUTH", start=20, end=36, amount=0.0),
    "mirror": lambda: verbs.mirror_motion(region="MOUTH", start=20, end=36),
    "paste": lambda: verbs.paste_shape(region="MOUTH", ease=7, hold=2),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_only_the_range_and_the_region_change(
    parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any, tool: str
) -> None:
    animated(parlando, scene, rig)
    before, engine = seen(scene, rig), engines(parlando, rig)
    scene.frame_set(15)
    verbs.copy_shape()
    scene.frame_set(27)
    assert TOOLS[tool]() == {"FINISHED"}
    assert engines(parlando, rig) == engine
    after = seen(scene, rig)
    inside = (ALL >= 20) & (ALL <= 36)
    changed = np.abs(after - before).max(axis=2)
    others = [i for i in range(68) if i not in MOUTH]
    assert changed[:, others].max() == 0
    assert changed[~inside].max() < 3e-7  # units: 0.0001 px
    assert changed[inside].max() > 0.01
    assert np.abs(touch.local(rig, ALL) - after).max() < 1e-6  # what the tools count with is what Blender shows


def test_frames_outside_keep_their_values_to_the_last_bit(
    parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any
) -> None:
    """Where no Bézier segment of the animator's reaches into the range nothing at all is rounded anew."""
    animated(parlando, scene, rig)
    item = rig.points[57]
    before = seen(scene, rig)
    verbs.amplify_motion(region="MOUTH", start=15, end=40, amount=0.0, ease=2)  # keys on 14 and 41
    after = seen(scene, rig)
    outside = (ALL < 15) | (ALL > 40)
    assert (after[outside] == before[outside]).all()
    curve = curves(parlando, item, "delta_location")[0]
    assert {8, 14, 41, 52} <= {k.co.x for k in curve.keyframe_points}


@pytest.mark.parametrize("extrapolation", ("CONSTANT", "LINEAR"))
@pytest.mark.parametrize("kind", ("BEZIER", "LINEAR", "CONSTANT", "SINE", "ELASTIC"))
@pytest.mark.parametrize("span", ((17, 23), (11, 17), (27, 30), (1, 3), (45, 50), (2, 45), (10, 29), (21, 24)))
def test_keys_of_every_kind(
    parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any, span: tuple[int, int], kind: str, extrapolation: str
) -> None:
    """A curve with the animator's keys on 5, 10, 20, 26.5 and 40; the range before, over, between and after them."""
    item = rig.points[30]
    for frame, x in ((5, 0.1), (10, -0.2), (20, 0.3), (26.5, 0.25), (40, -0.1)):
        item.delta_location.x = x
        item.keyframe_insert("delta_location", index=0, frame=frame)
    curve = curves(parlando, item, "delta_location")[0]
    curve.extrapolation = extrapolation
    for key in curve.keyframe_points:
        key.interpolation, key.amplitude, key.period, key.easing = kind, 0.3, 4.0, "EASE_IN"
    curve.keyframe_points[2].type = "EXTREME"
    curve.keyframe_points[1].handle_right_type = curve.keyframe_points[1].handle_left_type = "FREE"
    curve.keyframe_points[1].handle_right = (19.0, 0.6)
    curve.update()
    frames = np.arange(-10, 70)
    before = np.array([curve.evaluate(f) for f in frames])
    start, end = span
    change = 0.1 * np.random.default_rng(1).normal(size=end - start + 1)
    touch.add(curve, 0.0, start, change)
    after = np.array([curve.evaluate(f) for f in frames])
    want = before.copy()
    want[(frames >= start) & (frames <= end)] += change
    assert np.abs(after - want).max() < (2e-6 if extrapolation == "LINEAR" else 5e-7)
    times = [k.co.x for k in curve.keyframe_points]
    assert times == sorted(set(times))
    assert {5, 10, 20, 40} <= set(times) and (26.5 in times) == (not start - 1 < 26.5 < end + 1)
    if not start - 1 < 20 < end + 1:
        assert next(k.type for k in curve.keyframe_points if k.co.x == 20) == "EXTREME"
    if kind in {"BEZIER", "LINEAR", "CONSTANT"}:  # cut, not keyed on every frame up to the neighbours
        assert len(times) <= 5 + (end - start + 1) + 4


def test_an_overlong_handle_and_far_automatic_keys(parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any) -> None:
    """Handles as long as their segment cannot be cut; automatic handles answer to keys far away."""
    item = rig.points[30]
    rng = np.random.default_rng(4)
    for frame in range(0, 200, 7):
        item.delta_location.x = rng.normal()
        item.keyframe_insert("delta_location", index=0, frame=frame)
    curve = curves(parlando, item, "delta_location")[0]
    for key in curve.keyframe_points[:20]:
        key.handle_left_type = key.handle_right_type = "AUTO"
    key = curve.keyframe_points[15]  # on 105
    key.handle_left_type = key.handle_right_type = "FREE"
    key.handle_left, key.handle_right = (90.0, 1.0), (125.0, -1.0)
    curve.update()
    frames = np.arange(-5, 210)
    before = np.array([curve.evaluate(f) for f in frames])
    far = [keys(curve)[-1], keys(curve)[0]]
    touch.add(curve, 0.0, 95, np.full(6, 0.5))
    touch.add(curve, 0.0, 108, np.full(2, 0.5))
    after = np.array([curve.evaluate(f) for f in frames])
    want = before + 0.5 * (((frames >= 95) & (frames <= 100)) | ((frames >= 108) & (frames <= 109)))
    assert np.abs(after - want).max() < 2e-6
    assert [keys(curve)[-1], keys(curve)[0]] == far


def test_without_keys_the_value_it_has_stays(parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any) -> None:
    rig.points[60].delta_location = (0.1, 0.2, 0.3)
    verbs.amplify_motion(region="MOUTH", start=20, end=30, amount=0.0, ease=0)
    for frame in (START, 19, 31, END):
        scene.frame_set(frame)
        assert tuple(rig.points[60].delta_location) == pytest.approx((0.1, 0.2, 0.3), abs=1e-7)


def test_quiet_is_silence(parlando: SimpleNamespace, scene: Any, take: Any, rig: Any, touch: Any) -> None:
    animated(parlando, scene, rig)
    before = seen(scene, rig)
    verbs.amplify_motion(region="MOUTH", start=18, end=40, amount=0.0, ease=4)
    rest = touch.silence(data_of(parlando, take))
    after = seen(scene, rig)
    full = (ALL >= 22) & (ALL <= 36)
    assert np.abs(after[full][:, MOUTH] - rest[MOUTH]).max() < 1e-6
    assert np.abs(before[full][:, MOUTH] - rest[MOUTH]).max() > 0.05
    steps = np.abs(np.diff(after[:, 54], axis=0)).max()  # it comes and goes, and does not jump
    assert steps < 1.5 * np.abs(np.diff(before[:, 54], axis=0)).max()
    still = np.linalg.norm(rest[[61, 62, 63]] - rest[[67, 66, 65]], axis=1)
    opened = np.linalg.norm(before[:, [61, 62, 63]] - before[:, [67, 66, 65]], axis=2)
    assert still.mean() < opened.mean()


def test_amplify(parlando: SimpleNamespace, scene: Any, take: Any, rig: Any, touch: Any) -> None:
    rest = touch.silence(data_of(parlando, take))
    before = seen(scene, rig)
    verbs.amplify_motion(region="MOUTH", amount=1.5)  # the whole take: nothing fades
    inside = (ALL >= START) & (ALL <= END)
    want = rest + 1.5 * (before - rest)
    assert np.abs(seen(scene, rig)[inside][:, MOUTH] - want[inside][:, MOUTH]).max() < 1e-6
    verbs.amplify_motion(region="MOUTH", amount=1 / 1.5)
    assert np.abs(seen(scene, rig)[inside] - before[inside]).max() < 1e-6


def test_mirror(parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any) -> None:
    """On a turned and tilted portrait: a smile of the left corner is the right corner's, in the face's own axes."""
    truth = talking(FRAMES) @ turned()
    moved = truth[5] - truth[15]  # frame 15 of the timeline is loud, 25 silent
    before = seen(scene, rig)
    assert verbs.mirror_motion(region="MOUTH") == {"FINISHED"}
    after = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    swapped = (after[5] - after[15]) @ turned()
    mirror = parlando.landmarks.MIRROR
    assert np.linalg.norm(moved[54]) > 10 and np.linalg.norm(moved[48]) < 5
    assert np.abs(swapped[MOUTH] - (moved[mirror] * (-1, 1, 1))[MOUTH]).max() < 0.02
    verbs.mirror_motion(region="MOUTH")
    assert np.abs(seen(scene, rig) - before).max() < 1e-6
    assert np.abs(np.concatenate([seen(scene, rig, [15]) - before[10:11]])).max() < 1e-6


def test_mirror_of_one_side_chosen_changes_both(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    before = seen(scene, rig)
    rig.points[54].select_set(True)
    verbs.mirror_motion(region="SELECTED")
    changed = np.abs(seen(scene, rig) - before).max(axis=(0, 2)) > 1e-4
    assert np.flatnonzero(changed).tolist() == [48, 54]


def test_smooth(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    before = seen(scene, rig)
    verbs.smooth_motion(region="MOUTH", start=15, end=45, amount=1.5, ease=3)
    after = seen(scene, rig)
    full = (ALL >= 18) & (ALL <= 42)

    def acceleration(points: np.ndarray) -> float:
        return float(np.abs(np.diff(points[full][:, 48:60], 2, axis=0)).mean())

    assert acceleration(after) < 0.35 * acceleration(before)
    opening = (before[:, 66] - before[:, 62])[full]
    kept = (after[:, 66] - after[:, 62])[full]
    assert np.ptp(kept, axis=0).max() > 0.8 * np.ptp(opening, axis=0).max()  # the speech is still there
    calm = before[full][:, 60].copy()  # what does not move is not moved
    assert np.abs(after[full][:, 60] - calm).max() < 1e-6


def test_copy_and_paste(parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any) -> None:
    before = seen(scene, rig)
    scene.frame_set(15)
    assert verbs.copy_shape() == {"FINISHED"}
    assert "frame 15" in touch.copied().told
    scene.frame_set(27)
    assert verbs.paste_shape(region="MOUTH", ease=3, hold=2) == {"FINISHED"}
    after = seen(scene, rig)
    loud = before[list(ALL).index(15)]
    for frame in (27, 28, 29):
        assert np.abs(after[list(ALL).index(frame)][MOUTH] - loud[MOUTH]).max() < 1e-6
    changed = np.abs(after - before).max(axis=(1, 2)) > 1e-5
    assert ALL[changed].tolist() == list(range(24, 33))
    scene.frame_set(40)
    verbs.paste_shape(region="MOUTH", amount=0.5, ease=0)
    at = list(ALL).index(40)
    halfway = 0.5 * (after[at] + loud)
    assert np.abs(seen(scene, rig)[at][MOUTH] - halfway[MOUTH]).max() < 1e-6


def test_a_shape_goes_to_another_head(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, touch: Any, tmp_path: Path
) -> None:
    """From a turned head to one that looks at the viewer and is half as large: the same smile in the face's axes."""
    scene.frame_set(15)
    verbs.copy_shape()
    front = ((talking(FRAMES) - (300, 220, 15)) @ turned() * 0.5 + (200, 200, 0)).astype(np.float32)
    other = parlando.compat.strips(scene.sequence_editor).new_sound("second", sound.sound.filepath, 3, START)
    second = register(parlando, scene, other, write_take(tmp_path / "second_001", front), FRAMES)
    there = parlando.landmarks.add(scene, second, START)
    bpy.context.view_layer.objects.active = there.head
    scene.frame_set(27)
    verbs.paste_shape(region="MOUTH", ease=0)
    back = parlando.landmarks.read(scene, there, FRAMES, SIZE)
    assert np.abs(back[17] - front[5])[MOUTH].max() < 0.05 and np.abs(front[17] - front[5])[MOUTH].max() > 3


def test_frames_are_the_preview_range_and_then_the_take(
    parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any
) -> None:
    before = seen(scene, rig)

    def changed() -> list[float]:
        frames = ALL[np.abs(seen(scene, rig) - before).max(axis=(1, 2)) > 1e-6]
        return [frames[0], frames[-1]]

    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = 26, 44
    verbs.amplify_motion(region="MOUTH", amount=2.0, ease=0)
    assert changed()[0] >= 26 and changed()[1] <= 44 and changed()[1] > 35
    scene.frame_preview_start, scene.frame_preview_end = 60, 90
    with pytest.raises(RuntimeError, match="preview range is outside the take"):
        verbs.amplify_motion()
    with pytest.raises(RuntimeError, match="before it starts"):
        verbs.amplify_motion(start=30, end=20)
    with pytest.raises(RuntimeError, match=r"Frames 100–200 are outside the take, which has frames 10–49"):
        verbs.amplify_motion(start=100, end=200)
    verbs.amplify_motion(start=-1000, end=9000, region="MOUTH", amount=0.0)  # as far as the take goes
    times = [k.co.x for k in curves(parlando, rig.points[66], "delta_location")[0].keyframe_points]
    assert (min(times), max(times)) == (START - 1, END + 1)


def test_selected(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    with pytest.raises(RuntimeError, match="Select landmarks first"):
        verbs.amplify_motion(region="SELECTED")
    before = seen(scene, rig)
    rig.points[66].select_set(True)
    verbs.amplify_motion(region="SELECTED", amount=2.0)
    assert np.flatnonzero(np.abs(seen(scene, rig) - before).max(axis=(0, 2)) > 1e-6).tolist() == [66]
    rig.points[66].select_set(False)
    parlando.handles.find(rig)["corner_l"].select_set(True)
    touched = importlib.import_module("bl_ext.dev.parlando.addon.touch").chosen(rig, "SELECTED")
    assert touched == sorted(parlando.handles.HANDLES["corner_l"].pulls)


def test_undo_and_redo(parlando: SimpleNamespace, scene: Any, take: Any, rig: Any) -> None:
    id = take.sound_id
    bpy.ops.ed.undo_push(message="before")
    before = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    verbs.amplify_motion("EXEC_DEFAULT", True, region="MOUTH", amount=0.0)  # with a step of undo, as a button does
    after = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    assert np.abs(after - before).max() > 5
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    rig = parlando.landmarks.find(scene, id)
    assert (parlando.landmarks.read(scene, rig, FRAMES, SIZE) == before).all()
    assert not any(curves(parlando, point, "delta_location") for point in rig.points)
    bpy.ops.ed.redo()
    scene = bpy.context.scene
    rig = parlando.landmarks.find(scene, id)
    assert np.abs(parlando.landmarks.read(scene, rig, FRAMES, SIZE) - after).max() < 1e-3


def test_the_viewport_shows_it_at_once(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    scene.frame_set(15)
    before = np.array(rig.points[66].matrix_world.translation)
    verbs.amplify_motion(region="MOUTH", amount=0.0)
    bpy.context.view_layer.update()
    assert np.abs(np.array(rig.points[66].matrix_world.translation) - before).max() > 0.02


def test_a_new_take_keeps_what_was_touched(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    animated(parlando, scene, rig)
    verbs.amplify_motion(region="MOUTH", start=20, end=30, amount=2.0)
    held = [keys(c) for p in rig.points for c in curves(parlando, p, "delta_location")]
    again = register(parlando, scene, sound, write_take(tmp_path / "voice_002", face(50, seed=5)), 50)
    parlando.landmarks.update(scene, again, START)
    assert [keys(c) for p in rig.points for c in curves(parlando, p, "delta_location")] == held and held


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda p, c: c.modifiers.new("NOISE"), "modifiers"),
        (lambda p, c: setattr(c, "mute", True), "muted"),
        (lambda p, c: setattr(c, "lock", True), "locked"),
        (lambda p, c: p.constraints.new("LIMIT_LOCATION"), "constraints"),
        (lambda p, c: p.driver_add("delta_scale", 0), "drivers"),
    ],
    ids=("modifiers", "mute", "lock", "constraint", "driver"),
)
def test_what_cannot_be_written_is_said_and_nothing_is(
    parlando: SimpleNamespace, scene: Any, rig: Any, spoil: Any, told: str
) -> None:
    last = rig.points[67]  # the region's last: all others come before it
    last.delta_location.x = 0.1
    last.keyframe_insert("delta_location", index=0, frame=20)
    spoil(last, curves(parlando, last, "delta_location")[0])
    with pytest.raises(RuntimeError, match=told):
        verbs.amplify_motion(region="MOUTH", amount=0.0)
    assert not any(curves(parlando, point, "delta_location") for point in rig.points[:67])
    assert len(curves(parlando, last, "delta_location")[0].keyframe_points) == 1


def test_greyed_buttons_say_why(parlando: SimpleNamespace, scene: Any, take: Any, touch: Any) -> None:
    operators = importlib.import_module("bl_ext.dev.parlando.operators.animate")
    tools = (verbs.smooth_motion, verbs.amplify_motion, verbs.mirror_motion, verbs.copy_shape, verbs.paste_shape)
    for tool in tools:
        assert tool.get_rna_type().description
        with pytest.raises(RuntimeError, match="landmarks of the take first"):
            tool()
    assert operators.frames_told(scene) == ""
    rig = parlando.landmarks.add(scene, take, START)
    assert operators.frames_told(scene) == "Frames 10–49: the whole take"
    with pytest.raises(RuntimeError, match="Copy a shape first"):
        verbs.paste_shape()
    scene.frame_set(START)
    verbs.copy_shape()
    assert verbs.paste_shape.poll()
    scene.frame_set(END + 20)
    for tool in (verbs.copy_shape, verbs.paste_shape):
        with pytest.raises(RuntimeError, match="outside the take"):
            tool()
    (parlando.takes.folder_of(take) / "landmarks.npz").unlink()
    with pytest.raises(RuntimeError, match="not there any more"):
        verbs.smooth_motion()
    scene.parlando.takes.clear()
    with pytest.raises(RuntimeError, match="not in this scene"):
        verbs.smooth_motion()
    assert rig.collection.name in operators.why_no_touch(scene)


def test_the_panel_draws(
    parlando: SimpleNamespace, scene: Any, take: Any, touch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a layout that takes everything: names of buttons, properties and icons are Blender's to refuse elsewhere."""
    panels = importlib.import_module("bl_ext.dev.parlando.ui_panels.animate")
    monkeypatch.setattr(panels.parts, "text", lambda layout, context, told, icon="NONE": words.append(told))
    buttons: list[tuple[str, bool]] = []
    words: list[str] = []

    class Layout:
        def __init__(self, parent: Any = None) -> None:
            self.parent, self.enabled, self.scale_y = parent, True, 1.0

        def row(self, align: bool = False) -> "Layout":
            return Layout(self)

        column = row

        def operator(self, name: str, text: str = "", icon: str = "NONE") -> SimpleNamespace:
            module, verb = name.split(".")
            layout, on = self, getattr(getattr(bpy.ops, module), verb).poll()
            while layout is not None:
                layout, on = layout.parent, on and layout.enabled
            buttons.append((text or verb, on))
            return SimpleNamespace()

        def prop(self, group: Any, name: str, text: str = "") -> None:
            assert name in group.bl_rna.properties

        def label(self, text: str = "", icon: str = "NONE") -> None:
            words.append(text)

    def draw() -> tuple[set[str], str]:
        buttons.clear(), words.clear()
        panels.PARLANDO_PT_touch.draw(SimpleNamespace(layout=Layout()), bpy.context)
        return {name for name, on in buttons if on}, " ".join(filter(None, words))

    assert draw() == (set(), "Add the landmarks of the take first")
    parlando.landmarks.add(scene, take, START)
    scene.frame_set(START)
    assert draw()[0] == {"smooth_motion", "Amplify", "Quiet", "mirror_motion", "copy_shape"}
    assert "whole take" in draw()[1] and "Copy a shape first" in draw()[1]
    verbs.copy_shape()
    assert "paste_shape" in draw()[0]
    scene.parlando.region = "SELECTED"
    assert draw()[0] == {"copy_shape"} and "Select landmarks first" in draw()[1]


def test_ten_thousand_frames(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path, touch: Any) -> None:
    """200 frames of a long take, then once more when the whole of it was keyed by a tool."""
    long = talking(10000).astype(np.float32)
    take = register(parlando, scene, sound, write_take(tmp_path / "long", long), 10000)
    parlando.landmarks.add(scene, take, 1)
    verbs.add_handles()
    verbs.copy_shape()

    def timed(tool: Any, **options: Any) -> float:
        begun = time.perf_counter()
        assert tool(**options) == {"FINISHED"}
        return time.perf_counter() - begun

    taken = {
        tool.idname_py(): timed(tool, region="ALL", start=4000, end=4199)
        for tool in (verbs.smooth_motion, verbs.amplify_motion, verbs.mirror_motion)
    }
    scene.frame_set(5000)
    taken["paste"] = timed(verbs.paste_shape, region="ALL")
    whole = timed(verbs.amplify_motion, region="MOUTH_JAW", amount=1.2)
    again = timed(verbs.amplify_motion, region="MOUTH_JAW", amount=1.2, start=4000, end=4199)
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in taken.items())
    print(f"10000 frames, 200 changed: {told}; mouth and jaw: whole take {whole:.2f} s, 200 frames of it {again:.2f} s")
    assert max(taken.values()) < 2.0


def test_a_move_without_a_key_is_found_and_keyed(
    parlando: SimpleNamespace, scene: Any, take: Any, rig: Any, touch: Any
) -> None:
    assert touch.unkeyed(scene, rig) == {} and not bpy.ops.parlando.key_moved.poll()  # the landmarks have just come
    scene.frame_set(25)
    assert touch.unkeyed(scene, rig) == {}
    before = parlando.landmarks.read(scene, rig, FRAMES, SIZE)
    looked = parlando.landmarks.read_all(scene, rig, FRAMES, SIZE)[1]
    rig.points[57].location.z -= 0.08
    rig.gaze.location.x += 0.2
    moved = rig.points[57].location.copy()
    found = touch.unkeyed(scene, rig)
    assert set(found) == {rig.points[57], rig.gaze} and found[rig.points[57]] == pytest.approx([0, 0, -0.08], abs=1e-6)
    bpy.ops.ed.undo_push(message="Move")
    assert bpy.ops.parlando.key_moved(ease=3) == {"FINISHED"}
    assert touch.unkeyed(scene, rig) == {}
    point = rig.points[57]
    assert tuple(point.location + point.delta_location) == pytest.approx(tuple(moved), abs=1e-6)
    after, look = parlando.landmarks.read_all(scene, rig, FRAMES, SIZE)
    start = int(rig.picture["parlando_start"])
    changed = np.abs(after - before).max(axis=(1, 2)) > 0.01
    assert np.flatnonzero(changed).tolist() == list(range(25 - start - 3, 25 - start + 4))
    assert np.flatnonzero(np.abs(look - looked).max(axis=1) > 0.01).tolist() == np.flatnonzero(changed).tolist()
    way = np.abs(after - before).max(axis=(1, 2))[changed]
    assert way.argmax() == 3 and (np.diff(way[:4]) > 0).all() and (np.diff(way[3:]) < 0).all()


def test_a_turned_head_is_keyed_too(parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any) -> None:
    scene.frame_set(25)
    head = rig.head
    head.delta_rotation_euler = (0.02, 0.0, 0.0)
    head.rotation_euler.z += 0.2
    head.location.x += 0.05
    bpy.context.view_layer.update()
    there = np.array([p.matrix_world.translation for p in rig.points])
    assert bpy.ops.parlando.key_moved() == {"FINISHED"}
    bpy.context.view_layer.update()
    assert np.array([p.matrix_world.translation for p in rig.points]) == pytest.approx(there, abs=1e-5)
    assert touch.unkeyed(scene, rig) == {}
    scene.frame_set(35)
    assert tuple(head.delta_rotation_euler) == pytest.approx((0.02, 0.0, 0.0), abs=1e-6)


def test_outside_the_take_a_move_is_refused(parlando: SimpleNamespace, scene: Any, take: Any, rig: Any) -> None:
    scene.frame_set(int(rig.picture["parlando_start"]) + FRAMES + 5)
    rig.points[57].location.z -= 0.08
    with pytest.raises(RuntimeError, match="outside the take"):
        bpy.ops.parlando.key_moved()


def test_a_new_take_leaves_nothing_that_looks_moved(
    parlando: SimpleNamespace, scene: Any, sound: Any, take: Any, rig: Any, touch: Any, tmp_path: Path
) -> None:
    scene.frame_set(25)
    other = register(parlando, scene, sound, write_take(tmp_path / "voice_009", face(FRAMES) + 7), FRAMES)
    parlando.landmarks.update(scene, other, int(rig.picture["parlando_start"]))
    assert touch.unkeyed(scene, rig) == {}


def test_what_another_scene_holds_is_no_move(parlando: SimpleNamespace, scene: Any, rig: Any, touch: Any) -> None:
    scene.frame_set(25)
    rig.points[57].location.z -= 0.08
    assert touch.unkeyed(scene, rig)
    other = bpy.data.scenes.new("other")
    assert touch.unkeyed(other, rig) == {}


def test_the_sidebar_of_a_long_take_draws_fast(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path, touch: Any
) -> None:
    """It asks at each redraw whether something was moved: reading every key for that took 320 ms."""
    long = register(parlando, scene, sound, write_take(tmp_path / "long", face(10_000)), 10_000)
    rig = parlando.landmarks.add(scene, long, 1)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        assert touch.unkeyed(scene, rig) == {}
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.05
