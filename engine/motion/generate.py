"""Where audio turns into landmarks: sound → speech features → codes → canonical offsets, with head, brows and blinks.

Streams: an hour of sound costs the codes (7 MB) and the result. What the mouth does at a time depends on sound up to
`LOOK_AHEAD` after it. Silence gives a still, closed mouth. Does not know the portrait (see `engine/motion/place.py`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.audio import speech
from engine.audio.features import FRAMES_PER_SECOND, log_mel
from engine.audio.level import levels
from engine.audio.load import Sound
from engine.audio.speech import SpeechEncoder, speech_features
from engine.errors import InputError
from engine.motion.bank import BROWS, RATE, Bank, Loudness
from engine.motion.curves import cubic, smooth, smoothstep
from engine.motion.net import CODES_PER_SECOND, OPENING, MotionNet
from engine.progress import Progress, silent
from engine.style.file import Style

WEIGHTS = Path(__file__).parents[1] / "weights"
SHUT = 0.4, 0.7  # chance of closed lips from which the lips begin to close, and are closed
SURELY_SHUT = 0.9, 0.97  # chance of closed lips from which they close in a pause at once
TALKING = 0.55, 0.85  # chance of speech from which the mouth begins to move, and moves in full
LOUD = -22.0, -18.0  # dB from the loud tenth of speech so far: quieter than this voice, and as loud
LOUD_ODDS = -1.5, 5.0  # what is added to the logarithm of the odds of speech where it is quieter, and as loud
EARLY = 6  # steps before a sound in which mouths begin to move
UNHEARD = -20.0  # dB: the loud tenth of a voice not heard yet, near to a microphone
LEARNING = 0.3  # dB a step at most that the loud tenth is moved by what surely is speech
LINGER = 10  # steps over which speech fades: in a gap between words a mouth goes on moving, in a pause it rests
ENDING = 11  # steps
WAITING, SHUTTING = 1.0, 0.2  # s: how slowly a mouth that waits follows what is heard, and where lips surely close
BEGINNING = 10  # steps whose mean it begins with
SMOOTHING = 1  # passes over neighbouring steps: enough against jitter, a closure of 60 ms survives it
# s: features, the network's context, smoothing, and the two steps that cubic sampling reads after a time
LOOK_AHEAD = speech.LOOK_AHEAD + (MotionNet.CONTEXT + SMOOTHING + 2) / CODES_PER_SECOND


@dataclass
class Motion:
    """What a face does, for any face.

    offsets: (T, 68, 3) float32 canonical units, from the speaker at rest with lips closed; lids not included.
    pose: (T, 6) float32, rotation vector in radians about the neck (canonical axes) and sway in canonical units,
    relative to the portrait's own pose. closed: (T,) float32, how far the lids are shut, 0 to 1. silent: nothing was
    there to be spoken. times: (T,) s. relax: how much of the portrait's own expression gives way to a style's, 0 none;
    usual: the (68, 3) canonical face without expression, where relax is not 0.
    """

    offsets: np.ndarray
    pose: np.ndarray
    closed: np.ndarray
    silent: bool
    times: np.ndarray
    relax: float = 0.0
    usual: np.ndarray | None = None


class MotionGenerator:
    """Loaded once, used for any number of sounds."""

    def __init__(self, encoder: SpeechEncoder, net: MotionNet, bank: Bank, fingerprint: str) -> None:
        self.encoder = encoder
        self.net = net
        self.bank = bank
        self.fingerprint = fingerprint  # changes whenever the same sound could give another motion
        self.device = net.mean.device

    @classmethod
    def load(cls, device: torch.device, weights: Path = WEIGHTS) -> "MotionGenerator":
        """With the shipped weights and the speech encoder from the cache."""
        files = weights / "motion_base.safetensors", weights / "motion_bank.safetensors"
        made_of = [speech.VERSION.encode(), *(file.read_bytes() for file in files)]
        fingerprint = hashlib.sha256(b"".join(made_of)).hexdigest()[:16]
        return cls(SpeechEncoder.load(device), MotionNet.load(files[0], device), Bank.load(files[1]), fingerprint)

    def generate(
        self,
        sound: Sound,
        times: np.ndarray,
        *,
        seed: int = 0,
        head: float = 1.0,
        blinks: float = 1.0,
        brows: float = 1.0,
        style: Style | None = None,
        strength: float = 1.0,
        progress: Progress = silent,
    ) -> Motion:
        """The motion at `times` (T,) s. `head`, `blinks` and `brows` 0 to 2, 0 is off; `strength` 0 to 1.5 is the
        style's γ."""
        amounts = (("head", head, 2.0), ("blinks", blinks, 2.0), ("brows", brows, 2.0), ("strength", strength, 1.5))
        for name, value, most in amounts:
            if not 0 <= value <= most:
                raise InputError(f"The amount of {name} is {value:g}; give a number from 0 to {most:g}.")
        times = np.asarray(times, np.float64)
        codes, talking = self.codes(sound, progress)
        still = sound.silent
        if still:
            codes, talking = np.zeros_like(codes), np.zeros_like(talking)
        basis = self.net.basis.cpu().numpy()
        if style is not None:
            gate = smoothstep(lingering(talking, LINGER), *TALKING)
            codes = style.bend_codes(codes, gate, strength)
        offsets = decode(cubic(codes, times * CODES_PER_SECOND), basis)
        if style is not None:
            offsets += style.resting(strength)
            if style.adapter is not None:
                learned = cubic(style.adapter(codes, gate), times * CODES_PER_SECOND)
                offsets += strength * decode(learned, style.adapter.shapes)
        rng_head, rng_blinks = (np.random.default_rng([seed, k]) for k in (0, 1))
        pose = np.zeros((len(times), 6), np.float32)
        if max(head, brows) > 0 and len(times):
            drive = self.drive(sound, talking)
            moved, raised = self.bank.head_and_brows(drive, rng_head, times * RATE)
            pose = (head * (style.head_scale(strength) if style is not None else 1.0) * moved).astype(np.float32)
            lively = brows * (style.brow_scale(strength) if style is not None else 1.0)
            offsets[:, BROWS] += np.einsum("tb,bij->tij", lively * raised, self.bank.brows).astype(np.float32)
        closed = self.bank.blink_curve(times, rng_blinks, blinks)
        if style is None or not style.relax:
            return Motion(offsets, pose, closed, still, times)
        return Motion(offsets, pose, closed, still, times, strength * style.relax, self.net.average.cpu().numpy())

    def codes(self, sound: Sound, progress: Progress = silent) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n, K) float32 and the chance of speech (n,) at 50 Hz, natural in spread, still in silence."""
        steps = speech.step_count(sound.duration)
        raw = np.empty((steps, self.net.sizes.codes + 2), np.float32)
        done = 0
        for block in self._answers(speech_features(sound, self.encoder)):
            raw[done : done + len(block)] = block
            done += len(block)
            progress("motion", done, steps)
        raw[:, -1] = surer(raw[:, -1], levels(sound, steps))
        codes, talking = settle(self.net, raw)
        ending = 1 - smoothstep(np.arange(ENDING), 0, ENDING - 1)  # frames after the sound's end: the mouth closes
        codes = np.concatenate([codes, codes[-1:] * ending[:, None]])
        return codes.astype(np.float32), np.concatenate([talking, talking[-1:] * ending])

    @torch.inference_mode()
    def _answers(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, K + 2): codes and probabilities of closed lips and of speech, block by block, as if in one piece."""
        context = self.net.CONTEXT
        held: np.ndarray | None = None

        def answer(features: np.ndarray) -> np.ndarray:
            inside = torch.from_numpy(np.ascontiguousarray(features.T))[None].to(self.device)
            codes, shut, talking = self.net(inside)
            rest = torch.sigmoid(torch.cat([shut, talking])).T
            return torch.cat([codes[0].T, rest], -1).cpu().numpy()

        for block in blocks:
            held = np.repeat(block[:1], context, 0) if held is None else held
            held = np.concatenate([held, block])
            if len(held) > 2 * context:
                yield answer(held)
                held = held[-2 * context :]
        if held is not None:
            yield answer(np.concatenate([held, np.repeat(held[-1:], context, 0)]))

    def drive(self, sound: Sound, talking: np.ndarray) -> np.ndarray:
        """(n, 2) at 25 Hz: loudness and chance of speech, what head motion is chosen by."""
        level = Loudness()
        loud = np.concatenate([level(block) for block in log_mel(sound)])
        at = np.arange(int(sound.duration * RATE) + 1)
        return np.stack([cubic(loud, at / RATE * FRAMES_PER_SECOND), cubic(talking, at / RATE * CODES_PER_SECOND)], -1)


