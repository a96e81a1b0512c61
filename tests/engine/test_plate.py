"""Moving plates: a film whose mouth says something else, through real video files."""

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.face.mesh import IBUG
from engine.face.track import frames_at, track
from engine.job import Engine, is_film
from engine.plate import Moving, Plate, gaps
from engine.render.film_mouth import NEAREST, FilmMouth, medoids
from engine.render.pattern import FINE, SIZE
from engine.render.plate import PlateRenderer, matched
from engine.render.renderer import Renderer
from engine.request import DubRequest, FrameRequest, RenderRequest, RestyleRequest
from engine.take import Landmarks, read_frame

FPS = Fraction(25)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu")


@pytest.fixture(scope="module")
def film(engine: Engine, words: Path, portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.5 s of a head that moves and speaks, 38 frames."""
    folder = tmp_path_factory.mktemp("film")
    engine.dub(DubRequest(words, portrait, folder / "take", fps=FPS, side=320))
    shutil.copy(folder / "take" / "preview.mp4", folder / "film.mp4")
    return folder / "film.mp4"


@pytest.fixture(scope="module")
def take(engine: Engine, film: Path, silence: Path) -> Path:
    """Its mouth shut: the first second of it, heard as silence."""
    engine.dub(DubRequest(silence, film, film.parent / "shut", fps=FPS))
    return film.parent / "shut"


def frames_of(take: Path) -> list[np.ndarray]:
    return [read_frame(path) for path in sorted((take / "frames").glob("*"))]


def test_only_the_mouth_says_something_else(take: Path, film: Path) -> None:
    made, plate = Landmarks.load(take / "landmarks.npz"), Plate.load(take / "plate.npz", film)
    assert made.landmarks.shape == (25, 68, 3) and made.size == plate.size == (320, 320)
    assert np.abs((made.landmarks - plate.landmarks)[:, 17:48]).max() < 1e-3
    shown, own = frames_of(take), frames_at(film, list(range(25)))
    differ = np.stack([np.abs(a.astype(int) - b).max(2) for a, b in zip(shown, own, strict=True)])
    eyes, (x, y) = int(plate.landmarks[:, 36:48, 1].max()), plate.landmarks[:, 60:68, :2].mean((0, 1)).astype(int)
    assert differ[:, :eyes].max() <= 1 and differ[:, :eyes].mean() < 1e-4 and not differ[:, :20].any()
    assert differ[:, y - 3 : y + 3, x].max() > 40
    # What the tracker sees in the pictures made: lips that hardly part, where the film's do.
    seen, before = (gaps(track(path).landmarks[:25]) for path in (take / "preview.mp4", film))
    assert np.percentile(before, 90) > 0.08 and np.percentile(seen, 90) < 0.35 * np.percentile(before, 90)


def test_frames_follow_the_film_in_time(film: Path) -> None:
    """Whatever the take's frame rate, wherever it begins, and where the film is too short."""
    times = np.arange(10) / 12
    assert Plate.of(film, 0.0, times).numbers.tolist() == [0, 2, 4, 6, 8, 10, 13, 15, 17, 19]
    later = Plate.of(film, 0.4, np.arange(10) / 25)
    assert later.numbers.tolist() == list(range(10)) and not later.ends_before(9 / 25)
    assert np.array_equal(later.frame(0), frames_at(film, [10])[0])
    early = Plate.of(film, -0.2, np.arange(10) / 25)
    assert not early.ends_before(9 / 25)
    assert early.numbers.tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
    short = Plate.of(film, 1.2, np.arange(20) / 25)
    assert short.numbers.tolist() == [*range(8), *[7] * 12] and short.ends_before(19 / 25)
    with pytest.raises(InputError, match=r"film\.mp4 has no picture from 9\.0 s"):
        Plate.of(film, 9.0, times)


def test_what_lies_far_ahead_is_looked_for_there(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.plate.SKIPPED", 3)
    plate = Plate.of(film, 0.2, np.arange(33) / 25)
    moving = Moving(plate, Renderer(plate.picture(), plate.face, torch.device("cpu")), 1)
    own = frames_at(film, list(range(38)))
    for number in (0, 2, 9, 10, 8, 21, 32, 3):
        assert np.array_equal(moving._frame(number), own[5 + number]), number


def test_edits_render_what_changed(engine: Engine, take: Path, film: Path, tmp_path: Path) -> None:
    made = Landmarks.load(take / "landmarks.npz")
    made.landmarks[7:10, [57, 66, 8], 1] += 6.0
    made.save(tmp_path / "edited.npz")
    request = RenderRequest(tmp_path / "edited.npz", film, tmp_path / "take", take=take, preview=False)
    result = engine.render(request)
    assert (result.rendered, result.reused) == (3, 22)
    before, after = frames_of(take), frames_of(tmp_path / "take")
    assert [k for k in range(25) if not np.array_equal(before[k], after[k])] == [7, 8, 9]
    # The live picture is the very frame.
    asked = FrameRequest(made.landmarks[8].tolist(), film, tmp_path / "live.png", take=take, number=8)
    engine.frame(asked)
    assert np.array_equal(read_frame(tmp_path / "live.png"), after[8])
    smaller = FrameRequest(made.landmarks[8].tolist(), film, tmp_path / "small.png", take=take, number=8, side=160)
    assert engine.frame(smaller)["size"] == [160, 160]
    # A take of the edits is edited on.
    made.landmarks[3, 51, 1] -= 4.0
    made.save(tmp_path / "again.npz")
    again = RenderRequest(tmp_path / "again.npz", film, tmp_path / "more", take=tmp_path / "take", preview=False)
    assert engine.render(again).rendered == 1


def test_a_frame_left_as_the_film_has_it_is_the_films(engine: Engine, take: Path, film: Path, tmp_path: Path) -> None:
    made, plate = Landmarks.load(take / "landmarks.npz"), Plate.load(take / "plate.npz", film)
    made.landmarks[4] = plate.landmarks[4]
    made.save(tmp_path / "edited.npz")
    engine.render(RenderRequest(tmp_path / "edited.npz", film, tmp_path / "take", take=take, preview=False))
    assert np.array_equal(frames_of(tmp_path / "take")[4], frames_at(film, [4])[0])


def test_lids_of_a_film_can_be_shut(engine: Engine, take: Path, film: Path, tmp_path: Path) -> None:
    points = Landmarks.load(take / "landmarks.npz").landmarks[0]
    shut = points.copy()
    shut[[37, 38, 43, 44]] = shut[[41, 40, 47, 46]]
    pictures = []
    for name, landmarks in (("open", points), ("shut", shut)):
        engine.frame(FrameRequest(landmarks.tolist(), film, tmp_path / f"{name}.png", take=take, number=0))
        pictures.append(read_frame(tmp_path / f"{name}.png").astype(int))
    y = int(points[36:48, 1].mean())
    eyes = np.s_[y - 8 : y + 8, int(points[36, 0]) : int(points[45, 0])]
    assert np.abs(pictures[0] - pictures[1])[eyes].max() > 60
    assert np.abs(pictures[0] - pictures[1])[:40].max() == 0


def test_where_the_face_is_not_seen_the_film_stays(engine: Engine, film: Path, words: Path, tmp_path: Path) -> None:
    frames = frames_at(film, list(range(20)))
    frames[8:14] = [np.full_like(frames[0], 90)] * 6
    with av.open(str(tmp_path / "gap.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.bit_rate = *frames[0].shape[:2], 6_000_000
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    notes: list[str] = []
    gap = tmp_path / "gap.mp4"
    engine.dub(DubRequest(words, gap, tmp_path / "take", fps=FPS, frames=20, preview=False), note=notes.append)
    assert notes == ["6 frames of gap.mp4 show no face: they stay as they are."]
    shown, own = frames_of(tmp_path / "take"), frames_at(gap, list(range(20)))
    same = [np.array_equal(a, b) for a, b in zip(shown, own, strict=True)]
    assert all(same[8:14]) and not any(same[2:8])


def test_resumed(engine: Engine, take: Path, film: Path, silence: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(take, copy)
    for number in (3, 11):
        (copy / "frames" / f"{number:06d}.png").unlink()
    result = engine.dub(DubRequest(silence, film, copy, fps=FPS))
    assert (result.rendered, result.reused) == (2, 23)
    assert all(np.array_equal(a, b) for a, b in zip(frames_of(take), frames_of(copy), strict=True))


def test_restyled(engine: Engine, film: Path, words: Path, tmp_path: Path) -> None:
    engine.dub(DubRequest(words, film, tmp_path / "take", fps=FPS, preview=False, side=160))
    engine.restyle(RestyleRequest(tmp_path / "take", tmp_path / "lively.npz", Path("lively")))
    lively, was = (
        Landmarks.load(file).landmarks for file in (tmp_path / "lively.npz", tmp_path / "take/landmarks.npz")
    )
    assert np.abs((lively - was)[:, 17:48]).max() < 1e-3 and np.abs((lively - was)[:, 48:]).max() > 0.2


def test_formats_and_mattes(engine: Engine, film: Path, words: Path, tmp_path: Path) -> None:
    request = DubRequest(words, film, tmp_path / "take", fps=FPS, frames=3, preview=False, format="png16", mattes=True)
    engine.dub(request)
    eight = DubRequest(words, film, tmp_path / "eight", fps=FPS, frames=3, preview=False)
    engine.dub(eight)
    for sixteen, plain in zip(frames_of(tmp_path / "take"), frames_of(tmp_path / "eight"), strict=True):
        assert np.abs(sixteen.astype(int) - plain).max() <= 2
    matte = cv2.imread(str(tmp_path / "take" / "mattes" / "face" / "000002.png"), cv2.IMREAD_UNCHANGED)
    points = Plate.load(tmp_path / "take" / "plate.npz", film).landmarks[1]
    x, y = points[30, :2].astype(int)
    assert matte.dtype == np.uint16 and matte[y, x] > 65000 and matte[5, 5] == 0


def test_what_cannot_be(engine: Engine, take: Path, film: Path, words: Path, tmp_path: Path) -> None:
    landmarks = take / "landmarks.npz"
    points = Landmarks.load(landmarks).landmarks[0].tolist()
    with pytest.raises(InputError, match="is a film: name the take"):
        engine.render(RenderRequest(landmarks, film, tmp_path / "a"))
    with pytest.raises(InputError, match="Points are placed by hand on pictures"):
        engine.dub(DubRequest(words, film, tmp_path / "b", points=points))
    with pytest.raises(InputError, match="is a film: say which of its take's frames"):
        engine.frame(FrameRequest(points, film, tmp_path / "c.png", take=take))
    with pytest.raises(InputError, match="has 25 frames, number 25 is asked for"):
        engine.frame(FrameRequest(points, film, tmp_path / "c.png", take=take, number=25))
    other = tmp_path / "other.mp4"
    other.write_bytes(film.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"other\.mp4 is not the film"):
        engine.render(RenderRequest(landmarks, other, tmp_path / "d", take=take))
    broken = tmp_path / "broken"
    shutil.copytree(take, broken)
    (broken / "plate.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"plate\.npz is damaged"):
        engine.render(RenderRequest(landmarks, film, tmp_path / "e", take=broken))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "other.mp4"]


def test_what_is_a_film(film: Path, portrait: Path, tmp_path: Path) -> None:
    """A picture is one whatever it is called; a file that is neither is told as the film it might have been."""
    shutil.copy(portrait, tmp_path / "portrait")
    cv2.imwrite(str(tmp_path / "light.hdr"), np.full((8, 8, 3), 0.5, np.float32))
    (tmp_path / "text.txt").write_text("no film at all\n" * 50)
    assert is_film(film) and is_film(tmp_path / "text.txt")
    assert not any(is_film(path) for path in (portrait, tmp_path / "portrait", tmp_path / "light.hdr", tmp_path))
    assert not is_film(tmp_path / "none.mp4")
    frames = frames_at(film, [0, 1, 2])
    with av.open(str(tmp_path / "old.mpg"), "w") as out:
        stream = out.add_stream("mpeg2video", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    assert is_film(tmp_path / "old.mpg")


def test_colours_are_matched_where_both_show_the_same() -> None:
    rng = np.random.default_rng(0)
    laid = rng.uniform(80, 120, (60, 80, 3)).astype(np.float32)
    ramp = np.linspace(0.8, 1.2, 80, dtype=np.float32)[None, :, None]
    where = np.ones((60, 80), bool)
    where[20:40, 20:60] = False
    frame = laid * ramp
    frame[20:40, 20:60] = 255  # what is not compared does not count
    gain = matched(laid, frame, where, 8.0)
    assert np.abs(gain - ramp)[5:-5, 5:-5].max() < 0.08 and np.abs(matched(laid, laid, where, 8.0) - 1).max() < 1e-3


def test_the_reference_is_a_closed_mouth(film: Path) -> None:
    plate = Plate.of(film, 0.0, np.arange(38) / 25)
    every = gaps(plate.meshes[:, IBUG])
    assert every[plate.reference] <= max(0.01, float(np.percentile(every, 10)))
    assert gaps(plate.closed).max() <= np.percentile(every, 15)


def between_lips(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The pixels (n, 3) well between the inner lips."""
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points[60:68, :2]).astype(np.int32)], 1)
    return rgb[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0].astype(float)


def test_an_open_mouth_is_the_films_own(film: Path) -> None:
    """What its other frames show between the lips comes to be seen there; lips and skin do not change their colour."""
    plate = Plate.of(film, 0.0, np.arange(38) / 25).with_mouths()
    points = plate.meshes[:, IBUG]
    assert len(plate.mouths) == len(plate.showing) <= 38 and (np.diff(plate.showing) > 0).all()
    widest = int(np.argmax(gaps(points)))
    reference = Renderer(plate.picture(), plate.face, torch.device("cpu"))
    green = []
    for mouth in plate.mouths:
        pixels = mouth.pixels.copy()
        cv2.fillPoly(pixels, [np.round(mouth.landmarks[60:68]).astype(np.int32)], (0, 200, 0))
        green.append(replace(mouth, pixels=pixels))
    rgb, mesh = plate.frame(widest), plate.meshes[widest]
    nudged = points[widest] + np.float32(0.05)
    made, marked, plain = (
        PlateRenderer(reference, mouths).render(rgb, mesh, nudged) for mouths in (plate.mouths, green, ())
    )
    greener = [float(np.diff(between_lips(one, points[widest]).mean(0))[0]) for one in (marked, plain)]
    assert greener[0] > 100 and greener[1] < 20, greener
    away = np.abs(made.astype(int) - marked).max(2)
    lip = points[widest, [57, 8], :2].mean(0).astype(int)
    assert away[lip[1], lip[0]] <= 2 and away[:, : int(points[widest, 48, 0]) - 12].max() <= 2
    truth = between_lips(rgb, points[widest])
    errors = [np.abs(between_lips(one, points[widest]) - truth).mean() for one in (made, plain)]
    assert errors[0] < 0.7 * errors[1], errors


def test_a_film_that_never_opens_its_mouth_has_a_made_one(take: Path) -> None:
    plate = Plate.of(take / "preview.mp4", 0.0, np.arange(25) / 25).with_mouths()
    reference = Renderer(plate.picture(), plate.face, torch.device("cpu"))
    opened = plate.meshes[4][IBUG].copy()
    unit = float(np.linalg.norm(opened[45] - opened[36]))
    opened[[*range(55, 60), 65, 66, 67, *range(5, 12)], 1] += 0.3 * unit
    rgb, mesh = plate.frame(4), plate.meshes[4]
    made, plain = (PlateRenderer(reference, mouths).render(rgb, mesh, opened) for mouths in (plate.mouths, ()))
    differ = np.abs(between_lips(made, opened) - between_lips(plain, opened)).mean()
    assert differ < 8 and between_lips(made, opened).std() > 20, differ


def test_shares_go_smoothly(film: Path) -> None:
    """However a mouth is moved, a mouth of the film comes and goes by small steps."""
    plate = Plate.of(film, 0.0, np.arange(38) / 25).with_mouths()
    mouth = FilmMouth(plate.mouths, np.full(3, 128.0))
    ends = plate.mouths[3].in_square, plate.mouths[-5].in_square

    def along(at: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(at), len(plate.mouths)))
        for row, share in zip(rows, at, strict=True):
            which, shares = mouth.chosen((1 - share) * ends[0] + share * ends[1])
            assert len(which) == NEAREST and shares.min() >= 0
            row[which] = shares
        assert np.allclose(rows.sum(1), 1)
        return rows

    ways = np.linspace(0, 1, 401)
    steps = np.abs(np.diff(along(ways), axis=0)).max(1)
    steepest = int(np.argmax(steps))
    closer = np.abs(np.diff(along(np.linspace(ways[steepest], ways[steepest + 1], 101)), axis=0)).max()
    assert 0.02 < steps[steepest] < 0.3 and closer < 0.1 * steps[steepest]
    assert mouth.chosen(ends[0])[0][0] == 3
    few = FilmMouth(plate.mouths[:2], np.full(3, 128.0))
    assert len(few.chosen(ends[0])[0]) == 2
    same = FilmMouth([plate.mouths[3]] * 5, np.full(3, 128.0))
    assert np.allclose(same.chosen(ends[0])[1], 1 / NEAREST)
    assert mouth.patterns.draw(ends[0], SIZE, [3, 7]).shape == (2, SIZE, SIZE, 4) and FINE == 2 * SIZE


def test_few_stand_for_all() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [5, 0], [0, 5]])
    values = np.concatenate([centre + 0.1 * rng.normal(size=(20, 2)) for centre in centres])
    assert sorted(medoids(values, 3) // 20) == [0, 1, 2]
    assert medoids(values, 100).tolist() == list(range(60)) and medoids(np.zeros((5, 2)), 3).tolist() == [0]


def test_takes_from_before_films_kept_their_mouths(take: Path, film: Path, tmp_path: Path) -> None:
    with np.load(take / "plate.npz") as file:
        old = {name: file[name] for name in file.files if name not in ("mouths", "mouth_points", "showing")}
    np.savez(tmp_path / "plate.npz", **old)
    plate = Plate.load(tmp_path / "plate.npz", film)
    assert not plate.mouths and len(Plate.load(take / "plate.npz", film).mouths) > 10


def test_teeth_stay_whole_in_a_mouth_alike(film: Path) -> None:
    """A mouth of the film at its own landmarks is itself, also between the lips, and bends smoothly to others."""
    plate = Plate.of(film, 0.0, np.arange(38) / 25).with_mouths()
    which = int(np.argmax([mouth.opening for mouth in plate.mouths]))
    wide = plate.mouths[which]
    patterns = FilmMouth(plate.mouths, wide.skin).patterns
    at = wide.in_square
    own = patterns.draw(at, FINE, [which])[0, ..., :3].astype(int)
    middle = np.s_[20:-20, 20:-20]
    assert np.abs(own - patterns.colours[which])[middle].max() <= 3
    lines = cv2.cvtColor(patterns.draw(at + [0, 0.5], FINE, [which])[0, ..., :3], cv2.COLOR_RGB2GRAY).astype(int)
    before = cv2.cvtColor(own.astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(int)
    assert np.abs(lines[1:] - before[:-1])[middle].mean() < 1.5  # moved by one px, nothing else


def test_a_large_films_mouth_stays_sharp(film: Path, tmp_path: Path) -> None:
    """A close-up's mouth has the size that it has there."""
    near = [frame[10:170, 60:220] for frame in frames_at(film, [*range(12)])]
    frames = [cv2.resize(frame, (1536, 1536), interpolation=cv2.INTER_CUBIC) for frame in near]
    rng = np.random.default_rng(0)
    grain = rng.integers(-25, 26, frames[0].shape)
    with av.open(str(tmp_path / "large.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.bit_rate = 1536, 1536, 200_000_000
        for pixels in frames:
            coarse = np.clip(pixels.astype(int) + grain, 0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(coarse, format="rgb24")))
        out.mux(stream.encode())
    plate = Plate.of(tmp_path / "large.mp4", 0.0, np.arange(12) / 25).with_mouths()
    assert len(plate.mouths[0].pixels) == 2 * FINE
    widest = int(np.argmax(gaps(plate.meshes[:, IBUG])))
    rgb, mesh = plate.frame(widest), plate.meshes[widest]
    reference = Renderer(plate.picture(), plate.face, torch.device("cpu"))
    made = PlateRenderer(reference, plate.mouths).render(rgb, mesh, mesh[IBUG] + np.float32(0.1))
    x, y = mesh[IBUG][[51, 57], :2].mean(0).astype(int)
    lips = np.s_[y - 40 : y + 40, x - 40 : x + 40, 1]
    steep = [np.hypot(*np.gradient(one[lips].astype(float))).mean() for one in (made, rgb)]
    assert steep[0] > 0.4 * steep[1], steep
    plate.save(tmp_path / "plate.npz")
    assert len(Plate.load(tmp_path / "plate.npz", tmp_path / "large.mp4").mouths[0].pixels) == 2 * FINE


def test_mouths_that_leave_the_picture_are_not_shown(film: Path) -> None:
    plate = Plate.of(film, 0.0, np.arange(38) / 25)
    meshes = plate.meshes.copy()
    meshes[5:10, :, 0] -= meshes[:, IBUG[48], 0].mean()
    assert not set(range(5, 10)) & set(replace(plate, meshes=meshes).with_mouths().showing.tolist())
    assert not replace(plate, meshes=plate.meshes + 1000).with_mouths().mouths
