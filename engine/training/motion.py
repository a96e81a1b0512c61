"""Trains what the Motion Generator ships: the network and the bank of head motion. One command, deterministic by seed.

    python -m engine.training.motion --data DIR [--landmarks FILE] [--out DIR] [--steps N] [--seed N]

DIR is the folder with `grid_s1/` (speaker 1 of GRID), `addresses/` (free speech), `facegood/` and `ict_facekit/` (a rig
that speaks Mandarin, `rig.py`); FILE is what `engine.training.landmarks` wrote for `addresses/` and is made when not
given. Never read for training: the last 100 GRID clips by name, `grid_others/`, `mead_style/`, two takes of the rig.
Speech is also heard in other voices, rooms, noise and music (`augment.py`) and as song (`sing.py`, which needs
pyworld); closed lips are learned from nonsense in many languages as well (`espeak.py`, which needs espeakng-loader).
Writes motion_base.safetensors, motion_bank.safetensors and prints the figures the model card quotes: free speech of
each speaker from a network that never met that speaker. Takes two and a half hours on one core. GRID's unseen clips and
speakers are measured by `engine.evaluation.motion`.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from engine import __version__
from engine.audio.level import levels
from engine.audio.load import Sound, open_audio
from engine.audio.speech import SpeechEncoder, speech_features
from engine.evaluation.metrics import correlation
from engine.evaluation.motion import Pair, measure, table, with_controls
from engine.face.canonical import to_canonical
from engine.motion.curves import cubic, smooth
from engine.motion.generate import SMOOTHING, decode, settle, surer
from engine.motion.net import (
    CODES_PER_SECOND,
    LOWER_FACE,
    OPENING,
    WIDTH,
    MotionNet,
    MotionSizes,
    encode,
    mouth_opening,
    mouth_width,
    rest_of,
)
from engine.training.augment import varied
from engine.training.bank import build_bank
from engine.training.espeak import in_silence, spoken_clips
from engine.training.loop import Checkpoint, average_gradients, plot_losses, share, together
from engine.training.music import TUNE_SECONDS, TUNES, music, tune
from engine.training.rig import rig_clips
from engine.training.sing import songs, vowels

WEIGHTS = Path(__file__).parents[1] / "weights"
HELD_OUT = 100  # GRID clips, the last by name
FREE_WEIGHT = 8.0  # of a step of free speech …
GRID_WEIGHT = 1.0  # … and of a step of GRID's fifty words
SONG_WEIGHT = 0.3  # of a step of what is sung
SONGS = ("ballad", "opera", "rap", "aria", "ballad", "opera", "aria", "aria")  # made of each free recording
TUNE_LEVELS = -8, -12, -16, -20, -26, -32  # dB, of a tune each
VOWELS, VOWEL_SECONDS = 24, 8.0
MELODIES, TUNE_WEIGHT = 2, 0.5  # so many at each level, and of a step of them
RIG_WEIGHT = 0.2  # of a step of the Mandarin rig
GRID_COPY = 0.3  # of GRID's weight that its copies in other voices, rooms and noises have
MADE_WEIGHT = 0.3  # of a step of espeak-ng's speech, which tells of the lips alone whether they are closed
COPY = 0.75  # of a free recording's weight that each of its other voices has; all together weigh FREE_WEIGHT
SPREAD = 0.5  # of the way from the answers' spread to the truth's: a stranger's mouth is as often smaller as bigger
CLOSED = 0.02  # canonical units between the inner lips: closed, as the tracker sees it
CROP = 108  # steps of a training example: 2 s and the context
BATCH = 16
RATE = 2e-3
STEPS = 1500, 3000  # of the members shipped: the first know strangers' free speech better, the others all the rest
MEMBERS = 2  # of each of these
SAVE_EVERY = 50  # steps
NOISE_SECONDS = 6.0
PAUSE = 26  # steps of quiet from which it is silence
LEAD = 6  # steps before and after sound in which the mouth may move already


@dataclass(frozen=True)
class Clip:
    """One film: what is heard and what the face does, both at 50 Hz from time 0."""

    name: str
    speaker: str
    features: np.ndarray  # (n, 512)
    offsets: np.ndarray  # (n, 68, 3) canonical, from the speaker at rest with lips closed; upper face left at zero
    speech: np.ndarray  # (n,) 1 while somebody speaks or is about to, else 0
    rest: np.ndarray | None = None  # (68, 3) canonical, lips closed
    weight: float = 1.0  # of each of its steps
    free: bool = False  # free speech, whose figures count
    kind: str = "film"  # as it was recorded; "voice": in another; "rig"; "nobody": made; else the manner it is sung in
    shut: np.ndarray | None = None  # (n,) of a voice without a face: lips are closed 1, open 0, not known −1
    level: np.ndarray | None = None  # (n,) dB, where answers are `surer` for it
    known: np.ndarray | None = None  # (n,) 1 where what the face does is to be learned, else 0; None: everywhere

    @property
    def steps(self) -> int:
        return len(self.features)


def read_clip(video: Path, landmarks: np.ndarray, fps: float, encoder: SpeechEncoder, speaker: str) -> Clip:
    """A film with its tracked landmarks (T, 68, 3), z toward the viewer, as a training clip."""
    sound = open_audio(video)
    features = np.concatenate(list(speech_features(sound, encoder)))
    canonical, _ = to_canonical(landmarks)
    steps = min(len(features), int((len(landmarks) - 1) / fps * CODES_PER_SECOND) + 1)
    canonical = cubic(canonical, np.arange(steps) / CODES_PER_SECOND * fps)
    rest = rest_of(canonical)
    offsets = canonical - rest
    offsets[:, [k for k in range(68) if k not in LOWER_FACE]] = 0
    level = levels(sound, steps)
    return Clip(video.stem, speaker, features[:steps], offsets, speaks(sound, steps), rest, level=level)


def speaks(sound: Sound, steps: int) -> np.ndarray:
    """(steps,) 0 or 1: where something is `audible`, with 120 ms to either side.

    Pauses under half a second count as speech: mouths do not come to rest in them."""
    active = widen(audible(sound, steps), PAUSE // 2) > 0
    return widen(~(widen(~active, PAUSE // 2 - LEAD) > 0), 0)


def audible(sound: Sound, steps: int) -> np.ndarray:
    """(steps,) bool: louder than 22 dB under the clip's loud tenth."""
    level = levels(sound, steps)
    return np.asarray(level > max(np.percentile(level, 90) - 22, -50))


