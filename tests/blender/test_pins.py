"""Pinned frames stay when a new take comes, ease into it, are rendered, saved, undone; takes are compared."""

import runpy
from collections.abc import Callable
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
_JOBS = runpy.run_path(str(Path(__file__).with_name("test_main_job.py")))
trim_to, pictures, told, SOURCE = (_JOBS[name] for name in ("trim_to", "pictures", "told", "SOURCE"))
Wait = Callable[..., None]
START = 10


@pytest.fixture
def take(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> Any:
    return register(parlando, scene, sound, write_take(tmp_path / "voice_001", face(FRAMES)), FRAMES)


@pytest.fixture
def rig(parlando: SimpleNamespace, scene: Any, take: Any) -> Any:
    return parlando.landmarks.add(scene, take, START)


def another(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path, number: int, frames: int = FRAMES
) -> Any:
    """A take that moves differently, and how the rig stands once it came."""
    points = face(frames) + np.float32(number) * np.linspace(1, 3, frames, dtype=np.float32)[:, None, None]
    points[:, 48:, 1] += 5 * number
    made = register(parlando, scene, sound, write_take(tmp_path / f"voice_{number:03d}", points), frames)
    parlando.landmarks.update(scene, made, START)
    return made


def keyed(parlando: SimpleNamespace, scene: Any, frames: int = FRAMES) -> np.ndarray:
    """(T, 213): what the curves hold, head first, gaze last."""
    rig = parlando.landmarks.in_use(scene)
    times = np.arange(START, START + frames, dtype=np.float64)
    read = [parlando.landmarks.values(rig.head, name, times) for name in ("location", "rotation_euler")]
    read += [parlando.landmarks.values(p, "location", times) for p in rig.points]
    gaze = parlando.landmarks.values(rig.gaze, "location", times) / rig.gaze["parlando_distance"]
    return np.concatenate([*read, gaze], axis=1)


def engines(parlando: SimpleNamespace, take: Any) -> np.ndarray:
    data = parlando.landmarks.Data.load(parlando.takes.folder_of(take) / "landmarks.npz")
    return np.asarray(parlando.pins.rows(parlando.landmarks.local_motion(data)))


def deltas(parlando: SimpleNamespace, rig: Any) -> int:
    return sum(c.data_path == "delta_location" for p in rig.points for c in parlando.compat.curves(p))


def test_a_new_take_leaves_pinned_frames(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    before = keyed(parlando, scene)
    assert bpy.ops.parlando.pin_frames(start=20, end=24) == {"FINISHED"}
    assert (keyed(parlando, scene) == before).all()
    second = another(parlando, scene, sound, tmp_path, 2)
    now, engine = keyed(parlando, scene), engines(parlando, second)
    assert (now[10:15] == before[10:15]).all()  # exactly
    other = np.flatnonzero((now != engine).any(axis=1))
    assert other.tolist() == list(range(6, 19))  # pinned, and four frames on either side
    share = [np.abs(now[f] - engine[f]).max() / np.abs(before[e] - engine[e]).max() for f, e in
             ((14, 14), (15, 14), (16, 14), (17, 14), (18, 14))]  # fmt: skip
    assert np.allclose(share, [1.0, 0.896, 0.648, 0.352, 0.104], atol=0.005)
    another(parlando, scene, sound, tmp_path, 3)
    assert (keyed(parlando, scene)[10:15] == before[10:15]).all()
    assert deltas(parlando, rig) == 0  # what is pinned is nobody's edit


def test_two_pins_share_the_gap(
    parlando: SimpleNamespace, scene: Any, sound: Any, take: Any, rig: Any, tmp_path: Path
) -> None:
    before = keyed(parlando, scene)
    bpy.ops.parlando.pin_frames(start=15, end=18)
    bpy.ops.parlando.pin_frames(start=21, end=24, ease=0)
    engine = engines(parlando, another(parlando, scene, sound, tmp_path, 2))
    now = keyed(parlando, scene)
    assert (now[5:9] == before[5:9]).all() and (now[11:15] == before[11:15]).all()
    assert (now[15:] == engine[15:]).all()  # no ease
    low, high = np.minimum(before, engine) - 0.05, np.maximum(before, engine) + 0.05
    assert ((now >= low) & (now <= high)).all()  # nothing overshoots


def test_edits_on_pinned_frames_stay_edits(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    lip = rig.points[57]
    lip.delta_location.z = -0.1
    lip.keyframe_insert("delta_location", frame=22)
    bpy.ops.parlando.pin_frames(start=20, end=24)
    curve = next(c for c in parlando.compat.curves(lip) if c.data_path == "location" and c.array_index == 0)
    curve.keyframe_points[12].co.y += 0.3  # frame 22, in the engine's own layer
    curve.update()
    want = curve.evaluate(22)
    another(parlando, scene, sound, tmp_path, 2)
    at = np.array([22.0])
    location, delta = (parlando.landmarks.values(lip, name, at)[0] for name in ("location", "delta_location"))
    assert abs(delta[0] - 0.3) < 1e-5 and abs(delta[2] + 0.1) < 1e-5
    assert abs(location[0] + delta[0] - want) < 1e-5
    assert bpy.ops.parlando.unpin_frames() == {"FINISHED"}
    assert np.allclose(parlando.landmarks.values(lip, "delta_location", at)[0], delta)


def test_a_head_turned_by_hand_stays_turned(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    from mathutils import Euler

    for curve in parlando.compat.curves(rig.head):
        if curve.data_path == "rotation_euler":
            for index in (14, 15):
                curve.keyframe_points[index].co.y += 0.1 * (curve.array_index + 1)
        elif curve.array_index == 0:
            curve.keyframe_points[20].co.y += 0.25
        curve.update()
    before = keyed(parlando, scene)
    engine = engines(parlando, scene.parlando.takes["voice_001"])
    second = another(parlando, scene, sound, tmp_path, 2)
    assert (keyed(parlando, scene) == engines(parlando, second)).all()
    at = np.arange(START, START + FRAMES, dtype=np.float64)
    moved = parlando.landmarks.values(rig.head, "delta_location", at)
    assert abs(moved[20, 0] - 0.25) < 1e-5 and np.count_nonzero(np.abs(moved) > 1e-6) == 1
    turned = parlando.landmarks.values(rig.head, "delta_rotation_euler", at)
    assert np.flatnonzero(np.abs(turned).max(axis=1) > 1e-6).tolist() == [14, 15]
    for index in (14, 15):  # on top of what the engine had, it is what was seen
        seen = Euler(before[index, 3:6]).to_matrix()
        again = Euler(turned[index]).to_matrix() @ Euler(engine[index, 3:6]).to_matrix()
        assert np.abs(np.array(seen) - np.array(again)).max() < 1e-5


def test_unpin_some(parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path) -> None:
    before = keyed(parlando, scene)
    assert not bpy.ops.parlando.unpin_frames.poll()
    bpy.ops.parlando.pin_frames(start=0, end=29)
    (pin,) = scene.parlando.pins
    assert (pin.first, pin.last, pin.take) == (0, 19, "voice_001")  # as far as the take goes
    engine = engines(parlando, another(parlando, scene, sound, tmp_path, 2))
    bpy.ops.parlando.unpin_frames(start=13, end=26)
    assert [(p.first, p.last) for p in scene.parlando.pins] == [(0, 2), (17, 19)]
    now = keyed(parlando, scene)
    assert (now[:3] == before[:3]).all() and (now[17:20] == before[17:20]).all()
    assert (now[7:13] == engine[7:13]).all() and (now[24:] == engine[24:]).all()
    with pytest.raises(RuntimeError, match="None of the frames 19 to 20"):
        bpy.ops.parlando.unpin_frames(start=19, end=20)
    bpy.ops.parlando.unpin_frames(start=1, end=99)
    assert len(scene.parlando.pins) == 0 and (keyed(parlando, scene) == engine).all()
    with pytest.raises(RuntimeError, match="lie outside"):
        bpy.ops.parlando.pin_frames(start=200, end=210)


def test_which_frames(parlando: SimpleNamespace, scene: Any, rig: Any) -> None:
    scene.frame_set(30)
    bpy.ops.parlando.pin_frames()
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 12, 14
    bpy.ops.parlando.pin_frames()
    assert [(p.first, p.last) for p in scene.parlando.pins] == [(17, 23), (2, 4)]


def test_a_moved_sound_a_shorter_take_another_portrait(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    before = keyed(parlando, scene)
    bpy.ops.parlando.pin_frames(start=20, end=24)
    another(parlando, scene, sound, tmp_path, 2, 12)
    assert (keyed(parlando, scene, 12)[10:] == before[10:12]).all()
    points = np.ascontiguousarray(face(FRAMES)[:, ::-1])
    folder = write_take(tmp_path / "voice_009", points, (480, 640))
    other = register(parlando, scene, sound, folder, FRAMES)
    parlando.landmarks.update(scene, other, START)
    assert (keyed(parlando, scene) == engines(parlando, other)).all()
    assert parlando.pin_frames.against(scene, other) == (0, 1)
    back = scene.parlando.takes["voice_001"]
    parlando.landmarks.update(scene, back, START + 5)
    assert parlando.pin_frames.frames_of(rig, scene.parlando.pins[0]) == (25, 29)


def test_ten_thousand_frames(parlando: SimpleNamespace) -> None:
    import time

    rng = np.random.default_rng(0)
    layers = [
        tuple(rng.normal(size=(10_000, *s)).astype(np.float32) for s in ((3,), (3,), (68, 3), (3,))) for _ in range(2)
    ]
    arrays = {"size": np.array([4, 3])}
    held = parlando.pins.rows(layers[0])
    made = [
        SimpleNamespace(
            first=f, last=f + 9, ease=4, held=parlando.pins.packed(held[f : f + 10]),
            face=parlando.pins.packed(np.array([4, 3])),
        )
        for f in range(0, 10_000, 40)
    ]  # fmt: skip
    began = time.perf_counter()
    parlando.pins.hold(layers[1], made, arrays)
    assert time.perf_counter() - began < 0.5


def test_save_load_and_a_file_from_before_pins(
    parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any, tmp_path: Path
) -> None:
    old = scene.parlando
    for name in ("pins", "pin_index"):  # as a file that never heard of them
        old.property_unset(name)
        group = old.bl_system_properties_get() if hasattr(old, "bl_system_properties_get") else old
        if group is not None and name in group:
            del group[name]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "old.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "old.blend"))
    scene = bpy.context.scene
    assert [t.name for t in scene.parlando.takes] == ["voice_001"] and len(scene.parlando.pins) == 0
    sound = parlando.strips.by_name(scene, "voice")
    before = keyed(parlando, scene)
    another(parlando, scene, sound, tmp_path, 2)
    parlando.landmarks.update(scene, scene.parlando.takes["voice_001"], START)
    assert (keyed(parlando, scene) == before).all()
    bpy.ops.parlando.pin_frames(start=20, end=24)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "old.blend"))
    scene = bpy.context.scene
    sound = parlando.strips.by_name(scene, "voice")
    another(parlando, scene, sound, tmp_path, 3)
    assert (keyed(parlando, scene)[10:15] == before[10:15]).all()


def test_the_panel_draws(parlando: SimpleNamespace, scene: Any, sound: Any, rig: Any) -> None:
    import sys
    from unittest.mock import MagicMock

    panels = sys.modules[f"{parlando.pins.__package__.rpartition('.')[0]}.ui_panels.pins"]
    bpy.ops.parlando.pin_frames(start=20, end=24)
    drawn = MagicMock()
    panels.PARLANDO_PT_pins.draw(SimpleNamespace(layout=drawn), bpy.context)
    assert drawn.template_list.call_count == 1
    (pin,) = scene.parlando.pins
    panels.PARLANDO_UL_pins.draw_item(None, bpy.context, drawn, None, pin, 0, None, "")
    button = drawn.row.return_value.operator.return_value
    assert (button.start, button.end) == (20, 24)
    settings, shown = scene.parlando, SimpleNamespace(bitflag_filter_item=4)
    assert panels.PARLANDO_UL_pins.filter_items(shown, bpy.context, settings, "pins") == ([4], [])


def test_compare_flips_between_two(
    parlando: SimpleNamespace, scene: Any, sound: Any, take: Any, rig: Any, tmp_path: Path
) -> None:
    assert not bpy.ops.parlando.compare_take.poll()
    another(parlando, scene, sound, tmp_path, 2)
    another(parlando, scene, sound, tmp_path, 3)
    for name in ("voice_003", "voice_001"):
        bpy.ops.parlando.use_take(take=name)
    (strip,) = pictures(parlando)
    flips = []
    for _ in range(4):
        bpy.ops.parlando.compare_take()
        flips.append((strip["parlando_take"], parlando.landmarks.in_use(scene).picture["parlando_take"]))
    assert flips == [("voice_003",) * 2, ("voice_001",) * 2] * 2


@pytest.fixture
def speech(parlando: SimpleNamespace, scene: Any, engine: str, astronaut: Path) -> Any:
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("Kennedy", str(SOURCE / "jfk.wav"), 1, 5)
    trim_to(strip, 12, 24)
    scene.sequence_editor.active_strip = strip
    scene.parlando.portrait_file = str(astronaut)
    bpy.ops.ed.undo_push(message="Before")
    return strip


def state() -> dict[str, Any]:
    """All of the scene that Parlando makes, as plain data."""
    scene = bpy.context.scene
    made: dict[str, Any] = {
        "takes": [(t.name, t.base, t.note) for t in scene.parlando.takes],
        "pins": [(p.first, p.last, p.ease, p.held) for p in scene.parlando.pins],
        "seed": scene.parlando.seed,
        "strips": [
            (s.name, s.channel, s.type, s.get("parlando_take"), s.get("parlando_before"))
            for s in getattr(scene.sequence_editor, "strips", None) or scene.sequence_editor.sequences
        ],
        "objects": sorted(
            (o.name, *o.location, *o.delta_location, o.get("parlando_take"), len(o.constraints))
            for o in bpy.data.objects
            if not o.animation_data or o.get("parlando_handle") or o.get("parlando_role") == "picture"
        ),
    }
    for action in bpy.data.actions:
        for slot in action.slots:
            bag = action.layers[0].strips[0].channelbag(slot)
            for curve in bag.fcurves if bag else ():
                pairs = np.empty(2 * len(curve.keyframe_points), np.float32)
                curve.keyframe_points.foreach_get("co", pairs)
                made[f"{slot.identifier} {curve.data_path} {curve.array_index}"] = pairs.tobytes()
    return made


def test_ten_mixed_steps_undone_and_redone(parlando: SimpleNamespace, speech: Any, idle: Wait) -> None:
    """Generate, landmarks, edit, pin, generate again (which renders the pins), handles, take, flip, edits, unpin."""
    first = parlando.compat.left(speech)

    def generate(seed: int) -> None:
        bpy.context.scene.parlando.seed = seed
        bpy.ops.parlando.generate()
        idle()

    def delta() -> None:
        lip = parlando.landmarks.in_use(bpy.context.scene).points[57]
        lip.delta_location.z = -0.05
        lip.keyframe_insert("delta_location", frame=first + 12)

    def handle() -> None:
        jaw = parlando.handles.find(parlando.landmarks.in_use(bpy.context.scene))["jaw"]
        jaw.location.z = -0.05
        jaw.keyframe_insert("location", frame=first + 20)

    def edits() -> None:
        bpy.ops.parlando.render_edits()
        idle()

    def look() -> None:
        scene = bpy.context.scene
        scene.frame_set(first + 15)
        parlando.landmarks.in_use(scene).gaze.location.x += 0.1
        assert bpy.ops.parlando.key_moved() == {"FINISHED"}

    steps: list[tuple[Callable[[], Any], bool]] = [  # what to do, and whether it pushes its own undo
        (lambda: generate(0), True),
        (bpy.ops.parlando.add_landmarks, False),
        (delta, False),
        (lambda: bpy.ops.parlando.pin_frames(start=first + 10, end=first + 12), False),
        (lambda: generate(7), True),
        (bpy.ops.parlando.add_handles, False),
        (handle, False),
        (edits, True),
        (lambda: bpy.ops.parlando.use_take(take="Kennedy_001"), False),
        (bpy.ops.parlando.compare_take, False),
        (bpy.ops.parlando.unpin_frames, False),
        (look, False),
        (lambda: bpy.ops.parlando.smooth_motion(region="MOUTH"), False),
    ]
    states = [state()]
    for act, pushes in steps:
        act()
        if not pushes:  # operators called from Python push nothing
            bpy.ops.ed.undo_push(message="Step")
        states.append(state())
    # The second Generate is two steps: the take, and its pinned frames rendered.
    takes = [name for name, _, _ in states[5]["takes"]]
    assert takes == ["Kennedy_001", "Kennedy_002", "Kennedy_003"]
    folders = [parlando.takes.folder_of(t) / "frames" for t in bpy.context.scene.parlando.takes]
    names = [f"{n:06d}.png" for n in range(1, 25)]
    changed = [i for i, n in enumerate(names) if (folders[1] / n).read_bytes() != (folders[2] / n).read_bytes()]
    # The edit's one key moves the lip on every frame, so every frame is another: see the test below for pins alone.
    assert set(range(6, 17)) <= set(changed)
    for number in range(len(steps) - 1, -1, -1):
        bpy.ops.ed.undo()
        if number == 4:
            assert state()["pins"] and len(state()["takes"]) == 2
            bpy.ops.ed.undo()
        assert state() == states[number], number
    for number in range(1, len(steps) + 1):
        bpy.ops.ed.redo()
        if number == 5:
            bpy.ops.ed.redo()
        assert state() == states[number], number


def test_the_picture_follows_pins(parlando: SimpleNamespace, scene: Any, speech: Any, idle: Wait) -> None:
    bpy.ops.parlando.generate()
    idle()
    bpy.ops.parlando.add_landmarks()
    first = parlando.compat.left(speech)
    bpy.ops.parlando.pin_frames(start=first + 10, end=first + 12)
    scene.parlando.seed = 7
    bpy.ops.parlando.generate()
    idle()
    assert [t.name for t in scene.parlando.takes] == ["Kennedy_001", "Kennedy_002", "Kennedy_003"]
    assert scene.parlando.takes[2].note == "11 of 24 frames rendered again, 13 reused; 11 of them at pins"
    old, raw, new = (parlando.takes.folder_of(t) / "frames" for t in scene.parlando.takes)
    names = [f"{n:06d}.png" for n in range(1, 25)]
    same = [i for i, n in enumerate(names) if (raw / n).samefile(new / n)]
    assert same == [*range(6), *range(17, 24)]  # all but the pinned and four frames on either side, the very file
    assert all((raw / n).read_bytes() != (new / n).read_bytes() for n in names[6:17])
    with (
        np.load(old.parent / "landmarks.npz") as a,
        np.load(raw.parent / "landmarks.npz") as b,
        np.load(new.parent / "landmarks.npz") as c,
    ):
        assert np.abs(c["landmarks"][10:13] - a["landmarks"][10:13]).max() < 0.01
        assert np.abs(c["landmarks"][10:13] - b["landmarks"][10:13]).max() > 0.1
        speed = np.abs(np.diff(c["landmarks"], axis=0)).max(axis=(1, 2))
        assert speed[5:18].max() < 2.5 * np.abs(np.diff(b["landmarks"], axis=0)).max()  # nothing jumps
    (strip,) = pictures(parlando)
    assert strip["parlando_take"] == "Kennedy_003" and strip["parlando_before"] == "Kennedy_001"
    bpy.ops.parlando.compare_take()
    assert strip["parlando_take"] == "Kennedy_001"
    bpy.ops.parlando.use_take(take="Kennedy_002")
    assert parlando.generate.use_take(scene, "Kennedy_002").endswith(
        "11 frames at pins are not as in its picture: Render Edits renders them."
    )
