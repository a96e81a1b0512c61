"""What is being said, as numbers: the second layer of Whisper base's encoder, 512 numbers at 50 Hz, streamed.

Whisper attends over 30 s at once. Here each step sees 2 s back and 60 ms ahead in each of the two layers, and the
mel scale has a fixed floor instead of one under the loudest sound of the clip. So a step's numbers depend on nothing
further than `LOOK_AHEAD` after it, an hour runs in the memory of one chunk, and a file gives the same numbers however
it is cut. Chunks overlap and are cross-faded, because positions restart in each. Does not recognise words.
"""

from collections.abc import Iterator
from itertools import chain, repeat

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine import models
from engine.audio.features import centred_frames, mel_bank
from engine.audio.load import Sound

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
BLOCK = 128  # steps that a layer computes at once
LOUDEST = 1.0  # log10 mel energy taken as the clip's loudest: close speech at full scale reaches 1 to 1.5
CHUNK = 500  # steps a chunk hands on: 10 s
FADE = 50  # steps at a chunk's start that are cross-faded from the chunk before
LEAD = 200  # steps of context before a chunk's first step, and the position given to that step
TAIL = LAYERS * AHEAD + 2  # steps after a chunk's last that its numbers depend on
LOOK_AHEAD = LAYERS * AHEAD / STEPS_PER_SECOND + 2 * HOP / RATE + STFT / 2 / RATE  # s: layers, convolutions, window
SILENCE = (LOUDEST - 8 + 4) / 4  # the mel value of digital silence


class SpeechEncoder(nn.Module):
    """Mel (B, 80, 2 n) → (B, n, 512): two convolutions and two of the encoder's six layers, attention banded."""

    positions: Tensor  # (1500, 512)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.register_buffer("positions", torch.zeros(1500, WIDTH))

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
        x = x + self.positions[: x.shape[1]]
        step = torch.arange(x.shape[1], device=x.device)
        apart = step[None, :] - step[:, None]
        band = (apart >= -BACK) & (apart <= AHEAD)
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
        parts = []
        for start in range(0, steps, BLOCK):  # of the few steps that the band allows, so that memory does not grow
            stop = min(start + BLOCK, steps)
            near = slice(max(0, start - BACK), min(steps, stop + AHEAD))
            mask = band[start:stop, near]
            parts.append(F.scaled_dot_product_attention(q[:, :, start:stop], k[:, :, near], v[:, :, near], mask))
        return self.second(torch.cat(parts, 2).transpose(1, 2).reshape(batch, steps, WIDTH))


class ForwardNet(nn.Module):
    """The layer's two-linear network."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.first = nn.Linear(WIDTH, 4 * WIDTH)
        self.second = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(BLOCK, 1)  # or what is between would be the largest thing in memory
        return torch.cat([self.second(F.gelu(self.first(self.norm(part)))) for part in parts], 1)


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
    """(n, 512) float32, step i at i / 50 s, `step_count(duration)` in all, streamed in blocks of up to 10 s."""
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
