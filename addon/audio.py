"""The audible sound of a strip as a WAV file: trimmed, offset, at its volume, exactly as long as its frames.

A plain strip is read through Blender's own audio library at the file's own rate, streamed, so an hour does not fill the
memory; lossless files in pieces and long compressed ones by a Blender of their own (`decode.py`), so it does not stop
the interface either. What that path cannot hear (retiming, an
animated volume, modifiers) is mixed by Blender from a copy of the scene that holds this strip alone, so nothing of the
user's is muted or moved. In a window Blender mixes in the background: the extraction is a generator that `addon.pump`
takes one step further each time.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import aud as _aud
import bpy

from . import compat, strips
from .problem import Problem

PIECE = 60.0  # s read in one step, about 0.1 s of work
LONG = 120  # s from which a compressed sound is decoded apart; 2 minutes would stop the interface for 0.2 s
EXACT = {".wav", ".flac", ".aif", ".aiff"}  # read in pieces: in others a jump lands some milliseconds off
MIX_RATE = 48000
MIX_SCENE = "Parlando mixdown"
MIX_SILENCE = 60.0  # s without any growth of the file after which mixing has failed
_BUFFER = 16384
aud: Any = _aud  # its published types are wrong


def fps_of(scene: bpy.types.Scene) -> Fraction:
    """The scene's frame rate, 24000/1001 where Blender has 24 / 1.001."""
    held = scene.render.fps_base  # 32 bit: 1.001 is held as 1.00100004
    base = Fraction(held).limit_denominator(1000)
    if abs(float(base) - held) > 1e-6 * held:
        base = Fraction(held).limit_denominator(1000000)
    return Fraction(scene.render.fps) / base


def check(scene: bpy.types.Scene, strip: Any) -> None:
    """Raises Problem when the strip has nothing to hear."""
    name = strip.name
    if strips.frames_of(strip) < 1:
        raise Problem(f"The strip “{name}” has no length: pull its handles apart.")
    if (by := strips.muted_by(scene, strip)) == "strip":
        raise Problem(f"The strip “{name}” is muted: unmute it to generate.")
    elif by:
        raise Problem(f"The channel of the strip “{name}” is muted: unmute it to generate.")
    if strip.sound is None:
        raise Problem(f"The strip “{name}” has no sound: replace it by a sound file.")


def why_mixed(scene: bpy.types.Scene, strip: Any) -> str:
    """Why the strip has to be mixed by Blender instead of read from its file; empty when it can be read."""
    if len(getattr(strip, "retiming_keys", ())) > 0:
        return "retimed"
    if any(not modifier.mute for modifier in getattr(strip, "modifiers", ())):
        return "modified"
    path = f'strips_all["{bpy.utils.escape_identifier(strip.name)}"].'
    old_path = path.replace("strips_all", "sequences_all")
    for curve in compat.curves(scene):
        if path in curve.data_path or old_path in curve.data_path:
            return "animated"
    drivers = scene.animation_data.drivers if scene.animation_data else ()
    return "driven" if any(path in d.data_path or old_path in d.data_path for d in drivers) else ""


def extract(
    scene: bpy.types.Scene, strip: Any, target: Path, span: tuple[int, int] | None = None
) -> Generator[float, None, None]:
    """Writes what is heard of `strip` to `target`; yields the part done, 0 to 1. Raises Problem.

    `span`: not the whole visible part but (first, count) frames of it. All that is needed of the strip is read before
    the first yield; later it may be moved or deleted.
    """
    check(scene, strip)
    first, frames = span or (0, strips.frames_of(strip))
    fps = fps_of(scene)
    duration = Fraction(frames) / fps
    if why_mixed(scene, strip):
        yield from _mix(scene, strip, target, compat.left(strip) + first, frames, duration)
        return
    # As Blender places sounds: the handle may lie before the content, then silence comes first.
    skipped = Fraction(compat.left(strip) + first) - Fraction(compat.content_start(strip)) + compat.content_trim(strip)
    begin = skipped / fps - Fraction(strip.sound_offset)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_file_of(strip, target.parent))
        yield from _read(source, strip.name, float(strip.volume), bool(strip.sound.use_mono), begin, duration, target)


