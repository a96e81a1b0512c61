"""Measures whether styles can be told apart: motion made from one recording in the style of each of 16 clips.

    python -m engine.training.style_check --data DIR [--portrait PNG] [--audio WAV] [--landmarks NPZ]

DIR holds `mead_style/` (non-commercial: it may measure, never train); NPZ is what `engine.training.landmarks` wrote for
it, made when not given. Each motion is put on the portrait; the reference with the smallest SLD (the paper's formula,
pose removed) should be the one its style was made from. Beside it, controls: no style at all, the resting expression
alone, motion alone; and how many closures of the motion without style every styled one keeps. The same of style
transfer, which learns from the clip itself and so is also measured on what it did not see: fitted to a clip's first
half, compared with its second. On another's portrait much of SLD is the build of two faces, so it is given on a resting
face of the clip's own person too, beside what the two halves of the clip itself are apart. SMD is the paper's too, of
the mouth about its middle; manner is SLD of how lips and jaw leave their rest, which no build of
a face gets into. Ships nothing.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from engine.audio.load import open_audio
from engine.evaluation.landmarks import face_width
from engine.evaluation.metrics import closure_score
from engine.evaluation.style import style as style_distances
from engine.face import find, image
from engine.face.canonical import to_canonical
from engine.face.find import Face
from engine.motion.generate import Motion, MotionGenerator
from engine.motion.net import LOWER_FACE, mouth_opening, rest_of
from engine.motion.place import place
from engine.style.expression import MOUTH
from engine.style.extract import from_landmarks
from engine.style.file import CLOSED, Style
from engine.style.transfer import fit
from engine.training.landmarks import collect

DEMO = Path(__file__).parents[2] / "demo" / "source"
FPS = 25.0
STRIDE = 4  # frames between the windows compared


def variants(style: Style) -> dict[str, Style]:
    """The style, and parts of it."""
    moving = replace(style, rest=np.zeros_like(style.rest), relax=0.0)
    return {
        "style code": style,
        "rest alone": Style(style.name, style.rest, np.ones_like(style.gains), 1.0, relax=style.relax),
        "motion alone": moving,
        "amplitudes alone": replace(moving, slope=style.slope[:0], shift=style.shift[:0]),
    }


def placed(motion: Motion, face: Face) -> np.ndarray:
    """(T, 68, 3) canonical landmarks of the motion on a portrait."""
    return to_canonical(place(motion, face)[0])[0]


def table_of(references: dict[str, np.ndarray], made: dict[str, np.ndarray]) -> np.ndarray:
    """(made, references) SLD."""
    rows = [
        [style_distances(r, g, FPS, FPS, stride=STRIDE)["sld"] for r in references.values()]
        for g in tqdm(made.values(), leave=False)
    ]
    return np.array(rows)


def own_faces(clips: dict[str, np.ndarray], references: dict[str, np.ndarray], face: Face) -> dict[str, Face]:
    """Clip → `face` with the points of the frame nearest to rest of its person's neutral clip.

    Landmarks (T, 68, 3) of each clip in pixels, and canonical."""
    made = {}
    for name in clips:
        person = name.split("_")[0]
        neutral = next(other for other in clips if other.startswith(person) and "neutral" in other)
        canonical = references[neutral]
        apart = np.abs(canonical - rest_of(canonical))[:, MOUTH, :2].mean((1, 2))
        made[name] = replace(face, landmarks=clips[neutral][apart.argmin()])
    return made


def to_own(
    reference: np.ndarray, rest: np.ndarray, motion: Motion, style: Style, face: Face, own: Face
) -> dict[str, float]:
    """SLD and SMD of a motion on a face to canonical landmarks (T, 68, 3), and manner: SLD of how far lips and jaw are
    from `rest` (68, 3), the reference's, and from the style's; SLD on the `own` face of who is seen there."""
    told = style_distances(reference, placed(motion, face), FPS, FPS, stride=STRIDE)
    same = style_distances(reference, placed(motion, own), FPS, FPS, stride=STRIDE)
    lower = np.zeros((68, 1))
    lower[LOWER_FACE] = 68 / len(LOWER_FACE)
    moves = (reference - rest) * lower, (motion.offsets - style.resting(1.0)) * lower
    manner = style_distances(*moves, FPS, FPS, face_width(reference), stride=STRIDE)
    return {"SLD": told["sld"], "SMD": told["smd"], "manner": manner["sld"], "on the own face SLD": same["sld"]}


def closures_kept(plain: Motion, styled: Motion) -> float:
    """Of the closures without style, the share that the styled motion has within ±80 ms."""
    truth, made = mouth_opening(plain.offsets), mouth_opening(styled.offsets)
    return closure_score(made, truth, FPS, CLOSED)[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.style_check", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with mead_style")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for mead_style")
    parser.add_argument("--portrait", type=Path, default=DEMO / "astronaut.png")
    parser.add_argument("--audio", type=Path, default=DEMO / "jfk.wav")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.landmarks is None:
        stored = collect(chosen.data / "mead_style")
    else:
        with np.load(chosen.landmarks) as file:
            stored = dict(file)
    clips = {name: stored[name] for name in sorted(stored) if f"{name}_fps" in stored}
    references = {name: to_canonical(points)[0] for name, points in clips.items()}
    generator = MotionGenerator.load(torch.device("cpu"))
    face = find.find(image.load(chosen.portrait))
    sound = open_audio(chosen.audio)
    times = np.arange(int(sound.duration * FPS)) / FPS
    plain = generator.generate(sound, times)
    made: dict[str, dict[str, np.ndarray]] = {"no style": {name: placed(plain, face) for name in clips}}
    kept: dict[str, list[float]] = {"style code": [], "style transfer": []}
    seconds = []
    for name, points in tqdm(clips.items(), unit="clip"):
        started = time.monotonic()
        transferred = fit(points, name, fps=FPS)
        seconds.append(time.monotonic() - started)
        for label, style in (variants(from_landmarks(points, name)) | {"style transfer": transferred}).items():
            motion = generator.generate(sound, times, style=style)
            made.setdefault(label, {})[name] = placed(motion, face)
            if label in kept:
                kept[label].append(closures_kept(plain, motion))
    print(f"{len(clips)} clips, chance {1 / len(clips):.0%}; transfer took {max(seconds):.0f} s at most")
    for label, shares in kept.items():
        print(f"{label:18} closures kept {np.mean(shares):.2f}, least {min(shares):.2f}")
    for label, motions in made.items():
        table = table_of(references, motions)
        right = np.mean(table.argmin(1) == np.arange(len(table)))
        print(
            f"{label:18} nearest is right {right:4.0%}, SLD to own {np.diag(table).mean():.2f}, any {table.mean():.2f}"
        )
    compared: dict[str, list[dict[str, float]]] = {}
    own = own_faces(clips, references, face)
    halves = []
    for name, points in tqdm(clips.items(), unit="clip"):
        half = len(points) // 2
        first, second = references[name][:half], references[name][half:]
        halves += [style_distances(r, g, FPS, FPS, stride=STRIDE)["sld"] for r, g in ((first, second), (second, first))]
        for label, make in (("style code", from_landmarks), ("style transfer", lambda p, n: fit(p, n, fps=FPS))):
            for told, learned, other in (
                ("to the clip it is of", points, points),
                ("from the first half to the second", points[:half], points[half:]),
                ("from the second half to the first", points[half:], points[:half]),
            ):
                style = make(learned, name)
                motion = generator.generate(sound, times, style=style)
                rest = rest_of(to_canonical(learned)[0])
                result = to_own(to_canonical(other)[0], rest, motion, style, face, own[name])
                compared.setdefault(f"{label} {told}", []).append(result)
    print(f"the clips' own two halves are apart by            SLD {np.mean(halves):.3f}")
    for label, rows in compared.items():
        print(f"{label:48} " + ", ".join(f"{key} {np.mean([row[key] for row in rows]):.3f}" for key in rows[0]))


if __name__ == "__main__":
    main()
