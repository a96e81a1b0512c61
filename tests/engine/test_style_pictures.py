"""A style is made from a part of a clip, and the pictures beside it show the face in its reference frames."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engine.errors import Cancelled, InputError
from engine.face import find
from engine.face.track import frames_at, track
from engine.job import landmarks_of, style_of
from engine.style import file, pictures

COUNT, FPS = 20, 10


@pytest.fixture(scope="module")
def clip(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: the portrait moves to the right by 2 pixels a frame; a corner tells the frame's number."""
    rgb = cv2.imread(str(portrait))[:256, 100:356, ::-1]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"crf": "10", "g": "6"})
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for number in range(COUNT):
            frame = np.roll(rgb, 2 * number, 1).copy()
            frame[-32:, :32] = 10 * number
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    return path


def number_in(rgb: np.ndarray) -> int:
    return round(float(rgb[-24:-8, 8:24].mean()) / 10)


@pytest.mark.parametrize("name", ["film.mpg", "FILM.MPEG"])
def test_mpeg_films_are_no_pictures(portrait: Path, tmp_path: Path, name: str) -> None:
    rgb = cv2.imread(str(portrait))[:256, 100:356, ::-1]
    with av.open(str(tmp_path / name), "w", format="mpeg") as out:
        stream = out.add_stream("mpeg2video", rate=25)
        stream.width = stream.height = 256
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")))
        out.mux(stream.encode())
    assert len(landmarks_of(tmp_path / name).landmarks) == 5


def test_a_part_is_tracked_as_in_the_whole(clip: Path) -> None:
    whole, part = track(clip), track(clip, part=(0.8, 1.5))
    assert len(part.landmarks) == 7
    assert np.abs(part.landmarks[2:-2] - whole.landmarks[10:13]).max() < 1.0  # the frames around are smoothed in
    assert [number_in(rgb) for rgb in frames_at(clip, [3, 0, 6, 3], (0.8, 1.5))] == [11, 8, 14, 11]
    assert [number_in(rgb) for rgb in frames_at(clip, [19, 0])] == [19, 0]
    with pytest.raises(InputError, match=r"no picture from 7\.0 s to 8\.0 s"):
        track(clip, part=(7.0, 8.0))


def test_pictures_show_the_reference_frames(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "ann.safetensors"
    style_of(clip, "Ann ☺", out, span=(0.5, 1.5))
    written = pictures.write_pictures(clip, out, (0.5, 1.5))
    assert [path.name for path in written] == ["ann.none.png", "ann.m.png", "ann.r.png", "ann.o.png"]
    style = file.load(out)
    for path, number, points in zip(written, style.frames, style.references, strict=True):
        shown = cv2.imread(str(path))[..., ::-1]
        assert shown.shape == (256, 256, 3)
        (face,) = find.faces(np.ascontiguousarray(shown))
        wide = np.ptp(face.landmarks[:, 0])
        assert 100 < wide < 200 and np.abs(face.landmarks.mean(0)[:2] - 128).max() < 50
        (rgb,) = frames_at(clip, [int(number)], (0.5, 1.5))
        assert number_in(rgb) == 5 + number
        np.testing.assert_array_equal(shown, pictures.face_crop(rgb, points))
    assert len(list(tmp_path.iterdir())) == 5


def test_a_folder_of_pictures_tells_progress_and_can_be_cancelled(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, rgb in enumerate(frames_at(clip, [0, 6, 12])):
        cv2.imwrite(str(folder / f"{number}.png"), rgb[..., ::-1])
    told = []
    style_of(folder, "few", tmp_path / "few.safetensors", lambda *what: told.append(what))
    assert told == [("face", 0, 3), ("face", 1, 3), ("face", 2, 3)]
    assert all(path.exists() for path in pictures.write_pictures(folder, tmp_path / "few.safetensors"))

    def cancel(stage: str, done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        style_of(folder, "never", tmp_path / "never.safetensors", cancel)
    assert not (tmp_path / "never.safetensors").exists()