def widen(active: np.ndarray, steps: int) -> np.ndarray:
    """Grows the true stretches by `steps` to either side; (n,) float32."""
    return (np.convolve(active.astype(np.float32), np.ones(2 * steps + 1), "same") > 0).astype(np.float32)


def read_grid(data: Path, encoder: SpeechEncoder, limit: int | None = None) -> list[Clip]:
    """GRID speaker 1 without the held-out clips. Who speaks when is known from the word times."""
    words = json.loads((data / "grid_s1" / "words.json").read_text())
    clips = []
    with np.load(data / "grid_s1" / "landmarks.npz") as stored:
        names = sorted(stored.files)[:-HELD_OUT][:limit]
        for name in tqdm(names, unit="clip"):
            landmarks = stored[name].astype(np.float32) * np.array([1, 1, -1], np.float32)
            clip = read_clip(data / "grid_s1" / f"{name}.mp4", landmarks, 25.0, encoder, "grid_s1")
            at = np.arange(clip.steps) / CODES_PER_SECOND
            active = np.zeros(clip.steps, bool)
            for start, end, word in words.get(name, []):
                active |= (at >= start) & (at < end) & (word != "sil")
            clips.append(replace(clip, speech=widen(active, LEAD), weight=GRID_WEIGHT))
    return clips


def read_addresses(data: Path, landmarks: Path | None, encoder: SpeechEncoder) -> list[Clip]:
    """The free speech, with landmarks from a file or tracked now."""
    clips = []
    for name, (points, fps) in addresses_landmarks(data, landmarks).items():
        speaker = name.rstrip("0123456789_")
        clip = read_clip(data / "addresses" / f"{name}.mp4", points, fps, encoder, speaker)
        clips.append(replace(clip, weight=FREE_WEIGHT, free=True))
    return clips


def other_voices(
    clips: list[Clip], data: Path, copies: int, encoder: SpeechEncoder, rng: np.random.Generator
) -> list[Clip]:
    """The free speech and its copies in other voices, which together weigh what the speech alone weighed."""
    share = 1 + COPY * copies
    made = [replace(clip, weight=clip.weight / share) for clip in clips]
    for clip in tqdm(clips, unit="clip", desc="other voices"):
        made += [
            replace(copy, weight=COPY * clip.weight / share, kind="voice")
            for copy in varied(clip, data / "addresses" / f"{clip.name}.mp4", copies, encoder, rng)
        ]
    return made


