"""preview.mp4: the frames with the sound, to look at and to send around. H.264 and AAC, streamed.

It says in its metadata that it is synthetic and which take it comes from.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np

from engine import __version__
from engine.audio.load import Sound
from engine.take import PART, writing

MAX_HEIGHT = 1080  # larger pictures are reduced for the preview; the frames themselves are not
_SOUND_RATE = 48000
_PIECE = 1024  # samples in a frame of AAC
_BACKDROP = 0.5  # grey behind transparent pictures


class Preview:
    """Writes one mp4: `add` each frame in order, leave the `with` block. Absent unless all went well."""

    def __init__(
        self, path: Path, size: tuple[int, int], fps: Fraction, frames: int, sound: Sound | None, take_id: str
    ) -> None:
        """`size` is width and height of the frames; `sound` is cut to `frames / fps` s."""
        self.path = path
        self.part = path.with_name(f".{path.name}{PART}")
        self.fps = fps
        self.written = 0
        scale = min(1.0, MAX_HEIGHT / size[1])
        self.size = (max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2))
        self.duration = float(frames / fps)
        with writing(self.part):
            self.container = av.open(str(self.part), "w", format="mp4", options={"movflags": "+faststart"})
        self.container.metadata["title"] = f"Parlando take {take_id}"
        self.container.metadata["comment"] = f"Synthetic: made by Parlando {__version__}, take {take_id}"
        self.video = self.container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "18"})
        self.video.width, self.video.height = self.size
        self.video.pix_fmt = "yuv420p"
        self.video.time_base = 1 / fps
        self.video.codec_context.thread_count = 1  # the frames' makers have the other cores
        self.sound = self.container.add_stream("aac", rate=_SOUND_RATE, layout="mono") if sound else None
        self.sounds = _sound_frames(sound, self.duration) if sound else iter(())
        self.heard = 0.0  # seconds of sound written

    def __enter__(self) -> "Preview":
        return self

    def add(self, image: np.ndarray) -> None:
        """One frame, RGB or RGBA uint8 (H, W, C)."""
        if image.shape[2] == 4:
            alpha = image[..., 3:].astype(np.float32) / 255
            image = (image[..., :3] * alpha + 255 * _BACKDROP * (1 - alpha)).astype(np.uint8)
        if (image.shape[1], image.shape[0]) != self.size:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = self.written
        frame.time_base = 1 / self.fps
        self.written += 1
        with writing(self.part):
            self.container.mux(self.video.encode(frame))
        self._hear(float(self.written / self.fps))

    def _hear(self, until: float) -> None:
        while self.sound is not None and self.heard < until:
            frame = next(self.sounds, None)
            if frame is None:
                self.heard = float("inf")
                return
            frame.pts = round(self.heard * _SOUND_RATE)
            frame.time_base = Fraction(1, _SOUND_RATE)
            self.heard += frame.samples / _SOUND_RATE
            with writing(self.part):
                self.container.mux(self.sound.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._hear(float("inf"))
                with writing(self.part):
                    self.container.mux(self.video.encode())
                    if self.sound is not None:
                        self.container.mux(self.sound.encode())
                    self.container.close()
                    self.part.replace(self.path)
            else:
                self.container.close()
        finally:
            self.part.unlink(missing_ok=True)


def _sound_frames(sound: Sound, duration: float) -> Iterator[av.AudioFrame]:
    """Mono float frames at 48 kHz of the first `duration` seconds, every sample at its time."""
    left = round(duration * _SOUND_RATE)
    for block in sound.blocks(_SOUND_RATE, _PIECE / _SOUND_RATE):
        if left <= 0:
            return
        piece = np.ascontiguousarray(block[None, :left])
        left -= piece.shape[1]
        frame = av.AudioFrame.from_ndarray(piece, "fltp", "mono")
        frame.sample_rate = _SOUND_RATE
        yield frame
