"""Files frames and mattes are written as: 8- and 16-bit PNG, half-float EXR. Colour on the way in and out of them.

`PNG` and `PNG16` hold display-referred sRGB. `EXR` does too, or scene-linear Rec. 709 where `linear`; both go beyond
white. Alpha is straight in all of them. Every file carries the hash of what made it. Which pixels go into a frame is
decided in `engine/render`, where files lie in `engine/take.py`.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, OutputError

Array = NDArray[np.floating]

NAMES = ("png", "png16", "exr")
MAGIC = b"\x76\x2f\x31\x01"  # of an EXR file
HASH = "parlando:frame"  # EXR header: the frame's hash
ALPHA = "parlando:alpha"  # "straight"; an EXR without it has premultiplied colours, as is usual
TRANSFER = "parlando:transfer"  # "linear" or "sRGB"
BRIGHTEST = 65504.0  # of a half float
REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)  # red, green, blue and white: x and y of each
_LINES = {0: 1, 1: 1, 2: 1, 3: 16}  # EXR compression (none, RLE, ZIPS, ZIP): lines in a chunk


@dataclass(frozen=True)
class Format:
    """How frames are written."""

    name: str = "png"
    linear: bool = False

    @classmethod
    def named(cls, name: str, linear: bool = False) -> "Format":
        """Checked. Raises InputError."""
        if name not in NAMES:
            raise InputError(f"{name!r} is not a format of frames: choose {', '.join(NAMES[:-1])} or {NAMES[-1]}.")
        if linear and name != "exr":
            raise InputError(f"Linear frames need the format exr: a {name} holds display-referred colours.")
        if name == "exr":
            _openexr()
        return cls(name, linear)

    @property
    def deep(self) -> bool:
        """Whether it holds more than 8 bits."""
        return self.name != "png"

    @property
    def suffix(self) -> str:
        """Of its files."""
        return ".exr" if self.name == "exr" else ".png"

    @property
    def mark(self) -> str:
        """What tells its frames' hashes from another format's; empty for the usual one."""
        return "" if not self.deep else f" {self.name}" + (" linear" if self.linear else "")

    def pixels(self, frame: NDArray[Any]) -> NDArray[Any]:
        """A frame (H, W, 3 or 4) or matte (H, W) as the file holds it. 8-bit, or float32 where 255 is white."""
        if not self.deep:
            return to_8_bit(frame)
        share = frame.astype(np.float32) / 255
        if self.name == "png16":
            return np.rint(np.clip(share, 0, 1) * 65535).astype(np.uint16)
        if self.linear and share.ndim == 3:
            share[..., :3] = to_linear(share[..., :3])
        return np.clip(share, -BRIGHTEST, BRIGHTEST).astype(np.float16)


def to_8_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Floats where 255 is white, rounded and clipped."""
    return values if values.dtype == np.uint8 else np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def to_linear(encoded: Array) -> Array:
    """sRGB → light. The curve goes on above 1, and is mirrored below 0."""
    size = np.abs(encoded)
    return (np.sign(encoded) * np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4)).astype(
        np.float32
    )


def to_srgb(linear: Array) -> Array:
    """Light → sRGB, the way back of `to_linear`."""
    size = np.abs(linear)
    return (np.sign(linear) * np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055)).astype(
        np.float32
    )


def write_exr(path: Path, pixels: NDArray[np.float16], texts: Mapping[str, str], linear: bool) -> None:
    """Half floats (H, W), (H, W, 3) or (H, W, 4) with `texts` in the header. Raises OutputError, OSError."""
    openexr = _openexr()
    header = {
        "compression": openexr.ZIP_COMPRESSION,
        "type": openexr.scanlineimage,
        "chromaticities": REC709,
        ALPHA: "straight",
        TRANSFER: "linear" if linear else "sRGB",
        **texts,
    }
    names = {1: "Y", 3: "RGB", 4: "RGBA"}[1 if pixels.ndim == 2 else pixels.shape[2]]
    channels = {
        name: np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1)[..., i]) for i, name in enumerate(names)
    }
    with open(path, "wb"):
        pass  # the system's own refusal, which tells what is wrong, before the library's
    try:
        with openexr.File(header, channels) as file:
            file.write(str(path))
    except RuntimeError as problem:
        raise OutputError(f"{path} cannot be written as EXR ({problem}): is the disk full?") from problem


