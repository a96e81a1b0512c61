"""Re-enactment: one frame of a film with closed lips, made to move as the film went on, against the film itself; three
such frames of each film, in turn.

    python -m engine.evaluation.reenact --data DIR [--landmarks FILE] [--out FILE] [--pictures FOLDER]

People the generator never met: `grid_others`, and the speakers of `addresses` it was trained without. Mouth-region L1
and perceptual distance, each also over that of a plain thin-plate warp of the same frame, and over each other's
controls: the frame as it stood, without proxy, without patterns (and so without network, which only chooses among
them), with patterns but without network (the nearest are mixed). Patterns are four frames of the same film, at least a
second away from what they are used for. Writes a table, and film strips to look at.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from engine.errors import ParlandoError
from engine.evaluation import picture
from engine.evaluation.perceptual import distance
from engine.render.generator import NEAR
from engine.render.pattern import Pattern
from engine.render.renderer import Renderer
from engine.training.generator import APART, HELD_OUT, Film, read_grid

EVERY = 4  # frames: which of a film are measured
SOURCES = 3  # frames of a film that are made to move in turn: how well it goes depends on which
SYSTEMS = ("frozen", "thin-plate", "no proxy", "result", "patterns, no network", "result, patterns")
BLOCK = 8  # frames of a film that have the same patterns
AROUND = 6  # px of a mouth's patch that the mouth's region goes beyond the lips
SHOWN = 8  # frames of a film's strip


def thin_plate(rgb: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A plain thin-plate warp of a picture (H, W, 3) that brings landmarks (68, 2) to others (Bookstein 1989). The
    picture's corners and the middles of its sides stay."""
    height, width = rgb.shape[:2]
    rim = np.array([[x, y] for x in (0, 0.5, 1) for y in (0, 0.5, 1) if (x, y) != (0.5, 0.5)]) * [width - 1, height - 1]
    to, back = np.concatenate([target, rim]), np.concatenate([source, rim])

    def kernel(at: np.ndarray) -> np.ndarray:
        squared = ((at[:, None] - to[None]) ** 2).sum(-1)
        return 0.5 * squared * np.log(np.maximum(squared, 1e-9))

    count = len(to)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel(to) + 1e-3 * np.eye(count)
    system[:count, count:] = np.column_stack([np.ones(count), to])
    system[count:, :count] = system[:count, count:].T
    weights = np.linalg.solve(system, np.concatenate([back, np.zeros((3, 2))]))
    step = 4
    x, y = np.meshgrid(np.arange(0, width + step, step), np.arange(0, height + step, step))
    at = np.stack([x, y], -1).reshape(-1, 2).astype(float)
    where = kernel(at) @ weights[:count] + np.column_stack([np.ones(len(at)), at]) @ weights[count:]
    coarse = where.reshape(*x.shape, 2).astype(np.float32)
    px, py = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    fine = cv2.remap(coarse, px / step, py / step, cv2.INTER_LINEAR)
    return np.asarray(cv2.remap(rgb, fine, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def without_proxy(renderer: Renderer, landmarks: np.ndarray) -> np.ndarray:
    """The frame with nothing but a dark hole between the lips, and no network."""
    interior = renderer.lips.interior

    class Hole:
        fingerprint = "hole"

        @staticmethod
        def layer(points: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
            made = interior.layer(points, box)
            made[..., :3] *= 0.0
            made[..., :3] += np.array([0.14, 0.07, 0.07], np.float32)
            return made

    renderer.lips.interior = Hole()
    try:
        return renderer.render(landmarks)
    finally:
        renderer.lips.interior = interior


class Nearest(nn.Module):
    """In the generator's place: candidates mixed by how near their mouths were to the frame's, everywhere alike."""

    def forward(self, warped: Tensor, drawn: Tensor, patterns: Tensor, support: Tensor, apart: Tensor) -> Tensor:
        """As `StyleAwareGenerator.forward`."""
        likely = torch.softmax(-apart / NEAR, 1)[:, 1:, None, None]
        return support * likely * patterns[:, :, 3]


def without_network(renderer: Renderer, patterns: list[Pattern], landmarks: np.ndarray) -> np.ndarray:
    """The frame with patterns, none of which is chosen by what it shows."""
    renderer.wear(patterns)
    if patterns:
        vars(renderer.finish)["network"] = Nearest()
    try:
        return renderer.render(landmarks)
    finally:
        renderer.wear([])


def systems(film: Film, source: int, targets: list[int]) -> dict[str, list[np.ndarray]]:
    """Frames of every system for the film's frames `targets`."""
    renderer = film.renderer(source)
    rgb, start = film.frames[source], renderer.landmarks
    made: dict[str, list[np.ndarray]] = {name: [] for name in SYSTEMS}
    reach = APART * film.fps
    numbers = np.arange(len(film.frames))
    for block in np.split(np.array(targets), np.flatnonzero(np.diff(np.array(targets) // BLOCK)) + 1):
        far = numbers[(numbers < block[0] - reach) | (numbers > block[-1] + reach)]
        patterns = film.patterns(far)
        for k in block:
            points = film.landmarks[k]
            made["frozen"].append(rgb)
            made["thin-plate"].append(thin_plate(rgb, start[:, :2], points[:, :2]))
            renderer.wear([])
            made["no proxy"].append(without_proxy(renderer, points))
            made["result"].append(renderer.render(points))
            made["patterns, no network"].append(without_network(renderer, patterns, points))
            renderer.wear(patterns)
            made["result, patterns"].append(renderer.render(points))
    return made


def measured(film: Film, made: dict[str, list[np.ndarray]], targets: list[int]) -> dict[str, tuple[float, ...]]:
    """Of every system's frames: L1 (of 255) on the mouth, lips and a rim of skin, perceptual distance of the mouth's
    patch, L1 of the whole patch, most of which is skin that no system touches, and how steep the mouth's edges are over
    the film's."""
    shape = picture.patch_shape(film.landmarks)

    def mouths(frames: list[np.ndarray]) -> np.ndarray:
        pairs = zip(frames, targets, strict=True)
        return np.stack([picture.aligned_mouth(frame, film.landmarks[k], shape) for frame, k in pairs])

    truth = mouths([film.frames[k] for k in targets])
    where = np.stack([picture.mouth_region(film.landmarks[k], shape, AROUND) for k in targets])
    steep = slopes(truth)[where].mean()
    found: dict[str, tuple[float, ...]] = {}
    for name, frames in made.items():
        own = mouths(frames)
        apart = 255 * np.abs(own - truth).mean(-1)
        with torch.inference_mode():
            seen = float(distance(*(torch.from_numpy(v).permute(0, 3, 1, 2) for v in (own, truth))).mean())
        edges = float(slopes(own)[where].mean() / steep)
        found[name] = (float(apart[where].mean()), seen, float(apart.mean()), edges)
    return found


def slopes(mouths: np.ndarray) -> np.ndarray:
    """(N, h, w) how fast the green of pictures (N, h, w, 3) changes, a px."""
    return np.hypot(*np.gradient(mouths[..., 1], axis=(1, 2)))


def films(data: Path, landmarks: Path) -> dict[str, list[Film]]:
    """The films of people never trained on, by set."""
    with np.load(data / "grid_others" / "landmarks.npz") as stored:
        names = sorted(stored.files)
    others = [read_grid(data / "grid_others", [name]) for name in names]
    with np.load(landmarks) as stored:
        free = [
            Film.read(data / "addresses" / f"{name}.mp4", stored[name], float(stored[f"{name}_fps"]))
            for name in HELD_OUT
        ]
    return {"grid_others": others, "addresses": free}


def sources(film: Film) -> list[int]:
    """Frames with closed lips, from early to late."""
    closed = film.closed
    return [int(k) for k in closed[np.linspace(0, len(closed) - 1, SOURCES + 2)[1:-1].round().astype(int)]]


def strip(film: Film, made: dict[str, list[np.ndarray]], targets: list[int]) -> np.ndarray:
    """The truth and systems, one under the other, at some frames: squares around the mouth."""
    chosen = np.linspace(0, len(targets) - 1, SHOWN).round().astype(int)
    x0, y0 = np.floor(film.landmarks[..., 48:68, :2].min((0, 1))).astype(int) - 30
    x1, y1 = np.ceil(film.landmarks[..., 48:68, :2].max((0, 1))).astype(int) + 30
    part = np.s_[max(0, y0) : y1, max(0, x0) : x1]
    rows = [np.hstack([film.frames[targets[i]][part] for i in chosen])]
    rows += [np.hstack([made[name][i][part] for i in chosen]) for name in SYSTEMS[1:]]
    return np.vstack(rows)


def measured_films(
    data: Path, landmarks: Path, pictures: Path | None = None
) -> dict[str, dict[str, tuple[float, ...]]]:
    """By set and system the figures of `measured`, all `sources` of all films counting alike; film strips go to
    `pictures`."""
    table: dict[str, dict[str, tuple[float, ...]]] = {}
    for name, listed in films(data, landmarks).items():
        rows: dict[str, list[tuple[float, ...]]] = {system: [] for system in SYSTEMS}
        for film in tqdm(listed, desc=name, mininterval=10):
            for source in sources(film):
                targets = [k for k in range(0, len(film.frames), EVERY) if k != source]
                try:
                    made = systems(film, source, targets)
                except ParlandoError as problem:
                    tqdm.write(f"{film.name}: {problem}")
                    continue
                for system, figures in measured(film, made, targets).items():
                    rows[system].append(figures)
                if pictures is not None:
                    pictures.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(pictures / f"{film.name}-{source}.png"), strip(film, made, targets)[..., ::-1])
        table[name] = {system: tuple(np.mean(values, 0).tolist()) for system, values in rows.items()}
    return table


def main(report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.evaluation.reenact", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    parser.add_argument("--landmarks", type=Path, required=True, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--out", type=Path, help="the table as JSON")
    parser.add_argument("--pictures", type=Path, help="folder for film strips")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    table = measured_films(chosen.data, chosen.landmarks, chosen.pictures)
    report(markdown(table))
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(table, indent=1), encoding="utf-8")


def markdown(table: dict[str, dict[str, tuple[float, ...]]]) -> str:
    """A table, a row for each system: the figures of `measured`, in brackets over the thin-plate warp's."""
    head = "| |" + "".join(f" {name}: mouth L1 | perceptual | patch L1 | edges |" for name in table)
    lines = [head, "| --- |" + " --- |" * 4 * len(table)]
    for system in SYSTEMS:
        cells = []
        for rows in table.values():
            *apart, edges = rows[system]
            pairs = zip(apart, rows["thin-plate"], strict=False)
            cells += [f"{value:.3g} ({value / plain:.2f})" for value, plain in pairs] + [f"{edges:.2f}"]
        label = f"**{system}**" if system.startswith("result") else system
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
