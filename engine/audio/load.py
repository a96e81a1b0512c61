"""Opens the sound of any audio or video file and streams it as mono float32 at the rate asked for.

Time zero is where the file's own clock begins (encoder delay and edit lists are already taken out by FFmpeg's
timestamps), gaps and bad packets become silence, and the number of samples is `round(duration * rate)` whatever was in
between: nothing drifts, and an hour costs no memory. Does not filter, normalise or analyse.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from engine.errors import InputError, NoAudio

SILENT_DBFS = -60.0  # a recording whose loudest sample stays below this has nothing to speak
GAP_SECONDS = 0.04  # timestamps may wander by this much before a gap is filled or an overlap dropped
CHUNK_SECONDS = 0.5  # decoded frames are gathered to this length before they are resampled

# Dialogue keeps its level: the centre whole, left and right halved, surrounds quartered, the subwoofer left out.
MIX = {"FC": 1.0, "FL": 0.5, "FR": 0.5, "FLC": 0.5, "FRC": 0.5, "DL": 0.5, "DR": 0.5, "LFE": 0.0, "LFE2": 0.0}
SURROUND = 0.25
# What files without a channel map mean by their order of channels.
ORDER = {
    2: ["FL", "FR"],
    6: ["FL", "FR", "FC", "LFE", "BL", "BR"],
    8: ["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"],
}


@dataclass
class Sound:
    """The sound of a file. `blocks` may be called any number of times, at any rate."""

    path: Path
    rate: int  # Hz, as stored
    channels: int
    duration: float  # s
    peak: float | None = field(default=None, repr=False)  # of the mono mix, known once it was streamed to its end

    @property
    def silent(self) -> bool:
        """True when nothing in it is louder than -60 dBFS. Free after one whole pass of `blocks`, else takes a pass."""
        if self.peak is None:
            for _ in self.blocks(self.rate, 1.0):
                pass
        return (self.peak or 0.0) < 10 ** (SILENT_DBFS / 20)

    def blocks(self, rate: int, seconds: float = 1.0) -> Iterator[np.ndarray]:
        """Mono float32 in [-1, 1], `round(rate * seconds)` samples a block, `round(duration * rate)` in all."""
        if rate <= 0 or seconds <= 0:
            raise ValueError(f"rate and seconds must be positive, not {rate} and {seconds}")
        size = max(1, round(rate * seconds))
        left = round(self.duration * rate)
        peak = 0.0
        held = np.zeros(0, np.float32)
        for piece in _resampled(self.path, self.rate, rate):
            peak = max(peak, float(np.abs(piece).max(initial=0.0)))
            held = np.concatenate([held, piece]) if len(held) else piece
            while left and len(held) >= min(size, left):
                n = min(size, left)
                yield held[:n]
                held = held[n:]
                left -= n
            if not left:
                break
        while left:
            n = min(size, left)
            yield np.pad(held[:n], (0, n - len(held[:n])))
            held = held[n:]
            left -= n
        self.peak = peak

    def read(self, rate: int) -> np.ndarray:
        """All of it at once, (n,) float32: for training and short clips."""
        return np.concatenate([np.zeros(0, np.float32), *self.blocks(rate, 10.0)])


def open_audio(path: str | Path) -> Sound:
    """Check that the file holds sound that decodes, and measure it. `InputError` says what is wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The sound file {path} does not exist; choose another file.")
    if path.stat().st_size == 0:
        raise InputError(f"The sound file {path} is empty (0 bytes); export or copy it again.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise NoAudio(f"{path} holds no audio stream; choose a file with sound.")
            stream = container.streams.audio[0]
            size, end, first = _survey(container, stream)
        end = _decoded_end(path, end) or end
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a sound or video file ({error.strerror}); export or copy it again."
        ) from error
    if size == 0 or (first is not None and end * first.sample_rate < 1):
        raise InputError(f"The sound in {path} has zero length; choose a file with sound.")
    if first is None:
        raise InputError(f"The sound in {path} is damaged and cannot be decoded; export or copy it again.")
    return Sound(path, first.sample_rate, first.layout.nb_channels, end)


def _survey(container: InputContainer, stream: AudioStream) -> tuple[int, float, AudioFrame | None]:
    """Bytes of sound, the end by packet times (s), and the first frame that decodes: no more is decoded than that."""
    zero = _zero(container)
    size, end, first = 0, 0.0, None
    for packet in container.demux(stream):
        if not packet.size:
            continue
        size += packet.size
        if first is None:
            frames = _decode(packet)
            first = frames[0] if frames else None
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero)
    return size, end, first