@contextlib.contextmanager
def _file_of(strip: Any, folder: Path) -> Iterator[Path]:
    """The strip's sound as a file: a packed one is unpacked for as long as it is read."""
    sound = strip.sound
    path = Path(bpy.path.abspath(sound.filepath, library=sound.library))
    if sound.packed_file is None:
        if not path.is_file():
            raise Problem(f"The sound file of the strip “{strip.name}” is missing: {path}. Replace or find it.")
        yield path
        return
    unpacked = folder / f".packed{path.suffix}"
    try:
        unpacked.write_bytes(sound.packed_file.data)
        yield unpacked
    finally:
        unpacked.unlink(missing_ok=True)


def _read(
    source: Path, name: str, volume: float, mono: bool, begin: Fraction, duration: Fraction, target: Path
) -> Generator[float, None, None]:
    """Samples of `source` from `begin` s on for `duration` s, silence where it has none."""
    try:
        sound = aud.Sound(str(source))
        rate, channels = sound.specs
        length = sound.length
    except aud.error as problem:
        raise Problem(
            f"The strip “{name}” has no sound that can be read: {source} is damaged or has no audio track."
        ) from problem
    rate = round(rate)
    if rate < 1 or length <= 0:
        raise Problem(f"The strip “{name}” has no sound that can be read: {source} holds no audio.")
    if source.suffix.lower() not in EXACT and duration > LONG:
        decoded = target.with_name(".decoded.wav")
        try:
            first = max(0, round(begin * rate))
            yield from _decode(source, name, decoded, first, round(duration * rate))
            yield from _read(decoded, name, volume, mono, min(begin, Fraction(0)), duration, target)
        finally:
            decoded.unlink(missing_ok=True)
        return
    if channels > 2 or (mono and channels > 1):
        channels = 1 if mono else 2
        sound = sound.rechannel(channels)
    if volume != 1.0:
        sound = sound.volume(volume)
    sound = sound.mix(aud.Sound.silence(rate).rechannel(channels))  # or the library repeats the last buffer at the end
    total, first = round(duration * rate), round(begin * rate)
    piece = round(PIECE * rate) if source.suffix.lower() in EXACT else total
    part = target.with_name(f".{target.name}.part")
    try:
        with _writing(part, rate, channels) as write:
            done = 0
            while done < total:
                count = min(piece, total - done)
                lead = min(count, max(0, -(first + done)))  # silence before the content
                write(b"\0" * (2 * channels * lead))
                if lead < count:
                    try:
                        write(_samples(sound, first + done + lead, count - lead, rate, channels, part))
                    except (aud.error, EOFError) as problem:
                        raise Problem(
                            f"The sound of the strip “{name}” cannot be read from {(first + done) / rate:.1f} s on: "
                            f"{source} is damaged."
                        ) from problem
                done += count
                yield done / total
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _decode(source: Path, name: str, target: Path, first: int, count: int) -> Generator[float, None, None]:
    """Lets another Blender decode `count` samples of a compressed file, see `decode.py`."""
    script = str(Path(__file__).with_name("decode.py"))
    asked = json.dumps({"source": str(source), "target": str(target), "first": first, "count": count})
    if bpy.app.binary_path:
        command = [bpy.app.binary_path, "-b", "--factory-startup", "--python-exit-code", "3", "--python", script]
    else:  # the bpy wheel
        command = [sys.executable, script]
    child = subprocess.Popen(
        [*command, "--", asked],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
    )
    try:
        while child.poll() is None:
            yield 0.0
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        target.with_name(target.name + ".part").unlink(missing_ok=True)
    if not target.exists():
        raise Problem(f"The sound of the strip “{name}” cannot be decoded: {source} is damaged.")


