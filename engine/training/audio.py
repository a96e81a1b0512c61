"""Trains the audio representation of `engine/audio/apc.py` and measures it against its controls.

    python -m engine.training.audio --data ../shared/data [--resume] [--steps N] [--measure]

Writes engine/weights/apc.safetensors and, for the manifold projection, apc_bank.safetensors (float16). Checkpoints and
losses (loss.csv) lie in build/training/audio; with --resume an interrupted training goes on and ends in the same
weights as one that was not. `--measure` trains nothing: it prints the figures of the model card. Sound is all that is
learned from: `grid_s1` without its last 100 clips, `addresses`, and `facegood` without take 3_16; what is left out and
`grid_others` are measured on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from tqdm import tqdm

from engine.audio import apc, features
from engine.audio.apc import APC
from engine.audio.load import Sound, open_audio
from engine.audio.manifold import Manifold
from engine.audio.speech import SpeechEncoder, speech_features
from engine.errors import InputError
from engine.evaluation import landmarks, metrics
from engine.face.canonical import to_canonical
from engine.take import replacing
from engine.training.loop import Checkpoint, plot_losses

RATES = (0.87, 1.0, 1.15)  # speeds at which each recording is heard: other pitches, formants and tempi
GAINS = (-12.0, 9.0)  # dB, the range of loudness each recording is heard at
STREAMS = 16  # recordings heard side by side: the batch
STEP = 120  # frames a step: 1 s of each stream
PEAK = 1e-3  # learning rate after a warm-up of 40 steps; it falls as half a cosine of HORIZON steps …
HORIZON = 1200
COOL = 60  # … and over the last steps in a line to nothing: how long to train may be decided late
CLIP = 1.0  # largest norm of the gradient
SAVE_EVERY = 25
CHECK_EVERY = 100
BANK = 2048  # training features kept for the manifold projection


@dataclass(frozen=True)
class Options:
    """What decides the result of a training."""

    data: Path
    work: Path = Path("build/training/audio")
    out: Path = apc.WEIGHTS
    steps: int = 510
    seed: int = 0


def recordings(data: Path) -> dict[str, list[Path]]:
    """Sound files by purpose: "train", and held-out "grid_s1", "grid_others" and "facegood"."""
    grid = sorted((data / "grid_s1").glob("*.mp4"))
    takes = sorted((data / "facegood").glob("*.flac"))
    addresses = sorted((data / "addresses").glob("*.mp4"))
    if len(grid) <= 100 or not takes or not addresses:
        raise InputError(f"{data} lacks grid_s1, addresses or facegood: give the folder that holds all three.")
    return {
        "train": grid[:-100] + addresses + [take for take in takes if take.stem != "3_16"],
        "grid_s1": grid[-100::10],
        "grid_others": sorted((data / "grid_others").glob("*.mp4")),
        "facegood": [take for take in takes if take.stem == "3_16"],
    }


@dataclass
class _AtSpeed:
    """A sound heard at another speed: what `features.log_mel` needs of a `Sound`."""

    sound: Sound
    speed: float

    def blocks(self, rate: int, seconds: float) -> Iterator[np.ndarray]:
        return self.sound.blocks(round(rate / self.speed), seconds)


def mels(path: Path, speed: float = 1.0) -> np.ndarray:
    """(n, 80) float32 log-mel of a whole recording."""
    return np.concatenate(list(features.log_mel(_AtSpeed(open_audio(path), speed))))  # type: ignore[arg-type]


def louder(mel: np.ndarray, gain: float) -> np.ndarray:
    """Log-mel as if the sound were `gain` dB louder."""
    return np.maximum(mel + gain * math.log(10) / 10, math.log(features.FLOOR))


class Hearing:
    """The training sound as `STREAMS` endless streams: step after step, decided by the seed alone."""

    def __init__(self, clips: list[list[np.ndarray]], seed: int, ahead: int) -> None:
        self.clips, self.seed, self.ahead = clips, seed, ahead  # clips[i][speed]: (n, 80)
        self.round = -1
        self.streams = np.zeros((STREAMS, 0, features.MELS), np.float32)
        shortest = sum(min(map(len, one)) for one in clips)
        self.steps = (shortest // STREAMS - ahead) // STEP  # in a round, which hears every recording at one speed
        if self.steps < 1:
            raise InputError(f"The training sound is too short: {STREAMS + 1} s at least are needed.")

    def step(self, number: int) -> np.ndarray:
        """(STREAMS, STEP + ahead, 80) float32: step `number`'s frames and the ones after them to be predicted."""
        round_, within = divmod(number, self.steps)
        if round_ != self.round:
            chance = np.random.default_rng((self.seed, round_))
            parts = []
            for i in chance.permutation(len(self.clips)):
                parts.append(louder(self.clips[i][chance.integers(len(self.clips[i]))], chance.uniform(*GAINS)))
            heard = np.concatenate(parts)
            length = self.steps * STEP + self.ahead
            spread = np.linspace(0, len(heard) - length, STREAMS).astype(int)
            self.streams = np.stack([heard[start : start + length] for start in spread]).astype(np.float32)
            self.round = round_
        return self.streams[:, within * STEP : (within + 1) * STEP + self.ahead]


