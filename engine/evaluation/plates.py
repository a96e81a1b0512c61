"""Films that say something else, against what they should say and against what they said.

    python -m engine.evaluation.plates --data DIR

One film of each speaker of `addresses` is given the demo's sentence, and silence. The face is followed again in the
frames made: *to the sound*, the correlation of the lips' opening with the motion asked for; *to the film*, its control,
with what the film's own mouth did; *in silence*, how much the opening moves over the film's own (the tracker's noise is
in it). *Changed*: how far the mouth of frames is moved whose landmarks are the film's own but for 0.05 px, mean of 255:
what laying lips over a film costs where nothing had to be changed. The film's own mouth is taken from frames at least a
second away for it. *Made inside* is the same with the mouth proxy instead; the control is the film's next frame.
"""

import argparse
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch

from engine.evaluation import picture
from engine.face.mesh import IBUG
from engine.face.track import track
from engine.job import Engine
from engine.plate import Plate, gaps
from engine.render.plate import PlateRenderer
from engine.render.renderer import Renderer
from engine.request import DubRequest
from engine.take import Landmarks

FILMS = ("hill", "noem", "obama_3", "ocasio_cortez", "reagan")
SECONDS, FPS = 4, Fraction(25)
SENTENCE = Path(__file__).resolve().parents[2] / "demo" / "source" / "jfk.wav"
NUDGE = 0.05  # px: more than `engine.render.plate.MOVED`
AROUND = 6  # px of a mouth's patch that the mouth's region goes beyond the lips
APART = 1.0  # s between a frame and what its mouth may be taken from
HEAD = "to the sound", "to the film", "in silence", "changed", "made inside", "next frame"


def measured(engine: Engine, film: Path, folder: Path) -> tuple[float, ...]:
    """The figures of HEAD for one film."""
    spoken, shut = _dubbed(engine, film, SENTENCE, folder / "spoken"), folder / "silence.wav"
    soundfile.write(shut, np.zeros(16000 * SECONDS, np.float32), 16000)
    silent = _dubbed(engine, film, shut, folder / "silent")
    plate = Plate.load(spoken / "plate.npz", film)
    asked = gaps(Landmarks.load(spoken / "landmarks.npz").landmarks)
    own = gaps(plate.landmarks)
    seen, still = (gaps(track(take / "preview.mp4").landmarks[: len(asked)]) for take in (spoken, silent))
    return (
        float(np.corrcoef(seen, asked)[0, 1]),
        float(np.corrcoef(seen, own)[0, 1]),
        float(still.std() / own.std()),
        *_cost(plate),
    )


def _dubbed(engine: Engine, film: Path, sound: Path, out: Path) -> Path:
    engine.dub(DubRequest(sound, film, out, fps=FPS, frames=SECONDS * FPS.numerator))
    return out


def _cost(plate: Plate) -> tuple[float, float, float]:
    """Mean difference of mouths whose lips were laid anew to the film's, with its own mouth and with one that is made,
    and of the film's next frame; of 255."""
    reference = Renderer(plate.picture(), plate.face, torch.device("cpu"))
    without = PlateRenderer(reference)
    shape = picture.patch_shape(plate.landmarks)
    frames: list[np.ndarray] = []
    own: list[np.ndarray] = []
    plain: list[np.ndarray] = []
    where: list[np.ndarray] = []
    for index in range(0, len(plate.numbers), 3):
        number = int(plate.numbers[index])
        rgb, mesh = plate.frame(number), plate.meshes[number]
        points = mesh[IBUG]
        nudged = points + np.float32(NUDGE) * np.array([0, 1, 0], np.float32) * (np.arange(68) >= 48)[:, None]
        away = np.abs(plate.showing - number) > APART * float(plate.fps)
        far = [mouth for mouth, there in zip(plate.mouths, away, strict=True) if there]
        for made, renderer in ((own, PlateRenderer(reference, far)), (plain, without)):
            made.append(picture.aligned_mouth(renderer.render(rgb, mesh, nudged), points, shape))
        frames.append(picture.aligned_mouth(rgb, points, shape))
        where.append(picture.mouth_region(points, shape, AROUND))
    truth, region = np.stack(frames), np.stack(where)
    changed, instead = (float(255 * np.abs(np.stack(made) - truth).mean(-1)[region].mean()) for made in (own, plain))
    following = 255 * np.abs(truth[1:] - truth[:-1]).mean(-1)[region[1:]].mean()
    return changed, instead, float(following)


def table(data: Path) -> str:
    """A row for each film, and the mean."""
    engine = Engine("cpu")
    rows = {}
    for name in FILMS:
        with TemporaryDirectory() as folder:
            rows[name] = measured(engine, data / "addresses" / f"{name}.mp4", Path(folder))
    rows["**all**"] = tuple(np.mean(list(rows.values()), axis=0))
    lines = [f"| | {' | '.join(HEAD)} |", "| --- |" + " --- |" * len(HEAD)]
    lines += [f"| {name} | " + " | ".join(f"{value:.3g}" for value in row) + " |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def main(report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.evaluation.plates", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    report(table(parser.parse_args().data))


if __name__ == "__main__":
    main()
