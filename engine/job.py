"""The main jobs, top to bottom: audio and a portrait become a take; edited landmarks become frames.

    dub     audio → motion (engine.motion) → landmarks in the picture → frames (engine.render) → take
    restyle a take's sound in another style → landmarks, to blend towards
    render  landmarks → frames, sharing with an older take the frames whose landmarks did not change
    frame   68 points → one picture, for somebody who is moving them

The portrait may be a film (`engine/plate.py`): then its own frames get another mouth.

Networks stay loaded in an `Engine` between jobs. Bad input is found before anything is written.
"""

import hashlib
import json
import os
import tempfile
import time
import wave
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import soundfile
import torch
from PIL import Image

import engine.style.file as style_file
from engine import __version__, device
from engine.audio.load import Sound, open_audio
from engine.errors import InputError, NoAudio
from engine.face import find, image
from engine.face.canonical import to_canonical
from engine.face.find import Face
from engine.face.image import Picture
from engine.face.points import face_at
from engine.face.track import track
from engine.formats import Format, to_8_bit
from engine.motion.gaze import held_gaze
from engine.motion.generate import MotionGenerator
from engine.motion.place import place, place_in_film
from engine.plate import Moving, Plate, Still
from engine.png import encode_png
from engine.preview import Preview
from engine.progress import Progress, silent
from engine.render import pattern
from engine.render.inside import incisal_edge
from engine.render.mouth import is_drawn
from engine.render.pattern import Pattern
from engine.render.plate import PlateRenderer
from engine.render.renderer import MATTES, Renderer
from engine.request import MOST_FRAMES, DubRequest, FrameRequest, RenderRequest, RestyleRequest
from engine.style.extract import from_landmarks
from engine.style.file import Style
from engine.style.pictures import with_mouths
from engine.take import (
    PATTERNS,
    PLATE,
    Landmarks,
    Take,
    about,
    alone,
    frame_hashes,
    read_frame,
    replacing,
    sha256,
    snap,
)

# Rough shares of the time, for one overall bar; of a take whose portrait is a film, too.
STAGES = {"sound": 0.03, "motion": 0.12, "frames": 0.85}
FILM_STAGES = {"film": 0.3, "sound": 0.02, "motion": 0.08, "frames": 0.6}
HEARD_RATE = 24000  # Hz of audio.wav: 1/120 s, the shift of the features, is a whole number of samples
_BLOCK = 10.0  # seconds of sound held at once
LIVE_KEPT = 4  # renderers of `frame` that stay loaded

# One thread for each network: these are small, threads inside them would wait for one another longer than they work as
# soon as Blender renders beside us (540 frames of tracking: 18 s of work, over 600 s with two threads on a busy one).
torch.set_num_threads(1)

T = TypeVar("T")
Note = Callable[[str], None]
Shown = Callable[[np.ndarray, np.ndarray], np.ndarray]  # landmarks and gaze → picture


def unheard(message: str) -> None:
    """A note that tells nobody."""


@dataclass(frozen=True)
class Result:
    """What a job made."""

    take: str  # the folder
    frames: int
    rendered: int
    reused: int
    size: tuple[int, int]  # width, height

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def frame_count(duration: float, fps: Fraction) -> int:
    """T = round(duration × fps), halves upward."""
    return int(duration * fps + 0.5)


