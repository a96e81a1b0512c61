"""Style transfer: fine-tunes an adapter of the Motion Generator to a reference clip, from the style code on.

The paper's loss (arXiv 2303.09799): L_transfer = L_mg + L_sc + L_r with L_sc = ‖f(φ_mg) − f(φ_s)‖² and
L_r = (‖∇f(φ̂)‖₂ − 1)², φ̂ = γ φ_s + (1 − γ) φ_mg, f a perceptron 1024-512-256 on the 204 numbers of a face. Where the
paper does not say which frames meet in L_sc, the nearest stretches do, as in its SLD; f learns by L_r alone, the
adapter by the rest, or f would call all faces alike. The base network is not changed: what is learned goes into the
style file. Learns how lips and jaw move; when they close, head, brows and lids stay the style code's. Takes seconds on
one core; the same landmarks give the same style unless time runs out.
"""

import time
from dataclasses import replace

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor, nn

from engine.audio.load import Sound
from engine.errors import InputError
from engine.face.canonical import to_canonical
from engine.motion.curves import cubic, smoothstep
from engine.motion.generate import LINGER, TALKING, WEIGHTS, MotionGenerator, lingering
from engine.motion.net import CODES_PER_SECOND, INNER_LOWER, INNER_UPPER, LOWER_FACE, OPENING, MotionNet, rest_of
from engine.progress import Progress, silent
from engine.style.adapter import HIDDEN, SHAPES, TAPS, Adapter
from engine.style.extract import from_landmarks
from engine.style.file import Style
from engine.style.reference import BASE

SHORTEST = 1.0  # s of a clip that can be learned from
STEPS = 200
BATCH = 8  # stretches
EVERY = 2  # steps between the faces of a stretch that f sees
START = 1.6  # gain of each layer of f
STRETCH = 20  # steps of 20 ms compared at once
RATE = 5e-3
CRITIC_RATE = 1e-4  # of f
UNIT = 0.05  # canonical units that count as 1 for f
KEEP = 0.2  # weight of L_mg where there is no sound: how little the answer should leave the style code's
MOST = 0.06  # canonical units by which a shape may move a point


class Perceptron(nn.Sequential):
    """The paper's f: faces (n, 204) → (n, 256). Starts with slopes near those that L_r asks for: with torch's own start
    its answers hardly differ from face to face, and L_sc teaches nothing."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(204, 1024), nn.SiLU(), nn.Linear(1024, 512), nn.SiLU(), nn.Linear(512, 256))
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, START)
                nn.init.zeros_(layer.bias)


class Learner(nn.Module):
    """The adapter while it is learned; starts as nothing at all."""

    def __init__(self, scale: Tensor, opens: Tensor) -> None:
        super().__init__()
        self.scale, self.opens = scale, opens  # (K,), (68, 3): what opening the lips by 1 moves
        self.first = nn.Conv1d(len(scale), HIDDEN, TAPS)
        self.second = nn.Parameter(torch.randn(SHAPES, HIDDEN) * 0.3)
        self.raw = nn.Parameter(torch.cat([torch.zeros(1, 68, 3), torch.randn(SHAPES, 68, 3) * 0.002]))
        self.lower = torch.zeros(68, 3)
        self.lower[LOWER_FACE, :2] = 1

    def shapes(self) -> Tensor:
        """(1 + SHAPES, 68, 3): lips and jaw in the picture's plane, without opening the lips."""
        shapes = MOST * torch.tanh(self.raw / MOST) * self.lower
        opening = (shapes[:, INNER_UPPER, 1] - shapes[:, INNER_LOWER, 1]).mean(-1)
        return shapes - opening[:, None, None] * self.opens

    def forward(self, codes: Tensor, talking: Tensor) -> Tensor:
        """Codes (n, STRETCH + TAPS − 1, K), talking (n, STRETCH) → offsets (n, STRETCH, 68, 3)."""
        hidden = torch.tanh(self.first((codes / self.scale).transpose(1, 2))).transpose(1, 2)
        answer = hidden @ self.second.T
        amounts = torch.cat([torch.ones_like(answer[..., :1]), answer], -1) * talking[..., None]
        return torch.einsum("nts,sij->ntij", amounts, self.shapes())

    @torch.no_grad()
    def adapter(self) -> Adapter:
        """As numbers for the style file."""
        weights = (self.scale, self.first.weight, self.first.bias, self.second, self.shapes())
        return Adapter(*(value.detach().cpu().numpy().copy() for value in weights if value is not None))


def fit(
    landmarks: np.ndarray,
    name: str,
    sound: Sound | None = None,
    seconds: float = 60.0,
    fps: float = 25.0,
    progress: Progress = silent,
) -> Style:
    """Landmarks (T, 68, 3) in pixels of a clip at `fps`, and its sound where it has one → a fine-tuned style.

    At most `seconds` s of learning. Raises `InputError` when the clip is too short.
    """
    started = time.monotonic()
    if not seconds > 0:
        raise InputError(f"Fine-tuning the style {name} needs more than {seconds:g} s; give for example 60.")
    style = from_landmarks(landmarks, name)
    if len(landmarks) / fps < SHORTEST:
        raise InputError(
            f"The style {name} has {len(landmarks)} frames, too few to fine-tune; use a clip of at least "
            f"{SHORTEST:g} s, or make the style without fine-tuning."
        )
    net = MotionNet.load(WEIGHTS / "motion_base.safetensors", torch.device("cpu"))
    canonical = to_canonical(landmarks)[0]
    at = np.arange(int((len(canonical) - 1) / fps * CODES_PER_SECOND) + 1) / CODES_PER_SECOND * fps
    truth = torch.from_numpy(cubic(canonical - rest_of(canonical), at).astype(np.float32))
    content = safetensors.numpy.load_file(BASE)["content"].astype(np.float32)
    spoken = _in_style(style, content[:, :-1], content[:, -1])
    own = None
    if sound is not None and sound.duration >= SHORTEST and not sound.silent:
        own = _in_style(style, *MotionGenerator.load(torch.device("cpu")).codes(sound))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = Learner(net.scale[:, 0], net.basis[OPENING])
        _learn(learner, net, style, truth, spoken, own, started + seconds, progress)
    return replace(style, adapter=learner.adapter())


