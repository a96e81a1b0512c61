"""Measures a result against the truth and a style reference: every figure of DESIGN section 6, by its name.

Each of them may be a video (its face is tracked), a take folder, or a landmarks .npz. What cannot be told from what was
given, say sharpness from landmarks alone, is None. How each figure is made is in `landmarks.py`, `metrics.py`,
`style.py`, `sync.py` and `picture.py`; this file only opens, brings to the same times, and calls.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from engine.audio.load import Sound, open_audio
from engine.audio.phones import phones
from engine.errors import InputError
from engine.evaluation import landmarks as on_landmarks
from engine.evaluation import metrics, picture, style, sync
from engine.face import image
from engine.face.canonical import to_canonical
from engine.face.track import track
from engine.progress import Progress, silent
from engine.take import Landmarks, about, read_frame

PICTURES = 50  # frames looked at, spread evenly: enough for a mean, quick on long videos
FIGURES = {
    "cpbd": "sharpness of the face, 0 to 1, higher is better",
    "cpbd_truth": "the truth's own",
    "lmd": "mouth landmark distance, % of face width",
    "d_l": "landmark distance, % of face width",
    "d_v": "landmark velocity difference, % of face width per 1/25 s",
    "d_a": "open mouth area difference, % of the truth's largest",
    "opening_r": "correlation of lip opening with the truth's, higher is better",
    "width_r": "correlation of lip width with the truth's, higher is better",
    "lag_ms": "ms by which the lips come after the truth's",
    "sld": "style: landmark distance to the reference, paper's formula",
    "slv": "style: landmark velocity difference, paper's formula",
    "smd": "style: mouth distance, paper's formula",
    "sld_published": "SLD as the published code computes it",
    "slv_published": "SLV as the published code computes it",
    "smd_published": "SMD as the published code computes it",
    "silence": "mouth motion in silence, % of that in speech",
    "silence_truth": "the truth's own",
    "closure": "% of /p b m/ on which the lips close, higher is better",
    "closure_truth": "the truth's own",
    "closure_margin": "closure less the % of open vowels on which they close as well, higher is better",
    "closure_margin_truth": "the truth's own",
    "jitter": "trembling of points that speech leaves be, % of face width",
    "jitter_truth": "the truth's own",
    "mouth_l1": "mean absolute difference of the mouth's pixels, 0 to 1",
    "background_psnr": "dB, of what is not the person against the portrait, higher is better",
}
# Tried on the first motion network and its controls (frozen, shuffled, shifted by ±100 and ±200 ms), 20 clips of GRID:
# these ranked every control below the result. The others do not, and are told because papers tell them, or because they
# tell something else: D-V and SLV are best where nothing moves; the published code's running means blur all three
# figures until a frozen mean face wins; a shut mouth has every closure, no motion in silence and no jitter.
# SLD and SMD know manner, not time, so for them shifting is no control. The mouth's pixels ranked the controls in the
# mean of clips, not in each; sharpness and background do not look at motion.
KEPT = ("lmd", "d_l", "d_a", "opening_r", "width_r", "lag_ms", "sld", "smd", "closure_margin")


@dataclass
class Material:
    """What a path gives: a face over time and, where there are any, its pictures and sound."""

    path: Path
    landmarks: np.ndarray  # (T, 68, 3) px
    fps: float
    size: tuple[int, int]  # width, height
    video: Path | None = None
    frames: list[Path] | None = None
    sound: Path | None = None
    portrait: Path | None = None

    @property
    def canonical(self) -> np.ndarray:
        """(T, 68, 3) landmarks without the head's pose."""
        return to_canonical(self.landmarks)[0]

    def pictures(self, wanted: list[int]) -> Iterator[np.ndarray]:
        """RGB uint8 frames of these indices, rising; a video ends early where it has fewer frames."""
        if self.frames is not None:
            for index in wanted:
                yield read_frame(self.frames[index])[..., :3]
        elif self.video is not None:
            left = iter(wanted)
            next_one = next(left, None)
            with av.open(str(self.video)) as container:
                for index, frame in enumerate(container.decode(video=0)):
                    while next_one == index:
                        rgb = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                        yield np.ascontiguousarray(rgb)
                        next_one = next(left, None)
                    if next_one is None:
                        break


def material(path: Path, progress: Progress = silent) -> Material:
    """Opens a video, a take folder or a landmarks .npz. Raises InputError."""
    if path.is_dir():
        if not (path / "landmarks.npz").is_file():
            raise InputError(f"{path} is not a take, it has no landmarks.npz: give a take folder, a video or an .npz.")
        read = Landmarks.load(path / "landmarks.npz")
        frames = sorted((path / "frames").glob("*.png"))
        sound = path / "audio.wav"
        made = Material(path, read.landmarks, float(read.fps), read.size)
        made.frames = frames if len(frames) >= len(read.landmarks) else None
        made.sound = sound if sound.is_file() else None
        made.portrait = _portrait(path)
        return made
    if path.suffix == ".npz":
        read = Landmarks.load(path)
        return Material(path, read.landmarks, float(read.fps), read.size)
    tracked = track(path, progress)
    with av.open(str(path)) as container:
        sound_too = bool(container.streams.audio)
    return Material(path, tracked.landmarks, float(tracked.fps), tracked.size, path, None, path if sound_too else None)


def _portrait(take: Path) -> Path | None:
    """The picture a take was made from, if it is still where it was."""
    if not (take / "take.json").exists():
        return None
    named = about(take)["request"].get("image")
    return Path(named) if isinstance(named, str) and Path(named).is_file() else None


