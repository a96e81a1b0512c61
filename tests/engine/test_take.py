"""The take folder: whole files only, resumable frames, shared frames, words for a refused disk."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import InputError, OutputError
from engine.png import encode_png, png_hash
from engine.take import (
    Landmarks,
    Take,
    about,
    alone,
    frame_hashes,
    parse_fps,
    read_frame,
    replacing,
    snap,
    writing,
)

REPO = Path(__file__).resolve().parents[2]


def picture(seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 30, channels), dtype=np.uint8)


def motion(frames: int = 5) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 100, (frames, 68, 3)).astype(np.float32)


def open_take(folder: Path, **identity: object) -> Take:
    return Take.open(folder, {"asked": "this"}, identity or {"seed": 0})


@pytest.mark.parametrize("channels", [3, 4])
def test_a_frame_comes_back_as_it_was_and_knows_its_hash_and_take(tmp_path: Path, channels: int) -> None:
    take = open_take(tmp_path / "take")
    take.write_frame(0, picture(channels=channels), "a" * 24)
    path = take.frame_path(0)
    assert path.name == "000001.png"
    assert np.array_equal(read_frame(path), picture(channels=channels))
    assert png_hash(path) == "a" * 24
    assert take.id.encode() in path.read_bytes() and b"Synthetic" in path.read_bytes()
    assert cv2.imread(str(path)) is not None


def test_a_frame_cut_short_or_foreign_is_not_there(tmp_path: Path) -> None:
    take = open_take(tmp_path / "take")
    take.write_frame(0, picture(), "a" * 24)
    path = take.frame_path(0)
    assert take.has_frame(0, "a" * 24)
    assert not take.has_frame(0, "b" * 24)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert not take.has_frame(0, "a" * 24)
    path.write_bytes(b"")
    assert not take.has_frame(0, "a" * 24)
    cv2.imwrite(str(path), picture())
    assert png_hash(path) is None


def test_the_same_request_resumes_and_another_is_refused(tmp_path: Path) -> None:
    first = open_take(tmp_path / "take", seed=1)
    first.write_frame(0, picture(), "a" * 24)
    again = open_take(tmp_path / "take", seed=1)
    assert again.id == first.id and again.has_frame(0, "a" * 24)
    with pytest.raises(OutputError, match="another take"):
        open_take(tmp_path / "take", seed=2)
    assert again.has_frame(0, "a" * 24)


def test_a_folder_with_other_frames_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "000001.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="already holds"):
        open_take(tmp_path)
    assert (tmp_path / "frames" / "000001.png").read_bytes() == b"mine"
    assert not (tmp_path / "take.json").exists()


def test_a_failed_start_leaves_nothing_and_a_failed_end_keeps_frames(tmp_path: Path) -> None:
    take = open_take(tmp_path / "new")
    take.discard()
    assert not (tmp_path / "new").exists()
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "audio.wav").write_bytes(b"of the add-on")
    take = open_take(tmp_path / "given")
    take.discard()
    assert [p.name for p in (tmp_path / "given").iterdir()] == ["audio.wav"]
    take = open_take(tmp_path / "begun")
    take.write_frame(3, picture(), "c" * 24)
    take.discard()
    assert open_take(tmp_path / "begun").has_frame(3, "c" * 24)


def test_a_file_being_written_is_never_seen_half(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")
    with pytest.raises(RuntimeError), replacing(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_told_and_leaves_no_half_frame(tmp_path: Path) -> None:
    """A file size limit of the system stands for the full disk: the write itself fails, half done."""
    take = open_take(tmp_path / "take")
    noisy = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    assert len(encode_png(noisy, {})) > 200_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(OutputError, match="disk is full"):
            take.write_frame(0, noisy, "a" * 24)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list((take.folder / "frames").iterdir()) == []
    with pytest.raises(OutputError, match="disk is full"), writing(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_one_job_at_a_time_in_a_folder_and_a_killed_one_keeps_nobody_out(tmp_path: Path) -> None:
    folder = tmp_path / "take"
    code = (
        "import sys, time, pathlib, engine.take\n"
        "with engine.take.alone(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, folder], cwd=REPO, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="Another job"), alone(tmp_path / "." / "take"):
        pass
    with alone(tmp_path / "beside"):
        pass
    other.kill()
    other.wait()
    with alone(folder), pytest.raises(OutputError, match="Another job"), alone(folder):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_the_system_saying_full_is_an_output_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="disk is full"),
        writing(tmp_path / "x"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="Cannot write"):
        open_take(tmp_path / "file" / "take")


def test_adopting_shares_the_very_bytes(tmp_path: Path) -> None:
    old, new = open_take(tmp_path / "old", seed=1), open_take(tmp_path / "new", seed=2)
    old.write_frame(2, picture(), "d" * 24)
    new.adopt_frame(2, old.frame_path(2))
    assert new.has_frame(2, "d" * 24)
    assert os.path.samefile(old.frame_path(2), new.frame_path(2))


def test_snap_takes_over_only_untouched_frames() -> None:
    def of(landmarks: np.ndarray, gaze: np.ndarray | None = None) -> Landmarks:
        return Landmarks(landmarks, np.zeros((len(landmarks), 6)), Fraction(25), (640, 480), gaze=gaze)

    old = of(motion())
    new = of(old.landmarks + np.float32(0.01))
    new.landmarks[2, 30, 1] += 0.05
    moved = new.landmarks[2].copy()
    snap(new, old)
    same = [bool(np.array_equal(a, b)) for a, b in zip(new.landmarks, old.landmarks, strict=True)]
    assert same == [True, True, False, True, True] and new.gaze is None
    assert np.array_equal(new.landmarks[2], moved)
    longer = of(np.concatenate([old.landmarks, old.landmarks[:1]]))
    snap(longer, old)
    assert len(longer.landmarks) == 6
    looks = np.zeros((5, 2), np.float32)
    looks[1], looks[3] = (0.02, -0.03), (2.0, 0.0)
    new = of(old.landmarks + np.float32(0.01), looks.copy())
    snap(new, old)
    same = [bool(np.array_equal(a, b)) for a, b in zip(new.landmarks, old.landmarks, strict=True)]
    assert same == [True, True, True, False, True]
    assert new.looks[1].tolist() == [0.0, 0.0] and new.looks[3].tolist() == [2.0, 0.0]


def test_hashes_follow_pixels_makers_and_nothing_else() -> None:
    landmarks = motion()
    hashes = frame_hashes("renderer 1", landmarks)
    assert len(set(hashes)) == 5
    assert frame_hashes("renderer 1", landmarks.copy()) == hashes
    assert set(frame_hashes("renderer 2", landmarks)).isdisjoint(hashes)
    assert frame_hashes("renderer 1", landmarks, np.zeros((5, 2))) == hashes  # as before there was gaze
    looks = np.zeros((5, 2), np.float32)
    looks[1, 0] = 3
    looked = frame_hashes("renderer 1", landmarks, looks)
    assert [a == b for a, b in zip(looked, hashes, strict=True)] == [True, False, True, True, True]
    landmarks[4, 0, 0] += 1
    assert [a == b for a, b in zip(frame_hashes("renderer 1", landmarks), hashes, strict=True)] == [True] * 4 + [False]


def test_landmarks_file_round_trip(tmp_path: Path) -> None:
    made = Landmarks(motion(), np.zeros((5, 6), np.float32), Fraction(24000, 1001), (640, 480))
    made.save(tmp_path / "l.npz")
    back = Landmarks.load(tmp_path / "l.npz")
    assert np.array_equal(back.landmarks, made.landmarks) and back.fps == made.fps and back.size == (640, 480)
    assert [p.name for p in tmp_path.iterdir()] == ["l.npz"]


def test_bad_landmarks_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "l.npz"
    with pytest.raises(InputError, match="does not exist"):
        Landmarks.load(path)
    path.write_bytes(b"not an npz at all")
    with pytest.raises(InputError, match=r"l\.npz"):
        Landmarks.load(path)
    np.savez(path, landmarks=np.zeros((3, 67, 3)), fps=np.array([25, 1]), size=np.array([5, 5]))
    with pytest.raises(InputError, match="67"):
        Landmarks.load(path)
    broken = motion()
    broken[3, 0, 0] = np.nan
    np.savez(path, landmarks=broken, fps=np.array([25, 1]), size=np.array([5, 5]))
    with pytest.raises(InputError, match="frame 4"):
        Landmarks.load(path)
    np.savez(path, landmarks=np.array([{}], dtype=object), fps=np.array([25, 1]), size=np.array([5, 5]))
    with pytest.raises(InputError, match=r"l\.npz"):
        Landmarks.load(path)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("landmarks", np.full((5, 68, 3), "a"), "no numbers"),
        ("landmarks", np.zeros((0, 68, 3)), "is needed"),
        ("landmarks", np.float64(1), "is needed"),
        ("landmarks", np.full((5, 68, 3), 1e300), "frame 1"),
        ("pose", np.zeros((2, 6)), r"\(5, 6\)"),
        ("gaze", np.zeros(5), r"\(5, 2\)"),
        ("source_mesh", np.zeros((68, 3)), r"\(478, 3\)"),
        ("source_mesh", np.full((478, 3), np.nan), "point 1"),
        ("source_landmarks", np.array(["a"]), r"\(68, 3\)"),
        ("fps", np.array([0.5, np.nan]), "frame rate"),
        ("fps", np.array([0.5, 1.0]), "frame rate"),
        ("fps", np.array(["25", "1"]), "frame rate"),
        ("fps", np.zeros(0), "frame rate"),
        ("size", np.array([np.nan, 5]), "size"),
        ("size", np.array(["a", "b"]), "size"),
        ("shoulders", np.zeros(0), "shoulders"),
        ("shoulders", np.array("a"), "no numbers"),
        ("shoulders", np.array(np.nan), "shoulders"),
    ],
)
def test_what_a_landmarks_file_holds_is_checked(tmp_path: Path, name: str, value: np.ndarray, told: str) -> None:
    whole = {
        "landmarks": motion(),
        "pose": np.zeros((5, 6)),
        "fps": np.array([25, 1]),
        "size": np.array([640, 480]),
        "source_landmarks": np.ones((68, 3)),
        "source_mesh": np.ones((478, 3)),
        "shoulders": np.array(0.5),
    }
    np.savez(tmp_path / "l.npz", **whole)
    assert Landmarks.load(tmp_path / "l.npz").shoulders == 0.5
    np.savez(tmp_path / "l.npz", **{**whole, name: value})
    with pytest.raises(InputError, match=rf"l\.npz.*{told}"):
        Landmarks.load(tmp_path / "l.npz")


@pytest.mark.parametrize(
    "said", ["[]", "null", "", "hello", "[" * 100_000, "{}", '{"request": [], "identity": {}}', None]
)
def test_a_take_json_that_is_none_is_told(tmp_path: Path, said: str | None) -> None:
    file = tmp_path / "take.json"
    with pytest.raises(InputError, match="not a take"):
        about(tmp_path)
    if said is None:
        file.mkdir()
    else:
        file.write_text(said)
    with pytest.raises(InputError, match=r"take\.json"):
        about(tmp_path)
    with pytest.raises(InputError, match=r"take\.json"):
        open_take(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["take.json"]


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        ("24", Fraction(24)),
        ("23.976", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("12.5", Fraction(25, 2)),
        ("25.0", Fraction(25)),
    ],
)
def test_frame_rates(text: str, fps: Fraction) -> None:
    assert parse_fps(text) == fps


@pytest.mark.parametrize("text", ["", "fast", "0", "-24", "1/0", "1000"])
def test_frame_rates_that_are_none(text: str) -> None:
    with pytest.raises(InputError):
        parse_fps(text)


def test_take_json_says_what_it_is(tmp_path: Path) -> None:
    take = open_take(tmp_path / "take")
    take.save(finished=True)
    data = json.loads((tmp_path / "take" / "take.json").read_text())
    assert data["synthetic"] is True and data["made_by"].startswith("Parlando") and data["request"] == {"asked": "this"}


def test_take_json_holds_names_of_any_bytes(tmp_path: Path) -> None:
    image = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    Take.open(tmp_path / "take", {"image": image}, {"any": 1})
    assert "é.png" in (tmp_path / "take" / "take.json").read_text(encoding="utf-8")
    assert about(tmp_path / "take")["request"]["image"] == image


def test_mattes_of_somebody_else_are_never_removed(tmp_path: Path) -> None:
    """`discard` removes the folder of mattes whole: one that holds something is not a place for a take."""
    mine = tmp_path / "mattes" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("precious")
    with pytest.raises(OutputError, match="mattes"):
        Take.open(tmp_path, {}, {"any": 1}).discard()
    assert mine.read_text() == "precious" and not (tmp_path / "take.json").exists()


@pytest.mark.parametrize("name", ["preview.mp4", "patterns.safetensors", "landmarks.npz"])
def test_files_of_somebody_else_are_not_taken_for_the_takes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(OutputError, match=name):
        open_take(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == b"mine"


def test_a_sound_in_the_folder_is_the_one_asked_for_or_refused(tmp_path: Path) -> None:
    heard, other = tmp_path / "take" / "audio.wav", tmp_path / "other.wav"
    heard.parent.mkdir()
    heard.write_bytes(b"of the add-on")
    other.write_bytes(b"another")
    with pytest.raises(OutputError, match=r"audio\.wav"):
        Take.open(heard.parent, {}, {"any": 1}, sound=other)
    assert [p.name for p in heard.parent.iterdir()] == ["audio.wav"]
    Take.open(heard.parent, {}, {"any": 1}, sound=heard)
    Take.open(heard.parent, {}, {"any": 1}, sound=other)  # resumed: it is the take's by now
    assert heard.read_bytes() == b"of the add-on"
