"""A moving plate: a film as the portrait. Where the face is in it, and which of its frames each of a take's shows.

Found once, when a take is made, and kept in its `plate.npz`, so that edits are rendered on the very same. Head, eyes
and brows stay the film's. What its mouth does instead is told by `engine/motion/place.py`; `engine/render/plate.py`
makes the pixels.
"""

import hashlib
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from engine.errors import InputError
from engine.face import find
from engine.face.canonical import to_canonical
from engine.face.find import Face
from engine.face.image import Picture
from engine.face.mesh import IBUG
from engine.face.track import frames_at, frames_in_order, track
from engine.motion.net import INNER_LOWER, INNER_UPPER
from engine.progress import Progress, silent
from engine.render.eyes import AHEAD
from engine.render.film_mouth import medoids, shapes, size_for
from engine.render.head import Frame
from engine.render.pattern import FINE, SPAN, Pattern
from engine.render.plate import PlateRenderer
from engine.render.renderer import Renderer
from engine.render.texture import Pixels
from engine.take import replacing, sha256

CLOSED = 0.05  # of a film's frames, those with the lips nearest, are taken as closed; three at least
MOUTHS = 48  # frames of a film whose mouths stand for all of them
NEAR = 0.01  # canonical units between the lips of a frame that may be the reference
KEPT = 4  # frames behind the last one read
SKIPPED = 48  # frames of a film: what lies further ahead is looked for there instead of read up to


