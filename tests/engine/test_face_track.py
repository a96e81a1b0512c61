"""A face followed through real video files whose every frame's motion is known."""

import struct
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile

from engine.errors import Cancelled, InputError
from engine.face import find, image, track

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
EMPTY = np.full((256, 256, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def head(portrait: Path) -> np.ndarray:
    """256² around the astronaut's head."""
    return np.ascontiguousarray(image.load(portrait).rgb[10:266, 95:351])


def motion(frame: int) -> np.ndarray:
    """The affine of a frame: swaying, nodding and rolling some degrees within a second."""
    phase = frame / 25 * 2 * np.pi
    affine = cv2.getRotationMatrix2D((128, 120), 8 * np.sin(phase), 1 + 0.04 * np.sin(phase * 0.7))
    affine[:, 2] += 9 * np.sin(phase * 0.8), 5 * np.cos(phase)
    return affine


def moved(head: np.ndarray, frame: int) -> np.ndarray:
    return cv2.warpAffine(head, motion(frame), (256, 256), borderMode=cv2.BORDER_REPLICATE)


def write(path: Path, frames: list[np.ndarray], rate: Fraction = Fraction(25), times: list[int] | None = None) -> Path:
    """A video file; times in thousandths of a second where frames are not evenly spaced."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.bit_rate = 6_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def error(landmarks: np.ndarray, still: np.ndarray, affines: list[np.ndarray]) -> np.ndarray:
    """(T,) mean distance in pixels from where the motion puts the still picture's points."""
    wanted = np.stack([still[:, :2] @ affine[:, :2].T + affine[:, 2] for affine in affines])
    return np.linalg.norm(landmarks[..., :2] - wanted, axis=-1).mean(-1)


def test_follows_without_lag(tmp_path: Path, head: np.ndarray) -> None:
    count = 40
    path = write(tmp_path / "sway.mp4", [moved(head, k) for k in range(count)], Fraction(24000, 1001))
    steps: list[tuple[str, int, int]] = []
    start = time.process_time()
    tracked = track.track(path, lambda *step: steps.append(step), mesh=True)
    spent = (time.process_time() - start) / count
    assert tracked.fps == Fraction(24000, 1001) and tracked.size == (256, 256)
    assert tracked.landmarks.shape == (count, 68, 3) and tracked.landmarks.dtype == np.float32
    assert tracked.mesh is not None and tracked.mesh.shape == (count, 478, 3)
    assert tracked.found.all()
    assert steps[-1] == ("face", count, count)
    still = find.faces(head)[0].landmarks
    affines = [motion(k) for k in range(count)]
    here = error(tracked.landmarks, still, affines)
    assert here.mean() < 0.8 and here.max() < 2.5
    for shift in (-1, 1):
        beside = error(tracked.landmarks[2:-2], still, affines[2 + shift : count - 2 + shift])
        assert here[2:-2].mean() < 0.7 * beside.mean(), "neither late nor early"
    assert spent < 0.2, "a generous bound: machines differ"


def test_lost_and_found_again(tmp_path: Path, head: np.ndarray) -> None:
    frames = [moved(head, k) for k in range(30)]
    frames[10:16] = [EMPTY] * 6
    tracked = track.track(write(tmp_path / "gap.mp4", frames))
    assert tracked.found.tolist() == [k not in range(10, 16) for k in range(30)]
    between = tracked.landmarks[9:17]
    steps = np.linalg.norm(np.diff(between, axis=0), axis=-1).mean(-1)
    assert steps.max() < 6, "the gap is bridged without a jump"
    late = track.track(write(tmp_path / "late.mp4", [EMPTY] * 5 + frames[:8]))
    assert late.found.tolist() == [False] * 5 + [True] * 8
    np.testing.assert_allclose(late.landmarks[0], late.landmarks[3], atol=3)


def test_uneven_timing_is_made_even(tmp_path: Path, head: np.ndarray) -> None:
    """Frames of a phone, at 30 and 15 per second by turns: motion keeps its times."""
    times = np.cumsum([0] + [33, 67] * 15).tolist()
    path = write(tmp_path / "phone.mp4", [moved(head, t / 40) for t in times], Fraction(20), times)
    tracked = track.track(path)
    still = find.faces(head)[0].landmarks
    seconds = np.arange(len(tracked.landmarks)) / float(tracked.fps)
    assert abs(seconds[-1] - times[-1] / 1000) < 0.15
    off = error(tracked.landmarks, still, [motion(s * 25) for s in seconds])
    assert off[:-4].mean() < 1.5


def test_a_phone_held_upright(tmp_path: Path, head: np.ndarray) -> None:
    """Frames lie on their side in the file, and its display matrix turns them a quarter clockwise."""
    path = write(tmp_path / "side.mp4", [np.rot90(head[:, :240])] * 6)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 256 << 16, 0, 1 << 30)
    path.write_bytes(content)
    tracked = track.track(path)
    assert tracked.size == (240, 256)
    assert error(tracked.landmarks, find.faces(head)[0].landmarks, [np.eye(2, 3)] * 6).max() < 1.5


def test_which_of_two(tmp_path: Path, head: np.ndarray) -> None:
    both = np.full((256, 460, 3), 120, np.uint8)
    both[:, :256] = head
    both[30:210, 270:450] = cv2.resize(head, (180, 180), interpolation=cv2.INTER_AREA)
    path = write(tmp_path / "two.mp4", [both] * 4)
    assert track.track(path).landmarks[0, 30, 0] < 230
    assert track.track(path, which=1).landmarks[0, 30, 0] > 300
    with pytest.raises(InputError, match="Face 2 is not in"):
        track.track(path, which=2)


def test_cancel(tmp_path: Path, head: np.ndarray) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        track.track(write(tmp_path / "v.mp4", [head] * 6), stop)


def test_bad_files(tmp_path: Path, head: np.ndarray) -> None:
    good = write(tmp_path / "good.mp4", [head] * 20).read_bytes()
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no film at all\n" * 50)
    (tmp_path / "cut.mp4").write_bytes(good[: len(good) // 2])
    write(tmp_path / "nobody.mp4", [EMPTY] * 4)
    tiny = EMPTY.copy()
    tiny[100:148, 100:148] = cv2.resize(head, (48, 48), interpolation=cv2.INTER_AREA)
    write(tmp_path / "tiny.mp4", [tiny] * 4)
    soundfile.write(tmp_path / "sound.wav", np.zeros(8000, np.float32), 16000)
    for name, says in {
        "none.mp4": "does not exist",
        "empty.mp4": "empty",
        "text.mp4": "not a video",
        "cut.mp4": "not a video|damaged",
        "nobody.mp4": "No face",
        "tiny.mp4": "too small",
        "sound.wav": "no picture",
    }.items():
        with pytest.raises(InputError, match=says) as problem:
            track.track(tmp_path / name)
        assert name in str(problem.value) and "\n" not in str(problem.value)
    with pytest.raises(InputError, match="folder"):
        track.track(tmp_path)


def test_smoothing_has_no_lag_and_keeps_a_closure() -> None:
    line = np.arange(20.0)[:, None, None] * np.ones((1, 2, 3))
    np.testing.assert_allclose(track.smooth(line), line, atol=1e-9)
    closure = np.ones((15, 1, 1))
    closure[7:9] = 0
    assert track.smooth(closure)[7:9].max() < 0.25
    noise = np.random.default_rng(0).normal(size=(500, 4, 3))
    assert np.diff(track.smooth(noise), 2, axis=0).std() < 0.6 * np.diff(noise, 2, axis=0).std()
    assert len(track.smooth(line[:3])) == 3


@pytest.mark.slow
def test_a_real_speech() -> None:
    path = DATA / "addresses" / "obama_7.mp4"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    tracked = track.track(path)
    assert tracked.found.all() and len(tracked.landmarks) == 61
    opening = np.linalg.norm(tracked.landmarks[:, 66] - tracked.landmarks[:, 62], axis=-1)
    assert opening.max() > 4 * opening.min()
