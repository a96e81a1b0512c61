"""The renderer: pixels go where landmarks say, nothing else changes, and what must be hidden is hidden.

Colours no face has are painted on the portrait, so that a pixel of lip, tooth or eyeball is known wherever it turns up.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.face import find, image
from engine.render import split, texture
from engine.render.patch import Slit, covered
from engine.render.renderer import Renderer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CPU = torch.device("cpu")
GREEN, BLUE = (0, 255, 0), (0, 0, 255)
JAW = dict(zip(range(17), np.sin(np.linspace(0, np.pi, 17)) ** 3 * 0.85, strict=True))
LOWER_LIP = {48: 0.3, 54: 0.3, 60: 0.3, 64: 0.3, 55: 0.6, 56: 0.95, 57: 1, 58: 0.95, 59: 0.6, 65: 0.9, 66: 1, 67: 0.9}
PAIRS = ((61, 67), (62, 66), (63, 65))
LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))


@pytest.fixture(scope="module")
def picture(portrait: Path) -> image.Picture:
    return image.load(portrait)


@pytest.fixture(scope="module")
def face(picture: image.Picture) -> find.Face:
    return find.find(picture)


def rough_matte(rgb: np.ndarray) -> np.ndarray:
    """The astronaut's head and shoulders by two ellipses: a matte wrong by many pixels."""
    matte = np.zeros(rgb.shape[:2], np.float32)
    for middle, axes in (((227, 100), (75, 88)), ((190, 420), (180, 250))):
        cv2.ellipse(matte, middle, axes, 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(matte, (0, 0), 2)


@pytest.fixture(scope="module", params=["own matte", "rough matte", "no matte"])
def renderer(request: pytest.FixtureRequest, picture: image.Picture, face: find.Face) -> Renderer:
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "own matte":
            matte = rough_matte if request.param == "rough matte" else lambda rgb: np.zeros(rgb.shape[:2], np.float32)
            patch.setattr("engine.render.renderer.person_matte", matte)
        return Renderer(picture, face, CPU)


def unit(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[45] - points[36]))


def closed(points: np.ndarray) -> np.ndarray:
    """Lips brought together."""
    out = points.astype(np.float64)
    for upper, lower in PAIRS:
        gap = points[lower] - points[upper]
        out[upper] += 0.35 * gap
        out[lower] = out[upper]
    return out.astype(np.float32)


def opened(points: np.ndarray, by: float) -> np.ndarray:
    """The jaw lowered by `by` units from closed lips."""
    out = closed(points)
    for moved in (JAW, LOWER_LIP):
        for k, share in moved.items():
            out[k, 1] += by * unit(points) * share
    return out


def blinked(points: np.ndarray, share: float) -> np.ndarray:
    """Upper lids lowered by `share` of the way to the lower."""
    out = points.copy()
    for upper, lower in LIDS:
        out[upper] += share * (points[lower] - points[upper])
    return out


def turned(points: np.ndarray, pitch: float = 0, yaw: float = 0, roll: float = 0) -> np.ndarray:
    """The head turned by degrees about its neck."""
    turn = cv2.Rodrigues(np.radians(np.array([pitch, yaw, roll], np.float64)))[0]
    pivot = points[8] + np.array([0, 0.2, -1]) * unit(points)
    return ((points - pivot) @ turn.T + pivot).astype(np.float32)


def painted(picture: image.Picture, polygons: list[np.ndarray], color: tuple[int, int, int]) -> image.Picture:
    rgb = picture.rgb.copy()
    for polygon in polygons:
        cv2.fillPoly(rgb, [np.round(polygon[:, :2]).astype(np.int32)], color)
    return replace(picture, rgb=rgb)


