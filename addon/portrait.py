"""The portrait as a file the engine can read: a file as it is; datablocks that exist only in Blender as a copy. It may
be a movie, whose frames then get another mouth.

Pixels are handed over as they are displayed (sRGB, straight alpha), never through the scene's view transform.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import audio, compat, movies, strips
from .problem import Problem

STRIPS = {"IMAGE", "MOVIE"}
_FLOAT_SUFFIXES = {".exr", ".hdr"}  # linear files: handed over as the sRGB picture Blender shows


def why_none(scene: bpy.types.Scene) -> str:
    """Why there is no portrait, for a greyed button; empty when there is one."""
    settings = scene.parlando
    if settings.portrait_source == "STRIP":
        strip = strips.by_name(scene, settings.portrait_strip)
        if strip is None or strip.type not in STRIPS:
            return "Choose the image strip of the portrait, or a movie strip"
    elif settings.portrait_source == "IMAGE":
        if settings.portrait_image is None:
            return "Choose the portrait's image"
    elif not settings.portrait_file:
        return "Choose a portrait"
    return ""


def is_movie(scene: bpy.types.Scene) -> bool:
    """Whether it is a film: head, eyes and brows are the film's then."""
    settings = scene.parlando
    if settings.portrait_source == "FILE":
        return Path(settings.portrait_file).suffix.lower() in bpy.path.extensions_movie
    strip = strip_of(scene)
    return strip is not None and strip.type == "MOVIE"


def second_of(scene: bpy.types.Scene, sound: Any, frame: int) -> float:
    """The second of the portrait's film that belongs to a frame of the timeline; of a film chosen as a file, which has
    no place there, it begins with the sound. Raises Problem."""
    if not is_movie(scene):
        return 0.0
    strip = strip_of(scene)
    if strip is None:
        return float((frame - compat.left(sound)) / audio.fps_of(scene))
    return movies.second_at(scene, strip, frame)


def strip_of(scene: bpy.types.Scene) -> Any | None:
    """The portrait's image strip where it comes from one."""
    settings = scene.parlando
    return strips.by_name(scene, settings.portrait_strip) if settings.portrait_source == "STRIP" else None


def file_of(scene: bpy.types.Scene, folder: Path) -> Path:
    """The portrait's file; written into `folder` when it is only in Blender. Raises Problem."""
    if reason := why_none(scene):
        raise Problem(f"{reason}.")
    settings = scene.parlando
    if settings.portrait_source == "STRIP":
        strip = strips.by_name(scene, settings.portrait_strip)
        if strip.type == "MOVIE":
            return movies.path_of(strip)
        element = strip.strip_elem_from_frame(scene.frame_current) or strip.elements[0]
        path = Path(bpy.path.abspath(strip.directory)) / element.filename
        return _existing(path, f"The picture of the strip “{strip.name}” is missing: {path}. Replace or find it.")
    if settings.portrait_source == "FILE":
        path = Path(bpy.path.abspath(settings.portrait_file))
        return _existing(path, f"The portrait {path} does not exist: choose another.")
    return _of_image(settings.portrait_image, folder, deep=settings.format != "PNG")


def _existing(path: Path, otherwise: str) -> Path:
    if not path.is_file():
        raise Problem(otherwise)
    return path.resolve()


def _of_image(image: bpy.types.Image, folder: Path, deep: bool) -> Path:
    if image.source in {"MOVIE", "VIEWER", "TILED"}:
        raise Problem(f"The image “{image.name}” is not a still picture: choose one, or a frame saved as a picture.")
    name = "portrait" + (Path(image.filepath_raw).suffix.lower() or ".png")
    suffix = Path(name).suffix
    whole = deep and suffix == ".exr" and image.colorspace_settings.name == "Linear Rec.709"  # frames hold it all
    shown = suffix in _FLOAT_SUFFIXES and not whole
    if not image.is_dirty and image.source != "GENERATED" and not shown:
        if image.packed_file is not None:
            path = folder / name
            path.write_bytes(image.packed_file.data)  # the very file that was packed
            return path
        path = Path(bpy.path.abspath(image.filepath_from_user(), library=image.library))
        return _existing(path, f"The file of the image “{image.name}” is missing: {path}. Replace or find it.")
    path = folder / "portrait.png"
    path.write_bytes(png(displayed(image)))
    return path


def displayed(image: bpy.types.Image) -> np.ndarray:
    """The image as displayed under the Standard view: (H, W, 4) uint8 sRGB, first row on top, straight alpha."""
    width, height = image.size
    if width * height == 0:
        raise Problem(f"The image “{image.name}” has no pixels: load it again or choose another.")
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, 4)[::-1]
    if image.is_float:  # held linear, with colours multiplied by alpha
        alpha = pixels[..., 3:]
        colour = np.divide(pixels[..., :3], alpha, out=pixels[..., :3].copy(), where=alpha > 0)
        colour = np.clip(colour, 0.0, 1.0)
        if not image.colorspace_settings.is_data:
            colour = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
        pixels = np.concatenate([colour, alpha], axis=-1)
    return (np.clip(pixels, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """(H, W, 4) uint8 as PNG bytes; without the alpha channel where nothing is transparent."""
    if (pixels[..., 3] == 255).all():
        pixels = pixels[..., :3]
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.zeros((height, 1 + width * channels), np.uint8)  # filter 0 before each row
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if channels == 4 else 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"sRGB", b"\0")
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 3))
        + chunk(b"IEND", b"")
    )
