"""What is heard of a strip: lengths, trims, offsets, volume, frame rates, mixing; sounds that cannot be used."""

import time
import wave
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest


def heard(parlando: SimpleNamespace, scene: Any, strip: Any, target: Path) -> tuple[np.ndarray, int]:
    """(samples (n, channels) int16, rate) of the extraction."""
    for _ in parlando.audio.extract(scene, strip, target):
        time.sleep(0.01)  # as the pump does: a real Blender mixes in the background
    with wave.open(str(target), "rb") as file:
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return data, file.getframerate()


def trim(strip: Any, left: int, right: int) -> None:
    """Cuts frames off both ends of the visible part."""
    if hasattr(strip, "left_handle"):
        strip.left_handle, strip.right_handle = strip.left_handle + left, strip.right_handle - right
    else:
        strip.frame_offset_start, strip.frame_offset_end = left, right


def test_whole_strip(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    data, rate = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert (len(data), rate) == (4 * 48000, 48000)
    assert (data[:, 0] == np.arange(len(data)) // 8).all()  # nothing faded, nothing moved
    assert (data[:, 1] == -(np.arange(len(data)) // 8)).all()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_trimmed_strip(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    trim(sound, 24, 36)
    data, _ = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert len(data) == 36 * 2000
    assert (data[:, 0] == np.arange(48000, 48000 + 72000) // 8).all()


def test_pieces_join_without_a_gap(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parlando.audio, "PIECE", 0.7)
    trim(sound, 5, 0)
    data, _ = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert (data[:, 0] == np.arange(10000, 4 * 48000) // 8).all()


def test_volume(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    sound.volume = 0.5
    data, _ = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert np.abs(data[:, 0] - np.arange(len(data)) / 16).max() <= 1


def test_handles_beyond_the_content_are_silence(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path
) -> None:
    trim(sound, -12, -24)
    data, _ = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert len(data) == (96 + 36) * 2000
    assert (data[: 12 * 2000] == 0).all() and (data[-24 * 2000 :] == 0).all()
    assert (data[12 * 2000 : -24 * 2000, 0] == np.arange(4 * 48000) // 8).all()


@pytest.mark.parametrize(
    ("fps", "base", "exact"),
    [(24, 1.0, Fraction(24)), (24, 1.001, Fraction(24000, 1001)), (30, 1.001, Fraction(30000, 1001)), (25, 1.0, 25)],
)
def test_frame_rates(
    parlando: SimpleNamespace, scene: Any, tone: Path, tmp_path: Path, fps: int, base: float, exact: Fraction
) -> None:
    scene.render.fps, scene.render.fps_base = fps, base
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("voice", str(tone), 1, 10)
    trim(strip, 7, 3)
    frames = parlando.strips.frames_of(strip)
    assert parlando.audio.fps_of(scene) == exact
    data, rate = heard(parlando, scene, strip, tmp_path / "out.wav")
    assert len(data) == round(frames / exact * rate)
    assert data[0, 0] == round(7 / exact * rate) // 8


@pytest.mark.parametrize("rate", [8000, 22050, 96000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels(parlando: SimpleNamespace, scene: Any, tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "in.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 1 if rate == 8000 else 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(range(64, 192)) * (2 * rate * channels // 128 + 1))
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("voice", str(path), 1, 1)
    data, found = heard(parlando, scene, strip, tmp_path / "out.wav")
    assert found == rate and data.shape[1] == min(2, channels)
    assert len(data) == round(parlando.strips.frames_of(strip) / 24 * rate)
    assert np.abs(data).max() > 1000


def test_packed_sound(parlando: SimpleNamespace, scene: Any, sound: Any, tone: Path, tmp_path: Path) -> None:
    sound.sound.pack()
    tone.unlink()
    data, _ = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert (data[:, 0] == np.arange(4 * 48000) // 8).all()


def test_a_long_compressed_sound_is_decoded_apart(
    parlando: SimpleNamespace, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same samples as read at once, and the pump goes on meanwhile."""
    import aud

    path = tmp_path / "speech.ogg"
    speech = aud.Sound(str(Path(__file__).resolve().parents[2] / "demo" / "source" / "jfk.wav"))
    rate = int(speech.specs[0])
    speech.write(str(path), rate, 1, aud.FORMAT_FLOAT32, aud.CONTAINER_OGG, aud.CODEC_VORBIS, 128000, 1024)
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("song", str(path), 1, 1)
    trim(strip, 20, 60)
    at_once, _ = heard(parlando, scene, strip, tmp_path / "at_once.wav")
    monkeypatch.setattr(parlando.audio, "LONG", 1)
    steps = 0
    for _ in parlando.audio.extract(scene, strip, tmp_path / "apart.wav"):
        time.sleep(0.02)
        steps += 1
    assert steps > 5  # it was waited for without blocking
    with wave.open(str(tmp_path / "apart.wav"), "rb") as file:
        apart = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    assert np.abs(at_once).max() > 3000 and apart.shape == at_once.shape
    # Seconds are found exactly, other places within a packet: the two may start some milliseconds apart.
    lag = np.argmax(np.correlate(apart[:, 0].astype(float)[4000:40000], at_once[:, 0].astype(float)[5000:39000]))
    assert abs(lag - 1000) < 0.03 * rate
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_damaged_compressed_sound(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.ogg").write_bytes(b"OggS" + bytes(500))
    told = ""
    try:
        for _ in parlando.audio._decode(tmp_path / "broken.ogg", "song", tmp_path / ".decoded.wav", 0, 1000):
            time.sleep(0.02)
    except parlando.problem.Problem as problem:
        told = str(problem)
    assert "“song” cannot be decoded" in told


def test_animated_volume_is_mixed(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    strips = parlando.compat.strips(scene.sequence_editor)
    other = strips.new_sound("other", sound.sound.filepath, 2, 10)
    other.mute = False
    for frame, volume in ((10, 1.0), (57, 1.0), (58, 0.0), (110, 0.0)):
        sound.volume = volume
        sound.keyframe_insert("volume", frame=frame)
    scenes, before = len(bpy.data.scenes), (scene.frame_start, scene.frame_end, scene.frame_current)
    assert parlando.audio.why_mixed(scene, sound) == "animated"
    data, rate = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert (len(data), rate) == (4 * 48000, 48000)
    middle = np.arange(20000, 90000)
    assert np.abs(data[middle, 0] - middle / 8).max() < 40  # this strip alone, at full volume
    assert np.abs(data[110000:]).max() < 40  # then silent
    assert len(bpy.data.scenes) == scenes and not other.mute
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == before


def test_mixing_in_the_background_is_waited_for(
    parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a window the operator answers before the file is there; here the file is held back instead."""
    sound.keyframe_insert("volume", frame=10)
    whole = parlando.audio._whole
    asked: list[Path] = []

    def late(path: Path) -> bool:
        asked.append(path)
        return len(asked) > 3 and whole(path)

    monkeypatch.setattr(parlando.audio, "_whole", late)
    steps = []
    for step in parlando.audio.extract(scene, sound, tmp_path / "out.wav"):
        steps.append(step)
        time.sleep(0.02)
    assert steps[:3] == [0.5, 0.5, 0.5] and steps[-1] == 1.0
    assert whole(tmp_path / "out.wav")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "out.wav").read_bytes()[:-100])
    assert not whole(tmp_path / "cut.wav") and not whole(tmp_path / "none.wav")


def test_retimed_strip_is_mixed(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    if bpy.app.version < (5, 2):
        pytest.skip("retiming_keys.add crashes in the bpy wheels before 5.2")
    keys = sound.retiming_keys
    if len(keys) == 0:
        keys.add(timeline_frame=10)
        keys.add(timeline_frame=106)
    keys[-1].timeline_frame = 58  # twice as fast
    assert parlando.audio.why_mixed(scene, sound) == "retimed"
    data, rate = heard(parlando, scene, sound, tmp_path / "out.wav")
    assert len(data) == round(parlando.strips.frames_of(sound) / 24 * rate)


def problem(parlando: SimpleNamespace, scene: Any, strip: Any, tmp_path: Path) -> str:
    """The sentence that is told; nothing may be left behind."""
    folder = tmp_path / "take"
    folder.mkdir()
    with pytest.raises(parlando.problem.Problem) as told:
        heard(parlando, scene, strip, folder / "out.wav")
    assert list(folder.iterdir()) == []
    return str(told.value)


def test_missing_file(parlando: SimpleNamespace, scene: Any, sound: Any, tone: Path, tmp_path: Path) -> None:
    tone.unlink()
    assert "“voice”" in (text := problem(parlando, scene, sound, tmp_path)) and str(tone) in text


def test_corrupt_file(parlando: SimpleNamespace, scene: Any, sound: Any, tone: Path, tmp_path: Path) -> None:
    tone.write_bytes(b"this is not a sound")
    assert "“voice”" in (text := problem(parlando, scene, sound, tmp_path)) and "damaged" in text


def test_muted_strip_and_channel(parlando: SimpleNamespace, scene: Any, sound: Any, tmp_path: Path) -> None:
    sound.mute = True
    with pytest.raises(parlando.problem.Problem, match="strip “voice” is muted"):
        heard(parlando, scene, sound, tmp_path / "out.wav")
    sound.mute = False
    scene.sequence_editor.channels[sound.channel].mute = True
    with pytest.raises(parlando.problem.Problem, match="channel of the strip “voice” is muted"):
        heard(parlando, scene, sound, tmp_path / "out.wav")


def test_empty_file(parlando: SimpleNamespace, scene: Any, tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("empty", str(path), 1, 1)
    if parlando.strips.frames_of(strip) < 1:
        assert "no length" in problem(parlando, scene, strip, tmp_path)
    else:
        assert "“empty”" in problem(parlando, scene, strip, tmp_path)


def test_a_picture_is_no_sound(parlando: SimpleNamespace, scene: Any, portrait_file: Path, tmp_path: Path) -> None:
    strip = parlando.compat.strips(scene.sequence_editor).new_sound("mute film", str(portrait_file), 1, 1)
    if parlando.strips.frames_of(strip) < 1:
        assert "no length" in problem(parlando, scene, strip, tmp_path)
    else:
        assert "“mute film”" in problem(parlando, scene, strip, tmp_path)
