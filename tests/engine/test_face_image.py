"""Any picture an animator may give is loaded as it looks, or refused in one sentence that names it."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from engine.errors import InputError
from engine.face import image


@pytest.fixture
def rgb() -> np.ndarray:
    """40 × 30 pixels: smooth, no symmetry."""
    y, x = np.mgrid[0:30, 0:40]
    return np.stack([x * 6, y * 8, 255 - x * 3 - y * 2], -1).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "webp", "gif"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, rgb: np.ndarray, ending: str) -> None:
    path = tmp_path / f"picture.{ending}"
    few = Image.fromarray(rgb).quantize(64) if ending == "gif" else Image.fromarray(rgb)
    few.save(path, **({"lossless": True} if ending == "webp" else {}))
    picture = image.load(path)
    np.testing.assert_array_equal(picture.rgb, np.array(few.convert("RGB")))
    assert picture.alpha is None and picture.size == (40, 30) and picture.path == path and len(picture.sha256) == 64


def test_alpha_is_kept_apart(tmp_path: Path, rgb: np.ndarray) -> None:
    alpha = np.arange(1200, dtype=np.uint32).reshape(30, 40).astype(np.uint8)
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "rgba.png")
    picture = image.load(tmp_path / "rgba.png")
    np.testing.assert_array_equal(picture.rgb, rgb)
    np.testing.assert_array_equal(picture.alpha, alpha)
    Image.fromarray(np.dstack([rgb[..., 0], alpha]), "LA").save(tmp_path / "la.png")
    picture = image.load(tmp_path / "la.png")
    np.testing.assert_array_equal(picture.rgb, rgb[..., :1].repeat(3, -1))
    np.testing.assert_array_equal(picture.alpha, alpha)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.save(tmp_path / "p.png", transparency=1)
    picture = image.load(tmp_path / "p.png")
    np.testing.assert_array_equal(picture.alpha, [[255, 0], [0, 255]])
    np.testing.assert_array_equal(picture.rgb[0, 0], [255, 0, 0])


def test_grey_and_one_bit(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(image.load(tmp_path / "grey.png").rgb, rgb[..., :1].repeat(3, -1))
    Image.fromarray(rgb[..., 0] > 99).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(image.load(tmp_path / "bit.png").rgb[..., 1], (rgb[..., 0] > 99) * 255)


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits(tmp_path: Path, rgb: np.ndarray, ending: str, channels: int) -> None:
    deep = np.dstack([rgb, 255 - rgb[..., 0]]).astype(np.uint16)[..., :channels] * 257
    path = tmp_path / f"deep.{ending}"
    cv2.imwrite(str(path), deep[..., [2, 1, 0, 3][:channels]] if channels > 1 else deep[..., 0])
    picture = image.load(path)
    wanted = (deep // 257).astype(np.uint8)
    np.testing.assert_array_equal(picture.rgb, wanted[..., :3] if channels > 1 else wanted.repeat(3, -1))
    if channels == 4:
        np.testing.assert_array_equal(picture.alpha, wanted[..., 3])


def test_cmyk(tmp_path: Path) -> None:
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:, 1:3] = 255
    Image.fromarray(inks, "CMYK").save(tmp_path / "inks.jpg", quality=95)
    shown = image.load(tmp_path / "inks.jpg").rgb
    assert (shown[:, :12] > 245).all(), "no ink is white"
    assert (shown[:, 20:, 0] > 200).all() and (shown[:, 20:, 1:] < 60).all(), "magenta and yellow are red"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, rgb: np.ndarray, orientation: int) -> None:
    stored = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: rgb[:, ::-1].transpose(1, 0, 2)[::1, ::1],
        7: rgb[::-1, ::-1].transpose(1, 0, 2),
        8: rgb[::-1].transpose(1, 0, 2),
    }[orientation]
    if orientation == 6:  # shown turned a quarter clockwise: stored turned a quarter the other way
        stored = np.rot90(rgb, 1)
    if orientation == 8:
        stored = np.rot90(rgb, -1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(image.load(tmp_path / "turned.png").rgb, rgb)


def test_colour_profile_is_applied(tmp_path: Path, rgb: np.ndarray) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(rgb).save(tmp_path / "srgb.png", icc_profile=lab)
    np.testing.assert_array_equal(image.load(tmp_path / "srgb.png").rgb, rgb)
    Image.fromarray(rgb).save(tmp_path / "odd.png", icc_profile=b"not a profile at all")
    np.testing.assert_array_equal(image.load(tmp_path / "odd.png").rgb, rgb)


def test_twelve_megapixels(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (4000, 3000), (10, 200, 30)).save(path)
    assert image.load(path).rgb.shape == (3000, 4000, 3)


def whole_png(rgb: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "png")
    return out.getvalue()


def damage(name: str, rgb: np.ndarray) -> bytes:
    """The bytes of a file that is no good picture."""
    png = whole_png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    jpeg = io.BytesIO()
    Image.fromarray(rgb).resize((300, 300)).save(jpeg, "jpeg")
    return {
        "empty.png": b"",
        "text.png": b"Dear animator, I am not a picture.\n",
        "cut.png": png[: len(png) // 2],
        "cut.jpg": jpeg.getvalue()[: len(jpeg.getvalue()) // 2],
        "header.png": png[:20],
        "flipped.png": png[:60] + bytes(255 - byte for byte in png[60:120]) + png[120:],
        "noise.jpg": bytes(range(256)) * 8,
        "bomb.png": bomb(),
    }[name]


def bomb() -> bytes:
    """A PNG that says it has 60000² pixels."""
    out = io.BytesIO()
    header = (60000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    out.write(b"\x89PNG\r\n\x1a\n")
    PngImagePlugin.putchunk(out, b"IHDR", header)
    PngImagePlugin.putchunk(out, b"IDAT", b"")
    PngImagePlugin.putchunk(out, b"IEND", b"")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty.png", "empty"),
        ("text.png", "not a picture"),
        ("cut.png", "damaged"),
        ("cut.jpg", "damaged"),
        ("header.png", "damaged|not a picture"),
        ("flipped.png", "damaged"),
        ("noise.jpg", "not a picture"),
        ("bomb.png", "too large"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, rgb: np.ndarray, name: str, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(damage(name, rgb))
    with pytest.raises(InputError, match=says) as problem:
        image.load(path)
    text = str(problem.value)
    assert str(path) in text and "\n" not in text and text.endswith(".")


def test_absent_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        image.load(tmp_path / "none.png")
    with pytest.raises(InputError, match="folder"):
        image.load(tmp_path)
    with pytest.raises(InputError):
        image.load("a\0b.png")


def test_floating_point_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32), "F").save(tmp_path / "float.tiff")
    with pytest.raises(InputError, match="floating-point"):
        image.load(tmp_path / "float.tiff")
