"""A style on disk and in use: how somebody rests and moves, as safetensors with a format version.

A style bends the codes of the shipped network; it cannot change *when* a mouth closes. Reads what earlier versions
wrote. How a style is made: `extract.py`; by fine-tuning: `transfer.py`.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from engine.errors import InputError, OutputError
from engine.render.pattern import FINE, Pattern
from engine.style.adapter import Adapter
from engine.tensors import packed

FORMAT = "parlando-style-2"
READ = ("parlando-style-1", FORMAT)
SHAPES: dict[str, tuple[int, ...] | None] = {"rest": (68, 3), "gains": None, "head": (1,)}
CLOSED = 0.02  # canonical units of lip opening up to which no style opens or closes a mouth
FREE, WIDEST = 0.22, 0.36  # canonical units of lip opening: as wide as speech goes, and as mouths go
LEAST = 0.2  # of any amplitude, at whatever strength


def _none() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Style:
    """The style code, and what it was made from.

    rest: (68, 3) float32 canonical offsets of the resting expression. gains: (K,) amplitude of each motion code, 1 is
    how the shipped network speaks. head, brows: amplitude of their motion, 1 as in the bank. relax: how much of a
    portrait's own expression gives way to `rest`, 0 to 1. slope, shift: (K,) what is added to each code but the opening
    per unit of opening and while talking: the balance of lips and jaw; empty for none. references: (n, 68, 3) pixels of
    the frames nearest the templates None, M, R, O, `frames` (n,) their numbers, `distances` (n,) how near; or empty.
    mouths: (n, 256, 256, 3) uint8 what these frames' mouths show, `mouth_points` (n, 68, 2) their landmarks in there,
    as `engine/render/pattern.py` has it; or empty. adapter: what style transfer learned, or None. about: a line that
    says what it is like and made from; or empty.
    """

    name: str
    rest: np.ndarray
    gains: np.ndarray
    head: float
    brows: float = 1.0
    relax: float = 0.0
    slope: np.ndarray = field(default_factory=_none)
    shift: np.ndarray = field(default_factory=_none)
    references: np.ndarray = field(default_factory=_none)
    frames: np.ndarray = field(default_factory=_none)
    distances: np.ndarray = field(default_factory=_none)
    mouths: np.ndarray = field(default_factory=_none)
    mouth_points: np.ndarray = field(default_factory=_none)
    adapter: Adapter | None = None
    about: str = ""

    @property
    def patterns(self) -> list[Pattern]:
        """What the reference frames' mouths show; none for a style that was made without pictures."""
        return [Pattern(*pair) for pair in zip(self.mouths, self.mouth_points, strict=True)]

    def bend_codes(self, codes: np.ndarray, talking: np.ndarray, strength: float) -> np.ndarray:
        """Codes (n, K) in this style; `talking` (n,) 0 in pauses to 1. `strength` γ: 0 none of it, 1 as measured, up to
        1.5 beyond. Lips that are closed stay closed and no others close."""
        if codes.shape[-1] != len(self.gains):
            raise InputError(
                f"The style {self.name} was made for another motion network ({len(self.gains)} codes, this one has "
                f"{codes.shape[-1]}); make it again from its clip with `parlando style`."
            )
        out = codes * np.maximum(LEAST, 1 + strength * (self.gains - 1)).astype(np.float32)
        if len(self.shift):
            out += (strength * talking[:, None] * self.shift).astype(np.float32)
        if len(self.slope):
            out += (strength * np.maximum(codes[:, :1], 0) * self.slope).astype(np.float32)
        opening = codes[:, 0]
        beyond = np.maximum(LEAST, 1 + strength * (self.gains[0] - 1)) * (opening - CLOSED) + CLOSED
        out[:, 0] = np.where(opening > CLOSED, within(beyond), opening)
        return out

    def resting(self, strength: float) -> np.ndarray:
        """(68, 3) float32: what to add to every frame."""
        return (strength * self.rest).astype(np.float32)

    def head_scale(self, strength: float) -> float:
        """By how much head motion is multiplied."""
        return max(0.0, 1 + strength * (self.head - 1))

    def brow_scale(self, strength: float) -> float:
        """By how much the motion of brows is multiplied."""
        return max(0.0, 1 + strength * (self.brows - 1))