def error(network: APC, mel: np.ndarray) -> Tensor:
    """Mean absolute error of the network's prediction over one recording (n, 80), in normalised mel."""
    x = network.normalise(torch.from_numpy(mel)[None])
    ahead = network.config.ahead
    return (network.predict(network(x[:, :-ahead])[0]) - x[:, ahead:]).abs().mean()


def held_out(network: APC, clips: list[np.ndarray]) -> float:
    """`error` over several recordings, each weighted by its length."""
    with torch.inference_mode():
        return float(np.average([float(error(network, clip)) for clip in clips], weights=[len(clip) for clip in clips]))


def learning_rate(step: int, steps: int) -> float:
    """Of one of `steps` steps. Before the last `COOL` of them it does not depend on how many there will be."""
    cosine = PEAK * min((step + 1) / 40, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / HORIZON, 1))))
    return cosine * min(1.0, (steps - step) / min(COOL, steps))


def fresh(seed: int, mean: np.ndarray, scale: np.ndarray) -> APC:
    """An untrained network for sound of this log-mel mean and scale (80,)."""
    torch.manual_seed(seed)
    network = APC()
    network.mean.copy_(torch.from_numpy(mean))
    network.scale.copy_(torch.from_numpy(scale))
    return network


class Training:
    """One training: network, Adam's moments, the streams' states and the losses so far."""

    def __init__(self, options: Options, clips: list[list[np.ndarray]]) -> None:
        self.options = options
        heard = np.concatenate([clip for speeds in clips for clip in speeds]).astype(np.float64)
        self.network = fresh(
            options.seed, heard.mean(0).astype(np.float32), np.maximum(heard.std(0), 0.1).astype(np.float32)
        )
        self.adam = torch.optim.Adam(self.network.parameters(), lr=PEAK)
        config = self.network.config
        self.hearing = Hearing(clips, options.seed, config.ahead)
        self.state = torch.zeros(config.layers, STREAMS, config.width)
        self.kept = Checkpoint(options.work, self.network, self.adam, {"seed": options.seed, "steps": options.steps})

    @property
    def done(self) -> int:
        """Steps so far."""
        return self.kept.done

    def step(self) -> float:
        """Learns from one step of the streams; the loss."""
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.done, self.options.steps)
        x = self.network.normalise(torch.from_numpy(self.hearing.step(self.done)))
        made, state = self.network(x[:, :STEP], self.state)
        loss = (self.network.predict(made) - x[:, self.network.config.ahead :]).abs().mean()
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.adam.step()
        self.state = state.detach()
        self.kept.done += 1
        return float(loss.detach())

    def save(self) -> None:
        """Writes checkpoint and losses."""
        self.kept.save({"state": self.state})

    def resume(self) -> None:
        """Goes back to where the checkpoint was written. A training that has not begun to cool may be made longer."""
        self.state = self.kept.resume(lambda about, done: self._goes_on(about, done))["state"]

    def _goes_on(self, about: dict[str, Any], done: int) -> bool:
        cooled = done > min(about["steps"], self.options.steps) - COOL
        return bool(about["seed"] == self.options.seed and (not cooled or about["steps"] == self.options.steps))