def disturbed(clips: list[Clip], data: Path, encoder: SpeechEncoder, rng: np.random.Generator) -> list[Clip]:
    """GRID's clips, each with a copy in another voice, room and noise, together of the clips' weight."""
    made = [replace(clip, weight=(1 - GRID_COPY) * clip.weight) for clip in clips]
    for number, clip in enumerate(tqdm(clips, unit="clip", desc="GRID in noise")):
        film = data / "grid_s1" / f"{clip.name}.mp4"
        (copy,) = varied(clip, film, 1, encoder, rng, number)
        made.append(replace(copy, weight=GRID_COPY * clip.weight, kind="voice"))
    return made


def sung_clips(
    clips: list[Clip], data: Path, jaw: np.ndarray, encoder: SpeechEncoder, rng: np.random.Generator
) -> list[Clip]:
    """The free speech as song, on high notes with lips further open along `jaw` (68, 3). It sets no scale."""
    made = []
    for clip in tqdm(clips, unit="clip", desc="songs"):
        film = data / "addresses" / f"{clip.name}.mp4"
        for manner, song in zip(SONGS, songs(clip, film, list(SONGS), jaw, encoder, rng), strict=True):
            made.append(replace(song, weight=SONG_WEIGHT, free=False, kind=manner))
    return made


def addresses_landmarks(data: Path, landmarks: Path | None) -> dict[str, tuple[np.ndarray, float]]:
    """Name → landmarks (T, 68, 3), fps."""
    if landmarks is None:
        from engine.training.landmarks import collect

        stored = collect(data / "addresses")
    else:
        with np.load(landmarks) as file:
            stored = {name: file[name] for name in file.files if not name.endswith("_mesh")}
    names = sorted(name for name in stored if f"{name}_fps" in stored)
    return {name: (stored[name], float(stored[f"{name}_fps"])) for name in names}


def quiet_clips(encoder: SpeechEncoder, folder: Path, rng: np.random.Generator) -> list[Clip]:
    """Noises nobody speaks in, at many levels: the mouth learns to stay shut."""
    count = round(NOISE_SECONDS * 16_000)
    hum = sum(np.sin(2 * np.pi * 50 * k * np.arange(count) / 16_000 + k) / k for k in (1, 2, 3, 5))
    noises = {"white": rng.standard_normal(count), "hum": hum, "digital": np.zeros(count)}
    spectrum = np.fft.rfft(rng.standard_normal(count))
    noises["pink"] = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1), count)
    noises["brown"] = np.fft.irfft(spectrum / (np.arange(len(spectrum)) + 1), count)
    heard = [(name, noise, level) for name, noise in noises.items() for level in (-25, -40, -55)]
    heard += [(name, tune(name, rng), level) for name in TUNES for level in TUNE_LEVELS for _ in range(MELODIES)]
    heard += [("music", music(round(TUNE_SECONDS * 16_000), rng), level) for level in TUNE_LEVELS]
    clips = []
    for name, noise, level in heard:
        path = folder / f"{name}{level}.wav"
        scaled = noise / max(float(noise.std()), 1e-9) * 10 ** (level / 20) * (name != "digital")
        soundfile.write(path, np.clip(scaled, -1, 1), 16_000)
        features = np.concatenate(list(speech_features(open_audio(path), encoder)))
        nothing = np.zeros((len(features), 68, 3), np.float32)
        weight = TUNE_WEIGHT if name in TUNES else 1.0
        clips.append(Clip(path.stem, "quiet", features, nothing, np.zeros(len(features), np.float32), weight=weight))
        path.unlink()
    return clips


