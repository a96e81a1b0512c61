"""What is being said, as numbers: the second layer of Whisper base's encoder, 512 numbers at 50 Hz, streamed.

Whisper attends over 30 s at once and adds to each step its position in them. Here sound comes in chunks of 4 s, each
heard after the 2 s before it. Positions begin with those 2 s: in training anywhere in the first second, else in its
middle. A step sees 2 s back and 60 ms ahead in each of the two layers, and the mel scale has a fixed floor instead of
one under the loudest sound of the clip. So a step's numbers depend on nothing further than `LOOK_AHEAD` after it, an
hour runs in the memory of one chunk, and a file gives the same numbers however it is cut. Chunks are short because
motion gets worse the further a step is from the first position; were all of a chunk seen, a held note would fade and a
mouth stay open in a pause (see the card of motion_base). They overlap and are cross-faded. Does not recognise words.
"""

from collections.abc import Iterator
from copy import copy
from itertools import chain, repeat

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine import models
from engine.audio.features import centred_frames, mel_bank
from engine.audio.load import Sound

VERSION = "2"  # goes up whenever the same sound gives other numbers
RATE = 16_000  # Hz
HOP = 160  # samples a mel frame: 100 Hz
STFT = 400
MELS = 80
WIDTH = 512
HEADS = 8
LAYERS = models.WHISPER_LAYERS
STEPS_PER_SECOND = 50
BACK = 100  # steps each layer sees back: 2 s
AHEAD = 3  # steps each layer sees ahead: 60 ms
LOUDEST = 1.0  # log10 mel energy taken as the clip's loudest: close speech at full scale reaches 1 to 1.5
CHUNK = 200  # steps a chunk hands on: 4 s
FADE = 10  # steps at a chunk's start that are cross-faded from the chunk before
LEAD = 100  # steps of context before a chunk's first step: 2 s
WANDER = 50  # positions among which a training chunk's first is drawn: clips of 3 s then lie anywhere in 6 s
FIRST = WANDER // 2  # position else: the middle of what is learned from
TAIL = LAYERS * AHEAD + 2  # steps after a chunk's last that its numbers depend on
LOOK_AHEAD = LAYERS * AHEAD / STEPS_PER_SECOND + 2 * HOP / RATE + STFT / 2 / RATE  # s: layers, convolutions, window
SILENCE = (LOUDEST - 8 + 4) / 4  # the mel value of digital silence