def train(options: Options, resume: bool = False, tell: Callable[[str], None] = print) -> None:
    """The whole training, from recordings to engine/weights/apc.safetensors."""
    files = recordings(options.data)
    tell(f"reading {len(files['train'])} recordings at {len(RATES)} speeds")
    clips = [[mels(path, speed) for speed in RATES] for path in tqdm(files["train"], unit="file")]
    checks = {name: [mels(path)[:7200] for path in files[name]] for name in ("grid_s1", "grid_others", "facegood")}
    training = Training(options, clips)
    if resume:
        training.resume()
    hours = sum(len(speeds[1]) for speeds in clips) / features.FRAMES_PER_SECOND / 3600
    tell(f"{hours:.2f} h of sound, {training.hearing.steps} steps a round, {options.steps} steps")
    losses: list[float] = []
    began = time.monotonic()
    bar = tqdm(total=options.steps, initial=training.done, unit="step", mininterval=10)
    while training.done < options.steps:
        losses.append(training.step())
        bar.update()
        last = training.done == options.steps
        if training.done % SAVE_EVERY == 0 or last:
            row = {"step": training.done, "train": float(np.mean(losses))}
            losses.clear()
            if training.done % CHECK_EVERY == 0 or last:
                row |= {name: held_out(training.network, mel) for name, mel in checks.items()}
                tell(json.dumps({key: round(value, 4) for key, value in row.items()}))
            training.kept.losses.append(row)
            training.save()
    bar.close()
    plot_losses(training.kept.losses, options.work / "loss.png", "APC")
    weights = {name: value.half().contiguous() for name, value in training.network.state_dict().items()}
    with replacing(options.out) as part:
        safetensors.torch.save_file(weights, part, {"format": "1"})
    tell(f"wrote {options.out} after {(time.monotonic() - began) / 60:.0f} min")
    write_bank(training.network, [speeds[RATES.index(1.0)] for speeds in clips], options)
    tell(f"wrote {bank_path(options)}")


def bank_path(options: Options) -> Path:
    """Where the manifold projection's bank of features is written."""
    return options.out.with_name(f"{options.out.stem}_bank.safetensors")


@torch.inference_mode()
def write_bank(network: APC, clips: list[np.ndarray], options: Options) -> None:
    """Keeps `BANK` features of the training sound that lie evenly spread over all of them."""
    made = [network(network.normalise(torch.from_numpy(clip)[None]))[0][0, 2::4] for clip in clips]
    bank = representatives(torch.cat(made), BANK, options.seed)
    with replacing(bank_path(options)) as part:
        safetensors.torch.save_file({"bank": bank.half().contiguous()}, part, {"format": "1"})


def representatives(features: Tensor, count: int, seed: int, rounds: int = 8) -> Tensor:
    """At most `count` of features (n, d), spread over all of them: those nearest to the middles that k-means finds.

    Middles begin in `rounds` draws, each by squared distance to those drawn before (Bahmani et al. 2012): half of all
    sound is silence, and drawn evenly so would be half of the bank.
    """
    if len(features) <= count:
        return features
    chance = torch.Generator().manual_seed(seed)
    middles = features[torch.randint(len(features), (1,), generator=chance)]
    apart = torch.full((len(features),), torch.inf)
    new = middles
    for left in range(rounds, 0, -1):
        apart = torch.minimum(apart, torch.cat([nearest(some, new)[1] for some in features.split(4096)]).clamp(min=0))
        draws = min(-(-(count - len(middles)) // left), int((apart > 0).sum()))
        if draws:
            new = features[torch.multinomial(apart, draws, generator=chance)]
            middles = torch.cat([middles, new])
    for _ in range(rounds):
        belongs = torch.cat([nearest(some, middles)[0] for some in features.split(4096)])
        sums = torch.zeros_like(middles).index_add_(0, belongs, features)
        sizes = torch.bincount(belongs, minlength=len(middles))
        middles = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], middles)
    found = [nearest(some, middles) for some in features.split(4096)]
    groups, distances = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    order = np.argsort(distances, kind="stable")
    _, first = np.unique(groups[order], return_index=True)
    return features[torch.from_numpy(order[first])]


def nearest(features: Tensor, middles: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) index of the middle (m, d) nearest to each feature (n, d), and (n,) its squared distance."""
    apart = (middles**2).sum(-1) - 2 * features @ middles.T
    least = apart.min(1)
    return least.indices, least.values + (features**2).sum(-1)


# Measuring: the figures of engine/weights/apc.md.


def measure(options: Options, tell: Callable[[str], None] = print) -> None:
    """Prints the model card's figures: prediction against its controls, and lip opening read off linearly."""
    files = recordings(options.data)
    network = APC.load(path=options.out)
    random = fresh(options.seed + 1, network.mean.numpy(), network.scale.numpy())
    tell(
        "mean absolute error 25 ms ahead, in standard deviations of each band: trained, copy of the present, untrained"
    )
    for name in ("grid_s1", "grid_others", "facegood"):
        clips = [mels(path)[:7200] for path in files[name]]
        copied = np.mean(np.concatenate([_copy_error(network, clip) for clip in clips]))
        tell(f"{name}: {held_out(network, clips):.3f} {copied:.3f} {held_out(random, clips):.3f}")
    tell("lip opening by ridge regression, three taps 40 ms apart, mean r a clip: grid_others, last 100 of grid_s1")
    for name, heard in representations(network, random, options).items():
        tell(f"{name}: " + " ".join(f"{r:.3f}" for r in probe(heard, options)))


