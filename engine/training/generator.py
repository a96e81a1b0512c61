"""Trains the Style-Aware Generator on pairs of real frames: a portrait with closed lips, and what the mouth then did.

    python -m engine.training.generator --data DIR [--work DIR] [--steps N] [--resume]

A pair is a film's frame with closed lips, rendered at the landmarks of another frame of that film, and that other frame
itself. Patterns are frames of the same person from elsewhere in the films. Portraits that show their teeth are closed
by warping and opened again, with patterns of others among their own. `grid_others` and the address speakers
HELD_OUT are never used: the figures in docs come from them. Writes pairs (once) and checkpoints to --work, weights and
a plot of losses when done.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from engine.audio.load import open_audio
from engine.errors import ParlandoError
from engine.evaluation import perceptual
from engine.evaluation.frames import DEMO
from engine.face import find
from engine.face.image import Picture, load
from engine.motion.generate import Motion, MotionGenerator
from engine.motion.place import place
from engine.render.generator import CPU, FAR, FORMAT, SLOTS, WEIGHTS, StyleAwareGenerator, framed
from engine.render.head import Frame
from engine.render.mouth import lip_gap
from engine.render.pattern import (
    SIZE,
    Pattern,
    Patterns,
    apart,
    cut,
    facial_map,
    inverse,
    own_skin,
    placed,
    square_of,
    support,
)
from engine.render.renderer import Renderer
from engine.style.reference import NAMES, find_references
from engine.take import replacing
from engine.training.landmarks import collect
from engine.training.loop import Checkpoint, average_gradients, plot_losses, share, together

HELD_OUT = ("ocasio_cortez", "reagan")  # of addresses: measured on, never trained on
GRID_HELD_OUT = 100  # clips of grid_s1, the last by name
GRID_PAIRS, FREE_PAIRS, SOURCES = 8, 110, 3  # frames of a GRID clip; frames and sources of a film of free speech
APART = 1.0  # seconds at least between a pattern and the frame it helps with
# How often a pair is drawn: GRID's speaker, Obama and each of two other speakers count alike in all.
WEIGHTS_OF = {"grid_s1": 0.35, "obama": 0.6, "hill": 3.0, "noem": 3.0, "portraits": 0.94}
SHOWS = 0.03  # units between the inner lips: a portrait shows teeth
SENTENCE, SPOKEN = 100, 3  # frames of speech that a portrait says, and how many of them are pairs
FLIP_DEPTH = np.array([1.0, 1.0, -1.0])  # the data's z points away from the viewer
CLOSED = 10  # percentile of the opening under which a frame may be the portrait


@dataclass
class Pairs:
    """N pairs as uint8. warped, drawn, truth: (N, 128, 128, 3). patterns: (N, 4, 128, 128, 4). support: (N, 128, 128).
    apart: (N, 5) how far the mouths of portrait and patterns are from the frame's. weight: (N,) how often a pair is
    drawn."""

    warped: np.ndarray
    drawn: np.ndarray
    truth: np.ndarray
    patterns: np.ndarray
    support: np.ndarray
    apart: np.ndarray
    weight: np.ndarray

    FIELDS = ("warped", "drawn", "truth", "patterns", "support", "apart", "weight")

    @staticmethod
    def joined(parts: list["Pairs"]) -> "Pairs":
        return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in Pairs.FIELDS))

    @staticmethod
    def stacked(rows: list[tuple[np.ndarray, ...]], weight: float) -> "Pairs":
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        return Pairs(*[*columns, np.full(len(rows), weight, np.float32)])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.FIELDS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @staticmethod
    def load(folder: Path) -> "Pairs":
        return Pairs(*(np.load(folder / f"{name}.npy", allow_pickle=False) for name in Pairs.FIELDS))


# ------------------------------------------------------------------------------------------------------------- films


@dataclass
class Film:
    """`frames` (T, H, W, 3) uint8, `landmarks` (T, 68, 3) px with z toward the viewer, `fps`."""

    name: str
    frames: np.ndarray
    landmarks: np.ndarray
    fps: float

    @staticmethod
    def read(path: Path, landmarks: np.ndarray, fps: float) -> "Film":
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        count = min(len(frames), len(landmarks))
        return Film(path.stem, np.stack(frames[:count]), np.asarray(landmarks[:count], np.float32), fps)

    @property
    def gaps(self) -> np.ndarray:
        """(T,) px between the inner lips."""
        return np.array([lip_gap(points) for points in self.landmarks])

    @property
    def closed(self) -> np.ndarray:
        """(n,) frames with closed lips, which may be the portrait, in order."""
        gaps = self.gaps
        return np.flatnonzero(gaps <= np.percentile(gaps, CLOSED))

    def sources(self, count: int, rng: np.random.Generator) -> list[int]:
        """Some of `closed`, drawn."""
        return [int(k) for k in rng.permutation(self.closed)[:count]]

    def renderer(self, index: int) -> Renderer:
        """Of the portrait that frame is. Raises ParlandoError."""
        picture = Picture(np.ascontiguousarray(self.frames[index]), None, Path(f"{self.name}-{index}"), self.name)
        return Renderer(picture, find.find(picture), CPU)

    def patterns(self, among: np.ndarray) -> list[Pattern]:
        """The four references of some of its frames (n,)."""
        if len(among) < len(NAMES):
            return []
        chosen = find_references(self.landmarks[among])
        return [Pattern.of(self.frames[k], self.landmarks[k]) for k in (among[chosen[n].frame] for n in NAMES)]


def pair(
    renderer: Renderer, patterns: list[Pattern], skin: np.ndarray, landmarks: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, ...]:
    """What the generator sees and shall answer: warped, drawn, truth, patterns, support, apart."""
    frame = renderer.render(landmarks)
    reached = renderer.reached(landmarks)
    affine = square_of(reached)
    at = placed(reached[:, :2], inverse(affine))
    made = np.zeros((SLOTS, SIZE, SIZE, 4), np.uint8)
    if patterns:
        made[: len(patterns)] = Patterns(patterns, skin).draw(at)
    own = placed(renderer.landmarks[:, :2], inverse(square_of(renderer.landmarks)))
    away = np.full(1 + SLOTS, FAR, np.float32)
    away[: 1 + len(patterns)] = [apart(mouth, at) for mouth in [own, *(pattern.in_square for pattern in patterns)]]
    warped, real = (np.asarray(cut(one, affine, SIZE), np.uint8) for one in (frame, truth))
    return warped, facial_map(at), real, made, np.rint(255 * support(at)).astype(np.uint8), away


def film_pairs(film: Film, sources: int, frames: int, others: Film | None, weight: float, seed: int) -> Pairs | None:
    """Pairs of one film; its patterns come from `others`, else from its own frames at least APART away."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[np.ndarray, ...]] = []
    elsewhere = others.patterns(np.arange(len(others.frames))) if others is not None else []
    openness = film.gaps + 0.5
    for source in film.sources(sources, rng):
        try:
            renderer = film.renderer(source)
        except ParlandoError as problem:
            tqdm.write(f"{film.name}: {problem}", file=sys.stderr)
            continue
        skin = own_skin(renderer.seen, renderer.landmarks)
        each = min(frames // sources, len(film.frames))
        targets = np.sort(rng.choice(len(film.frames), each, False, openness / openness.sum()))
        blocks = np.array_split(targets, max(1, round(each / 12)))
        for block in blocks:
            patterns = elsewhere
            if others is None and len(block):
                reach = APART * film.fps
                far = np.arange(len(film.frames))
                far = far[(far < block[0] - reach) | (far > block[-1] + reach)]
                patterns = film.patterns(far)
            for k in block:
                rows.append(pair(renderer, patterns, skin, film.landmarks[k], film.frames[k]))
    return Pairs.stacked(rows, weight) if rows else None


# --------------------------------------------------------------------------------------------------------- portraits


def portrait_pairs(path: Path, others: list[Path], moment: int, weight: float, seed: int) -> Pairs | None:
    """Pairs of a portrait that shows teeth: closed by warping it is the portrait, and itself, and it saying the demo's
    sentence, what opens it again. Half of its patterns are its own mouth at other moments, half mouths of `others`.
    None where it shows none. `moment`: at which frame of the sentence it begins."""
    rng = np.random.default_rng(seed)
    try:
        picture = load(path)
        face = find.find(picture)
        if lip_gap(face.landmarks) < SHOWS * Frame.of(face.landmarks).unit:
            return None
        open_ = Renderer(picture, face, CPU)
        spoken = place(_sentence(), face)[0][moment : moment + SENTENCE]
        gaps = np.array([lip_gap(points) for points in spoken])
        shut = Picture(
            np.asarray(open_.render(spoken[gaps.argmin()]), np.uint8)[..., :3], None, path, f"{path.stem} shut"
        )
        renderer = Renderer(shut, find.find(shut), CPU)
        pictures = [load(other) for other in others]
        strange = [Pattern.of(one.rgb, find.find(one).landmarks) for one in pictures]
    except ParlandoError as problem:
        tqdm.write(f"{path}: {problem}", file=sys.stderr)
        return None
    said = rng.choice(len(spoken), SPOKEN + SLOTS, False, (gaps + 1) / (gaps + 1).sum())
    frames = [(np.asarray(open_.render(spoken[k]), np.uint8)[..., :3], spoken[k]) for k in said]
    own = [Pattern.of(*frame) for frame in frames[SPOKEN:]]
    skin = own_skin(renderer.seen, renderer.landmarks)
    rows = []
    for truth, landmarks in [(picture.rgb, face.landmarks), *frames[:SPOKEN]]:
        some = [own[k] for k in rng.permutation(SLOTS)[: SLOTS // 2]]
        some += [strange[k] for k in rng.permutation(len(strange))[: SLOTS // 2]]
        rows.append(pair(renderer, [some[k] for k in rng.permutation(len(some))], skin, landmarks, truth))
    return Pairs.stacked(rows, weight)


@lru_cache(maxsize=1)
def _sentence() -> Motion:
    times = np.arange(SENTENCE * 3) / 25
    return MotionGenerator.load(CPU).generate(open_audio(DEMO / "jfk.wav"), times, seed=0)


# ---------------------------------------------------------------------------------------------------- gathering pairs


def read_grid(folder: Path, names: list[str]) -> Film:
    """Clips of a GRID folder, one after the other."""
    with np.load(folder / "landmarks.npz") as stored:
        films = [Film.read(folder / f"{name}.mp4", stored[name] * FLIP_DEPTH, 25.0) for name in names]
    frames = np.concatenate([film.frames for film in films])
    return Film(names[0], frames, np.concatenate([film.landmarks for film in films]), 25.0)


def _grid_job(job: tuple[Path, str, list[str], int]) -> Pairs | None:
    folder, name, others, seed = job
    return film_pairs(read_grid(folder, [name]), 1, GRID_PAIRS, read_grid(folder, others), WEIGHTS_OF["grid_s1"], seed)


def _free_job(job: tuple[Path, Path, str, int]) -> Pairs | None:
    folder, landmarks, name, seed = job
    with np.load(landmarks) as stored:
        film = Film.read(folder / f"{name}.mp4", stored[name], float(stored[f"{name}_fps"]))
    count = int(FREE_PAIRS * SOURCES * min(1.0, len(film.frames) / 250))
    return film_pairs(film, SOURCES, count, None, WEIGHTS_OF.get(name, WEIGHTS_OF["obama"]), seed)


def _portrait_job(job: tuple[Path, list[Path], int, int]) -> Pairs | None:
    path, others, moment, seed = job
    return portrait_pairs(path, others, moment, WEIGHTS_OF["portraits"], seed)


def _work(job: tuple[Callable[..., Pairs | None], object]) -> Pairs | None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return job[0](job[1])


def jobs(data: Path, landmarks: Path, seed: int) -> Iterator[tuple[Callable[..., Pairs | None], object]]:
    """What pairs are made of, each with the function that makes them."""
    rng = np.random.default_rng(seed)
    with np.load(landmarks) as stored:
        names = sorted(n for n in stored.files if f"{n}_fps" in stored.files and n not in HELD_OUT)
    for k, name in enumerate(names):
        yield _free_job, (data / "addresses", landmarks, name, seed + k)
    with np.load(data / "grid_s1" / "landmarks.npz") as stored:
        clips = sorted(stored.files)[:-GRID_HELD_OUT]
    for k, name in enumerate(clips):
        yield _grid_job, (data / "grid_s1", name, [str(n) for n in rng.choice(clips, 4)], seed + 1000 + k)
    listed = json.loads((data / "portraits" / "index.json").read_text(encoding="utf-8"))
    shown = sorted(data / "portraits" / one["file"] for one in listed if one["lip_gap"] >= SHOWS)
    for k, path in enumerate(shown):
        others = [shown[n] for n in rng.choice(len(shown), SLOTS, False) if n != k]
        yield _portrait_job, (path, others, int(rng.integers(2 * SENTENCE)), seed + 2000 + k)


def gather(data: Path, landmarks: Path, seed: int, workers: int) -> Pairs:
    """All pairs, made on `workers` processes."""
    listed = list(jobs(data, landmarks, seed))
    with ProcessPoolExecutor(workers) as pool:
        made = list(tqdm(pool.map(_work, listed), total=len(listed), desc="pairs", file=sys.stderr, mininterval=20))
    return Pairs.joined([part for part in made if part is not None])


# ----------------------------------------------------------------------------------------------------------- training

BATCH = 8
PEAK, LEAST = 1e-3, 1e-5  # learning rate
WARM = 300  # steps
EASED = 0.999  # of the shipped weights' mean over the last steps
SAVE_EVERY = 250
INSIDE, LIPS, SKIN = 5.0, 3.0, 1.0  # weights of L_sp
SLOPE, SEEN, JUDGED = 1.0, 0.4, 0.06  # weights of edges, of the perceptual distance and of what the judge says
JUDGED_FROM, JUDGED_FULLY = 700, 1400  # steps
GRAIN = 0.02  # of noise on what the judge sees: it shall not tell a frame by its grain
DROPPED = 0.25  # chance that one of a pair's patterns is left out
OTHERS = 0.04  # units at most that patterns are told to be further away than they are, as those of another person are


@dataclass
class Batch:
    """Tensors of B pairs as `StyleAwareGenerator` takes them, `truth` (B, 3, 128, 128)."""

    warped: Tensor
    drawn: Tensor
    patterns: Tensor
    support: Tensor
    apart: Tensor
    truth: Tensor


def drawn_batch(pairs: Pairs, seed: int, step: int, members: range) -> Batch:
    """The members of a step's batch, varied: mirrored, other light and colour, softer, in any order, some left out."""
    chance = pairs.weight / pairs.weight.sum()
    which = np.random.default_rng((seed, step)).choice(len(chance), BATCH, p=chance)
    rows = [_varied(pairs, int(which[k]), np.random.default_rng((seed, step, k))) for k in members]
    return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def _varied(pairs: Pairs, index: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    pictures = [pairs.warped[index], pairs.truth[index]]
    patterns, drawn, support_ = pairs.patterns[index], pairs.drawn[index], pairs.support[index]
    if rng.random() < 0.5:
        pictures = [p[:, ::-1] for p in pictures]
        patterns, drawn, support_ = patterns[:, :, ::-1], drawn[:, ::-1], support_[:, ::-1]
    sigma = rng.uniform(0.4, 1.2) if rng.random() < 0.3 else 0.0
    gain, gamma = rng.uniform(0.75, 1.15) * rng.uniform(0.88, 1.12, 3), rng.uniform(0.75, 1.35)
    table = np.clip(np.linspace(0, 1, 256)[:, None] ** gamma * gain, 0, 1).astype(np.float32)

    def coloured(picture: np.ndarray, own: np.ndarray) -> np.ndarray:
        picture = np.ascontiguousarray(picture)
        if sigma:
            picture = cv2.GaussianBlur(picture, (0, 0), sigma)
        return np.stack([table[picture[..., c], c] * own[c] for c in range(3)]).clip(0, 1)

    warped, truth = (coloured(p, np.ones(3, np.float32)) for p in pictures)
    order = rng.permutation(SLOTS)  # which slot a pattern has tells nothing
    patterns, away = patterns[order], pairs.apart[index][[0, *(1 + order)]]
    kept = rng.random(SLOTS) > DROPPED
    shown = np.zeros((SLOTS, 4, SIZE, SIZE), np.float32)
    other = rng.uniform(0.94, 1.06) * rng.uniform(0.96, 1.04, 3)  # colours are never matched exactly
    for slot in np.flatnonzero(kept & (patterns[..., 3].reshape(SLOTS, -1).max(1) > 0)):
        shown[slot, :3] = coloured(patterns[slot, ..., :3], other)
        shown[slot, 3] = patterns[slot, ..., 3] / 255.0
    away[1:] = np.where(shown[:, 3].any((1, 2)), away[1:] + max(0.0, rng.uniform(-OTHERS, OTHERS)), FAR)
    lines = np.ascontiguousarray(drawn.transpose(2, 0, 1), np.float32) / 255
    return warped, lines, shown, np.ascontiguousarray(support_[None], np.float32) / 255, away.astype(np.float32), truth


def made_of(network: nn.Module, batch: Batch) -> Tensor:
    """The frames' squares (B, 3, 128, 128)."""
    shares = network(batch.warped, batch.drawn, batch.patterns, batch.support, batch.apart)
    return framed(shares, batch.warped, batch.patterns)


def losses(made: Tensor, batch: Batch) -> dict[str, Tensor]:
    """L_sp with the paper's weights, against the truth instead of the best pattern; edges; perceptual distance."""
    inside, lips = batch.drawn[:, :1], batch.drawn[:, 1:2]
    weight = (INSIDE * inside + LIPS * lips + SKIN * (1 - inside - lips).clamp(min=0)) * (batch.support > 0)
    weight = weight / weight.sum((1, 2, 3), keepdim=True).clamp(min=1.0)
    apart_by = made - batch.truth
    pixels = (weight * apart_by.abs()).sum((1, 2, 3)).mean() / 3
    across, down = apart_by.diff(dim=3).abs(), apart_by.diff(dim=2).abs()
    edges = ((weight[..., 1:] * across).sum((1, 2, 3)) + (weight[..., 1:, :] * down).sum((1, 2, 3))).mean() / 3
    window = (..., slice(16, 112), slice(16, 112))
    with torch.no_grad():
        goal = perceptual.features()(batch.truth[window])
    seen = perceptual.apart(perceptual.features()(made[window]), goal).mean()
    return {"pixels": pixels, "edges": edges, "perceptual": seen}


class Judge(nn.Module):
    """Tells real mouths from made ones, place by place at two scales, mainly between the lips: an even grey where teeth
    or a dark cavity should be is right on average and never real."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()

        def scale() -> nn.Sequential:
            sizes = [5, width, 2 * width, 3 * width]
            layers: list[nn.Module] = []
            for a, b in pairwise(sizes):
                layers += [nn.utils.parametrizations.spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
            return nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 3, 1, 1))

        self.scales = nn.ModuleList([scale(), scale()])

    def forward(self, frame: Tensor, batch: Batch, kind: float) -> Tensor:
        """Frames (B, 3, 128, 128): for `kind` 0 how real they are; for 1 and −1 the hinge loss of calling them real
        and made. Only what the generator changes counts."""
        seen = batch.warped + batch.support * (frame - batch.warped)
        whole = torch.cat([seen + GRAIN * torch.randn_like(seen), batch.drawn[:, :2]], 1)[..., 20:116, 16:112]
        told = []
        for scale, picture in zip(self.scales, (whole, F.avg_pool2d(whole, 2)), strict=True):
            said = scale(picture)
            weight = F.adaptive_avg_pool2d(picture[:, 3:4] + 0.15 * picture[:, 4:5], said.shape[2:]) + 1e-4
            told.append((weight * (F.relu(1 - kind * said) if kind else said)).sum() / weight.sum())
        return torch.stack(told).mean()


def learning_rate(step: int, steps: int) -> float:
    """Rises over WARM steps and falls as half a cosine."""
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return min(1.0, (step + 1) / WARM) * (LEAST + (PEAK - LEAST) * fall)


def learn(made_by: nn.Module, judge: nn.Module, batch: Batch, trust: float) -> dict[str, float]:
    """Gradients of one step for both networks, hinge losses between them; the losses."""
    made = made_of(made_by, batch)
    parts = losses(made, batch)
    whole = parts["pixels"] + SLOPE * parts["edges"] + SEEN * parts["perceptual"]
    if trust > 0:
        judge.requires_grad_(False)
        parts["real"] = -judge(made, batch, 0.0)
        whole = whole + JUDGED * trust * parts["real"]
        judge.requires_grad_(True)
    whole.backward()
    parts["judge"] = judge(made.detach(), batch, -1.0) + judge(batch.truth, batch, 1.0)
    parts["judge"].backward()
    parts.setdefault("real", torch.zeros(()))
    return {name: float(value.detach()) for name, value in parts.items()}


def train(
    pairs: Pairs,
    work: Path,
    out: Path,
    steps: int,
    seed: int = 0,
    width: int = 32,
    resume: bool = False,
    tell: Callable[[str], None] = print,
) -> None:
    """From pairs to weights and a plot of losses. Runs alone, or in each process of `torchrun`."""
    with together() as (rank, size):
        torch.manual_seed(seed)
        network = nn.ModuleDict({"generator": StyleAwareGenerator(width), "judge": Judge()})
        made_by, judge = network["generator"], network["judge"]
        adam = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=1e-4, betas=(0.5, 0.99))
        checkpoint = Checkpoint(work, network, adam, {"seed": seed, "steps": steps, "width": width})
        mean = {name: value.clone() for name, value in made_by.state_dict().items()}
        if resume:
            mean = checkpoint.resume()
        told: list[dict[str, float]] = []
        bar = tqdm(total=steps, initial=checkpoint.done, unit="step", mininterval=20, disable=rank > 0)
        while checkpoint.done < steps:
            torch.manual_seed(seed + 1000 * checkpoint.done + rank)
            for group in adam.param_groups:
                group["lr"] = learning_rate(checkpoint.done, steps)
            trust = np.clip((checkpoint.done - JUDGED_FROM) / (JUDGED_FULLY - JUDGED_FROM), 0, 1)
            parts = learn(made_by, judge, drawn_batch(pairs, seed, checkpoint.done, share(BATCH, rank, size)), trust)
            average_gradients(network, size)
            torch.nn.utils.clip_grad_norm_(made_by.parameters(), 1.0)
            adam.step()
            adam.zero_grad()
            checkpoint.done += 1
            eased = min(EASED, checkpoint.done / (checkpoint.done + 100))
            for name, value in made_by.state_dict().items():
                mean[name].lerp_(value, 1 - eased)
            told.append(parts)
            bar.update()
            if rank == 0 and (checkpoint.done % SAVE_EVERY == 0 or checkpoint.done == steps):
                row = {name: float(np.mean([one[name] for one in told])) for name in told[0]}
                checkpoint.losses.append({"step": checkpoint.done} | row)
                told.clear()
                checkpoint.save(mean)
                tell(json.dumps({name: round(value, 4) for name, value in checkpoint.losses[-1].items()}))
        bar.close()
        if rank == 0:
            with replacing(out) as part:
                save_file({name: value.contiguous() for name, value in mean.items()}, part, {"format": FORMAT})
            plot_losses(checkpoint.losses, out.with_suffix(".png"), "Style-Aware Generator")
            tell(f"wrote {out}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.generator", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--work", type=Path, default=Path("build/generator"), help="folder of pairs and checkpoints")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights to write")
    parser.add_argument("--steps", type=int, default=3500, help="batches of 8")
    parser.add_argument("--width", type=int, default=32, help="channels at half resolution")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that make pairs, and threads that train")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    chosen = parser.parse_args(arguments)
    kept = chosen.work / "pairs"
    if not (kept / "weight.npy").exists():
        landmarks = chosen.landmarks or chosen.work / "addresses.npz"
        if not landmarks.exists():
            landmarks.parent.mkdir(parents=True, exist_ok=True)
            np.savez(landmarks, **collect(chosen.data / "addresses"))  # type: ignore[arg-type]
        gather(chosen.data, landmarks, chosen.seed, chosen.workers).save(kept)
    torch.set_num_threads(chosen.workers)
    train(Pairs.load(kept), chosen.work, chosen.out, chosen.steps, chosen.seed, chosen.width, chosen.resume)


if __name__ == "__main__":
    main()