def _samples(sound: Any, first: int, count: int, rate: int, channels: int, beside: Path) -> bytes:
    """`count` samples from sample `first` on as little-endian 16 bit.

    The library rounds times down, finds only whole seconds exactly and writes whole buffers: a little more is asked for
    and cut off.
    """
    piece = beside.with_name(f".{beside.name}.wav")
    half = 0.5 / rate
    second, skipped = divmod(first, rate)
    try:
        sound.limit(second + half, (first + count + 2) / rate + half).write(
            str(piece), rate, channels, aud.FORMAT_S16, aud.CONTAINER_WAV, aud.CODEC_PCM, 0, _BUFFER
        )
        with open(piece, "rb") as file:
            file.seek(12)
            while (header := file.read(8))[:4] != b"data":  # Python's wave knows no WAVE_FORMAT_EXTENSIBLE before 3.12
                if len(header) < 8:
                    raise EOFError("no samples")
                file.seek(int.from_bytes(header[4:], "little"), os.SEEK_CUR)
            file.seek(2 * channels * skipped, os.SEEK_CUR)
            data = file.read(2 * channels * count)
        if len(data) < 2 * channels * count:
            raise EOFError(f"{len(data)} bytes of {2 * channels * count}")
        return data
    finally:
        piece.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: Path, rate: int, channels: int) -> Iterator[Callable[[bytes], None]]:
    """What appends samples to a new 16-bit WAV; a refusal of the system becomes a Problem."""
    try:
        with wave.open(str(path), "wb") as file:
            file.setparams((channels, 2, rate, 0, "NONE", ""))
            yield file.writeframesraw
    except OSError as problem:
        raise Problem(f"The sound cannot be written to {path.parent} ({problem.strerror}).") from problem


def _mix(
    scene: bpy.types.Scene, strip: Any, target: Path, start: int, frames: int, duration: Fraction
) -> Generator[float, None, None]:
    """Blender mixes the strip alone, in a copy of the scene, over just its frames."""
    _forget_mixes()
    with _file_of(strip, target.parent):
        pass  # tells a missing file by name
    name = strip.name
    mixed = target.with_name(".mixed.wav")
    mixed.unlink(missing_ok=True)
    copy = scene.copy()
    copy.name = MIX_SCENE
    copy_name = copy.name
    try:
        _keep_only(copy, name)
        copy.frame_start, copy.frame_end = start, start + frames - 1
        copy.use_preview_range = False
        copy.render.use_sequencer = True
        with bpy.context.temp_override(scene=copy):
            bpy.ops.sound.mixdown(
                filepath=str(mixed),
                check_existing=False,
                accuracy=256,
                container="WAV",
                codec="PCM",
                format="S16",
                channels="STEREO",
                mixrate=MIX_RATE,
            )
        changed, size = time.monotonic(), -1
        while not _whole(mixed):  # in a window it is mixed in the background
            now = mixed.stat().st_size if mixed.exists() else -1
            if now != size:
                changed, size = time.monotonic(), now
            if time.monotonic() - changed > MIX_SILENCE:
                raise Problem(f"Blender could not mix the sound of the strip “{name}” down.")
            yield 0.5
        total = round(duration * MIX_RATE)
        part = target.with_name(f".{target.name}.part")
        try:
            with wave.open(str(mixed), "rb") as source, _writing(part, MIX_RATE, source.getnchannels()) as write:
                done = 0
                while done < total:
                    count = min(total - done, int(PIECE * MIX_RATE))
                    data = source.readframes(count)
                    write(data + b"\0" * (2 * source.getnchannels() * count - len(data)))
                    done += count
                    yield 0.5 + 0.5 * done / total
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    finally:
        mixed.unlink(missing_ok=True)
        if (left_over := bpy.data.scenes.get(copy_name)) is not None:
            bpy.data.scenes.remove(left_over)


def _keep_only(scene: bpy.types.Scene, name: str) -> None:
    """Mutes every other sound of the (copied) scene and brings the kept strip's owners to sound."""
    for _, other in strips.in_scene(scene):
        if other.type != "META":
            other.mute = other.name != name


def _whole(path: Path) -> bool:
    """Whether the WAV is there up to its last byte: its header is written last."""
    try:
        with open(path, "rb") as file:
            header = file.read(12)
            size = os.fstat(file.fileno()).st_size
        if len(header) < 12 or header[:4] != b"RIFF" or int.from_bytes(header[4:8], "little") + 8 != size:
            return False
        with wave.open(str(path), "rb") as sound:
            return sound.getnframes() > 0
    except (OSError, wave.Error, EOFError):
        return False


def _forget_mixes() -> None:
    """Removes copies an undo may have brought back."""
    for scene in [s for s in bpy.data.scenes if s.name.startswith(MIX_SCENE)]:
        bpy.data.scenes.remove(scene)
