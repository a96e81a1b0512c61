"""The take folder: everything one generation was made from and what it made, whole at every moment.

    take.json       what was asked, versions, hashes of weights, one hash per frame
    audio.wav       what was heard
    landmarks.npz   landmarks (T, 68, 3), gaze (T, 2), pose (T, 6), fps, size, shoulders, the portrait's own
                    source_landmarks and source_mesh
    frames/         000001.png …, or .exr, each carrying its own hash
    mattes/         where asked for: head/000001.png …, face/…, mouth/…, of the frames' own format
    patterns.safetensors, plate.npz, preview.mp4     optional

Every file is written under another name and renamed, so it is whole or absent. A frame knows its hash (a PNG text), so
a take that was interrupted, at any moment and by anything, resumes by making just the frames that are not there.
This file knows nothing of faces or sound.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from engine import __version__
from engine.errors import InputError, OutputError
from engine.formats import HASH, Format, exr_header, read_exr, to_8_bit, write_exr
from engine.png import encode_png, png_hash

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


FORMAT = 1
SNAP = 0.02  # px: a frame none of whose landmarks moved further than this is the same frame
_REFUSED = {
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "EEXIST", "ENOENT", "ENAMETOOLONG", "EINVAL")
}
SNAP_GAZE = 0.05  # degrees, likewise
PATTERNS = "patterns.safetensors"  # what a take's mouth may show beside the portrait's own
PLATE = "plate.npz"  # where the face is in a take's film, see engine/plate.py
PART = ".part"  # suffix of a file that is being written
OWN = "landmarks.npz", "preview.mp4", PATTERNS, PLATE  # files that only a take's own job writes
PIECE = 1 << 16  # numbers of an array written at once


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's refusal to write at or below `path` into an OutputError."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(
                f"The disk is full while writing {path}: free some space and start again, finished frames are kept."
            ) from problem
        if problem.errno in _REFUSED:
            raise OutputError(
                f"Cannot write to {path} ({problem.strerror}): choose another takes folder or change its permissions."
            ) from problem
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed over it on success, removed on failure. Raises OutputError."""
    part = path.with_name(f".{path.name}{PART}")
    with writing(path):
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other jobs out of `folder` by a lock beside it, which the system lifts when its process ends, however that
    ends. Raises OutputError."""
    folder = Path(os.path.realpath(folder))
    path = folder.parent / f".{folder.name}.lock"
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    file = None
    with contextlib.suppress(OSError):  # nothing can be written beside it; whether in it, its take will tell
        file = open(path, "ab")  # noqa: SIM115 - closed below, on Windows before it is removed
    if file is None:
        yield
        return
    try:
        try:
            _lock(file)
            mine = os.path.samestat(os.fstat(file.fileno()), os.stat(path))  # else removed by who had it until now
        except (BlockingIOError, PermissionError, FileNotFoundError):
            mine = False
        except OSError:  # a file system without locks
            mine = True
        if not mine:
            raise OutputError(f"Another job is writing to {folder}: wait until it is done, or choose another folder.")
        try:
            yield
        finally:
            if sys.platform != "win32":  # there, no open file can be removed
                path.unlink(missing_ok=True)
    finally:
        file.close()
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # somebody else has it open
                path.unlink()


def sha256(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Into an npz as `np.savez` does, which copies up to 16 MB at once: as much as ten minutes of landmarks."""
    whole = np.asarray(array, order="C")
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(whole))
        flat = whole.reshape(-1)
        for start in range(0, len(flat), PIECE):
            file.write(flat[start : start + PIECE].tobytes())


def frame_hashes(fingerprint: str, landmarks: np.ndarray, gaze: np.ndarray | None = None) -> list[str]:
    """One hash per frame of all that makes its pixels: the renderer's fingerprint, landmarks (T, 68, 3), gaze."""
    start = hashlib.sha256(fingerprint.encode())
    hashes = []
    looks = np.zeros((len(landmarks), 2)) if gaze is None else gaze
    for frame, look in zip(np.ascontiguousarray(landmarks, "<f4"), np.ascontiguousarray(looks, "<f4"), strict=True):
        digest = start.copy()
        digest.update(frame.tobytes())
        if look.any():  # without one the hash is that of takes from before there was gaze
            digest.update(look.tobytes())
        hashes.append(digest.hexdigest()[:24])
    return hashes