@dataclass(frozen=True)
class Plate:
    """A film's face over the time of a take; px of the film's frames, `scale` times as large as they are on disk.

    since: s of the film at which the take begins, negative where it begins before. numbers: (T,) which of `meshes`
    (N, 478, 3) float32, frames from there on at `fps`, each of the take's frames shows: the first and the last stay
    where the film is too short. found: (N,) whether the face was seen. reference: a frame with closed lips, about as
    the head is held most of the time. mouths: what the mouth shows in frames `showing` (n,), which stand for all the
    shapes that it takes.
    """

    path: Path
    sha256: str
    since: float
    fps: Fraction
    size: tuple[int, int]
    numbers: np.ndarray
    meshes: np.ndarray
    found: np.ndarray
    reference: int
    scale: float = 1.0
    showing: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    mouths: tuple[Pattern, ...] = ()

    @classmethod
    def of(cls, path: Path, since: float, times: np.ndarray, which: int = 0, progress: Progress = silent) -> "Plate":
        """Follows the face through the part of a film that a take at `times` (T,) s shows. Raises InputError."""
        begin = max(since, 0.0)
        end = max(since + float(times[-1]), begin)
        followed = track(path, _stage(progress), which, mesh=True, part=(begin, end + 1.0 / 24))
        meshes = followed.mesh
        assert meshes is not None
        rate = float(followed.fps)
        numbers = np.clip(np.floor((times + since - begin) * rate + 0.5 + 1e-6), 0, len(meshes) - 1).astype(np.int64)
        meshes, found = meshes[: numbers.max() + 1], followed.found[: numbers.max() + 1]
        if not found.any():
            raise InputError(f"No face was found in {path} where the sound is: choose another part of it.")
        return cls(
            path,
            sha256(path),
            since,
            followed.fps,
            followed.size,
            numbers,
            meshes,
            found,
            _reference(meshes[:, IBUG], found),
        )

    def ends_before(self, time: float) -> bool:
        """Whether its last frame stays at `time` s of the take because there are no more."""
        return (time + min(self.since, 0.0)) * float(self.fps) + 0.5 >= len(self.meshes)

    @property
    def landmarks(self) -> np.ndarray:
        """(T, 68, 3) px: what the film's own face does."""
        return self.meshes[self.numbers][:, IBUG]

    @property
    def seen(self) -> np.ndarray:
        """(T,) whether the face is seen in what each frame shows."""
        return self.found[self.numbers]

    @property
    def closed(self) -> np.ndarray:
        """(n, 68, 3) px: the frames with the lips nearest."""
        points = self.meshes[self.found][:, IBUG]
        return points[np.argsort(gaps(points))[: max(3, round(CLOSED * len(points)))]]

    @property
    def face(self) -> Face:
        """The reference frame's."""
        return find.face_of(self.meshes[self.reference], 1.0)

    @property
    def fingerprint(self) -> str:
        """Of all that decides what is behind the mouth."""
        digest = hashlib.sha256(f"{self.sha256} {self.since} {self.fps} {self.size}".encode())
        digest.update(" ".join(mouth.fingerprint for mouth in self.mouths).encode())
        for array in (self.numbers, self.meshes, self.found):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def picture(self) -> Picture:
        """The reference frame. Raises InputError."""
        return Picture(self.frame(self.reference), None, self.path, f"{self.sha256}/{self.reference}/{self.size}")

    def frame(self, number: int) -> Pixels:
        """One of the film's frames (H, W, 3). Raises InputError."""
        return self._sized(frames_at(self.path, [0], self._part(number))[0])

    def frames(self, first: int = 0) -> Iterator[tuple[int, Pixels]]:
        """(number, frame) of all of them from `first` on, in order. Raises InputError."""
        count = len(self.meshes) - first
        for number, rgb in frames_in_order(self.path, list(range(count)), self._part(first)):
            yield first + number, self._sized(rgb)

    def _part(self, first: int = 0) -> tuple[float, float]:
        """The film's seconds from frame `first` on."""
        begin = max(self.since, 0.0)
        return begin + first / float(self.fps), begin + (len(self.meshes) + 1) / float(self.fps)

    def _sized(self, rgb: Pixels) -> Pixels:
        return rgb if self.scale == 1.0 else cv2.resize(rgb, self.size, interpolation=cv2.INTER_AREA)

    def smaller(self, side: int | None) -> "Plate":
        """With a longer side of at most `side` px."""
        if not side or side >= max(self.size):
            return self
        factor = side / max(self.size)
        width, height = (max(1, round(n * factor)) for n in self.size)
        meshes = self.meshes * np.float32(factor)
        return replace(self, size=(width, height), meshes=meshes, scale=self.scale * factor)

    def with_mouths(self) -> "Plate":
        """With what the film shows of its mouth. Raises InputError."""
        points = self.meshes[:, IBUG]
        lips = points[:, 48:, :2]
        there = np.flatnonzero(self.found & ((lips >= 0) & (lips <= np.array(self.size) - 1)).all((1, 2)))
        if not len(there):
            return self
        showing = there[medoids(shapes(points[there]), MOUTHS)]
        seen = frames_in_order(self.path, showing.tolist(), self._part())
        size = max(FINE, size_for(SPAN * Frame.of(points[self.reference]).unit))
        mouths = tuple(Pattern.of(self._sized(rgb), points[number], size) for number, rgb in seen)
        return replace(self, showing=showing, mouths=mouths)

    def save(self, path: Path) -> None:
        """Writes the npz beside and renames it. Raises OutputError."""
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(
                file,
                numbers=self.numbers,
                meshes=self.meshes,
                found=self.found,
                reference=np.array(self.reference),
                since=np.array(self.since),
                fps=np.array([self.fps.numerator, self.fps.denominator]),
                size=np.array(self.size),
                scale=np.array(self.scale),
                sha256=np.frombuffer(self.sha256.encode(), np.uint8),
                showing=self.showing,
                mouths=np.array([mouth.pixels for mouth in self.mouths], np.uint8),
                mouth_points=np.array([mouth.landmarks for mouth in self.mouths], np.float32),
            )

    @classmethod
    def load(cls, path: Path, film: Path) -> "Plate":
        """Of a take, whose film is `film`. Raises InputError."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            numbers, meshes, found = arrays["numbers"], arrays["meshes"], arrays["found"]
            nothing = np.zeros(0, np.int64)  # takes of the first days keep no mouths
            squares, points, showing = (arrays.get(name, nothing) for name in ("mouths", "mouth_points", "showing"))
            known = cls(
                film,
                arrays["sha256"].tobytes().decode("ascii"),
                float(arrays["since"]),
                Fraction(*(int(n) for n in arrays["fps"])),
                (int(arrays["size"][0]), int(arrays["size"][1])),
                numbers,
                meshes,
                found,
                int(arrays["reference"]),
                float(arrays["scale"]),
                showing,
                tuple(Pattern(*pair) for pair in zip(squares, points, strict=True)),
            )
            sizes = (FINE, FINE, 3), (2 * FINE, 2 * FINE, 3)
            if len(squares) and (squares.shape[1:] not in sizes or points.shape[1:] != (68, 2)):
                raise ValueError("its mouths have other shapes")
            if meshes.shape[1:] != (478, 3) or not 0 <= numbers.min() <= numbers.max() < len(meshes) == len(found):
                raise ValueError("its arrays do not belong together")
        except FileNotFoundError:
            raise InputError(f"{path.parent} was made from a film and has no {path.name}: generate it again.") from None
        except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as problem:
            raise InputError(f"{path} is damaged ({problem}): generate the take again.") from problem
        if sha256(film) != known.sha256:
            raise InputError(f"{film} is not the film {path.parent} was made from any more: bring that one back.")
        return known


class Moving:
    """A film's frames, rendered by several threads that ask for rising indices of a take."""

    def __init__(self, plate: Plate, reference: Renderer, threads: int, exact: bool = False) -> None:
        """`reference`: of the plate's picture. `exact`: frames of more than 8 bits, float32, where 255 is white."""
        self.plate, self.exact = plate, exact
        self.renderer = PlateRenderer(reference, plate.mouths)
        self.device = reference.device
        self.fingerprint = f"{self.renderer.fingerprint} {plate.fingerprint}"
        self.coming = plate.frames()
        self.read: OrderedDict[int, Pixels] = OrderedDict()
        self.keep = KEPT + 2 * threads
        self.lock = threading.Lock()

    def render(self, index: int, landmarks: np.ndarray, gaze: np.ndarray = AHEAD) -> Pixels:
        """The take's frame `index` at `landmarks` (68, 3) px."""
        number = int(self.plate.numbers[index])
        return self.renderer.render(self._kind(self._frame(number)), self.plate.meshes[number], landmarks, gaze)

    def mattes(self, index: int, landmarks: np.ndarray) -> dict[str, Pixels]:
        """As `Renderer.mattes`."""
        number = int(self.plate.numbers[index])
        picture = Picture(self._frame(number), None, self.plate.path, "")
        made = Renderer(picture, find.face_of(self.plate.meshes[number], 1.0), self.device).mattes(landmarks)
        return {name: self._kind(matte) for name, matte in made.items()}

    def _kind(self, pixels: Pixels) -> Pixels:
        return pixels.astype(np.float32) if self.exact else pixels

    def _frame(self, number: int) -> Pixels:
        with self.lock:
            if number > next(reversed(self.read), -1) + SKIPPED:
                self.coming = self.plate.frames(number)
            while number not in self.read and number > next(reversed(self.read), -1):
                there, rgb = next(self.coming)
                self.read[there] = rgb
                while len(self.read) > self.keep:
                    self.read.popitem(last=False)
            kept = self.read.get(number)
        return self.plate.frame(number) if kept is None else kept


