"""What each verb may be asked: its options, of what kind they are and how far they go.

A request is checked when it is made, whoever makes it: the command line, a line of a list, or Blender by way of
`engine/serve.py`. Whether files are there and hold what they should is found out by the job.
"""

from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from engine.errors import InputError

MOST_FRAMES = 999_999  # as many as have names of six digits
MOUTHS = "own", "inside", "style"
LIMITS: dict[str, tuple[float, float]] = {
    "strength": (0.0, 1.5),
    "head": (0.0, 2.0),
    "blinks": (0.0, 2.0),
    "brows": (0.0, 2.0),
    "gaze": (0.0, 1.0),
    "shoulders": (0.0, 2.0),
    "fps": (1, 240),
    "frames": (1, MOST_FRAMES),
    "seed": (0, 2**32 - 1),
    "face": (0, 9999),
    "side": (64, 100_000),
    "fit": (0.0, 3600.0),
    "number": (0, MOST_FRAMES),
    "since": (-86400.0, 86400.0),
}
HUGE = 1e300  # no number in use comes near, NaN is not below it
CALLED = {
    Path: "a file's name",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Fraction: "a frame rate",
}
LISTS = {"landmarks": "68 points of three numbers", "points": "68 points of numbers", "gaze": "two numbers"}


@dataclass(frozen=True)
class Request:
    """What is common to all. Raises InputError, when one is made, for the first value that cannot be."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            _check(name, getattr(self, name), hint)

    @classmethod
    def of(cls, params: dict[str, Any]) -> Self:
        """From JSON, where a path is a string and a fraction a pair. Raises InputError."""
        hints = get_type_hints(cls)
        if unknown := params.keys() - hints.keys():
            raise InputError(f"There is no option {', '.join(sorted(unknown))} here: it can be {', '.join(hints)}.")
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if missing := needed - params.keys():
            raise InputError(f"The option {', '.join(sorted(missing))} is missing.")
        return cls(**{name: _from_json(value, hints[name]) for name, value in params.items()})


@dataclass(frozen=True)
class DubRequest(Request):
    """What `dub` is asked. Amounts of head motion, blinks, brows, shoulders and gaze: 0 is off, 1 as in life."""

    audio: Path
    image: Path
    out: Path
    style: Path | None = None
    strength: float = 1.0  # γ
    fps: Fraction = Fraction(25)
    frames: int | None = None  # overrides T = round(duration × fps)
    seed: int = 0
    head: float = 1.0
    blinks: float = 1.0
    brows: float = 1.0
    gaze: float = 1.0  # how far eyes stay on their point while the head turns
    face: int = 0  # 0 is the largest
    preview: bool = True
    format: str = "png"  # of the frames: png, png16, exr
    linear: bool = False  # light instead of sRGB, in exr
    mattes: bool = False  # of head, face and mouth too
    points: list[list[float]] | None = None  # the portrait's 68 landmarks as somebody placed them, px
    # What a mouth shows: the portrait's "own", the "inside" of the style's, or that and its lips: "style".
    mouth: str = "own"
    side: int | None = None  # longer side of the frames, where they shall be smaller than the portrait
    shoulders: float = 1.0  # how far they follow the head
    since: float = 0.0  # s of a film that is the portrait at which the sound begins


@dataclass(frozen=True)
class RestyleRequest(Request):
    """What `restyle` is asked."""

    take: Path  # made by `dub`
    out: Path  # landmarks.npz
    style: Path | None = None
    strength: float = 1.0  # γ


@dataclass(frozen=True)
class RenderRequest(Request):
    """What `render` is asked."""

    landmarks: Path
    image: Path
    out: Path
    style: Path | None = None
    take: Path | None = None  # an older take whose unchanged frames are shared
    audio: Path | None = None  # for the preview; without it the older take's sound
    face: int = 0
    preview: bool = True
    format: str = "png"
    linear: bool = False
    mattes: bool = False
    points: list[list[float]] | None = None
    mouth: str = "own"  # an older take's is kept, whatever it was


@dataclass(frozen=True)
class FrameRequest(Request):
    """What `frame` is asked."""

    landmarks: list[list[float]]  # 68 × (x, y, z) px of the portrait
    image: Path
    out: Path  # a PNG
    gaze: list[float] | None = None  # degrees to the picture's right and up
    take: Path | None = None  # made from the same portrait: it knows the face
    face: int = 0
    side: int | None = None  # longer side of the picture made, where that shall be smaller than the portrait
    number: int | None = None  # which of the take's frames, from 0, where the portrait is a film

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.landmarks) != 68 or any(len(point) != 3 for point in self.landmarks):
            raise _no("landmarks", self.landmarks, LISTS["landmarks"])
        if self.gaze is not None and len(self.gaze) != 2:
            raise _no("gaze", self.gaze, LISTS["gaze"])


@dataclass(frozen=True)
class LandmarksRequest(Request):
    """What `landmarks` is asked."""

    source: Path  # a video or picture
    out: Path
    face: int = 0


@dataclass(frozen=True)
class PointsRequest(Request):
    """What `points` is asked."""

    image: Path
    face: int = 0


@dataclass(frozen=True)
class PhonesRequest(Request):
    """What `phones` is asked."""

    audio: Path
    out: Path
    words: str | None = None  # what is said; guessed without


@dataclass(frozen=True)
class StyleRequest(Request):
    """What `style` is asked."""

    source: Path  # a video or a folder of pictures
    name: str
    out: Path
    start: float | None = None  # s: a part of the video
    end: float | None = None
    fit: float = 0.0  # s that style transfer may take
    audio: Path | None = None  # what is said in the clip, instead of its own sound

    @property
    def part(self) -> tuple[float, float] | None:
        """From which second to which; None for all of it."""
        return None if self.end is None else (self.start or 0.0, self.end)


@dataclass(frozen=True)
class UnitsRequest(Request):
    """What `units` is asked."""

    landmarks: Path
    out: Path


@dataclass(frozen=True)
class HeadRequest(Request):
    """What `head` is asked."""

    out: Path
    wheels: Path | None = None  # a folder of them, instead of the network


@dataclass(frozen=True)
class DoctorRequest(Request):
    """What `doctor` is asked."""

    fetch: bool = False
    wheels: Path | None = None


def _check(name: str, value: Any, hint: Any) -> None:
    """Raises InputError where a value is not of its kind or goes too far."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None and NoneType in kinds:
        return
    if not _fits(value, kinds[0]):
        raise _no(name, value, CALLED.get(kinds[0]) or LISTS[name])
    if name in LIMITS and not isinstance(value, list):
        low, high = LIMITS[name]
        if not low <= value <= high:
            told = f"{value:g}" if isinstance(value, float) else value
            raise InputError(f"{name} is {told}, it goes from {low:.10g} to {high:.10g}.")
    if name == "mouth" and value not in MOUTHS:
        raise InputError(f"mouth is {value}: it is {', '.join(MOUTHS)}.")


def _no(name: str, value: Any, called: str) -> InputError:
    return InputError(f"{name} is {value!r:.80}, not {called}.")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(one, get_args(hint)[0]) for one in value)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if hint is float:
        return isinstance(value, int | float) and -HUGE < value < HUGE
    return isinstance(value, hint) and not (hint is Path and "\0" in str(value))


def _from_json(value: Any, hint: Any) -> Any:
    """As the request holds it; what cannot be is left for `_check` to tell."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if Fraction in kinds and isinstance(value, list) and [type(part) for part in value] == [int, int] and value[1]:
        return Fraction(*value)
    return value