def strength(frame: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(H, W): how much more of the colour's channel than of the others, in levels; skin, lips and teeth have none."""
    channel = int(np.argmax(color))
    others = np.delete(frame[..., :3], channel, axis=2).max(axis=2)
    return np.maximum(frame[..., channel].astype(int) - others, 0)


def spot(frame: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(2,) px: where the middle of the painted colour is."""
    weight = np.maximum(strength(frame, color) - 60, 0)
    rows, columns = np.mgrid[: len(frame), : frame.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def test_source_landmarks_give_the_source(renderer: Renderer, picture: image.Picture, face: find.Face) -> None:
    assert np.array_equal(renderer.render(face.landmarks), picture.rgb)
    moved = renderer.render(face.landmarks + np.float32([0.5, 0, 0]))
    assert not np.array_equal(moved, picture.rgb), "the comparison must be able to fail"


def test_frame_is_a_function_of_landmarks_alone(renderer: Renderer, face: find.Face) -> None:
    one, other = turned(opened(face.landmarks, 0.2), yaw=5), blinked(face.landmarks, 0.7)
    first = renderer.render(one)
    second = renderer.render(other)
    assert np.array_equal(renderer.render(one), first)
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        assert np.array_equal(renderer.render(other), second)
    finally:
        cv2.setNumThreads(threads)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    "turn", [(12, 0, 0), (-12, 0, 0), (0, 12, 0), (0, -12, 0), (0, 0, 12), (0, 0, -12), (6, 7, -6)]
)
def test_background_stays(renderer: Renderer, picture: image.Picture, face: find.Face, turn: tuple) -> None:
    frame = renderer.render(turned(opened(face.landmarks, 0.3), *turn))
    still = renderer.moving_region == 0
    assert np.array_equal(frame[still], picture.rgb[still])
    assert not np.array_equal(frame, picture.rgb)
    assert still.mean() > 0.6


def test_what_moves_lands_where_the_landmarks_say(picture: image.Picture, face: find.Face) -> None:
    target = turned(opened(face.landmarks, 0.25), yaw=8, roll=-6)
    for k in (8, 30, 33, 19, 57):
        around = face.landmarks[k, :2] + 2.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        frame = Renderer(painted(picture, [around], GREEN), face, CPU).render(target)
        assert np.linalg.norm(spot(frame, GREEN) - target[k, :2]) < 1.5, f"landmark {k}"


def test_shut_lids_hide_the_eye(picture: image.Picture, face: find.Face) -> None:
    eyes = [face.landmarks[36:42], face.landmarks[42:48]]
    renderer = Renderer(painted(picture, eyes, GREEN), face, CPU)
    seen = [int((strength(renderer.render(blinked(face.landmarks, share)), GREEN) > 25).sum()) for share in (0, 0.5, 1)]
    assert seen[0] > 60
    assert 0.15 * seen[0] < seen[1] < 0.8 * seen[0]
    assert seen[2] == 0


def test_eyeball_stays_while_the_lid_comes_down(picture: image.Picture, face: find.Face) -> None:
    middle = face.mesh[468, :2] + [0, 1]
    renderer = Renderer(painted(picture, [middle + np.array([[-1, 0], [1, 0], [1, 2], [-1, 2]])], GREEN), face, CPU)
    before = spot(renderer.render(face.landmarks), GREEN)
    after = spot(renderer.render(blinked(face.landmarks, 0.3)), GREEN)
    assert np.linalg.norm(after - before) < 0.5


def test_brow_stays_while_the_lid_comes_down(picture: image.Picture, face: find.Face) -> None:
    """It lies so near the lid that lids once drew it along, by a third of their way."""
    for brow, lid, under in ((19, 37, 41), (24, 44, 46)):
        edge = face.landmarks[brow, :2] + [0, 0.05 * unit(face.landmarks)]
        around = edge + 1.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        renderer = Renderer(painted(picture, [around], GREEN), face, CPU)
        moved = spot(renderer.render(blinked(face.landmarks, 1)), GREEN) - spot(renderer.render(face.landmarks), GREEN)
        came_down = face.landmarks[under, 1] - face.landmarks[lid, 1]
        assert abs(moved[1]) < 0.1 * came_down


def test_closed_lips_show_no_tooth(picture: image.Picture, face: find.Face) -> None:
    renderer = Renderer(painted(picture, [face.landmarks[60:68]], GREEN), face, CPU)
    assert (strength(renderer.render(face.landmarks), GREEN) > 60).sum() > 60
    assert (strength(renderer.render(closed(face.landmarks)), GREEN) > 25).sum() == 0


def test_open_mouth_is_no_stretched_lip(picture: image.Picture, face: find.Face) -> None:
    upper = [48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60]
    lower = [48, 59, 58, 57, 56, 55, 54, 64, 65, 66, 67, 60]
    renderer = Renderer(painted(picture, [face.landmarks[upper], face.landmarks[lower]], BLUE), face, CPU)
    target = opened(face.landmarks, 0.35)
    blue = strength(renderer.render(target), BLUE) > 60
    hole = np.zeros(blue.shape, np.uint8)
    cv2.fillPoly(hole, [np.round(target[60:68, :2]).astype(np.int32)], 1)
    inside = cv2.erode(hole, np.ones((5, 5), np.uint8)) > 0
    assert inside.sum() > 100
    assert blue[inside].mean() < 0.02, "not none: the portrait's own teeth were painted at their rim"
    meeting = strength(renderer.render(closed(face.landmarks)), BLUE)[
        tuple(closed(face.landmarks)[62, 1::-1].astype(int))
    ]
    assert meeting > 60, "closed lips are blue in the same picture"
    before = (strength(renderer.render(face.landmarks), BLUE) > 60).sum()
    assert 0.6 * before < blue.sum() < 1.7 * before, "lips keep their size"


def test_open_mouth_shows_its_inside(renderer: Renderer, face: find.Face) -> None:
    shut, wide = renderer.render(closed(face.landmarks)), renderer.render(opened(face.landmarks, 0.35))
    middle = opened(face.landmarks, 0.35)[[62, 66], :2].mean(axis=0).round().astype(int)
    box = np.s_[middle[1] - 2 : middle[1] + 3, middle[0] - 4 : middle[0] + 5]
    assert wide[box].mean() < 0.6 * shut[box].mean(), "a cavity is darker than skin"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_landmarks_are_told(renderer: Renderer, face: find.Face, bad: float) -> None:
    broken = face.landmarks.copy()
    broken[51, 1] = bad
    with pytest.raises(InputError, match="Landmark 51"):
        renderer.render(broken)
    with pytest.raises(InputError, match="shape"):
        renderer.render(face.landmarks[:67])


@pytest.mark.parametrize("k", [8, 19, 30, 37, 48, 57, 66])
def test_a_landmark_dragged_far_stays_local(renderer: Renderer, face: find.Face, k: int) -> None:
    rest = closed(face.landmarks)
    dragged = rest.copy()
    dragged[k, :2] += 40 * unit(rest)
    changed = np.abs(renderer.render(dragged).astype(int) - renderer.render(rest)).max(axis=2) > 12
    rows, columns = np.nonzero(changed)
    assert len(rows), "it does move something"
    assert np.hypot(columns - rest[k, 0], rows - rest[k, 1]).max() < 1.3 * unit(rest)


def test_fingerprint_names_what_frames_depend_on(picture: image.Picture, face: find.Face) -> None:
    same = Renderer(picture, face, CPU).fingerprint
    assert same == Renderer(picture, face, CPU).fingerprint
    assert Renderer(replace(picture, sha256="0" * 64), face, CPU).fingerprint != same
    nudged = replace(face, landmarks=face.landmarks + np.float32(0.01))
    assert Renderer(picture, nudged, CPU).fingerprint != same


def test_cut_out_keeps_its_alpha(picture: image.Picture, face: find.Face) -> None:
    alpha = np.zeros(picture.rgb.shape[:2], np.uint8)
    cv2.ellipse(alpha, tuple(face.landmarks[30, :2].astype(int).tolist()), (80, 110), 0, 0, 360, 255, -1)
    alpha[face.landmarks[8, 1].astype(int) :, 60:380] = 255
    renderer = Renderer(replace(picture, alpha=alpha), face, CPU)
    same = renderer.render(face.landmarks)
    assert np.array_equal(same[..., 3], alpha) and np.array_equal(same[..., :3], picture.rgb)
    moved = renderer.render(turned(face.landmarks, roll=10))
    assert moved.shape == (*alpha.shape, 4)
    assert (np.abs(moved[..., 3].astype(int) - alpha) > 128).sum() > 500, "the cut-out turns with the head"
    still = renderer.moving_region == 0
    assert np.array_equal(moved[still], same[still])


def test_opaque_alpha_stays_opaque(picture: image.Picture, face: find.Face) -> None:
    alpha = np.full(picture.rgb.shape[:2], 255, np.uint8)
    renderer = Renderer(replace(picture, alpha=alpha), face, CPU)
    assert (renderer.render(turned(face.landmarks, yaw=10))[..., 3] == 255).all()


def at_scale(picture: image.Picture, face: find.Face, scale: float) -> tuple[image.Picture, find.Face]:
    """The same portrait with another number of pixels."""
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    rgb = cv2.resize(picture.rgb, None, fx=scale, fy=scale, interpolation=kind)
    shift = np.float32([0.5, 0.5, 0])
    points, mesh = ((values + shift) * np.float32(scale) - shift for values in (face.landmarks, face.mesh))
    return replace(picture, rgb=rgb), replace(face, landmarks=points, mesh=mesh)


@pytest.mark.parametrize("scale", [0.45, 2.0])
def test_any_size(picture: image.Picture, face: find.Face, scale: float) -> None:
    scaled, same = at_scale(picture, face, scale)
    renderer = Renderer(scaled, same, CPU)
    assert np.array_equal(renderer.render(same.landmarks), scaled.rgb)
    assert renderer.render(turned(opened(same.landmarks, 0.3), 5, 10, 5)).shape == scaled.rgb.shape


@pytest.mark.parametrize("edge", ["left", "top", "right", "bottom"])
def test_face_at_the_border(picture: image.Picture, face: find.Face, edge: str) -> None:
    low, high = face.landmarks[:, :2].min(axis=0).astype(int), face.landmarks[:, :2].max(axis=0).astype(int)
    x0, y0 = (low[0] + 3 if edge == "left" else 0), (low[1] + 3 if edge == "top" else 0)
    x1, y1 = (high[0] - 3 if edge == "right" else 512), (high[1] - 3 if edge == "bottom" else 512)
    shift = np.float32([x0, y0, 0])
    cropped = replace(picture, rgb=np.ascontiguousarray(picture.rgb[y0:y1, x0:x1]))
    moved = replace(face, landmarks=face.landmarks - shift, mesh=face.mesh - shift)
    renderer = Renderer(cropped, moved, CPU)
    assert np.array_equal(renderer.render(moved.landmarks), cropped.rgb)
    frame = renderer.render(turned(opened(moved.landmarks, 0.3), 8, -10, 8))
    assert frame.shape == cropped.rgb.shape


def test_a_picture_may_end_within_an_eye_but_not_within_the_mouth(picture: image.Picture, face: find.Face) -> None:
    middle = int(face.landmarks[36, 0]) + 4
    half = replace(picture, rgb=np.ascontiguousarray(picture.rgb[:, middle:]))
    shift = np.float32([middle, 0, 0])
    moved = replace(face, landmarks=face.landmarks - shift, mesh=face.mesh - shift)
    renderer = Renderer(half, moved, CPU)
    assert np.array_equal(renderer.render(moved.landmarks), half.rgb)
    assert renderer.render(blinked(turned(moved.landmarks, yaw=8), 1)).shape == half.rgb.shape
    lips = int(face.landmarks[62, 1])
    with pytest.raises(InputError, match="mouth"):
        Renderer(replace(picture, rgb=np.ascontiguousarray(picture.rgb[:lips])), face, CPU)


def test_skin_stays_sharp(renderer: Renderer, picture: image.Picture, face: find.Face) -> None:
    low, high = face.landmarks[:, :2].min(axis=0).astype(int), face.landmarks[:, :2].max(axis=0).astype(int)

    def detail(rgb: np.ndarray) -> float:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[low[1] : high[1], low[0] : high[0]]
        return float(cv2.Laplacian(grey.astype(np.float32), cv2.CV_32F).var())

    frame = renderer.render(turned(face.landmarks, yaw=3))
    assert detail(frame) > 0.8 * detail(picture.rgb)
    assert detail(cv2.GaussianBlur(frame, (0, 0), 0.6)) < 0.6 * detail(picture.rgb), "a blur would be noticed"


def test_fast_enough(renderer: Renderer, face: find.Face) -> None:
    """Processor time against that of reading the picture once with OpenCV's longest kernel, of which a frame takes
    1.5 to 2.6 times, by the machine's caches: neither a busy nor a slow machine counts."""
    target = turned(blinked(opened(face.landmarks, 0.2), 0.4), 3, 5, 3)
    renderer.render(target)
    nodes = np.stack(np.meshgrid(np.arange(512), np.arange(512)), axis=-1).astype(np.float32) + np.float32(0.3)
    picture = np.resize(renderer.seen, (512, 512, 3))
    frames, readings = [], []
    for _ in range(9):
        start = time.process_time()
        renderer.render(target)
        between = time.process_time()
        cv2.remap(picture, nodes, None, cv2.INTER_LANCZOS4)
        frames.append(between - start)
        readings.append(time.process_time() - between)
    assert min(frames) < 4 * min(readings)


def test_split_adds_up_to_the_picture() -> None:
    random = np.random.default_rng(3)
    rgb = random.integers(0, 256, (90, 80, 3), dtype=np.uint8)
    matte = cv2.GaussianBlur((random.random((90, 80)) > 0.6).astype(np.float32), (0, 0), 6)
    matte = np.clip(6 * (matte - matte.mean()) + 0.4, 0, 1)
    nodes = np.stack(np.meshgrid(np.arange(80), np.arange(90)), axis=-1).astype(np.float32)
    whole = split.Split(rgb, matte, 30.0)
    assert np.array_equal(whole.warped(nodes)[0], rgb)
    assert not np.array_equal(whole.plate, rgb)


def test_texture_keeps_its_pixels_and_lies_between_them() -> None:
    ramp = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None], 12, axis=0)
    read = texture.Texture(ramp)
    nodes = np.stack(np.meshgrid(np.arange(20), np.arange(12)), axis=-1).astype(np.float32)
    assert np.array_equal(read.read(nodes), ramp)
    assert np.array_equal(read.read(nodes[:, 4:14] + np.float32([0.5, 0])), ramp[:, 4:14] + 5)