class Still:
    """A portrait's renderer, asked as `Moving` is."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self.fingerprint = renderer.fingerprint

    def render(self, index: int, landmarks: np.ndarray, gaze: np.ndarray = AHEAD) -> Pixels:
        """The same for every index."""
        return self.renderer.render(landmarks, gaze)

    def mattes(self, index: int, landmarks: np.ndarray) -> dict[str, Pixels]:
        """The same for every index."""
        return self.renderer.mattes(landmarks)


def gaps(landmarks: np.ndarray) -> np.ndarray:
    """(n,) canonical units between the inner lips of landmarks (n, 68, 3) px."""
    canonical = to_canonical(landmarks)[0]
    return np.asarray((canonical[:, INNER_UPPER, 1] - canonical[:, INNER_LOWER, 1]).mean(1))


def _reference(landmarks: np.ndarray, found: np.ndarray) -> int:
    """Of frames with closed lips the one in which the head is held most as in all of them."""
    there = np.flatnonzero(found)
    apart = gaps(landmarks[there])
    turns = to_canonical(landmarks[there])[1].rotation
    closed = apart <= max(NEAR, float(np.percentile(apart, 10)))
    turned = np.linalg.norm(turns - np.median(turns, axis=0), axis=1)
    return int(there[np.argmin(np.where(closed, turned, np.inf))])


def _stage(progress: Progress) -> Progress:
    """Under the name the stage has in a take."""
    return lambda stage, done, total: progress("film", done, total)
