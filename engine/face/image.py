"""Loads any still picture an animator may give: photo, render, scan or painting, as 8-bit sRGB.

EXIF orientation and embedded colour profiles are applied, alpha is kept apart, animated files give their first frame.
`deep` gives what a 16-bit or EXR file holds beyond that. Does not look for faces, resize, or read video.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from engine.errors import InputError
from engine.formats import MAGIC, read_exr, to_8_bit

MOST_PIXELS = 100_000_000
READABLE = "a PNG, JPEG, TIFF, WebP, BMP or EXR"

ORIENTATION_TAG = 0x0112
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """A picture as every other part sees it.

    rgb: (H, W, 3) uint8, display-referred sRGB, not premultiplied. alpha: (H, W) uint8, or None where the file has
    none. sha256: of the file's bytes.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    path: Path
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


def load(path: str | Path) -> Picture:
    """The picture in a file. InputError when there is none, or none that can be read whole."""
    path = Path(path)
    content = _read(path)
    if content.startswith(MAGIC):
        colours, alpha = _read_exr(path)
        alpha = None if alpha is None else to_8_bit(255 * alpha)
        return Picture(to_8_bit(255 * colours), alpha, path, hashlib.sha256(content).hexdigest())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as problem:
        raise _too_large(path, "more than a hundred million pixels") from problem
    except UnidentifiedImageError as problem:
        return _load_with_opencv(path, content, problem)
    except Exception as problem:  # a decoder may raise anything on damaged headers
        raise _damaged(path) from problem
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _too_large(path, f"{width} × {height} pixels")
    try:
        image.load()
    except MemoryError as problem:
        raise _too_large(path, f"{width} × {height} pixels") from problem
    except Exception as problem:
        raise _damaged(path) from problem
    rgb, alpha = _to_srgb(path, image)
    return Picture(rgb, alpha, path, hashlib.sha256(content).hexdigest())


def deep(picture: Picture) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours (H, W, 3) and alpha (H, W) or None with all bits of the file: float32, 255 is white, EXR goes beyond.

    The same pixels as the picture's own, in sRGB too; those themselves where the file has no more than 8 bits, or has
    a colour profile other than sRGB, which is applied in 8 bits only. InputError when the file changed meanwhile.
    """
    content = _read(picture.path)
    if hashlib.sha256(content).hexdigest() != picture.sha256:
        raise InputError(f"The picture {picture.path} was changed while it was worked on: start again.")
    if content.startswith(MAGIC):
        colours, alpha = _read_exr(picture.path)
        return 255 * colours, None if alpha is None else 255 * alpha
    rgb, alpha = picture.rgb.astype(np.float32), picture.alpha
    alpha = None if alpha is None else alpha.astype(np.float32)
    exact = _16_bit(content)
    if exact is None:
        return rgb, alpha
    finer = exact[..., :3] if exact.ndim == 3 else np.repeat(exact[..., None], 3, axis=2)
    if finer.shape == rgb.shape and np.abs(finer - rgb).max() < 1.0:  # else Pillow turned it or applied a profile
        rgb = np.ascontiguousarray(finer)
        if alpha is not None and exact.ndim == 3 and exact.shape[2] == 4:
            alpha = np.ascontiguousarray(exact[..., 3])
    return rgb, alpha


def _read_exr(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    colours, alpha = read_exr(path)
    if colours.shape[0] * colours.shape[1] > MOST_PIXELS:
        raise _too_large(path, f"{colours.shape[1]} × {colours.shape[0]} pixels")
    return colours, alpha


def _16_bit(content: bytes) -> np.ndarray | None:
    """The pixels (H, W[, C]) of a 16-bit file as floats where 255 is white, RGB(A); None for other files."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None or pixels.dtype != np.uint16:
        return None
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return pixels.astype(np.float32) / 257


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a picture: choose {READABLE} file in it.")
        content = path.read_bytes()
    except FileNotFoundError as problem:
        raise InputError(f"The picture {path} does not exist: choose another, or check its name.") from problem
    except OSError as problem:
        raise InputError(
            f"The picture {path} cannot be opened ({problem.strerror}): check its permissions."
        ) from problem
    except ValueError as problem:
        raise InputError(f"The picture's name {str(path)!r} is not one a file can have.") from problem
    if not content:
        raise InputError(f"The picture {path} is an empty file: save or copy it again.")
    return content


def _damaged(path: Path) -> InputError:
    return InputError(f"The picture {path} is damaged or cut short: save or copy it again, or choose another.")


def _too_large(path: Path, size: str) -> InputError:
    return InputError(
        f"The picture {path} is too large ({size}, at most {MOST_PIXELS // 1_000_000} million can be used): "
        "scale it down or crop it around the head."
    )


def _load_with_opencv(path: Path, content: bytes, problem: Exception) -> Picture:
    """What Pillow does not know (some 16-bit TIFFs among them), if OpenCV does."""
    not_one = InputError(f"{path} is not a picture that can be read: give {READABLE} file.")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise not_one from problem
    if pixels.shape[0] * pixels.shape[1] > MOST_PIXELS:
        raise _too_large(path, f"{pixels.shape[1]} × {pixels.shape[0]} pixels")
    if pixels.dtype == np.uint16:
        pixels = _to_8_bit(pixels)
    if pixels.dtype != np.uint8:
        raise not_one from problem
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.ndim == 3 and pixels.shape[2] == 4 else None
    if pixels.ndim == 2:
        rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    else:
        rgb = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_BGR2RGB)
    return Picture(rgb, alpha, path, hashlib.sha256(content).hexdigest())


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """0 … 65535 to 0 … 255, rounded."""
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _to_srgb(path: Path, image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """(rgb, alpha) of a loaded image, upright."""
    turn = ORIENTATIONS.get(_orientation(image))
    profile = image.info.get("icc_profile")
    transparent = image.has_transparency_data
    if image.mode == "F":
        raise InputError(f"The picture {path} has floating-point values: save it as an 8- or 16-bit PNG.")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        values = values if values.max(initial=0) > 255 or image.mode != "I" else values * 257
        image = Image.fromarray(_to_8_bit(np.clip(values, 0, 65535)), "L")
    if turn is not None:
        image = image.transpose(turn)
    alpha = None
    if transparent:
        image = image.convert("RGBA")
        alpha = np.array(image.getchannel("A"))
        image = image.convert("RGB")
    elif image.mode not in ("RGB", "CMYK", "L", "LAB"):
        image = image.convert("RGB")
    return np.array(_apply_profile(image, profile)), alpha


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF: the pixels are still good, and as they lie is the best guess
        return 1


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB. An image that is sRGB already, or whose profile is unusable, keeps its values."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if image.mode != "RGB" or "srgb" not in ImageCms.getProfileDescription(source).lower():
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image.convert("RGB")
    return image.convert("RGB")
