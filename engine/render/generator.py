"""The Style-Aware Generator: the warped portrait, its facial map and warped style patterns become the frame's mouth.

It does not paint. For each px on and around the lips it says how much of which candidate is to be seen: the warped
portrait with the mouth proxy, and up to four patterns, as far as these are known there. So nothing it answers can
blur a tooth or veil a dark mouth. It is told how far each candidate's own mouth was from the frame's: what was moved
least is nearest to the truth, and that is not to be seen in a candidate once it has been moved.

What was tried beside that: colours that may be added (wide open mouths of sharp portraits became an even grey), light
for every px (bars on teeth, smudges around lips), smooth light (teeth that flicker as the mouth opens). Each was nearer
to the truth by numbers, and worse to look at. Trained by `engine/training/generator.py`.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.errors import InputError

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "generator.safetensors"
CPU = torch.device("cpu")
FORMAT = "parlando-generator-3"
SLOTS = 4  # patterns: None, M, R, O
INPUTS = 3 + 3 + 4 * SLOTS
FAR = 0.3  # units: candidates further away than that are all alike, and what is absent is as far
NEAR = 0.015  # units by which one of two candidates is nearer for e times the share, all else alike


def framed(others: Tensor, warped: Tensor, patterns: Tensor) -> Tensor:
    """(N, 3, h, w): each pattern (N, 4, 4, h, w) times its share of `others` (N, 4, h, w), and for the rest `warped`
    (N, 3, h, w)."""
    return (1 - others.sum(1, keepdim=True)) * warped + (others[:, :, None] * patterns[:, :, :3]).sum(1)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class StyleAwareGenerator(nn.Module):
    """A residual U-Net on squares of 128 px. `width`: channels at half resolution."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.width = width
        self.enter = _convolution(4 * INPUTS, w)
        self.down1, self.at1 = _convolution(w, 2 * w, 2), Residual(2 * w)
        self.down2 = _convolution(2 * w, 3 * w, 2)
        self.told = nn.Linear(1 + SLOTS, 3 * w)
        self.deep = nn.Sequential(*(Residual(3 * w) for _ in range(3)))
        self.up1 = _convolution(5 * w, 2 * w)
        self.up2 = _convolution(3 * w, w)
        self.choose = _convolution(w, 4 * (1 + SLOTS + 1))  # a weight for each candidate, and the mask
        with torch.no_grad():
            self.choose.weight.mul_(0.1)
            assert self.choose.bias is not None
            self.choose.bias.zero_()

    def forward(self, warped: Tensor, drawn: Tensor, patterns: Tensor, support: Tensor, apart: Tensor) -> Tensor:
        """warped (N, 3, 128, 128) and drawn, the facial map, alike, in [0, 1]; patterns (N, 4, 4, 128, 128): RGB and
        how far it is known, zeros for one that is absent; support (N, 1, 128, 128); apart (N, 5): see `pattern.apart`,
        of the portrait and each pattern. The share (N, 4, 128, 128) that each pattern has of the frame, see `framed`.
        """
        far = (apart / FAR).clamp(max=1.0)
        known = patterns[:, :, 3]
        whole = torch.cat([warped, drawn, patterns.flatten(1, 2)], 1) - 0.5
        a = F.relu(self.enter(F.pixel_unshuffle(whole, 2)))
        b = self.at1(self.down1(a))
        c = self.deep(F.relu(self.down2(b) + self.told(1 - far)[..., None, None]))
        d = F.relu(self.up1(torch.cat([_larger(c, 2), b], 1)))
        e = F.relu(self.up2(torch.cat([_larger(d, 2), a], 1)))
        chosen = F.pixel_shuffle(self.choose(e), 2)
        mask = torch.sigmoid(chosen[:, -1:]) * support
        likely = chosen[:, : 1 + SLOTS] - (FAR / NEAR) * far[..., None, None]
        return mask * torch.softmax(likely, 1)[:, 1:] * known  # what is not known cannot be chosen

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> "StyleAwareGenerator":
        """The shipped network. InputError when the file is not one."""
        tensors = load_file(path)
        width = tensors["enter.bias"].shape[0] if "enter.bias" in tensors else 0
        made = cls(max(width, 1))
        try:
            made.load_state_dict(tensors)
        except RuntimeError as problem:
            raise InputError(f"{path} does not hold the weights of a generator: install Parlando again.") from problem
        return made.eval()


def _larger(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


@lru_cache(maxsize=2)
def generator(device: torch.device = CPU) -> tuple[StyleAwareGenerator, str]:
    """The shipped network on a device, loaded once, and its weights' hash."""
    network = StyleAwareGenerator.load().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16]