def surer(talking: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The network's chance of speech (n,), made surer by how loud (n,) dB it is beside what surely was speech.

    The network is late with the first sound after a pause, and takes some of what is quiet in one for speech. A voice
    that is quiet for a while still speaks: where the network is sure, it stays so. Looks EARLY steps ahead, and all
    the way back."""
    tenth, beside = UNHEARD, np.empty(len(level))
    for step, (sure, now) in enumerate(zip(talking > 0.5, level, strict=True)):
        if sure:  # a quantile, followed: nine steps of ten are below it
            tenth += LEARNING * (0.9 if now > tenth else -0.1)
        beside[step] = now - tenth
    now = smoothstep(beside, *LOUD)
    loud = now.copy()
    for step in range(1, min(EARLY + 1, len(now))):
        loud[:-step] = np.maximum(loud[:-step], now[step:])
    chance = np.clip(talking.astype(np.float64), 1e-6, 1 - 1e-6)
    quieter, as_loud = LOUD_ODDS
    odds = np.log(chance / (1 - chance)) + quieter + (as_loud - quieter) * loud
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


def settle(net: MotionNet, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The network's answers (n, K + 2) → codes (n, K) and the chance of speech (n,).

    Codes are nearer to real speech in their spread, lips close where closing is heard, and a mouth that does not speak
    is still."""
    raw = smooth(raw, SMOOTHING)
    codes = net.naturalise(torch.from_numpy(raw[:, :-2].copy()).to(net.mean.device)).cpu().numpy()
    codes[:, OPENING] *= 1 - smoothstep(raw[:, -2], *SHUT)
    speaks = smoothstep(lingering(raw[:, -1], LINGER), *TALKING)
    return waiting(codes, speaks, smoothstep(raw[:, -2], *SURELY_SHUT)), raw[:, -1]


def waiting(codes: np.ndarray, speaks: np.ndarray, shut: np.ndarray) -> np.ndarray:
    """Codes (n, K) that hardly move where `speaks` (n,) is 0, but for lips that close where `shut` (n,) is 1.

    A mouth that waits is still, but not always shut: people part their lips to breathe before they speak, and leave
    them a little open between sentences. So in a pause the mouth comes slowly to what is heard."""
    made = np.empty_like(codes)
    if not len(codes):
        return made
    slowly, quickly = (1 - np.exp(-1 / (seconds * CODES_PER_SECOND)) for seconds in (WAITING, SHUTTING))
    now = codes[:BEGINNING].mean(0)
    for step, (code, free, closing) in enumerate(zip(codes, speaks, shut, strict=True)):
        pace = np.full(codes.shape[1], slowly)
        if code[OPENING] < now[OPENING]:
            pace[OPENING] += (quickly - slowly) * closing
        now = now + (pace + (1 - pace) * free) * (code - now)
        made[step] = now
    return made


def lingering(values: np.ndarray, steps: int) -> np.ndarray:
    """(n,) each value, or what is left of one before it: it fades in a line over `steps`."""
    out = values.copy()
    for k in range(1, min(steps, len(values))):
        out[k:] = np.maximum(out[k:], values[:-k] * (1 - k / steps))
    return out


def decode(codes: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Codes (T, K) → offsets (T, 68, 3) float32."""
    return np.einsum("tk,kij->tij", codes.astype(np.float32), basis.astype(np.float32), optimize=True)