def within(opening: np.ndarray) -> np.ndarray:
    """Lip openings, those beyond FREE bent so that they stay below WIDEST, however strong a style is."""
    room = WIDEST - FREE
    return np.where(opening > FREE, WIDEST - room * np.exp(-(np.maximum(opening, FREE) - FREE) / room), opening)


def save(style: Style, path: str | Path) -> None:
    """Write it whole or not at all. `OutputError` when it cannot be written."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    tensors = {
        "rest": style.rest.astype(np.float32),
        "gains": style.gains.astype(np.float32),
        "head": np.array([style.head], np.float32),
        "brows": np.array([style.brows], np.float32),
        "relax": np.array([style.relax], np.float32),
    }
    for name in ("slope", "shift", "references", "distances"):
        if len(value := getattr(style, name)):
            tensors[name] = np.ascontiguousarray(value, np.float32)
    if len(style.frames):
        tensors["frames"] = style.frames.astype(np.int32)
    if len(style.mouths):
        tensors |= {"mouths": style.mouths, "mouth_points": style.mouth_points.astype(np.float32)}
    if style.adapter is not None:
        tensors |= style.adapter.tensors()
    metadata = {"format": FORMAT, "name": style.name} | ({"about": style.about} if style.about else {})
    try:
        part.write_bytes(packed(tensors, metadata))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"The style cannot be written to {path} ({error.strerror}); choose another folder."
        ) from error


SHIPPED = Path(__file__).resolve().parent.parent / "styles"


def named(style: str | Path | None) -> Path | None:
    """The file of a style: of one that comes with Parlando its name is enough, if no file here is called so."""
    if style is None:
        return None
    path = Path(style)
    own = SHIPPED / f"{str(style).lower()}.safetensors"
    return own if not path.exists() and path.parent == Path() and own.is_file() else path


def load(path: str | Path) -> Style:
    """A style file. `InputError` when it is missing, damaged, of another version or not a style."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The style file {path} does not exist; choose another file.")
    try:
        with safetensors.safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a style file or is damaged; make it again with `parlando style`.") from error
    form = metadata.get("format", "")
    if not form.startswith("parlando-style-"):
        raise InputError(f"{path} is not a style file; choose one that `parlando style` made.")
    if form not in READ:
        raise InputError(
            f"{path} is a style of another version ({form}, this engine reads {FORMAT}); make it again from its clip "
            "with `parlando style`."
        )
    try:
        if not _whole(tensors):
            raise ValueError("tensors")
        adapter = Adapter.of(tensors, len(tensors["gains"]))
    except ValueError as error:
        raise InputError(f"{path} is a damaged style file; make it again with `parlando style`.") from error
    amount = {name: float(tensors[name][0]) for name in ("head", "brows", "relax") if name in tensors}
    kept = ("slope", "shift", "references", "frames", "distances", "mouths", "mouth_points")
    arrays = {name: tensors.get(name, _none()) for name in kept}
    return Style(
        metadata.get("name", path.stem),
        tensors["rest"],
        tensors["gains"],
        amount["head"],
        amount.get("brows", 1.0),
        amount.get("relax", 0.0),
        arrays["slope"],
        arrays["shift"],
        arrays["references"],
        arrays["frames"],
        arrays["distances"],
        arrays["mouths"],
        arrays["mouth_points"],
        adapter,
        metadata.get("about", ""),
    )


def _whole(tensors: dict[str, np.ndarray]) -> bool:
    """Whether a style can be made of these."""
    shapes = dict(SHAPES)
    codes = tensors["gains"].shape if "gains" in tensors else (0,)
    shapes |= {name: (1,) for name in ("brows", "relax") if name in tensors}
    shapes |= {name: codes for name in ("slope", "shift") if name in tensors}
    if "references" in tensors:
        count = len(tensors["references"])
        shapes |= {"references": (count, 68, 3), "frames": (count,), "distances": (count,)}
    if "mouths" in tensors:
        count = len(tensors["mouths"])
        shapes |= {"mouths": (count, FINE, FINE, 3), "mouth_points": (count, 68, 2)}
    for name, shape in shapes.items():
        value = tensors.get(name)
        if value is None or (shape is not None and value.shape != shape) or not np.isfinite(value).all():
            return False
    return len(codes) == 1