def read_exr(path: Path) -> tuple[Array, Array | None]:
    """Colours (H, W, 3) float32, sRGB-encoded with 1 as white and beyond, straight, and alpha (H, W) or None.

    The first layer with R, G and B, else Y alone; other primaries than Rec. 709's are converted. Raises InputError.
    """
    openexr = _openexr()
    try:
        with openexr.File(str(path), separate_channels=True) as file:
            header = dict(file.header())
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except Exception as problem:  # the library raises what it likes on damaged files
        raise InputError(f"The picture {path} is damaged or cut short: save or copy it again.") from problem
    layer = next(
        (name[:-1] for name in sorted(channels, key=len) if name.endswith("R") and _has_rgb(channels, name)), None
    )
    if layer is not None:
        colours = np.dstack([channels[layer + name] for name in "RGB"]).astype(np.float32)
    elif "Y" in channels and "RY" not in channels:
        colours = np.repeat(channels["Y"].astype(np.float32)[..., None], 3, axis=2)
    else:
        raise InputError(f"The picture {path} has no channels R, G and B: save it as an RGB or RGBA EXR.")
    alpha = channels.get(f"{layer or ''}A")
    alpha = None if alpha is None else np.clip(np.nan_to_num(alpha.astype(np.float32)), 0.0, 1.0)
    colours = np.nan_to_num(colours, nan=0.0, posinf=BRIGHTEST, neginf=-BRIGHTEST)
    if alpha is not None and header.get(ALPHA) != "straight":
        colours = np.divide(colours, alpha[..., None], out=colours, where=alpha[..., None] > 0)
    colours, alpha = _displayed(header, colours, alpha)
    if header.get(TRANSFER) != "sRGB":
        primaries = tuple(np.ravel(header.get("chromaticities", REC709)).astype(float))
        if not np.allclose(primaries, REC709, atol=2e-3):
            colours = colours @ (np.linalg.inv(_to_xyz(REC709)) @ _to_xyz(primaries)).T.astype(np.float32)
        colours = to_srgb(colours)
    return colours, alpha


def _has_rgb(channels: Mapping[str, Any], red: str) -> bool:
    names = [red[:-1] + name for name in "RGB"]
    return all(name in channels and channels[name].shape == channels[red].shape for name in names)


def _displayed(header: Mapping[str, Any], colours: Array, alpha: Array | None) -> tuple[Array, Array | None]:
    """What of the stored pixels the picture shows: its display window, transparent where nothing is stored."""
    stored, shown = header["dataWindow"], header["displayWindow"]
    if all(np.array_equal(a, b) for a, b in zip(stored, shown, strict=True)):
        return colours, alpha
    width, height = (np.asarray(shown[1]) - shown[0] + 1).tolist()
    left, top = (np.asarray(stored[0]) - shown[0]).tolist()
    whole = np.zeros((height, width, 4), np.float32)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + colours.shape[1]), min(height, top + colours.shape[0])
    if x0 < x1 and y0 < y1:
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        whole[y0:y1, x0:x1, :3] = colours[part]
        whole[y0:y1, x0:x1, 3] = 1.0 if alpha is None else alpha[part]
    opaque = alpha is None and bool(whole[..., 3].all())
    return np.ascontiguousarray(whole[..., :3]), None if opaque else np.ascontiguousarray(whole[..., 3])


def _to_xyz(primaries: tuple[float, ...]) -> Array:
    """(3, 3): linear colours of these primaries → XYZ, its white brought to D65 (Bradford)."""
    xy = np.array(primaries, np.float64).reshape(4, 2)
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(1)) / xy[:, 1]])
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    white = np.array([REC709[6] / REC709[7], 1.0, (1 - REC709[6] - REC709[7]) / REC709[7]])
    return np.linalg.inv(cones) @ np.diag((cones @ white) / (cones @ xyz[:, 3])) @ cones @ matrix


def exr_header(path: Path) -> dict[str, str] | None:
    """The texts in the header of a whole EXR of ours; None when absent, cut short or of another kind.

    Reads a few hundred bytes: a long take is looked through at once.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            size = file.seek(0, 2)
            if head[:4] != MAGIC:
                return None
            at, texts, height, lines = 8, {}, 0, 0
            while head[at] != 0:
                name, kind, _ = head[at:].split(b"\0", 2)
                at += len(name) + len(kind) + 2
                length = int(struct.unpack_from("<i", head, at)[0])
                value = head[at + 4 : at + 4 + length]
                at += 4 + length
                if kind == b"string":
                    texts[name.decode("latin-1")] = value.decode("utf-8")
                elif kind == b"box2i" and name == b"dataWindow":
                    _, top, _, bottom = struct.unpack("<4i", value)
                    height = bottom - top + 1
                elif kind == b"compression":
                    lines = _LINES[value[0]]
            chunks = -(-height // lines)
            file.seek(at + 1)
            last = max(struct.unpack(f"<{chunks}Q", file.read(8 * chunks)))
            file.seek(last + 4)
            (length,) = struct.unpack("<i", file.read(4))
    except (OSError, IndexError, KeyError, ValueError, ZeroDivisionError, struct.error):
        return None
    return texts if size >= last + 8 + length else None


def _openexr() -> Any:
    """The library, where it is asked for: nothing else needs it."""
    try:
        import OpenEXR
    except ImportError as problem:
        raise InputError(
            "EXR needs the package OpenEXR, which the engine's environment does not have: install the engine again in "
            "Parlando's preferences, or choose another format."
        ) from problem
    return OpenEXR