def _in_style(style: Style, codes: np.ndarray, talking: np.ndarray) -> tuple[Tensor, Tensor]:
    """Codes (n, K) bent by the style code, and how much somebody talks (n,)."""
    gate = smoothstep(lingering(talking, LINGER), *TALKING).astype(np.float32)
    return torch.from_numpy(style.bend_codes(codes, gate, 1.0)), torch.from_numpy(gate)


def _learn(
    learner: Learner,
    net: MotionNet,
    style: Style,
    truth: Tensor,
    spoken: tuple[Tensor, Tensor],
    own: tuple[Tensor, Tensor] | None,
    deadline: float,
    progress: Progress,
) -> None:
    """L_transfer, Adam, STEPS steps or until the deadline."""
    rng = np.random.default_rng(0)
    f = Perceptron()
    learned, critic = list(learner.parameters()), list(f.parameters())
    optimizer = torch.optim.Adam([{"params": learned}, {"params": critic}], RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [RATE, CRITIC_RATE], STEPS + 1)
    resting = net.average + torch.from_numpy(style.resting(1.0))
    basis, lower = net.basis, learner.lower
    codes, gate = spoken
    before = torch.einsum("tk,kij->tij", codes, basis)
    starts = torch.arange(TAPS - 1, len(codes) - STRETCH, 3)
    starts = starts[gate[starts] > 0.5]
    last = len(truth) - STRETCH
    for step in range(STEPS):
        if time.monotonic() > deadline:
            break
        at = torch.from_numpy(rng.integers(0, max(1, last), BATCH * 4))
        wanted = torch.stack([truth[k : k + STRETCH] for k in at.tolist()])
        there = _nearest(wanted, before, starts)
        near = torch.randperm(len(at))[:BATCH]
        wanted, there = wanted[near] * lower, there[near]
        heard, talks, plain = _stretches(there, codes, gate, before)
        extra = learner(heard, talks)
        phi_mg, phi_s = (
            ((resting + x[:, ::EVERY]).flatten(-2) / UNIT).flatten(0, 1) for x in (plain * lower + extra, wanted)
        )
        l_sc = (f(phi_mg) - f(phi_s)).square().sum(-1).mean() / 204
        keeping = KEEP * (extra / UNIT).square().mean()
        l_mg = keeping if own is None else _l_mg(learner, basis, truth, own, rng)
        optimizer.zero_grad()
        (l_mg + l_sc).backward(inputs=learned)  # type: ignore[no-untyped-call]
        _l_r(f, phi_mg.detach(), phi_s).backward(inputs=critic)  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress("transfer", step + 1, STEPS)


def _nearest(wanted: Tensor, before: Tensor, starts: Tensor) -> Tensor:
    """Of the stretches of `before` (n, 68, 3) at `starts`, by its first step the one nearest to each wanted one."""
    every = torch.arange(0, STRETCH, 4)
    points = [*range(3, 14), *range(48, 68)]
    candidates = before[starts[:, None] + every][:, :, points, :2].flatten(1)
    return starts[torch.cdist(wanted[:, every][:, :, points, :2].flatten(1), candidates).argmin(1)]


def _stretches(at: Tensor, codes: Tensor, gate: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes with their past, talking, and offsets without the adapter, of stretches that begin at these steps."""
    index = at[:, None] + torch.arange(STRETCH)
    past = at[:, None] + torch.arange(1 - TAPS, STRETCH)
    return codes[past.clamp(min=0)], gate[index], before[index]


def _l_mg(
    learner: Learner, basis: Tensor, truth: Tensor, own: tuple[Tensor, Tensor], rng: np.random.Generator
) -> Tensor:
    """The Motion Generator's own loss: the reference's sound should give the reference's motion."""
    codes, gate = own
    last = min(len(truth), len(codes)) - STRETCH
    at = torch.from_numpy(rng.integers(0, max(1, last), BATCH))
    plain = torch.einsum("tk,kij->tij", codes, basis)
    heard, talks, said = _stretches(at, codes, gate, plain)
    wanted = torch.stack([truth[k : k + STRETCH] for k in at.tolist()])
    apart = (said + learner(heard, talks) - wanted) * learner.lower
    return nn.functional.smooth_l1_loss(apart / UNIT, torch.zeros_like(apart))


def _l_r(f: Perceptron, phi_mg: Tensor, phi_s: Tensor) -> Tensor:
    """(‖∇f(φ̂)‖₂ − 1)², f seen along a random direction of its answers."""
    gamma = torch.rand(len(phi_s), 1)
    between = (gamma * phi_s + (1 - gamma) * phi_mg).detach().requires_grad_()
    along = nn.functional.normalize(torch.randn(len(between), 256), dim=-1)
    (slope,) = torch.autograd.grad((f(between) * along).sum(), between, create_graph=True)
    return (slope.norm(dim=-1) - 1).square().mean()
