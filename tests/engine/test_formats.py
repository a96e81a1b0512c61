"""Frames of more than 8 bits: what files hold, what is kept of the source, resuming and sharing, and the mattes."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from engine.errors import Cancelled, InputError
from engine.face import image
from engine.formats import HASH, NAMES, Format, exr_header, read_exr, to_linear, to_srgb, write_exr
from engine.job import Engine
from engine.png import encode_png
from engine.request import DubRequest, RenderRequest
from engine.take import Landmarks, hash_of, read_frame

FPS = Fraction(12)
FRAMES = 8


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu", threads=1)


@pytest.fixture(scope="module")
def portrait16(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait in 16 bits, its upper left a ramp that 8 bits cannot hold, with an alpha that has one too."""
    path = tmp_path_factory.mktemp("deep") / "portrait16.png"
    pixels = cv2.imread(str(portrait)).astype(np.uint16) * 257
    pixels[:40, :40] = (20000 + np.arange(1600).reshape(40, 40))[..., None]
    alpha = np.full(pixels.shape[:2], 65535, np.uint16)
    alpha[-8:] = np.arange(pixels.shape[1]) * 99
    assert cv2.imwrite(str(path), np.dstack([pixels, alpha]))
    return path


@pytest.fixture(scope="module")
def exr_portrait(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait scene-linear, a lamp of 9 times white in its corner."""
    path = tmp_path_factory.mktemp("deep") / "portrait.exr"
    linear = to_linear(read_frame(portrait).astype(np.float32) / 255)
    linear[:30, :30] = [9.0, 4.0, 0.001]
    with OpenEXR.File({"compression": OpenEXR.PIZ_COMPRESSION}, {"RGB": linear.astype(np.float16)}) as file:
        file.write(str(path))
    return path


def dubbed(engine: Engine, words: Path, picture: Path, out: Path, **asked: object) -> Path:
    request = DubRequest(words, picture, out, fps=FPS, frames=FRAMES, preview=False)
    engine.dub(replace(request, **asked))  # type: ignore[arg-type]
    return out


def test_transfer_curves_are_each_others_way_back() -> None:
    values = np.concatenate([np.linspace(-2, 20, 5000), [0.0, 1e-5, 0.003]]).astype(np.float32)
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, rtol=2e-6, atol=2e-7)
    assert to_linear(np.float32([0.5]))[0] == pytest.approx(0.2140, abs=1e-4)


def test_formats_that_cannot_be_are_told() -> None:
    with pytest.raises(InputError, match="choose png, png16 or exr"):
        Format.named("tga")
    with pytest.raises(InputError, match="need the format exr"):
        Format.named("png16", linear=True)


def test_every_half_float_survives_linear_exr(tmp_path: Path) -> None:
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16)  # all that are positive and finite
    halves = halves[halves >= np.float16(2.0**-14)][: 29 * 1024 // 3 * 3].reshape(-1, 3)
    source = np.repeat(halves[None], 2, axis=0)
    with OpenEXR.File({}, {"RGB": np.ascontiguousarray(source)}) as file:
        file.write(str(tmp_path / "in.exr"))
    colours, alpha = read_exr(tmp_path / "in.exr")
    assert alpha is None
    again = Format("exr", linear=True).pixels(255 * colours)
    off = np.abs(again.view(np.uint16).astype(int) - source.view(np.uint16).astype(int))
    assert off.max() <= 1 and (off > 0).mean() < 0.002


def test_exr_is_whole_or_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    pixels = np.random.default_rng(0).random((50, 40, 4)).astype(np.float16)
    write_exr(path, pixels, {HASH: "abc"}, linear=False)
    assert hash_of(path) == "abc"
    assert exr_header(path) is not None
    colours, alpha = read_exr(path)
    assert np.array_equal(colours, pixels[..., :3].astype(np.float32))  # straight, and sRGB as it was
    assert alpha is not None and np.array_equal(alpha, pixels[..., 3].astype(np.float32))
    whole = path.read_bytes()
    for end in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert hash_of(path) is None
    assert hash_of(tmp_path / "absent.exr") is None


def test_exr_of_others_is_read_as_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "b.exr"
    colour, share = np.float32([0.4, 0.2, 0.1]), 0.5
    stored = np.broadcast_to(np.append(colour * share, share).astype(np.float32), (6, 8, 4))
    window = np.array([0, 0], np.int32), np.array([11, 9], np.int32)
    inside = np.array([2, 1], np.int32), np.array([9, 6], np.int32)
    header = {"displayWindow": window, "dataWindow": inside}
    with OpenEXR.File(header, {"RGBA": np.ascontiguousarray(stored)}) as file:
        file.write(str(path))
    colours, alpha = read_exr(path)
    assert colours.shape == (10, 12, 3) and alpha is not None
    assert alpha[0, 0] == 0 and alpha[3, 4] == share
    np.testing.assert_allclose(to_linear(colours[3, 4]), colour, rtol=1e-5)  # premultiplied there, straight here
    acescg = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
    with OpenEXR.File({"chromaticities": acescg}, {"RGB": np.full((4, 4, 3), 0.18, np.float32)}) as file:
        file.write(str(path))
    np.testing.assert_allclose(to_linear(read_exr(path)[0][0, 0]), [0.18] * 3, rtol=1e-4)  # grey is grey
    with OpenEXR.File({"chromaticities": acescg}, {"RGB": np.float32([[[0.0, 1.0, 0.0]]])}) as file:
        file.write(str(path))
    np.testing.assert_allclose(to_linear(read_exr(path)[0][0, 0]), [-0.6217, 1.1409, -0.1290], atol=2e-3)
    with OpenEXR.File({}, {"Z": np.ones((4, 4), np.float32)}) as file:
        file.write(str(path))
    with pytest.raises(InputError, match="no channels R, G and B"):
        image.load(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="damaged or cut short"):
        image.load(path)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bits_are_read_whole(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    pixels = np.random.default_rng(1).integers(0, 65536, (30, 20, 4), dtype=np.uint16)
    assert cv2.imwrite(str(path), pixels)
    picture = image.load(path)
    rgb, alpha = image.deep(picture)
    assert np.array_equal(np.rint(rgb * 257), pixels[..., 2::-1])
    assert alpha is not None and np.array_equal(np.rint(alpha * 257), pixels[..., 3])
    assert np.abs(picture.rgb - rgb).max() < 1
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="was changed"):
        image.deep(picture)


def test_16_bit_frames_keep_all_bits(engine: Engine, words: Path, portrait16: Path, tmp_path: Path) -> None:
    take = dubbed(engine, words, portrait16, tmp_path / "t", format="png16")
    source = cv2.imread(str(portrait16), cv2.IMREAD_UNCHANGED)
    frame = cv2.imread(str(take / "frames" / "000005.png"), cv2.IMREAD_UNCHANGED)
    assert frame.dtype == np.uint16 and frame.shape == source.shape
    assert np.array_equal(frame[:40, :40], source[:40, :40]) and np.array_equal(frame[-8:], source[-8:])
    head = frame[100:200, 150:300, :3]
    assert (head % 257 != 0).mean() > 0.5  # between the source's own 8 bits
    plain = dubbed(engine, words, portrait16, tmp_path / "8")
    off = read_frame(take / "frames" / "000005.png").astype(int) - read_frame(plain / "frames" / "000005.png")
    assert np.abs(off).mean() < 0.5  # the same picture


def test_exr_frames_keep_light_beyond_white(engine: Engine, words: Path, exr_portrait: Path, tmp_path: Path) -> None:
    take = dubbed(engine, words, exr_portrait, tmp_path / "t", format="exr", linear=True)
    assert [p.name for p in sorted((take / "frames").iterdir())] == [f"{i:06d}.exr" for i in range(1, FRAMES + 1)]
    with OpenEXR.File(str(take / "frames" / "000005.exr"), separate_channels=True) as file:
        stored = np.dstack([file.channels()[name].pixels for name in "RGB"])
        assert file.header()["parlando:transfer"] == "linear"
    assert stored.dtype == np.float16
    with OpenEXR.File(str(exr_portrait)) as file:
        source = file.channels()["RGB"].pixels
    assert np.array_equal(stored[:40, :40], source[:40, :40])
    assert stored[0, 0, 0] == 9.0


@pytest.mark.parametrize("name", NAMES)
def test_takes_resume_and_share_in_every_format(
    name: str, engine: Engine, words: Path, portrait: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "frames" and done == 3:
            raise Cancelled

    request = DubRequest(words, portrait, tmp_path / "t", fps=FPS, frames=FRAMES, format=name, mattes=True)
    with pytest.raises(Cancelled):
        engine.dub(request, stop)
    result = engine.dub(request)
    assert 3 <= result.reused < FRAMES
    take = tmp_path / "t"
    assert (take / "preview.mp4").exists()
    asked = Landmarks.load(take / "landmarks.npz")
    asked.landmarks[4, 48:68, 1] += 3.0
    asked.save(tmp_path / "edited.npz")
    edit = RenderRequest(tmp_path / "edited.npz", portrait, tmp_path / "e", take=take, format=name, mattes=True)
    again = engine.render(edit)
    assert (again.rendered, again.reused) == (1, FRAMES - 1)
    for folder in ("frames", "mattes/head", "mattes/face", "mattes/mouth"):
        old, new = (sorted((root / folder).iterdir()) for root in (take, tmp_path / "e"))
        same = [a.samefile(b) for a, b in zip(old, new, strict=True)]
        assert same == [i != 4 for i in range(FRAMES)]
        assert [hash_of(a) == hash_of(b) for a, b in zip(old, new, strict=True)] == same
    assert not [p for p in tmp_path.rglob("*.part")]
    other = "png" if name != "png" else "png16"
    changed = engine.render(replace(edit, out=tmp_path / "o", format=other, mattes=False))
    assert changed.reused == 0  # another format shares nothing


def test_mattes_follow_the_head_and_keep_to_it(engine: Engine, words: Path, portrait: Path, tmp_path: Path) -> None:
    take = dubbed(engine, words, portrait, tmp_path / "t", mattes=True)
    points = Landmarks.load(take / "landmarks.npz").landmarks
    opening = points[:, 66, 1] - points[:, 62, 1]
    area = []
    for index in range(FRAMES):
        head, face, mouth = (
            cv2.imread(str(take / "mattes" / name / f"{index + 1:06d}.png"), cv2.IMREAD_UNCHANGED)
            for name in ("head", "face", "mouth")
        )
        assert head.shape == face.shape == mouth.shape == (512, 512) and head.dtype == np.uint8
        x, y = np.rint(points[index, 17:60, :2]).astype(int).T
        assert (head[y, x] > 250).all() and (face[y, x] > 200).mean() > 0.9
        assert head[300:].max() == 0 and head[:, :100].max() == 0  # helmet, flag
        assert (face.astype(int) <= head.astype(int) + 2).mean() > 0.999
        soft = (head > 10) & (head < 245)
        assert 200 < soft.sum() < 15000  # an edge, not a step and not a fog
        assert (mouth[face < 200] == 0).all()
        area.append(mouth.sum() / 255)
    assert np.corrcoef(area, opening)[0, 1] > 0.9
    plain = dubbed(engine, words, portrait, tmp_path / "plain")
    for a in (plain / "frames").iterdir():
        assert np.array_equal(read_frame(a), read_frame(take / "frames" / a.name))  # mattes change no frame


def test_a_cutout_keeps_its_alpha_straight(engine: Engine, words: Path, portrait: Path, tmp_path: Path) -> None:
    rgb = read_frame(portrait)
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    cv2.ellipse(alpha, (220, 110), (110, 110), 0, 0, 360, 255, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 4)
    (tmp_path / "cut.png").write_bytes(encode_png(np.dstack([rgb, alpha]), {}))
    png = dubbed(engine, words, tmp_path / "cut.png", tmp_path / "png", mattes=True)
    exr = dubbed(engine, words, tmp_path / "cut.png", tmp_path / "exr", format="exr")
    eight, deep = (read_frame(next(iter(sorted((t / "frames").iterdir())))) for t in (png, exr))
    assert eight.shape[2] == deep.shape[2] == 4
    edge = (eight[..., 3] > 20) & (eight[..., 3] < 200)
    assert edge.sum() > 300
    assert np.abs(eight[edge].astype(int) - deep[edge]).mean() < 2  # were it premultiplied, they would be far darker
    head = cv2.imread(str(png / "mattes" / "head" / "000001.png"), cv2.IMREAD_UNCHANGED)
    assert (head.astype(int) <= eight[..., 3].astype(int) + 2).all()
