"""The motion of test clips as line drawings beside the truth's, to be watched: film strips and side-by-side videos.

    .venv/bin/python tools/watch.py [--data ../shared/data] [--out build/watch] [--every 10]

Every tenth clip of those never trained on (the last 100 of `grid_s1`, and every other one of `grid_others`), by the
shipped network, and two more: a vowel sung for ten seconds with vibrato, and the demo's speech half as fast again. The
left (in strips the upper row) is the truth, the right the engine; red is the mouth. The two have no truth. Judges
nothing.
"""

import argparse
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import soundfile
import torch

from engine.audio.load import open_audio
from engine.evaluation.motion import HELD_OUT
from engine.face.canonical import to_canonical
from engine.motion.generate import Motion, MotionGenerator
from engine.preview import Preview

ROOT = Path(__file__).resolve().parent.parent
SIDE, FPS, SHOWN = 256, 25, 16  # px, Hz, pictures in a strip
RUNS = [
    (range(17), False), (range(17, 22), False), (range(22, 27), False), (range(27, 31), False), (range(31, 36), False),
    (range(36, 42), True), (range(42, 48), True), (range(48, 60), True), (range(60, 68), True),
]  # fmt: skip
DEPTH = np.array([1.0, 1.0, -1.0])  # the data's z points away from the viewer


def drawing(points: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 3) of canonical landmarks (68, 3)."""
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    at = np.round((points[:, :2] * [1, -1] * 0.42 * SIDE + [SIDE / 2, 0.36 * SIDE]) * 16).astype(np.int32)
    for run, closed in RUNS:
        colour = (200, 30, 30) if run[0] >= 48 else (40, 40, 40)
        cv2.polylines(picture, [at[list(run)]], closed, colour, 2, cv2.LINE_AA, 4)
    return picture


def made_of(motion: Motion, rest: np.ndarray) -> np.ndarray:
    """Canonical landmarks (T, 68, 3) on the face `rest` (68, 3)."""
    return rest + motion.offsets


def show(name: str, rows: list[np.ndarray], sound: Path, out: Path) -> None:
    """`rows` of landmarks (T, 68, 3), one beside the other in the video and under the other in the strip."""
    count = min(len(row) for row in rows)
    pictures = [np.stack([drawing(points) for points in row[:count]]) for row in rows]
    at = np.linspace(0, count - 1, SHOWN).round().astype(int)
    strip = np.vstack(
        [np.hstack([cv2.resize(row[k], (128, 128), interpolation=cv2.INTER_AREA) for k in at]) for row in pictures]
    )
    cv2.imwrite(str(out / f"{name}.png"), strip[..., ::-1])
    with Preview(out / f"{name}.mp4", (SIDE * len(rows), SIDE), Fraction(FPS), count, open_audio(sound), name) as film:
        for k in range(count):
            film.add(np.hstack([row[k] for row in pictures]))


def held_vowel(path: Path) -> None:
    """Ten seconds of "ah" at 220 Hz with vibrato: a voice's pulses through four formants (Peterson and Barney 1952)."""
    rate = 16000
    t = np.arange(10 * rate) / rate
    phase = 2 * np.pi * np.cumsum(220 * (1 + 0.02 * np.sin(2 * np.pi * 5.5 * t))) / rate
    voice = sum(np.cos(k * phase) / k for k in range(1, 30))
    spectrum, f = np.fft.rfft(voice), np.fft.rfftfreq(len(t), 1 / rate)
    shape = sum(g / (1 + ((f - c) / w) ** 2) for c, w, g in ((730, 60, 1.0), (1090, 70, 0.5), (2440, 110, 0.15)))
    sung = np.fft.irfft(spectrum * shape, len(t))
    soundfile.write(path, 0.3 * sung / np.abs(sung).max() * np.minimum(1, np.minimum(t, t[::-1]) / 0.2), rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "watch")
    parser.add_argument("--every", type=int, default=10, help="which clips: every tenth")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    generator = MotionGenerator.load(torch.device("cpu"))
    for folder in ("grid_others", "grid_s1"):
        with np.load(chosen.data / folder / "landmarks.npz") as stored:
            names = sorted(stored.files)[-HELD_OUT :: chosen.every if folder == "grid_s1" else 2]
            tracked = {name: to_canonical(stored[name] * DEPTH)[0] for name in names}
        for name, truth in tracked.items():
            film = chosen.data / folder / f"{name}.mp4"
            motion = generator.generate(open_audio(film), np.arange(len(truth)) / FPS, head=0)
            rest = truth[np.abs(truth[:, 62] - truth[:, 66]).sum(-1).argmin()]
            show(f"{folder}_{name}", [truth, made_of(motion, rest)], film, chosen.out)
            print(folder, name, flush=True)
    songs = {"held_vowel": chosen.out / "held_vowel.wav", "rap": chosen.out / "rap.wav"}
    held_vowel(songs["held_vowel"])
    speech, rate = soundfile.read(ROOT / "demo" / "source" / "jfk.wav")
    soundfile.write(songs["rap"], np.interp(np.arange(0, len(speech), 1.5), np.arange(len(speech)), speech), rate)
    for name, path in songs.items():
        sound = open_audio(path)
        times = np.arange(int(sound.duration * FPS)) / FPS
        show(name, [made_of(generator.generate(sound, times, head=0), rest)], path, chosen.out)
        print(name, flush=True)


if __name__ == "__main__":
    main()
