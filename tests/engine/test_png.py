"""PNGs of ours, read by others."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import engine.png
from engine.png import encode_png


def picture(kind: type, channels: int) -> np.ndarray:
    """Noise beside a ramp, of an odd size."""
    made = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (37, 53, channels), kind, endpoint=True)
    made[:, 20:] = np.linspace(0, np.iinfo(kind).max, 33).astype(kind)[None, :, None]
    return made[..., 0] if channels == 1 else made


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("slow", [False, True])
def test_opencv_reads_what_was_written(kind: type, channels: int, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if slow:  # a processor without isal
        monkeypatch.setattr(engine.png, "_deflate", lambda data: engine.png.zlib.compress(data, 1))
    made = picture(kind, channels)
    read = cv2.imdecode(np.frombuffer(encode_png(made, {"a": "b"}), np.uint8), cv2.IMREAD_UNCHANGED)
    assert read.dtype == kind
    back = {1: None, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[channels]
    np.testing.assert_array_equal(read if back is None else cv2.cvtColor(read, back), made)


def test_texts_and_every_checksum_are_whole(portrait: Path) -> None:
    photo = cv2.cvtColor(cv2.imread(str(portrait)), cv2.COLOR_BGR2RGB)
    data = encode_png(photo, {"Title": "Möhre", "Parlando frame": "a" * 24})
    with Image.open(io.BytesIO(data)) as read:
        read.verify()  # checksums
    with Image.open(io.BytesIO(data)) as read:
        assert read.info == {"Title": "Möhre", "Parlando frame": "a" * 24}
        np.testing.assert_array_equal(np.asarray(read), photo)
    assert len(data) < 1.02 * len(cv2.imencode(".png", photo[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def test_part_of_a_picture_that_does_not_lie_in_one_piece() -> None:
    made = picture(np.uint16, 3)[::2, 5:40]
    read = cv2.imdecode(np.frombuffer(encode_png(made, {}), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., ::-1], made)