def snap(made: "Landmarks", old: "Landmarks") -> None:
    """Gives `made` OLD's own values on frames where no point moved by more than SNAP px nor the gaze by SNAP_GAZE."""
    common = min(len(made.landmarks), len(old.landmarks))
    same = np.abs(made.landmarks[:common] - old.landmarks[:common]).max(axis=(1, 2), initial=0.0) <= SNAP
    same &= np.abs(made.looks[:common] - old.looks[:common]).max(axis=1, initial=0.0) <= SNAP_GAZE
    made.landmarks[:common][same] = old.landmarks[:common][same]
    if made.gaze is not None or old.gaze is not None:
        looks = made.looks.copy()
        looks[:common][same] = old.looks[:common][same]
        made.gaze = looks


def hash_of(path: Path) -> str | None:
    """The hash a whole frame or matte of ours carries, PNG or EXR; None when absent, cut short, or not ours."""
    return png_hash(path) if path.suffix == ".png" else (exr_header(path) or {}).get(HASH)


def read_frame(path: Path) -> np.ndarray:
    """A frame as RGB or RGBA uint8 (H, W, C), whatever its format."""
    if path.suffix == ".exr":
        colours, alpha = read_exr(path)
        return to_8_bit(255 * (colours if alpha is None else np.dstack([colours, alpha])))
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path} is not a picture any more: delete it and generate again.")
    if image.dtype == np.uint16:
        image = to_8_bit(image / 257)
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB))