def vowel_clips(encoder: SpeechEncoder, folder: Path, rng: np.random.Generator) -> list[Clip]:
    """Notes on vowels of nobody: what an instrument's note lacks. The lips are open, nobody knows how far."""
    made = []
    path = folder / "vowels.wav"
    for number in range(VOWELS):
        audio, sings = (np.pad(part, 16_000) for part in vowels(VOWEL_SECONDS, rng))
        soundfile.write(path, audio * 10 ** (-rng.uniform(1, 20) / 20), 16_000)
        features = np.concatenate(list(speech_features(open_audio(path), encoder)))
        at = np.minimum(np.arange(len(features)) * 16_000 // 50, len(sings) - 1)
        silent = in_silence(audio, len(features))
        shut = np.where(sings[at], 0, np.where(silent, 1, -1)).astype(np.float32)
        nothing = np.zeros((len(features), 68, 3), np.float32)
        speech = (~silent).astype(np.float32)
        made.append(Clip(f"vowels{number}", "nobody", features, nothing, speech, kind="nobody", shut=shut))
    path.unlink()
    return made


def fit_basis(clips: list[Clip], codes: int) -> np.ndarray:
    """(codes, 68, 3): how the landmarks move with each code.

    Opening first: the offsets' regression on the lip opening, so that code 0 is that opening exactly. Then width in the
    same way on what is left, then principal components of the rest, lips weighing double and depth less.
    """
    offsets = np.concatenate([clip.offsets for clip in clips]).astype(np.float64)
    weights = np.concatenate([np.full(clip.steps, clip.weight) for clip in clips])
    basis = np.zeros((codes, 68, 3))
    for code, amount_of in ((OPENING, mouth_opening), (WIDTH, mouth_width)):
        amount = amount_of(offsets)
        direction = np.einsum("n,n,nij->ij", weights, amount, offsets) / (weights * amount**2).sum()
        basis[code] = direction / amount_of(direction)
        offsets -= amount_of(offsets)[:, None, None] * basis[code]
    importance = np.ones((68, 3))
    importance[48:] = 2
    importance[:, 2] *= 0.7
    flat = (offsets * importance).reshape(len(offsets), -1)
    _, vectors = np.linalg.eigh((flat * weights[:, None]).T @ flat / weights.sum())
    rest = vectors[:, ::-1][:, : codes - 2].T.reshape(-1, 68, 3)
    basis[2:] = rest / importance
    basis[2:] /= np.linalg.norm(basis[2:], axis=(1, 2), keepdims=True)
    return basis.astype(np.float32)


def average_rest(clips: list[Clip]) -> np.ndarray:
    """(68, 3) canonical: the mean over speakers of their faces at rest, what a style is compared with."""
    by_speaker: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        if clip.rest is not None:
            by_speaker.setdefault(clip.speaker, []).append(clip.rest)
    return np.mean([np.mean(rests, 0) for rests in by_speaker.values()], 0).astype(np.float32)


def speaker_gains(clips: list[Clip], codes: list[np.ndarray]) -> dict[str, np.ndarray]:
    """By what each speaker's codes are multiplied, so that big and small mouths teach the same motion."""
    speakers = sorted({clip.speaker for clip in clips})
    spread = {
        s: np.concatenate([c for c, k in zip(codes, clips, strict=True) if k.speaker == s]).std(0) for s in speakers
    }
    common = np.mean([spread[s] for s in speakers if s != "quiet"], 0)
    return {s: np.clip(common / np.maximum(spread[s], 1e-6), 0.6, 1.6) for s in speakers}


@dataclass(frozen=True)
class Example:
    """A clip as the network takes it: features (n, 512), codes over their scale (K, n), closed and speech (n,); known:
    (K + 1, n) 1 where a code, and last whether lips are closed, counts, 0 where nobody knows."""

    features: Tensor
    codes: Tensor
    closed: Tensor
    speech: Tensor
    known: Tensor


def examples(clips: list[Clip], codes: list[np.ndarray], scale: np.ndarray) -> list[Example]:
    """Clips as tensors."""
    made = []
    for clip, code in zip(clips, codes, strict=True):
        closed = code[:, OPENING] < CLOSED
        known = np.ones((code.shape[1] + 1, clip.steps))
        if clip.shut is not None:
            closed = clip.shut > 0
            known[:-1], known[-1] = 0, clip.shut >= 0
        if clip.known is not None:
            known *= clip.known
        arrays = clip.features, (code / scale).T, closed, clip.speech, known
        made.append(Example(*(torch.from_numpy(np.ascontiguousarray(array, np.float32)) for array in arrays)))
    return made


def train(
    clips: list[Clip],
    codes: list[np.ndarray],
    basis: np.ndarray,
    steps: int,
    seed: int,
    label: str = "",
    work: Path | None = None,
    resume: bool = False,
    members: int = 1,
) -> MotionNet:
    """A network of so many `members` that knows these clips, in `steps` steps of 16 crops of about 2 s. With `work` its
    checkpoints and losses go there, and it may `resume`. Alone, or in each process of `torchrun`."""
    with together() as (rank, size):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        net = MotionNet(MotionSizes(features=clips[0].features.shape[1], codes=len(basis), members=members))
        heard = np.concatenate([clip.features for clip in clips if clip.free])
        moved = np.concatenate([code for clip, code in zip(clips, codes, strict=True) if clip.free])
        net.mean.copy_(torch.from_numpy(heard.mean(0))[:, None])
        net.deviation.copy_(torch.from_numpy(heard.std(0) + 1e-3)[:, None])
        scale = moved.std(0)
        net.scale.copy_(torch.from_numpy(scale)[:, None])
        net.basis.copy_(torch.from_numpy(basis))
        data = examples(clips, codes, scale)
        chance = np.array([clip.weight * clip.steps for clip in clips])
        chance /= chance.sum()
        optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
        importance = torch.tensor([2.0, 1.5] + [0.5] * (len(basis) - 2))[None, :, None]
        kept = Checkpoint(
            work or Path(), net, optimizer, {"seed": seed, "steps": steps, "codes": len(basis), "members": members}
        )
        done = 0
        if resume:
            chance_of_torch = kept.resume()["chance"]
            done = kept.done
        net.train()
        told: list[float] = []
        for step in tqdm(range(steps), desc=label, leave=False, disable=rank > 0):
            chosen = [crop(data[i], rng) for i in rng.choice(len(data), BATCH, p=chance)]
            if step < done:  # drawn again, so that what comes is drawn as it would have been
                schedule.step()
                continue
            if resume and step == done:
                torch.set_rng_state(chance_of_torch)
            mine = share(BATCH, rank, size)
            features, truth, closed, speech, known = (
                torch.stack([parts[k] for k in mine]) for parts in zip(*chosen, strict=True)
            )
            codes_out, closed_out, speech_out = net.each(features)
            truth, closed, speech, known = (
                part[:, None].expand(-1, members, *part.shape[1:]) for part in (truth, closed, speech, known)
            )
            apart = F.smooth_l1_loss(codes_out / net.scale, truth, reduction="none", beta=1.0)
            loss = (importance * known[:, :, :-1] * apart).mean()
            loss = loss + 0.3 * F.binary_cross_entropy_with_logits(closed_out, closed, known[:, :, -1])
            loss = loss + 0.3 * F.binary_cross_entropy_with_logits(speech_out, speech)
            optimizer.zero_grad()
            loss.backward()
            average_gradients(net, size)
            optimizer.step()
            schedule.step()
            told.append(float(loss.detach()))
            kept.done = step + 1
            if work is not None and rank == 0 and (kept.done % SAVE_EVERY == 0 or kept.done == steps):
                kept.losses.append({"step": kept.done, "loss": float(np.mean(told))})
                told.clear()
                kept.save({"chance": torch.get_rng_state()})
        if work is not None and rank == 0:
            plot_losses(kept.losses, work / "loss.png", "Motion Generator")
    return net.eval()


def crop(example: Example, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """A random stretch: features of CROP steps, truth of the steps the network answers for."""
    context = MotionNet.CONTEXT
    length = example.closed.shape[0]
    start = int(rng.integers(0, max(1, length - CROP + 1)))
    index = torch.arange(start, start + CROP).clamp(max=length - 1)
    inner = index[context:-context]
    steps = example.codes, example.closed, example.speech, example.known
    return example.features[index].T, *(values[..., inner] for values in steps)


@torch.inference_mode()
def predict(net: MotionNet, clip: Clip) -> np.ndarray:
    """(n, K + 2): codes as the network answers them, chance of closed lips and of speech, as `MotionGenerator` has it
    where the clip knows how loud it is."""
    features = torch.from_numpy(np.pad(clip.features, ((net.CONTEXT, net.CONTEXT), (0, 0)), "edge").T.copy())
    codes, closed, speech = net(features[None])
    answer = torch.cat([codes[0].T, torch.sigmoid(torch.cat([closed, speech])).T], -1).numpy()
    if clip.level is not None:
        answer[:, -1] = surer(answer[:, -1], clip.level)
    return np.asarray(answer)


@dataclass(frozen=True)
class Recipe:
    """Which networks answer together: `members` of each number of `steps`, all from one seed."""

    steps: tuple[int, ...] = STEPS
    members: int = MEMBERS
    seed: int = 0


def train_all(
    clips: list[Clip],
    codes: list[np.ndarray],
    basis: np.ndarray,
    recipe: Recipe,
    label: str = "",
    work: Path | None = None,
    resume: bool = False,
) -> MotionNet:
    """All members of a recipe in one network; else as `train`. Each number of steps has a folder in `work`."""
    nets: list[MotionNet] = []
    for count in recipe.steps:
        folder = None if work is None else work / str(count)
        again = resume and (not nets or folder is None or folder.exists())  # it was cut short before this one
        told = f"{label} {count}"
        nets.append(train(clips, codes, basis, count, recipe.seed, told, folder, again, recipe.members))
    return MotionNet.joined(nets)


def cross_predictions(
    clips: list[Clip],
    codes: list[np.ndarray],
    basis: np.ndarray,
    recipe: Recipe,
) -> dict[str, np.ndarray]:
    """Answers for every film of free speech, and what was sung of it, from a network that never met its speaker."""
    told: dict[str, np.ndarray] = {}
    for speaker in sorted({clip.speaker for clip in clips if clip.free}):
        known = [i for i, clip in enumerate(clips) if clip.speaker != speaker]
        met = [clips[i] for i in known], [codes[i] for i in known]
        net = train_all(*met, basis, recipe, f"without {speaker}")
        told |= {clip.name: predict(net, clip) for clip in clips if clip.speaker == speaker and clip.kind != "voice"}
    return told


def unseen_figures(net: MotionNet, clips: list[Clip], told: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """By speaker, what `engine.evaluation.motion` measures of motion made by networks that never met the speaker; and
    of the controls, over all speakers. The tables of `net`, fitted to all of these answers, give the spread."""
    made: dict[str, list[Pair]] = {}
    alone: list[Pair] = []
    sung: dict[str, list[Pair]] = {}
    for clip in clips:
        if clip.kind in SONGS and clip.name in told:
            offsets = decode(settle(net, told[clip.name])[0], net.basis.numpy())
            sung.setdefault(clip.kind, []).append(Pair(offsets, clip.offsets, clip.speech > 0))
        elif clip.name in told:
            answered = smooth(told[clip.name], SMOOTHING)[:, :-2]
            alone.append(Pair(decode(answered, net.basis.numpy()), clip.offsets, clip.speech > 0))
            offsets = decode(settle(net, told[clip.name])[0], net.basis.numpy())
            made.setdefault(clip.speaker, []).append(Pair(offsets, clip.offsets, clip.speech > 0))
    figures = {f"free speech, {speaker} unseen": measure(pairs) for speaker, pairs in made.items()}
    every = [pair for pairs in made.values() for pair in pairs]
    figures["free speech, network's bare answer"] = measure(alone)
    figures |= {f"{manner} made of it": measure(pairs) for manner, pairs in sung.items()}
    return figures | {f"free speech, {name}": measure(pairs) for name, pairs in with_controls(every).items()}


def calibrate(net: MotionNet, clips: list[Clip], codes: list[np.ndarray], told: dict[str, np.ndarray]) -> None:
    """Fill the tables that give each code the spread of real speech, from answers for speakers not met in training.

    Opening and width get the truth's whole distribution. A component the network hardly hears gets less than its
    natural spread: at r = 0.5 all of it, below in proportion, for what does not follow speech would only fidget.
    """
    films = [(clip, code) for clip, code in zip(clips, codes, strict=True) if clip.free and clip.kind == "film"]
    truth = np.concatenate([code for _, code in films])
    spoken = np.concatenate([clip.speech for clip, _ in films]) > 0
    answer = np.concatenate([smooth(told[clip.name], SMOOTHING) for clip, _ in films])
    truth, answer = truth[spoken], answer[spoken]
    at = np.linspace(0.5, 99.5, net.sizes.knots)
    for k in range(net.sizes.codes):
        x, y = np.percentile(answer[:, k], at), np.percentile(truth[:, k], at)
        if k not in (OPENING, WIDTH):
            trust = np.clip(2 * correlation(answer[:, k], truth[:, k]), 0, 1)
            y = np.median(y) + trust * (y - np.median(y))
        y = x + SPREAD * (y - x)
        x += np.arange(len(x)) * 1e-6  # strictly rising
        if k == OPENING:
            y = np.maximum(y, 0)
        net.knots_in[k] = torch.from_numpy(x)
        net.knots_out[k] = torch.from_numpy(np.maximum.accumulate(y))


def main(arguments: list[str] | None = None, report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.motion", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_s1, addresses, facegood")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="training steps, each of some members")
    parser.add_argument(
        "--members", type=int, default=MEMBERS, help="networks of each number of steps: their mean answers"
    )
    parser.add_argument("--codes", type=int, default=8, help="K, numbers that describe the lower face")
    parser.add_argument("--voices", type=int, default=8, help="copies of free speech in other voices, rooms and noises")
    parser.add_argument("--no-songs", action="store_true", help="leave song out, which needs pyworld")
    parser.add_argument("--no-rig", action="store_true", help="leave the Mandarin rig out")
    parser.add_argument("--no-made", action="store_true", help="leave made speech out, which needs espeakng-loader")
    parser.add_argument("--grid-clips", type=int, help="use only so many GRID clips")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("build/motion"), help="folder for checkpoints and losses")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--quick", action="store_true", help="do not measure on unseen speakers; spread from seen ones")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    torch.use_deterministic_algorithms(True)
    started = time.monotonic()
    chosen.out.mkdir(parents=True, exist_ok=True)
    encoder = SpeechEncoder.load(torch.device("cpu"))
    clips = read_addresses(chosen.data, chosen.landmarks, encoder)
    basis = fit_basis(clips, chosen.codes)
    films = list(clips)

    def rng() -> np.random.Generator:
        return np.random.default_rng(chosen.seed)

    def anywhere() -> SpeechEncoder:
        """What is only trained on is heard at any position; the films are measured, too."""
        return encoder.wandering(chosen.seed)

    if chosen.voices:
        clips = other_voices(films, chosen.data, chosen.voices, anywhere(), rng())
    clips += quiet_clips(anywhere(), chosen.out, rng())
    grid = read_grid(chosen.data, anywhere(), chosen.grid_clips)
    clips += disturbed(grid, chosen.data, anywhere(), rng()) if chosen.voices else grid
    gains = speaker_gains(clips, [encode(clip.offsets, basis) for clip in clips])
    if not chosen.no_rig:
        rig = [replace(clip, weight=RIG_WEIGHT) for clip in rig_clips(chosen.data, anywhere())]
        spoken = films + rig
        gains = speaker_gains(spoken, [encode(clip.offsets, basis) for clip in spoken]) | gains
        clips += rig
    if not chosen.no_songs:
        clips += sung_clips(films, chosen.data, basis[OPENING], anywhere(), rng())
        clips += vowel_clips(anywhere(), chosen.out, rng())
    if not chosen.no_made:
        made = spoken_clips(anywhere(), rng(), not chosen.no_songs)
        clips += [replace(clip, weight=MADE_WEIGHT) for clip in made]
    codes = [encode(clip.offsets, basis) * gains.get(clip.speaker, 1) for clip in clips]
    recipe = Recipe(tuple(chosen.steps), chosen.members, chosen.seed)
    net = train_all(clips, codes, basis, recipe, "shipped", chosen.work, chosen.resume)
    if chosen.quick:
        told = {clip.name: predict(net, clip) for clip in clips if clip.free and clip.kind == "film"}
    else:
        told = cross_predictions(clips, codes, basis, recipe)
    calibrate(net, clips, codes, told)
    if not chosen.quick:
        report(table(unseen_figures(net, clips, told)))
    net.average.copy_(torch.from_numpy(average_rest(clips)))
    net.save(chosen.out / "motion_base.safetensors", f"engine.training.motion, Parlando {__version__}")
    speech = {clip.name: predict(net, clip)[:, -1] for clip in clips if clip.free and clip.kind == "film"}
    counts = build_bank(
        chosen.data / "addresses",
        addresses_landmarks(chosen.data, chosen.landmarks),
        speech,
        chosen.out / "motion_bank.safetensors",
    )
    report(f"bank: {counts}")
    report(f"{chosen.out}: motion_base.safetensors, motion_bank.safetensors in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