class Engine:
    """The loaded networks and the device they are on. One job at a time."""

    def __init__(self, device_name: str = "auto", threads: int | None = None) -> None:
        self.device: torch.device = device.pick(device_name)
        self.threads = threads or os.cpu_count() or 1
        self._renderer: tuple[object, Renderer] | None = None
        self._film: tuple[object, Plate, PlateRenderer, float] | None = None  # of `frame`, and the factor as below
        self._live: dict[object, tuple[Shown, float]] = {}  # of `frame`, with the factor to their pixels

    @cached_property
    def motion(self) -> MotionGenerator:
        """Audio → motion."""
        return MotionGenerator.load(self.device)

    def dub(self, request: DubRequest, progress: Progress = silent, note: Note = unheard) -> Result:
        """Audio and a portrait to a take. Raises ParlandoError, Cancelled."""
        format = Format.named(request.format, request.linear)
        sound = open_audio(request.audio)
        total = request.frames if request.frames is not None else frame_count(sound.duration, request.fps)
        if total < 1:
            raise InputError(
                f"{request.audio} lasts {sound.duration:.3f} s, less than one frame: choose a longer strip."
            )
        if total > MOST_FRAMES:
            raise InputError(f"{request.audio} gives {total} frames, a take holds {MOST_FRAMES}: cut it in two.")
        plate = None
        if not is_film(request.image):
            picture = image.load(request.image)
            face = _face(picture, request)
            if request.side and request.side < max(picture.size):
                factor = request.side / max(picture.size)
                picture, face = _smaller(picture, factor), find.face_of(face.mesh * np.float32(factor), 1.0)
        else:
            plate = _plate(request, total, progress, note)
            picture, face = plate.picture(), plate.face
        style_path = style_file.named(request.style)
        style = style_file.load(style_path) if style_path else None
        patterns = _patterns(request, style, picture, face, note)
        identity = {
            "verb": "dub",
            "engine": __version__,
            "audio": sha256(request.audio),
            "image": picture.sha256,
            "style": sha256(style_path) if style_path else None,
            "strength": request.strength if request.style else None,
            "fps": str(request.fps),
            "frames": total,
            "seed": request.seed,
            "head": request.head,
            "blinks": request.blinks,
            "brows": request.brows,
            "gaze": request.gaze,
            "shoulders": request.shoulders,
            "face": request.face,
            "motion": self.motion.fingerprint,
            **_output(request),
            **({"since": request.since} if plate is not None else {}),
        }
        with (
            alone(request.out),
            _taking(Take.open(request.out, _plain(request), identity, format, request.audio)) as take,
        ):
            heard = self._hear(request.audio, sound, take, progress)
            file = take.folder / "landmarks.npz"
            if file.exists():  # resumed
                made = Landmarks.load(file)
                if made.source_mesh is not None:
                    face = find.face_of(made.source_mesh, 1.0)  # to the last bit, whatever machine goes on
            else:
                made = self._moved(heard, total, request, style, plate or face, progress, note)
                made.size, made.image_sha256 = picture.size, picture.sha256
                made.save(file)
            _keep(patterns, plate, take)
            heard_too = sound if request.preview else None
            return self._frames(take, picture, face, plate, made, None, heard_too, progress, patterns)

    def _moved(
        self,
        heard: Path,
        total: int,
        request: DubRequest,
        style: Style | None,
        face: Face | Plate,
        progress: Progress,
        note: Note,
    ) -> Landmarks:
        """What the face of a portrait or film does to the sound; of which picture is not said yet."""
        times = np.arange(total, dtype=np.float64) * float(1 / request.fps)
        motion = self.motion.generate(
            open_audio(heard),
            times,
            seed=request.seed,
            head=request.head,
            blinks=request.blinks,
            brows=request.brows,
            style=style,
            strength=request.strength,
            progress=progress,
        )
        if motion.silent:
            note(f"{request.audio.name} is silent: the mouth stays still.")
        if isinstance(face, Plate):
            landmarks, pose = place_in_film(motion, face.landmarks, face.closed)
            landmarks[~face.seen] = face.landmarks[~face.seen]
            return Landmarks(landmarks, pose, request.fps, (1, 1), face.face.landmarks, face.face.mesh)
        landmarks, pose = place(motion, face, spend=True)
        made = Landmarks(landmarks, pose, request.fps, (1, 1), face.landmarks, face.mesh)
        if request.gaze:
            made.gaze = (request.gaze * held_gaze(pose)).astype(np.float32)
        made.shoulders = request.shoulders
        return made

    def restyle(self, request: RestyleRequest, progress: Progress = silent, note: Note = unheard) -> dict[str, Any]:
        """The motion of a take's sound in another style, all else as the take was asked for. Raises ParlandoError."""
        asked = about(request.take)
        was = asked["request"]
        if asked["identity"].get("verb") != "dub":
            raise InputError(f"{request.take} was rendered from edits: name the take whose motion was generated.")
        old = Landmarks.load(request.take / "landmarks.npz")
        if old.source_mesh is None:
            raise InputError(f"{request.take} does not know its portrait's face: generate the take again.")
        style_path = style_file.named(request.style)
        style = style_file.load(style_path) if style_path else None
        try:
            again = DubRequest(
                request.take / "audio.wav",
                Path(was["image"]),
                request.out,
                strength=request.strength,
                fps=old.fps,
                seed=int(was["seed"]),
                head=float(was["head"]),
                blinks=float(was["blinks"]),
                brows=float(was.get("brows", min(float(was["head"]), 1.0))),  # takes from before they had an amount
                gaze=float(was.get("gaze", 0.0)),
                shoulders=old.shoulders or 0.0,
            )
        except (KeyError, TypeError, ValueError, InputError) as problem:
            raise InputError(
                f"{request.take / 'take.json'} is damaged ({problem}): generate the take again."
            ) from problem
        kept = request.take / PLATE
        plate = Plate.load(kept, again.image) if kept.exists() else None
        face = plate or find.face_of(old.source_mesh, 1.0)
        made = self._moved(again.audio, len(old.landmarks), again, style, face, progress, note)
        made.size, made.image_sha256 = old.size, old.image_sha256
        made.save(request.out)
        return {"landmarks": str(request.out), "frames": len(made.landmarks)}

    def render(self, request: RenderRequest, progress: Progress = silent, note: Note = unheard) -> Result:
        """Landmarks to a take of frames. Raises ParlandoError, Cancelled."""
        format = Format.named(request.format, request.linear)
        asked = Landmarks.load(request.landmarks)
        plate = _plate_of(request, len(asked.landmarks)) if is_film(request.image) else None
        picture = plate.picture() if plate is not None else image.load(request.image)
        style_path = style_file.named(request.style)
        # The landmarks have the style already: only its mouth, and whether it can be used, are of interest.
        style = style_file.load(style_path) if style_path is not None else None
        if asked.size != picture.size:
            raise InputError(
                f"{request.landmarks} was made for a picture of {asked.size[0]} × {asked.size[1]} pixels, "
                f"{request.image.name} has {picture.size[0]} × {picture.size[1]}: choose the portrait it was made with."
            )
        old = None
        if request.take is not None:
            about(request.take)
            old = Landmarks.load(request.take / "landmarks.npz")
            snap(asked, old)
            asked.shoulders = old.shoulders if asked.shoulders is None else asked.shoulders
        known = next((lm for lm in (asked, old) if lm is not None and lm.image_sha256 == picture.sha256), None)
        if plate is not None:
            face = plate.face
        elif known is not None and known.source_mesh is not None and request.points is None:
            face = find.face_of(known.source_mesh, 1.0)
        else:
            face = _face(picture, request)
        patterns = pattern.load(request.take / PATTERNS) if request.take is not None else []
        patterns = patterns or _patterns(request, style, picture, face, note)
        asked.source_landmarks, asked.source_mesh, asked.image_sha256 = face.landmarks, face.mesh, picture.sha256
        sound = _sound_of(request)
        identity = {
            "verb": "render",
            "engine": __version__,
            "landmarks": hashlib.sha256(np.ascontiguousarray(asked.landmarks).data).hexdigest(),
            **({"gaze": hashlib.sha256(asked.looks.tobytes()).hexdigest()} if asked.looks.any() else {}),
            **({"shoulders": asked.shoulders} if asked.shoulders else {}),
            "fps": str(asked.fps),
            "image": picture.sha256,
            "style": sha256(style_path) if style_path else None,
            **({"mouth": [one.fingerprint for one in patterns]} if patterns else {}),
            **_output(request),
            **({"plate": plate.fingerprint} if plate is not None else {}),
        }
        with alone(request.out), _taking(Take.open(request.out, _plain(request), identity, format)) as take:
            asked.save(take.folder / "landmarks.npz")
            _keep(patterns, plate, take)
            return self._frames(take, picture, face, plate, asked, request.take, sound, progress, patterns)

    def frame(self, request: FrameRequest) -> dict[str, Any]:
        """One picture of the portrait at these landmarks, the same pixels `render` gives; smaller with `side`.

        May run beside a job. Raises ParlandoError.
        """
        begun = time.perf_counter()
        points = np.asarray(request.landmarks, np.float32)
        gaze = np.asarray(request.gaze or (0.0, 0.0), np.float32)
        show, factor = self._live_renderer(request)
        pixels = show(points * np.float32(factor) if factor != 1.0 else points, gaze)
        texts = {"Software": f"Parlando {__version__}", "Description": "Synthetic picture made by Parlando"}
        with replacing(request.out) as part:
            part.write_bytes(encode_png(pixels, texts))
        size = [pixels.shape[1], pixels.shape[0]]
        return {"frame": str(request.out), "size": size, "seconds": round(time.perf_counter() - begun, 4)}

    def _live_renderer(self, request: FrameRequest) -> tuple[Shown, float]:
        """What renders a frame's portrait, and the factor from its pixels to the renderer's; some are kept."""
        known_face = request.take / "landmarks.npz" if request.take is not None else None
        try:
            stamps = tuple(
                (str(path), path.stat().st_mtime_ns) for path in (request.image, known_face) if path is not None
            )
        except OSError as problem:
            raise InputError(f"{problem.filename} is not there any more: generate the take again.") from problem
        still = request.take is None or not (request.take / PLATE).exists()
        key = (stamps, request.face, request.side, None if still else request.number)
        if key in self._live:
            self._live[key] = self._live.pop(key)  # the last used comes last
            return self._live[key]
        made = self._live_still(request, known_face) if still else self._live_moving(request, stamps)
        self._live[key] = made
        while len(self._live) > LIVE_KEPT:
            del self._live[next(iter(self._live))]
        return made

    def _live_still(self, request: FrameRequest, known_face: Path | None) -> tuple[Shown, float]:
        picture = image.load(request.image)
        known = Landmarks.load(known_face) if known_face is not None else None
        if known is not None and known.image_sha256 == picture.sha256 and known.source_mesh is not None:
            face = find.face_of(known.source_mesh, 1.0)
        else:
            face = find.find(picture, request.face)
        factor = min(1.0, request.side / max(picture.size)) if request.side else 1.0
        patterns = pattern.load(request.take / PATTERNS) if request.take is not None else []
        shoulders = (known.shoulders or 0.0) if known is not None else 0.0
        if factor < 1.0:
            small = find.face_of(face.mesh * np.float32(factor), 1.0)
            made = Renderer(_smaller(picture, factor), small, self.device, False, patterns, shoulders)
        else:
            made = self._render_of(picture, face, False, patterns, shoulders)
        return made.render, factor

    def _live_moving(self, request: FrameRequest, stamps: object) -> tuple[Shown, float]:
        """The same of a frame of a film."""
        if request.take is None or request.number is None:
            raise InputError(f"{request.image.name} is a film: say which of its take's frames is meant.")
        filmed = (stamps, request.side)
        if self._film is None or self._film[0] != filmed:
            whole = Plate.load(request.take / PLATE, request.image)
            plate = whole.smaller(request.side)
            patterns = pattern.load(request.take / PATTERNS)
            reference = Renderer(plate.picture(), plate.face, self.device, False, patterns)
            self._film = filmed, plate, PlateRenderer(reference, plate.mouths), plate.scale / whole.scale
        _, plate, renderer, factor = self._film
        if request.number >= len(plate.numbers):
            raise InputError(f"{request.take} has {len(plate.numbers)} frames, number {request.number} is asked for.")
        number = int(plate.numbers[request.number])
        rgb, mesh = plate.frame(number), plate.meshes[number]
        return lambda points, gaze: renderer.render(rgb, mesh, points, gaze), factor

    def _hear(self, path: Path, sound: Sound, take: Take, progress: Progress) -> Path:
        """audio.wav of the take: what the motion is made from. A WAV there already is the one asked for, which the
        add-on puts there, or a resumed take's."""
        heard = take.folder / "audio.wav"
        if heard.exists():
            return heard
        done = 0.0
        take.made.append("audio.wav")
        with replacing(heard) as part, wave.open(str(part), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(HEARD_RATE)
            for block in sound.blocks(HEARD_RATE, _BLOCK):
                file.writeframes((np.clip(block, -1, 1) * 32767).round().astype("<i2").tobytes())
                done += len(block) / HEARD_RATE
                progress("sound", min(int(done), int(sound.duration)), max(1, int(sound.duration)))
        return heard

    def _render_of(
        self,
        picture: Picture,
        face: Face,
        exact: bool = False,
        patterns: Sequence[Pattern] = (),
        shoulders: float = 0.0,
    ) -> Renderer:
        """The renderer of this portrait, kept for the next job on the same one. `exact`: of more than 8 bits."""
        worn = tuple(one.fingerprint for one in patterns)
        key = (picture.sha256, face.landmarks.tobytes(), exact, worn, shoulders)
        kept = self._renderer  # `frame` asks from another thread
        if kept is None or kept[0] != key:
            self._renderer = None  # a large portrait's takes much memory
            kept = self._renderer = (key, Renderer(picture, face, self.device, exact, patterns, shoulders))
        return kept[1]

    def _frames(
        self,
        take: Take,
        picture: Picture,
        face: Face,
        plate: Plate | None,
        made: Landmarks,
        old: Path | None,
        sound: Sound | None,
        progress: Progress,
        patterns: Sequence[Pattern],
    ) -> Result:
        """Makes the frames that are not there yet, in order, on all cores, and the preview with sound where wanted."""
        deep = take.format.deep
        portrait = self._render_of(picture, face, deep and plate is None, patterns, made.shoulders or 0.0)
        renderer = Still(portrait) if plate is None else Moving(plate, portrait, self.threads, deep)
        hashes = frame_hashes(renderer.fingerprint + take.format.mark, made.landmarks, made.gaze)
        total = len(hashes)
        take.save(
            frame_hashes=hashes, frames=total, fps=str(made.fps), size=list(made.size), renderer=renderer.fingerprint
        )
        older = Take(old, {}, format=take.format) if old is not None else None
        mattes = MATTES if take.data["request"].get("mattes") else ()
        want_preview = sound is not None and not (take.folder / "preview.mp4").exists()
        rendered = 0
        looks = made.looks

        def make(index: int) -> tuple[bool, np.ndarray | None]:
            """(whether it was rendered now, the frame where the preview wants it) of one frame."""
            path = take.frame_path(index)
            if not take.has_mattes(mattes, index, hashes[index]):
                if older is not None and older.has_mattes(mattes, index, hashes[index]):
                    take.adopt_mattes(mattes, index, older)
                else:
                    take.write_mattes(index, renderer.mattes(index, made.landmarks[index]), hashes[index])
            if not take.has_frame(index, hashes[index]):
                if older is None or not older.has_frame(index, hashes[index]):
                    frame = renderer.render(index, made.landmarks[index], looks[index])
                    take.write_frame(index, frame, hashes[index])
                    return True, to_8_bit(frame) if want_preview else None
                take.adopt_frame(index, older.frame_path(index))
            return False, read_frame(path) if want_preview else None

        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(self.threads, thread_name_prefix="frames"))
            stack.enter_context(_one_thread_each(self.threads > 1))
            preview = None
            if want_preview:
                preview = stack.enter_context(
                    Preview(take.folder / "preview.mp4", made.size, made.fps, total, sound, take.id)
                )
            for index, (fresh, frame) in enumerate(_in_order(pool, make, total, 2 * self.threads)):
                rendered += fresh
                if preview is not None and frame is not None:
                    preview.add(frame)
                progress("frames", index + 1, total)
        take.save(finished=True)
        return Result(str(take.folder), total, rendered, total - rendered, made.size)


