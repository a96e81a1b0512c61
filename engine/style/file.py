"""A style on disk and in use: how somebody rests and how large they move, as safetensors with a format version.

This first style is statistics only: a resting expression and one amplitude per motion code and for the head. It cannot
change *when* or *which way* a mouth moves: that is the style encoder's work, which is not here yet.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from engine.errors import InputError, OutputError

FORMAT = "parlando-style-1"
SHAPES = {"rest": (68, 3), "gains": None, "head": (1,)}


@dataclass(frozen=True)
class Style:
    """rest: (68, 3) float32 canonical offsets of the resting expression. gains: (K,) amplitude of each motion code, 1
    is how the shipped network speaks. head: amplitude of head motion, 1 as in the bank."""

    name: str
    rest: np.ndarray
    gains: np.ndarray
    head: float

    def scale_codes(self, codes: np.ndarray, strength: float) -> np.ndarray:
        """Codes (n, K) with this style's amplitudes; `strength` γ: 0 none of it, 1 as measured, up to 1.5 beyond."""
        if codes.shape[-1] != len(self.gains):
            raise InputError(
                f"The style {self.name} was made for another motion network ({len(self.gains)} codes, this one has "
                f"{codes.shape[-1]}); make it again from its clip with `parlando style`."
            )
        return codes * np.maximum(0.2, 1 + strength * (self.gains - 1)).astype(np.float32)

    def resting(self, strength: float) -> np.ndarray:
        """(68, 3) float32: what to add to every frame."""
        return (strength * self.rest).astype(np.float32)

    def head_scale(self, strength: float) -> float:
        """By how much head motion is multiplied."""
        return max(0.0, 1 + strength * (self.head - 1))


def save(style: Style, path: str | Path) -> None:
    """Write it whole or not at all. `OutputError` when it cannot be written."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    tensors = {
        "rest": style.rest.astype(np.float32),
        "gains": style.gains.astype(np.float32),
        "head": np.array([style.head], np.float32),
    }
    try:
        part.write_bytes(safetensors.numpy.save(tensors, {"format": FORMAT, "name": style.name}))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"The style cannot be written to {path} ({error.strerror}); choose another folder."
        ) from error


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
    if form != FORMAT:
        raise InputError(
            f"{path} is a style of another version ({form}, this engine reads {FORMAT}); make it again from its clip "
            "with `parlando style`."
        )
    for name, shape in SHAPES.items():
        value = tensors.get(name)
        if value is None or (shape is not None and value.shape != shape) or not np.isfinite(value).all():
            raise InputError(f"{path} is a damaged style file; make it again with `parlando style`.")
    return Style(metadata.get("name", path.stem), tensors["rest"], tensors["gains"], float(tensors["head"][0]))
