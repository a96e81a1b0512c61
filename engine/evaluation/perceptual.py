"""A perceptual distance of two pictures: how far apart MobileNetV2's features of them are. For training and measuring.

The form is that of LPIPS (Zhang et al., arXiv 1801.03924) without its learned weights and on another network, which is
the only one whose weights can be had: its figures compare with each other, not with anybody's LPIPS.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from engine import models

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# (expansion, channels, repeats, stride) of the first stages, from Sandler et al., arXiv 1801.04381, table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2))
EPSILON = 1e-5


class Features:
    """The first stages of MobileNetV2; what is between them has the strides 2, 4, 8 and 16."""

    def __init__(self) -> None:
        self.tensors = _folded(load_file(models.path("perceptual")))

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (N, 3, H, W) in [0, 1] → four feature maps (N, C, h, w)."""
        mean, spread = (pictures.new_tensor(v).view(1, 3, 1, 1) for v in (MEAN, SPREAD))
        x = F.relu6(self._convolve("0.0", (pictures - mean) / spread, stride=2, padding=1))
        found, block = [], 1
        for expansion, channels, repeats, stride in STAGES:
            for index in range(repeats):
                x = self._block(f"{block}.conv", x, expansion, stride if index == 0 else 1, channels)
                block += 1
            found.append(x)
        return found

    def _block(self, name: str, x: Tensor, expansion: int, stride: int, channels: int) -> Tensor:
        """An inverted residual: widen, a convolution for each channel, narrow."""
        y, last = x, 0
        if expansion > 1:
            y = F.relu6(self._convolve(f"{name}.0.0", y))
            last = 1
        y = F.relu6(self._convolve(f"{name}.{last}.0", y, stride=stride, padding=1, groups=y.shape[1]))
        y = self._convolve(f"{name}.{last + 1}", y)
        return x + y if stride == 1 and x.shape[1] == channels else y

    def _convolve(self, name: str, x: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
        weight, bias = self.tensors[name]
        return F.conv2d(x, weight.to(x), bias.to(x), stride, padding, groups=groups)


def _folded(tensors: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Each convolution's weight and bias with the normalisation after it folded in, by torchvision's name for it."""
    folded = {}
    for key, weight in tensors.items():
        if weight.ndim != 4:
            continue
        name = key.removeprefix("features.").removesuffix(".weight")
        stem, place = name.rsplit(".", 1)
        after = f"features.{stem}.{int(place) + 1}"
        scale = tensors[f"{after}.weight"] / torch.sqrt(tensors[f"{after}.running_var"] + EPSILON)
        bias = tensors[f"{after}.bias"] - tensors[f"{after}.running_mean"] * scale
        folded[name] = (weight * scale.view(-1, 1, 1, 1), bias)
    return folded


@lru_cache(maxsize=1)
def features() -> Features:
    """The network, loaded once. MissingModel when its weights cannot be fetched."""
    return Features()


def apart(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """(N,) distance of two pictures' features: at each place the squared distance of unit vectors, averaged."""
    whole = torch.zeros(len(a[0]), device=a[0].device)
    for one, other in zip(a, b, strict=True):
        one, other = (v / (v.pow(2).sum(1, keepdim=True) + 1e-8).sqrt() for v in (one, other))
        whole = whole + (one - other).pow(2).sum(1).mean((1, 2))
    return whole / len(a)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """(N,) perceptual distance of pictures (N, 3, H, W) in [0, 1], sides at least 32 px."""
    return apart(features()(a), features()(b))