def _decoded_end(path: Path, end: float) -> float | None:
    """The end (s) of the last decoded sample, which leaves out an encoder's padding; None when it cannot be told."""
    last = None
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        try:
            container.seek(max(0, int((end - 1.0 + _zero(container)) * av.time_base)))
            for packet in container.demux(stream):
                for frame in _decode(packet):
                    if frame.time is not None:
                        last = frame.time - _zero(container) + frame.samples / frame.sample_rate
        except av.FFmpegError:
            return None
    return last if last is not None and abs(last - end) < 1.0 else None


def _zero(container: InputContainer) -> float:
    """The file's own time zero (s): where its earliest stream starts, unless that is an encoder's lead-in before 0."""
    return max(0.0, (container.start_time or 0) / av.time_base)


def _decode(packet: Packet) -> list[AudioFrame]:
    """The frames of a packet; none when it is damaged (its time then stays silent)."""
    try:
        return [frame for frame in cast(list[object], packet.decode()) if isinstance(frame, AudioFrame)]
    except av.FFmpegError:
        return []


def _resampled(path: Path, rate: int, to: int) -> Iterator[np.ndarray]:
    """The mono mix at `to` Hz from time zero on, in pieces of any length."""
    if rate == to:
        yield from _mono(path, rate)
        return
    resampler = av.AudioResampler(format="flt", layout="mono", rate=to)
    for piece in _mono(path, rate):
        frame = AudioFrame.from_ndarray(piece[None], format="flt", layout="mono")
        frame.sample_rate = rate
        for out in resampler.resample(frame):
            yield np.clip(out.to_ndarray()[0], -1.0, 1.0)
    for out in resampler.resample(None):
        yield np.clip(out.to_ndarray()[0], -1.0, 1.0)


def _mono(path: Path, rate: int) -> Iterator[np.ndarray]:
    """The mono mix at the file's own rate from time zero on; every sample at its timestamp, gaps silent."""
    held: list[np.ndarray] = []
    waiting = 0
    position = 0  # samples handed on or held so far
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        zero = _zero(container)
        for packet in container.demux(stream):
            for frame in _decode(packet):
                piece = _mix(frame)
                if frame.sample_rate != rate:
                    continue  # a stream that changes its rate half-way: FFmpeg's own players stop there as well
                if frame.time is not None:
                    gap = round((frame.time - zero) * rate) - position
                    if gap > GAP_SECONDS * rate or (position == 0 and gap > 0):
                        yield from _silence(gap, rate)
                        position += gap
                    elif gap < -GAP_SECONDS * rate or (position == 0 and gap < 0):
                        piece = piece[-gap:]
                position += len(piece)
                held.append(piece)
                waiting += len(piece)
            if waiting >= CHUNK_SECONDS * rate:
                yield np.concatenate(held)
                held, waiting = [], 0
    if held:
        yield np.concatenate(held)


def _silence(samples: int, rate: int) -> Iterator[np.ndarray]:
    """Zeros, at most a second a piece: a gap of an hour costs no memory either."""
    while samples > 0:
        yield np.zeros(min(samples, rate), np.float32)
        samples -= rate


def _mix(frame: AudioFrame) -> np.ndarray:
    """(n,) float32 in [-1, 1]: the channels of a frame of any sample format mixed to one."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype == np.uint8:
        mono_scale, offset = 1 / 128, 128.0
    elif data.dtype.kind == "i":
        mono_scale, offset = 2.0 ** (1 - 8 * data.dtype.itemsize), 0.0
    else:
        mono_scale, offset = 1.0, 0.0
    if len(data) == 1:
        weights = np.ones(1)
    else:
        names = [channel.name for channel in frame.layout.channels]
        if "FL" not in names:
            names = ORDER.get(len(data), ["FC" if name == "FC" else "FL" for name in names])
        weights = np.array([MIX.get(name, SURROUND) for name in names])
        if len(data) not in ORDER:
            weights /= max(weights.sum(), 1.0)
    mono = (weights * mono_scale) @ (data.astype(np.float32) - offset)
    return np.nan_to_num(np.clip(mono, -1.0, 1.0)).astype(np.float32)