class SpeechEncoder(nn.Module):
    """Mel (B, 80, 2 n) → (B, n, 512): two convolutions and two of the encoder's six layers, of little look-ahead.

    wander: for training alone; the first step's position is drawn from it and not `FIRST`, so that what is learned
    holds wherever in a chunk a sound lies."""

    positions: Tensor  # (1500, 512)
    wander: np.random.Generator | None = None

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.register_buffer("positions", torch.zeros(1500, WIDTH))

    def wandering(self, seed: int) -> "SpeechEncoder":
        """These weights, with a `wander`."""
        other = copy(self)
        other.wander = np.random.default_rng(seed)
        return other

    @classmethod
    def load(cls, device: torch.device) -> "SpeechEncoder":
        """With Whisper's own weights, from the cache (see `engine.models`)."""
        stored = safetensors.torch.load_file(models.path("whisper_base"))
        encoder = cls()
        names = {"linear_0": "first", "linear_1": "second", "layer_norm/gamma": "norm.weight"}
        state: dict[str, Tensor] = {"positions": stored["encoder/position_encodings/encodings"]}
        for name in ("conv1", "conv2"):
            for kind in ("weight", "bias"):
                state[f"{name}.{kind}"] = stored[f"encoder/{name}/{kind}"]
        for i in range(LAYERS):
            for theirs, ours in (("self_attention", "attention"), ("ffn", "forward_net")):
                path = f"encoder/layer_{i}/{theirs}"
                state[f"layers.{i}.{ours}.norm.weight"] = stored[f"{path}/layer_norm/gamma"]
                state[f"layers.{i}.{ours}.norm.bias"] = stored[f"{path}/layer_norm/beta"]
                for kind in ("weight", "bias"):
                    for linear in ("linear_0", "linear_1"):
                        state[f"layers.{i}.{ours}.{names[linear]}.{kind}"] = stored[f"{path}/{linear}/{kind}"]
        encoder.load_state_dict({name: value.float() for name, value in state.items()})
        return encoder.to(device).eval()

    def forward(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        first = FIRST if self.wander is None else int(self.wander.integers(WANDER))
        x = x + self.positions[first : first + x.shape[1]]
        band = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril(AHEAD).triu(-BACK)
        for layer in self.layers:
            x = layer(x, band)
        return x


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.forward_net = ForwardNet()

    def forward(self, x: Tensor, band: Tensor) -> Tensor:
        x = x + self.attention(x, band)
        return x + self.forward_net(x)


class Attention(nn.Module):
    """Multi-head self-attention over the steps that `band` (n, n) allows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.first = nn.Linear(WIDTH, 3 * WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, band: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        q, k, v = self.first(self.norm(x)).view(batch, steps, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(q, k, v, band)
        return self.second(heard.transpose(1, 2).reshape(batch, steps, WIDTH))


class ForwardNet(nn.Module):
    """The layer's two-linear network."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.first = nn.Linear(WIDTH, 4 * WIDTH)
        self.second = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.gelu(self.first(self.norm(x))))


def whisper_mel(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """(n, 80) float32 in Whisper's scale, 100 a second, from blocks of 16 kHz audio; the floor is fixed."""
    window = np.hanning(STFT + 1)[:-1].astype(np.float32)
    bank = mel_bank(RATE, STFT // 2 + 1, MELS)
    for frames in centred_frames(blocks, STFT, HOP):
        power = np.abs(np.fft.rfft(frames * window).astype(np.complex64)) ** 2
        logs = np.log10(np.maximum(power @ bank.T, 1e-10))
        yield ((np.maximum(logs, LOUDEST - 8) + 4) / 4).astype(np.float32)


def step_count(duration: float) -> int:
    """How many steps a sound of `duration` s has."""
    return round(duration * RATE) // (2 * HOP) + 1


@torch.inference_mode()
def speech_features(sound: Sound, encoder: SpeechEncoder, seconds: float = 10.0) -> Iterator[np.ndarray]:
    """(n, 512) float32, step i at i / 50 s, `step_count(duration)` in all, streamed in blocks of up to 4 s."""
    device = encoder.positions.device
    held = np.full((2 * LEAD, MELS), SILENCE, np.float32)
    total = step_count(sound.duration)
    quiet = np.full((2 * (CHUNK + FADE + TAIL), MELS), SILENCE, np.float32)
    mels = chain(whisper_mel(sound.blocks(RATE, seconds)), repeat(quiet))
    before: np.ndarray | None = None  # the last chunk's numbers for this chunk's first steps
    for start in range(0, total, CHUNK):
        need = 2 * (LEAD + min(CHUNK + FADE, total - start) + TAIL)
        parts = [held]
        while sum(map(len, parts)) < need:
            parts.append(next(mels))
        held = np.concatenate(parts)
        mel = torch.from_numpy(np.ascontiguousarray(held[:need].T))[None].to(device)
        steps = encoder(mel)[0].cpu().numpy()
        chunk = steps[LEAD : LEAD + min(CHUNK, total - start)].copy()
        if before is not None:
            fade = np.linspace(0, 1, FADE + 2, dtype=np.float32)[1:-1, None][: len(chunk)]
            chunk[:FADE] = fade * chunk[:FADE] + (1 - fade) * before[: len(chunk)]
        before = steps[LEAD + CHUNK : LEAD + CHUNK + FADE]
        yield chunk
        held = held[2 * CHUNK :]