def test_shut_slit_covers_nothing() -> None:
    line = np.stack([np.linspace(10, 50, 9), np.full(9, 20.0)], axis=-1)
    nodes = np.stack(np.meshgrid(np.arange(60), np.arange(40)), axis=-1).astype(np.float32)
    assert covered(Slit.between(line, line).heights(nodes), 1.0).max() == 0
    parted = Slit.between(line, line + [0, 6]).heights(nodes)
    assert abs(covered(parted, 1.0)[:, 30].sum() - 6) < 0.01
    crossed = Slit.between(line + [0, 6], line).heights(nodes)
    assert covered(crossed, 1.0).max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wiki_021764", "wiki_022158", "wiki_029110"])
def test_portraits(name: str) -> None:
    path = DATA / "portraits" / f"{name}.jpg"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    portrait = image.load(path)
    found = find.find(portrait)
    renderer = Renderer(portrait, found, CPU)
    assert np.array_equal(renderer.render(found.landmarks), portrait.rgb)
    frame = renderer.render(turned(opened(found.landmarks, 0.25), yaw=10))
    still = renderer.moving_region == 0
    assert np.array_equal(frame[still], portrait.rgb[still])


def moved_by(before: np.ndarray, after: np.ndarray, box: tuple[slice, slice]) -> tuple[float, float]:
    """Pixels that a part of a picture went, x and y."""
    a, b = (cv2.cvtColor(np.ascontiguousarray(p[box]), cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (before, after))
    return cv2.phaseCorrelate(a, b, cv2.createHanningWindow(a.shape[::-1], cv2.CV_32F))[0]


def test_shoulders_follow_the_head_by_their_amount(picture: image.Picture, face: find.Face) -> None:
    target = face.landmarks.copy()
    target[:, 0] += 16
    chest, background, head = np.s_[240:340, 40:190], np.s_[:110, 350:], np.s_[60:130, 190:260]
    still, life, much = (Renderer(picture, face, CPU, shoulders=amount).render(target) for amount in (0.0, 1.0, 2.0))
    np.testing.assert_array_equal(still[chest], picture.rgb[chest])
    assert moved_by(picture.rgb, life, chest)[0] == pytest.approx(3.2, abs=0.8)
    assert moved_by(picture.rgb, much, chest)[0] == pytest.approx(6.4, abs=1.6)
    for frame in (life, much):
        np.testing.assert_array_equal(frame[background], picture.rgb[background])
        assert np.abs(frame[head].astype(int) - still[head]).max() <= 8
        np.testing.assert_array_equal(frame[-20:], picture.rgb[-20:])


def test_shoulders_of_a_drawing_stay(picture: image.Picture, face: find.Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells them from what is behind: that would bend with them."""
    monkeypatch.setattr("engine.render.renderer.person_matte", lambda rgb: np.zeros(rgb.shape[:2], np.float32))
    drawn, plain = (Renderer(picture, face, CPU, shoulders=amount) for amount in (1.0, 0.0))
    assert drawn.box == plain.box and drawn.fingerprint == plain.fingerprint
