"""preview.mp4: right length, sound in step, provenance, absent after a failure."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from engine.audio.load import open_audio
from engine.preview import Preview


def click(path: Path, seconds: float, at: float) -> Path:
    """A sound file silent but for a burst at `at` s."""
    sound = np.zeros(round(44100 * seconds), np.float32)
    start = round(44100 * at)
    sound[start : start + 2205] = np.sin(np.arange(2205) * 0.3) * 0.9
    soundfile.write(path, sound, 44100)
    return path


def make(path: Path, size: tuple[int, int], fps: Fraction, frames: int, sound: Path | None, flash: int = -1) -> Path:
    with Preview(path, size, fps, frames, open_audio(sound) if sound else None, "0123456789abcdef") as preview:
        for index in range(frames):
            preview.add(np.full((size[1], size[0], 3), 255 if index == flash else 20, np.uint8))
    return path


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(24000, 1001), Fraction(30000, 1001)])
def test_length_rate_and_provenance(tmp_path: Path, fps: Fraction) -> None:
    made = make(tmp_path / "p.mp4", (64, 48), fps, 50, click(tmp_path / "s.wav", 5.0, 1.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.mp4", "s.wav"]
    with av.open(str(made)) as file:
        assert file.streams.video[0].average_rate == fps
        assert "ynthetic" in file.metadata["comment"] and "0123456789abcdef" in file.metadata["comment"]
        assert sum(1 for _ in file.decode(video=0)) == 50
    with av.open(str(made)) as file:
        heard = sum(frame.samples for frame in file.decode(audio=0)) / 48000
    assert abs(heard - float(50 / fps)) < 0.05


def test_the_flash_and_the_click_meet(tmp_path: Path) -> None:
    """Frame 40 of 25 fps is at 1.6 s, and so is the click. A click elsewhere is seen to be elsewhere."""
    for at, meets in ((1.6, True), (1.9, False)):
        made = make(tmp_path / "p.mp4", (64, 48), Fraction(25), 75, click(tmp_path / "s.wav", 3.0, at), flash=40)
        with av.open(str(made)) as file:
            bright = [
                float(f.pts * f.time_base) for f in file.decode(video=0) if f.to_ndarray(format="gray").mean() > 128
            ]
        assert bright == [pytest.approx(1.6)]
        assert (abs(burst(made) - bright[0]) < 0.02) == meets


def burst(film: Path) -> float:
    """When (s) its sound is first loud."""
    with av.open(str(film)) as file:
        pieces = [(float(f.pts * f.time_base), f.to_ndarray()[0]) for f in file.decode(audio=0)]
    return next(float(t + np.argmax(np.abs(x) > 0.3) / 48000) for t, x in pieces if np.abs(x).max() > 0.3)


def test_the_sound_of_a_film_that_begins_late_is_late_in_the_preview_too(tmp_path: Path) -> None:
    """A second of a film without sound, then a sound whose click is half a second into it."""
    path = tmp_path / "film.mkv"
    sound, rate = soundfile.read(click(tmp_path / "s.wav", 1.0, 0.5), dtype="int16")
    with av.open(str(path), "w") as out:
        film = out.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        stream = out.add_stream("pcm_s16le", rate=rate, layout="mono")
        for _ in range(50):
            out.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, rate, Fraction(1, rate)
        out.mux(stream.encode(frame))
        out.mux(film.encode(None))
        out.mux(stream.encode(None))
    assert burst(make(tmp_path / "p.mp4", (64, 48), Fraction(25), 50, path)) == pytest.approx(1.5, abs=0.02)


def test_samples_that_are_no_numbers_and_damaged_packets_are_silent(tmp_path: Path) -> None:
    sound, rate = soundfile.read(click(tmp_path / "s.wav", 3.0, 2.5), dtype="float32")
    sound[rate : rate + 2000] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, rate, "FLOAT")
    path = tmp_path / "damaged.m4a"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.nan_to_num(sound[None]), format="fltp", layout="mono")
        frame.sample_rate = rate
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 200
    content[start : start + 100] = b"\xff" * 100
    path.write_bytes(content)
    for bad in (tmp_path / "nan.wav", path):
        assert burst(make(tmp_path / "p.mp4", (64, 48), Fraction(25), 75, bad)) == pytest.approx(2.5, abs=0.03)


def test_odd_large_and_transparent_pictures(tmp_path: Path) -> None:
    with Preview(tmp_path / "p.mp4", (1501, 2001), Fraction(25), 2, None, "x") as preview:
        for _ in range(2):
            preview.add(np.zeros((2001, 1501, 4), np.uint8))
    with av.open(str(tmp_path / "p.mp4")) as file:
        frame = next(file.decode(video=0))
        assert (frame.width, frame.height) == (810, 1080)
        assert abs(frame.to_ndarray(format="gray").astype(int).mean() - 127) < 4


def test_a_failure_leaves_no_preview(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Preview(tmp_path / "p.mp4", (64, 48), Fraction(25), 9, None, "x") as preview:
        preview.add(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