def evaluate(
    generated: Path,
    truth: Path,
    reference: Path | None = None,
    audio: Path | None = None,
    progress: Progress = silent,
    words: str | None = None,
) -> dict[str, float | None]:
    """Every figure of `FIGURES`; lower is better where it does not say otherwise, None where it cannot be told.

    generated and truth are compared over the time both have, at the truth's frames. reference: whose style was asked
    for; without it there is no SLD, SLV, SMD. audio: what was spoken; without it the truth's own sound, or the take's.
    words: what was said, for the alignment of phones; guessed without. Raises InputError.
    """
    made, real = material(generated, progress), material(truth, progress)
    manner = None if reference is None else material(reference, progress)
    heard = audio or real.sound or made.sound
    result: dict[str, float | None] = dict.fromkeys(FIGURES)
    result |= of_landmarks(made, real)
    if manner is not None:
        result |= of_style(made, manner)
    if heard is not None:
        result |= of_sound(made, real, open_audio(heard), words)
    result |= of_pictures(made, real, progress)
    return result


def together(made: Material, real: Material) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical landmarks of both at the truth's frames, and these times (T,) s, as long as both last."""
    seconds = min(len(made.landmarks) / made.fps, len(real.landmarks) / real.fps)
    times = np.arange(max(1, round(seconds * real.fps))) / real.fps
    if len(times) < 5:
        raise InputError(f"{made.path} and {real.path} have only {len(times)} frames in common: give longer ones.")
    return on_landmarks.resampled(made.canonical, made.fps, times), real.canonical[: len(times)], times


def of_landmarks(made: Material, real: Material) -> dict[str, float | None]:
    """What landmarks alone tell."""
    ours, theirs, _ = together(made, real)
    openings = on_landmarks.opening(ours), on_landmarks.opening(theirs)
    return {
        "lmd": on_landmarks.lmd(ours, theirs),
        "d_l": on_landmarks.d_l(ours, theirs),
        "d_v": on_landmarks.d_v(ours, theirs, real.fps),
        "d_a": on_landmarks.d_a(ours, theirs),
        "opening_r": metrics.correlation(*openings),
        "width_r": metrics.correlation(on_landmarks.lip_width(ours), on_landmarks.lip_width(theirs)),
        "lag_ms": 1000 * metrics.lag(*openings, real.fps)[0] if openings[0].std() > 1e-6 else None,
        "jitter": on_landmarks.jitter(made.landmarks, made.fps),
        "jitter_truth": on_landmarks.jitter(real.landmarks, real.fps),
    }


def of_style(made: Material, manner: Material) -> dict[str, float | None]:
    """How near the style is to the reference's, in both readings."""
    sizes = manner.size, made.size
    told = style.published(manner.landmarks, made.landmarks, manner.fps, made.fps, *sizes)
    return {
        **style.style(manner.canonical, made.canonical, manner.fps, made.fps),
        **{name: None if np.isnan(value) else value for name, value in told.items()},
    }


def of_sound(made: Material, real: Material, sound: Sound, words: str | None = None) -> dict[str, float | None]:
    """What sound and landmarks tell together. Closure is None where pocketsphinx is not installed."""
    ours, theirs, times = together(made, real)
    still, speaking = sync.silence(sound, times)
    result: dict[str, float | None] = {
        "silence": sync.silence_motion(ours, still, speaking),
        "silence_truth": sync.silence_motion(theirs, still, speaking),
    }
    if importlib.util.find_spec("pocketsphinx"):
        spoken = phones(sound, words)
        for suffix, points in (("", ours), ("_truth", theirs)):
            opening = on_landmarks.opening(points)
            closed = sync.closed_on(opening, real.fps, spoken, sync.BILABIAL)
            open_ones = sync.closed_on(opening, real.fps, spoken, sync.OPEN)
            result["closure" + suffix] = closed
            margin = None if closed is None or open_ones is None else closed - open_ones
            result["closure_margin" + suffix] = margin
    return result


def of_pictures(made: Material, real: Material, progress: Progress = silent) -> dict[str, float | None]:
    """What the frames tell, where there are any."""
    _, _, times = together(made, real)
    times = times[np.unique(np.linspace(0, len(times) - 1, PICTURES).round().astype(int))]
    shape = picture.patch_shape(real.landmarks)
    sharp: dict[str, list[float]] = {"cpbd": [], "cpbd_truth": []}
    mouths: dict[str, list[np.ndarray]] = {"cpbd": [], "cpbd_truth": []}
    noise: list[float] = []
    portrait = None
    if made.portrait is not None and made.frames is not None:
        portrait = image.load(made.portrait).rgb
        mask = picture.background(made.landmarks, made.size)
    for name, one in (("cpbd", made), ("cpbd_truth", real)):
        wanted = np.clip(np.round(times * one.fps).astype(int), 0, len(one.landmarks) - 1).tolist()
        for index, frame in zip(wanted, one.pictures(wanted), strict=False):
            points = one.landmarks[index]
            value = picture.cpbd(picture.face_crop(frame, points))
            if value is not None:
                sharp[name].append(value)
            mouths[name].append(picture.aligned_mouth(frame, points, shape))
            if name == "cpbd" and portrait is not None and portrait.shape == frame.shape:
                level = picture.psnr(frame, portrait, mask)
                if level is not None:
                    noise.append(level)
            progress("pictures", len(mouths[name]), len(wanted))
    apart = [picture.mouth_l1(a, b) for a, b in zip(mouths["cpbd"], mouths["cpbd_truth"], strict=False)]
    return {
        "cpbd": float(np.mean(sharp["cpbd"])) if sharp["cpbd"] else None,
        "cpbd_truth": float(np.mean(sharp["cpbd_truth"])) if sharp["cpbd_truth"] else None,
        "mouth_l1": float(np.mean(apart)) if apart else None,
        "background_psnr": float(np.mean(noise)) if noise else None,
    }