def _copy_error(network: APC, mel: np.ndarray) -> np.ndarray:
    """(n,) the control's error: the present frame said to be the one to come."""
    ahead = network.config.ahead
    return np.abs((mel[ahead:] - mel[:-ahead]) / network.scale.numpy()).mean(1)


Heard = Callable[[Path], tuple[np.ndarray, float]]  # features (n, d) of a recording, and how many a second


def representations(network: APC, untrained: APC, options: Options) -> dict[str, Heard]:
    """The representations that are compared, by name."""
    encoder = SpeechEncoder.load(torch.device("cpu"))
    manifold = Manifold.load(path=bank_path(options))

    def states(path: Path, net: APC) -> np.ndarray:
        return np.concatenate(list(apc.apc_features(open_audio(path), net)))

    def rebuilt(path: Path) -> np.ndarray:
        return manifold.project(torch.from_numpy(states(path, network))).numpy()

    def whisper(path: Path) -> np.ndarray:
        return np.concatenate(list(speech_features(open_audio(path), encoder)))

    return {
        "log-mel": lambda path: (mels(path), 120.0),
        "untrained": lambda path: (states(path, untrained), 120.0),
        "APC": lambda path: (states(path, network), 120.0),
        "APC, manifold": lambda path: (rebuilt(path), 120.0),
        "Whisper layer 2": lambda path: (whisper(path), 50.0),
    }


def probe(heard: Heard, options: Options) -> list[float]:
    """Mean r of lip opening by ridge regression, on `grid_others` and on every fifth of the last 100 of `grid_s1`.

    Fitted on every third clip of the rest of `grid_s1`; the ridge's strength on a tenth of these, left out.
    """
    folders = {name: np.load(options.data / name / "landmarks.npz") for name in ("grid_s1", "grid_others")}

    def clip(folder: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        canonical, _ = to_canonical(folders[folder][name].astype(np.float32) * [1, 1, -1])
        opening = landmarks.opening(canonical)
        features_, rate = heard(options.data / folder / f"{name}.mp4")
        taps = [landmarks.resampled(features_, rate, np.arange(len(opening)) / 25 + at) for at in (-0.04, 0.0, 0.04)]
        return np.concatenate(taps, 1), opening

    names = sorted(folders["grid_s1"].files)
    fitted = [clip("grid_s1", name) for name in names[:-100:3]]
    left = fitted[::10]
    fitted = [one for i, one in enumerate(fitted) if i % 10]
    x, y = (np.concatenate(part) for part in zip(*fitted, strict=True))
    middle, spread = x.mean(0), x.std(0) + 1e-6
    x = (x - middle) / spread
    gram, moment = x.T @ x, x.T @ (y - y.mean())

    def scores(strength: float, clips: list[tuple[np.ndarray, np.ndarray]]) -> float:
        ridge = np.linalg.solve(gram + strength * np.eye(len(gram)), moment)
        return float(np.mean([metrics.correlation((one - middle) / spread @ ridge, truth) for one, truth in clips]))

    best = max(10.0 ** np.arange(1, 6), key=lambda strength: scores(strength, left))
    others = [clip("grid_others", name) for name in folders["grid_others"].files]
    return [scores(best, others), scores(best, [clip("grid_s1", name) for name in names[-100::5]])]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.audio", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_s1, addresses and facegood")
    parser.add_argument("--work", type=Path, default=Options.work, help="folder for checkpoints and losses")
    parser.add_argument("--out", type=Path, default=Options.out, help="the weights to write")
    parser.add_argument("--steps", type=int, default=Options.steps)
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--measure", action="store_true", help="train nothing, print the model card's figures")
    parser.add_argument("--threads", type=int, help="CPU threads; the weights do not depend on it beyond rounding")
    chosen = parser.parse_args(arguments)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    options = Options(chosen.data, chosen.work, chosen.out, chosen.steps, chosen.seed)
    if chosen.measure:
        measure(options)
    else:
        train(options, chosen.resume)


if __name__ == "__main__":
    main()