def _in_order(pool: ThreadPoolExecutor, make: Callable[[int], T], total: int, ahead: int) -> Iterator[T]:
    """make(0), make(1), … in order, at most `ahead` of them under way; what is not begun is dropped when one fails."""
    waiting: deque[Future[T]] = deque()
    try:
        for index in range(total):
            waiting.append(pool.submit(make, index))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@contextmanager
def _one_thread_each(several: bool) -> Iterator[None]:
    """Frames are made side by side: threads inside OpenCV would only get in each other's way."""
    before = cv2.getNumThreads()
    if several:
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def _taking(take: Take) -> Iterator[Take]:
    """Leaves no half take behind when a job fails before its first frame."""
    try:
        yield take
    except BaseException:
        take.discard()
        raise


def _smaller(picture: Picture, factor: float) -> Picture:
    """The picture scaled down."""
    width, height = (max(1, round(n * factor)) for n in picture.size)

    def shrink(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    alpha = shrink(picture.alpha) if picture.alpha is not None else None
    return Picture(shrink(picture.rgb), alpha, picture.path, f"{picture.sha256}/{width}x{height}")


def _sound_of(request: RenderRequest) -> Sound | None:
    """What the preview is heard with: the sound asked for, else the older take's. Raises InputError."""
    path = request.audio
    if path is None and request.take is not None and (request.take / "audio.wav").exists():
        path = request.take / "audio.wav"
    return open_audio(path) if path is not None and request.preview else None


def _face(picture: Picture, request: DubRequest | RenderRequest) -> Face:
    """The face to work with: where somebody placed its points, else as it is found."""
    if request.points is not None:
        return face_at(picture, request.points, request.face)
    return find.find(picture, request.face)


def _patterns(
    request: DubRequest | RenderRequest, style: Style | None, picture: Picture, face: Face, note: Note
) -> list[Pattern]:
    """What the mouth may show beside the portrait's own. InputError when it is not to be had."""
    if request.mouth == "own":
        return []
    if style is None or not style.patterns:
        which = f"The style {style.name} keeps no pictures of a mouth" if style else "There is no style"
        raise InputError(f"{which}: make one from a clip or pictures of somebody, or leave the portrait's own mouth.")
    if request.mouth == "inside":
        reason = ""
        if is_drawn(picture.rgb, face.landmarks):
            reason = f"{request.image.name} is a drawing"
        elif incisal_edge(style.patterns) is None:
            reason = f"The frames of the style {style.name} show no upper teeth"
        if reason:
            note(f"{reason}: the mouth's inside stays the portrait's.")
            return []
    return [replace(one, lips=request.mouth == "style") for one in style.patterns]


def _plate(request: DubRequest, total: int, progress: Progress, note: Note) -> Plate:
    """The film that is asked for, its face followed, or known from an interrupted run."""
    if request.points is not None:
        raise InputError(f"Points are placed by hand on pictures, {request.image.name} is a film: leave them out.")
    kept = request.out / PLATE
    if kept.exists():
        return Plate.load(kept, request.image)
    times = np.arange(total, dtype=np.float64) * float(1 / request.fps)
    plate = Plate.of(request.image, request.since, times, request.face, progress)
    if plate.ends_before(float(times[-1])):
        note(f"{request.image.name} ends before the sound: its last frame stays.")
    if lost := int((~plate.seen).sum()):
        note(f"{lost} frames of {request.image.name} show no face: they stay as they are.")
    return plate.smaller(request.side).with_mouths()


def _plate_of(request: RenderRequest, total: int) -> Plate:
    """The film of the older take. Raises InputError."""
    if request.take is None:
        raise InputError(f"{request.image.name} is a film: name the take the landmarks were made for.")
    plate = Plate.load(request.take / PLATE, request.image)
    if len(plate.numbers) != total:
        raise InputError(
            f"{request.landmarks} has {total} frames, {request.take} {len(plate.numbers)}: not of one take."
        )
    return plate


def _keep(patterns: Sequence[Pattern], plate: Plate | None, take: Take) -> None:
    """In the take, for the rendering of its edits."""
    if plate is not None and not (take.folder / PLATE).exists():
        take.made.append(PLATE)
        plate.save(take.folder / PLATE)
    if patterns:
        take.made.append(PATTERNS)
        pattern.save(patterns, take.folder / PATTERNS)


def _output(request: DubRequest | RenderRequest) -> dict[str, Any]:
    """What of the request decides the files' format, where it is not the usual one."""
    asked: dict[str, Any] = {"format": request.format, "linear": request.linear, "mattes": request.mattes}
    if asked == {"format": "png", "linear": False, "mattes": False}:
        asked = {}
    if request.points is not None:
        asked["points"] = hashlib.sha256(json.dumps(request.points).encode()).hexdigest()[:16]
    return asked | ({"mouth": request.mouth} if request.mouth != "own" else {})


def is_picture(path: Path) -> bool:
    """By its name: what it holds is checked when it is loaded."""
    kind = Image.registered_extensions().get(path.suffix.lower(), "")
    film = Image.MIME.get(kind, "").startswith("video/")  # Pillow knows MPEG by name and cannot read it
    return path.suffix.lower() == ".exr" or (kind in Image.OPEN and not film)


def is_film(path: Path) -> bool:
    """By its name and, where that is no picture's, by what it holds."""
    if is_picture(path) or not path.is_file():
        return False
    try:
        with Image.open(path) as opened:
            return Image.MIME.get(opened.format or "", "").startswith("video/")
    except Image.DecompressionBombError:
        return False
    except OSError:
        return not cv2.haveImageReader(str(path))


def _plain(request: DubRequest | RenderRequest) -> dict[str, Any]:
    """The request as JSON takes it."""
    return {k: str(v) if isinstance(v, Path | Fraction) else v for k, v in asdict(request).items()}


def landmarks_of(
    source: Path, which: int = 0, progress: Progress = silent, part: tuple[float, float] | None = None
) -> Landmarks:
    """The 68 landmarks of a picture (one frame) or of every frame of a video or of a part of it, from one second to
    another. Raises InputError."""
    if is_picture(source):
        picture = image.load(source)
        face = find.find(picture, which)
        points, fps, size = face.landmarks[None], Fraction(25), picture.size
    else:
        tracked = track(source, progress, which, part=part)
        points, fps, size = tracked.landmarks, tracked.fps, tracked.size
    _, placed = to_canonical(points)
    pose = np.concatenate([placed.rotation, placed.origin, np.zeros_like(placed.origin[:, :1])], axis=1)
    return Landmarks(points, pose.astype(np.float32), fps, size)


def pictures_in(source: Path) -> list[Path]:
    """The pictures of a folder in order of their names, a picture itself, none of a video. Raises InputError for a
    folder without."""
    if not source.is_dir():
        return [source] if is_picture(source) else []
    pictures = sorted(path for path in source.iterdir() if is_picture(path))
    if not pictures:
        raise InputError(f"The folder {source} holds no picture: choose one with frames of the style.")
    return pictures


def style_of(
    source: Path,
    name: str,
    out: Path,
    progress: Progress = silent,
    span: tuple[float, float] | None = None,
    fit: float = 0.0,
    audio: Path | None = None,
) -> Style:
    """Writes the style of a clip (of `span` of it, from one second to another), or of a folder of pictures, of somebody
    talking. `fit`: seconds that style transfer may take, 0 is the style code alone; what is said in the clip comes from
    `audio`, else from the clip's own sound where it has one. Raises InputError, OutputError."""
    if not fit and audio is not None:
        raise InputError("Sound is used by style transfer only: give --fit SECONDS too, or leave --audio out.")
    if pictures := pictures_in(source):
        if fit:
            raise InputError(f"Style transfer needs a film, {source} is a folder of pictures: leave --fit out.")
        found: list[np.ndarray] = []
        for path in pictures:
            progress("face", len(found), len(pictures))
            found.append(landmarks_of(path).landmarks)
        points = np.concatenate(found)
    else:
        made = landmarks_of(source, progress=progress, part=span)
        points = made.landmarks
    if fit:
        from engine.style.transfer import fit as transfer  # brings the whole Motion Generator

        with tempfile.TemporaryDirectory() as folder:
            sound = _heard(audio, source, span, Path(folder))
            style = transfer(points, name, sound, fit, float(made.fps), progress)
    else:
        style = from_landmarks(points, name)
    style = with_mouths(style, source, span)
    with replacing(out) as part:
        style_file.save(style, part)
    return style


def _heard(audio: Path | None, clip: Path, span: tuple[float, float] | None, folder: Path) -> Sound | None:
    """The sound of a style's clip, of its `span` copied into `folder`; None where it has none."""
    if audio is not None:
        return open_audio(audio)
    try:
        sound = open_audio(clip)
    except NoAudio:
        return None
    if span is None:
        return sound
    first, last = (round(at * HEARD_RATE) for at in span)
    done = 0
    with soundfile.SoundFile(folder / "span.wav", "w", HEARD_RATE, 1, "PCM_16") as file:
        for block in sound.blocks(HEARD_RATE, _BLOCK):
            file.write(block[max(0, first - done) : max(0, last - done)])
            done += len(block)
            if done >= last:
                break
    return open_audio(folder / "span.wav")