@dataclass
class Landmarks:
    """What landmarks.npz holds. Landmarks and translations in source pixels: x right, y down, z toward the viewer."""

    landmarks: np.ndarray  # (T, 68, 3) float32
    pose: np.ndarray  # (T, 6) float32: rotation vector in radians, translation in px
    fps: Fraction
    size: tuple[int, int]  # width, height
    source_landmarks: np.ndarray | None = None  # (68, 3) of the portrait itself
    source_mesh: np.ndarray | None = None  # (478, 3)
    image_sha256: str = ""  # of the portrait source_landmarks belong to
    gaze: np.ndarray | None = (
        None  # (T, 2) float32: degrees the eyes turn to the picture's right and up, from the portrait
    )
    shoulders: float | None = None  # amount by which they follow the head, 0 to 2; None where nothing tells

    @property
    def looks(self) -> np.ndarray:
        """(T, 2) float32: the gaze, zeros without."""
        return np.zeros((len(self.landmarks), 2), np.float32) if self.gaze is None else self.gaze

    def save(self, path: Path) -> None:
        """Writes the npz beside and renames it. Raises OutputError."""
        arrays: dict[str, np.ndarray] = {
            "landmarks": self.landmarks.astype(np.float32, copy=False),
            "pose": self.pose.astype(np.float32, copy=False),
            "fps": np.array([self.fps.numerator, self.fps.denominator], np.int64),
            "size": np.array(self.size, np.int64),
        }
        if self.gaze is not None:
            arrays["gaze"] = self.gaze.astype(np.float32)
        if self.shoulders is not None:
            arrays["shoulders"] = np.array(self.shoulders, np.float64)
        if self.source_landmarks is not None and self.source_mesh is not None:
            arrays |= {"source_landmarks": self.source_landmarks, "source_mesh": self.source_mesh}
            arrays["image_sha256"] = np.frombuffer(self.image_sha256.encode(), np.uint8)
        with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
            for name, array in arrays.items():
                _write_array(archive, name, array)

    @classmethod
    def load(cls, path: Path) -> "Landmarks":
        """Reads and checks the npz. Raises InputError."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        except FileNotFoundError:
            raise InputError(f"The landmarks file {path} does not exist.") from None
        except (OSError, ValueError, zlib.error, EOFError, KeyError) as problem:
            raise InputError(f"{path} is not a landmarks file: {problem}") from problem
        except Exception as problem:  # zipfile.BadZipFile and friends, by numpy's version
            raise InputError(f"{path} is damaged: {problem}") from problem
        missing = {"landmarks", "fps", "size"} - arrays.keys()
        if missing:
            raise InputError(f"{path} has no {', '.join(sorted(missing))}: it is not a Parlando landmarks file.")
        count = arrays["landmarks"].shape[:1]
        shapes = {"landmarks": (*count, 68, 3), "pose": (*count, 6), "gaze": (*count, 2)}
        shapes |= {"source_landmarks": (68, 3), "source_mesh": (478, 3)}
        known = {name: _numbers(path, name, arrays[name], shape) for name, shape in shapes.items() if name in arrays}
        fps, size = arrays["fps"].reshape(-1), arrays["size"].reshape(-1)
        if len(size) != 2 or len(fps) not in (1, 2) or not all(_above_0(value) for value in (size, fps)):
            raise InputError(f"{path} has a frame rate or size that makes no sense.")
        shoulders = None
        if "shoulders" in arrays:
            shoulders = float(_numbers(path, "shoulders", arrays["shoulders"].reshape(-1), (1,), np.float64)[0])
        if shoulders is not None and not 0 <= shoulders <= 2:
            raise InputError(f"{path} has shoulders that follow by {shoulders:g}: from 0 to 2 makes sense.")
        rate = Fraction(int(fps[0]), int(fps[1])) if len(fps) == 2 else parse_fps(str(float(fps[0])))
        landmarks = known["landmarks"]
        return cls(
            landmarks,
            known.get("pose", np.zeros((len(landmarks), 6), np.float32)),
            rate,
            (int(size[0]), int(size[1])),
            known.get("source_landmarks"),
            known.get("source_mesh"),
            arrays.get("image_sha256", np.zeros(0, np.uint8)).tobytes().decode("ascii", "replace"),
            known.get("gaze"),
            shoulders,
        )


def _numbers(path: Path, name: str, value: np.ndarray, shape: tuple[int, ...], kind: type = np.float32) -> np.ndarray:
    """An array of a landmarks file, found to be of this shape and of numbers. Raises InputError."""
    if value.shape != shape or 0 in shape:
        told = "(frames, 68, 3)" if name == "landmarks" else str(shape)
        raise InputError(f"{path} holds {name} of shape {value.shape}, {told} is needed.")
    if value.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {name} that are no numbers.")
    with np.errstate(over="ignore"):  # beyond what the kind holds: told as no number
        value = value.astype(kind, copy=False)
    bad = np.flatnonzero(~np.isfinite(value).reshape(len(value), -1).all(axis=1))
    if len(bad):
        of = "point" if name.startswith("source") else "frame"
        raise InputError(f"{path} has {name} that are not a number on {of} {bad[0] + 1}.")
    return value


def _above_0(value: np.ndarray) -> bool:
    """Whether these are numbers that are 1 or more as whole numbers, or a single rate above 0."""
    least = 1 if len(value) > 1 else 1e-9
    return value.dtype.kind in "fiu" and bool(np.isfinite(value).all()) and value.min() >= least


def parse_fps(text: str) -> Fraction:
    """ "24", "23.976", "30000/1001" … as a fraction; decimals near an NTSC rate mean that rate. Raises InputError."""
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{text!r} is not a frame rate: write it like 24, 23.976 or 30000/1001.") from None
    if "/" not in text:
        ntsc = Fraction(round(fps) * 1000, 1001)
        if fps.denominator != 1 and abs(fps - ntsc) < Fraction(1, 200):
            fps = ntsc
    if not 1 <= fps <= 240:
        raise InputError(f"A frame rate of {text} is outside of 1 to 240 frames a second.")
    return fps


def about(folder: Path) -> dict[str, Any]:
    """What the take.json of a take says. Raises InputError."""
    file = folder / "take.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"{folder} is not a take: its take.json cannot be read ({problem.strerror}).") from problem
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or not all(isinstance(data.get(name), dict) for name in ("request", "identity")):
        raise InputError(f"{file} is damaged: generate the take again in another folder.")
    return data


class Take:
    """One take folder. Made by `open`, which creates it or finds it again to resume."""

    def __init__(self, folder: Path, data: dict[str, Any], created: bool = False, format: Format | None = None) -> None:
        self.folder = folder
        self.data = data
        self.format = format or Format()  # of frames and mattes
        self.created = created  # the folder itself, by this run
        self.fresh = False  # begun by this run, not resumed
        self.made: list[str] = []  # further files of this run, for `discard`

    @classmethod
    def open(
        cls,
        folder: Path,
        request: Mapping[str, Any],
        identity: Mapping[str, Any],
        format: Format | None = None,
        sound: Path | None = None,
    ) -> "Take":
        """The take in `folder` of exactly this `identity` (what decides the result), to resume; else a new one there.

        `sound`: what it shall be heard from; a new take's audio.wav may be there already if it is that very file.
        Raises OutputError when the folder holds another take or files of somebody else, or cannot be written;
        InputError when its take.json is damaged.
        """
        id = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        if (folder / "take.json").exists():
            data = about(folder)
            if data.get("id") != id:
                raise OutputError(
                    f"{folder} already holds another take: choose another folder, takes are never overwritten."
                )
            return cls(folder, data, format=format)
        frames = folder / "frames"
        created = not folder.exists()
        with writing(folder):
            held = [path.name for path in (frames, folder / "mattes") if path.is_dir() and any(path.iterdir())]
            held += [name for name in OWN if (folder / name).exists()]
            heard = folder / "audio.wav"
            if sound is not None and heard.exists() and not heard.samefile(sound):
                held.append(heard.name)
            if held:
                raise OutputError(f"{folder} already holds other {held[0]}: choose another folder for the take.")
            frames.mkdir(parents=True, exist_ok=True)
        take = cls(folder, {}, created, format)
        take.fresh = True
        try:
            take.save(
                format=FORMAT,
                id=id,
                made_by=f"Parlando {__version__}",
                synthetic=True,
                created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                request=dict(request),
                identity=dict(identity),
                finished=False,
            )
        except OutputError:
            take.discard()
            raise
        return take

    @property
    def id(self) -> str:
        """16 hexadecimal digits of all that decides the result: the same request gives the same id."""
        return str(self.data["id"])

    def save(self, **changes: Any) -> None:
        """Writes take.json with `changes`. Raises OutputError."""
        self.data |= changes
        with replacing(self.folder / "take.json") as part:
            text = json.dumps(self.data, indent=1, ensure_ascii=False) + "\n"
            part.write_text(
                text, encoding="utf-8", errors="backslashreplace"
            )  # names that are not UTF-8, as JSON has it

    def frame_path(self, index: int) -> Path:
        """Where frame `index` (from 0) lies: frames/000001.png is the first."""
        return self.folder / "frames" / f"{index + 1:06d}{self.format.suffix}"

    def matte_path(self, name: str, index: int) -> Path:
        """Where the matte `name` of frame `index` lies: mattes/head/000001.png is the first."""
        return self.folder / "mattes" / name / f"{index + 1:06d}{self.format.suffix}"

    def has_frame(self, index: int, hash: str) -> bool:
        """Whether frame `index` is there, whole, and the one meant."""
        return hash_of(self.frame_path(index)) == hash

    def has_mattes(self, names: Iterable[str], index: int, hash: str) -> bool:
        """Whether all these mattes of frame `index` are there, whole, and the ones meant."""
        return all(hash_of(self.matte_path(name, index)) == hash for name in names)

    def write_frame(self, index: int, image: np.ndarray, hash: str) -> None:
        """Writes one frame (H, W, 3 or 4), uint8 or float32 where 255 is white. Raises OutputError."""
        self._write(self.frame_path(index), image, hash)

    def write_mattes(self, index: int, mattes: Mapping[str, np.ndarray], hash: str) -> None:
        """Writes the mattes (H, W) of one frame, uint8 or float32 where 255 is all. Raises OutputError."""
        for name, matte in mattes.items():
            path = self.matte_path(name, index)
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._write(path, matte, hash)

    def _write(self, path: Path, image: np.ndarray, hash: str) -> None:
        """Writes beside and renames."""
        texts = {
            "Parlando frame": hash,
            "Software": f"Parlando {__version__}",
            "Description": "Synthetic picture made by Parlando",
            "Parlando take": self.id,
        }
        pixels = self.format.pixels(image)
        if self.format.name == "exr":
            texts = {HASH: hash, **{key: value for key, value in texts.items() if key != "Parlando frame"}}
            with replacing(path) as part:
                write_exr(part, pixels, texts, self.format.linear)
            return
        data = encode_png(pixels, texts)
        with replacing(path) as part:
            part.write_bytes(data)

    def adopt_frame(self, index: int, path: Path) -> None:
        """Shares a frame file of another take: a hard link, a copy where there are none. Raises OutputError."""
        self._adopt(self.frame_path(index), path)

    def adopt_mattes(self, names: Iterable[str], index: int, other: "Take") -> None:
        """Shares the mattes of another take's frame. Raises OutputError."""
        for name in names:
            target = self.matte_path(name, index)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            self._adopt(target, other.matte_path(name, index))

    @staticmethod
    def _adopt(target: Path, path: Path) -> None:
        with replacing(target) as part:
            part.unlink(missing_ok=True)
            try:
                os.link(path, part)
            except OSError:
                shutil.copyfile(path, part)

    def discard(self) -> None:
        """After a failure: removes what this run began, unless a frame is finished. What was there before stays."""
        frames = self.folder / "frames"
        if not self.fresh or any(hash_of(path) for path in frames.glob(f"*{self.format.suffix}")):
            return
        if self.created:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        shutil.rmtree(frames, ignore_errors=True)
        shutil.rmtree(self.folder / "mattes", ignore_errors=True)
        for name in ("take.json", "landmarks.npz", *self.made):
            (self.folder / name).unlink(missing_ok=True)
