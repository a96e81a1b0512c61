"""How well the shipped motion follows real mouths it never saw, beside controls that must do worse.

    python -m engine.evaluation.motion --data DIR [--weights DIR]

Clips: `grid_others/` (speakers never trained on) and the last 100 of `grid_s1/` (a known speaker's clips never trained
on). Free speech of unseen speakers is measured by `engine.training.motion`, which leaves one speaker out at a time.
Measures landmarks only: pictures and style are measured elsewhere in this package.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from engine.audio.load import Sound, open_audio
from engine.evaluation.metrics import closure_score, correlation, jitter, lag, landmark_distance, silence_motion
from engine.motion.curves import cubic
from engine.motion.generate import WEIGHTS, MotionGenerator, decode
from engine.motion.net import CODES_PER_SECOND, mouth_opening, mouth_width

CLOSED = 0.02  # canonical units between the inner lips
HELD_OUT = 100
COLUMNS = ("opening r", "width r", "lag ms", "amplitude", "closed", "rightly", "LMD", "silence", "jitter", "clips")


@dataclass(frozen=True)
class Pair:
    """A mouth made and the true one: offsets (n, 68, 3) canonical at 50 Hz, and where there is speech (n,) bool."""

    made: np.ndarray
    truth: np.ndarray
    speech: np.ndarray


def measure(pairs: list[Pair]) -> dict[str, float]:
    """Figures over clips, weighted by their lengths. LMD in hundredths of the eye distance; amplitude is the spread of
    the opening over the truth's; closed: of the truth's closures those made within ±80 ms, rightly: of the made ones
    those the truth has; silence: motion there over motion in speech; jitter over the truth's."""
    rows = []
    for pair in pairs:
        made, truth = mouth_opening(pair.made), mouth_opening(pair.truth)
        closed, rightly = closure_score(made, truth, CODES_PER_SECOND, CLOSED)
        rows.append(
            (
                correlation(made, truth),
                correlation(mouth_width(pair.made), mouth_width(pair.truth)),
                1000 * lag(made, truth, CODES_PER_SECOND)[0],
                made.std() / truth.std(),
                closed,
                rightly,
                100 * landmark_distance(pair.made, pair.truth),
                silence_motion(made, pair.speech),
                jitter(pair.made, CODES_PER_SECOND) / jitter(pair.truth, CODES_PER_SECOND),
            )
        )
    means = np.average(np.array(rows), axis=0, weights=[len(pair.made) for pair in pairs])
    return dict(zip(COLUMNS, [*map(float, means), float(len(pairs))], strict=True))


def with_controls(pairs: list[Pair]) -> dict[str, list[Pair]]:
    """The pairs, and what must do worse: a frozen mouth, another clip's motion, the motion early and late."""
    others = pairs[1:] + pairs[:1]
    controls = {
        "result": pairs,
        "frozen closed": [replace(pair, made=np.zeros_like(pair.truth)) for pair in pairs],
        "frozen at the truth's mean": [
            replace(pair, made=np.repeat(pair.truth.mean(0)[None], len(pair.truth), 0)) for pair in pairs
        ],
        "shuffled": [
            replace(pair, made=other.made[np.arange(len(pair.made)) % len(other.made)])
            for pair, other in zip(pairs, others, strict=True)
        ],
    }
    for shift in (-0.2, -0.1, 0.1, 0.2):
        steps = round(shift * CODES_PER_SECOND)
        name = f"{1000 * shift:+.0f} ms"
        controls[name] = [replace(pair, made=_shifted(pair.made, steps)) for pair in pairs]
    return controls


def _shifted(values: np.ndarray, steps: int) -> np.ndarray:
    """Later by `steps`; the end that opens repeats."""
    return values[np.clip(np.arange(len(values)) - steps, 0, len(values) - 1)]


def table(figures: dict[str, dict[str, float]]) -> str:
    """Figures as text, a row each."""
    wide = max(len(name) for name in figures)
    lines = [" " * wide + "".join(f"{column:>11}" for column in COLUMNS)]
    for name, row in figures.items():
        lines.append(name.ljust(wide) + "".join(f"{row[column]:11.3g}" for column in COLUMNS))
    return "\n".join(lines)


Heard = Callable[[Path], Sound]


def read_pairs(folder: Path, names: list[str], generator: MotionGenerator, heard: Heard = open_audio) -> list[Pair]:
    """Clips of a GRID folder with the generator's answer to their sound, as it is `heard`."""
    from engine.training.motion import read_clip  # training reads the measures above

    pairs = []
    with np.load(folder / "landmarks.npz") as stored:
        for name in names:
            landmarks = stored[name].astype(np.float32) * np.array([1, 1, -1], np.float32)
            clip = read_clip(folder / f"{name}.mp4", landmarks, 25.0, generator.encoder, folder.name)
            codes, _ = generator.codes(heard(folder / f"{name}.mp4"))
            made = decode(cubic(codes, np.arange(clip.steps)), generator.net.basis.cpu().numpy())
            pairs.append(Pair(made, clip.offsets, clip.speech > 0))
    return pairs


def answered(generator: MotionGenerator, audio: np.ndarray, rate: int) -> np.ndarray:
    """(n, 68, 3) canonical offsets at 50 Hz: what the mouth does while mono `audio` (m,) at `rate` Hz is heard."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.wav"
        soundfile.write(file, audio, rate)
        codes, _ = generator.codes(open_audio(file))
    return decode(codes, generator.net.basis.cpu().numpy())


def printed(prog: str, about: str | None, made: Callable[[MotionGenerator], str]) -> None:
    """A module's command: prints the table it makes of the shipped weights, or of those in `--weights`."""
    parser = argparse.ArgumentParser(prog=f"python -m {prog}", description=about)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(made(MotionGenerator.load(torch.device("cpu"), chosen.weights)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.evaluation.motion", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_others and grid_s1")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--clips", type=int, default=HELD_OUT, help="at most so many clips of a set")
    chosen = parser.parse_args()
    generator = MotionGenerator.load(torch.device("cpu"), chosen.weights)
    figures: dict[str, dict[str, float]] = {}
    for folder, label in (("grid_others", "unseen speakers"), ("grid_s1", "unseen clips")):
        with np.load(chosen.data / folder / "landmarks.npz") as stored:
            names = sorted(stored.files)[-HELD_OUT:][-chosen.clips :]
        pairs = read_pairs(chosen.data / folder, names, generator)
        figures |= {f"{label}, {name}": measure(made) for name, made in with_controls(pairs).items()}
    print(table(figures))


if __name__ == "__main__":
    main()
