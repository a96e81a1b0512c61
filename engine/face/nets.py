"""Executes the third-party face nets in plain PyTorch: a graph of a dozen operators, differentiable throughout.

`load("face", "landmarks")` reads the converted weights that `engine/models.py` keeps. Does not detect or track: see
`find.py` and `track.py`.
"""

import json
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from engine import models


class GraphNet(nn.Module):
    """A converted tflite net. Weights are buffers: they are never trained, but gradients flow to the input.

    In: (N, 3, H, W) float with (H, W) = `size`, in whatever range the net was trained on.
    Out: a list of the net's outputs in its own order; feature maps are (N, C, H, W), reshaped ones (N, …) as in tflite.
    """

    def __init__(self, graph: dict, constants: dict[str, Tensor]) -> None:
        super().__init__()
        self.size: tuple[int, int] = tuple(graph["size"])
        self.source: int = graph["input"]
        self.outputs: list[int] = graph["outputs"]
        self.operators: list[dict] = graph["operators"]
        self.constant_ids = {int(key) for key in constants}
        for key, value in constants.items():
            value = value.float()
            if value.ndim == 4:
                value = value.contiguous(memory_format=torch.channels_last)
            self.register_buffer(f"c{key}", value)
        last_use = {tensor: number for number, step in enumerate(self.operators) for tensor in step["in"]}
        self.done_after: list[list[int]] = [[] for _ in self.operators]
        for tensor, number in last_use.items():
            if tensor not in self.constant_ids and tensor not in self.outputs:
                self.done_after[number].append(tensor)

    def forward(self, images: Tensor) -> list[Tensor]:
        values = {self.source: images.contiguous(memory_format=torch.channels_last)}
        for step, done in zip(self.operators, self.done_after, strict=True):
            inputs = [getattr(self, f"c{t}") if t in self.constant_ids else values[t] for t in step["in"]]
            values[step["out"]] = _OPERATORS[step["op"]](step, *inputs)
            for tensor in done:
                del values[tensor]
        return [values[tensor] for tensor in self.outputs]


def load(model: str, net: str, device: torch.device | str = "cpu") -> GraphNet:
    """One net of a model of `engine/models.py`, on a device, in eval mode."""
    with safe_open(models.path(model), "pt") as stored:
        graph = json.loads(stored.metadata()[f"graph.{net}"])
        keys = [key for key in stored.keys() if key.startswith(f"{net}/")]  # noqa: SIM118
        constants = {key.removeprefix(f"{net}/"): stored.get_tensor(key) for key in keys}
    return GraphNet(graph, constants).eval().to(device)


def _activate(step: dict, x: Tensor) -> Tensor:
    kind = step.get("activation")
    if kind == "relu":
        return F.relu(x)
    return F.relu6(x) if kind == "relu6" else x


def _same_pads(x: Tensor, size: tuple[int, int], stride: list[int]) -> tuple[int, int, int, int]:
    """TensorFlow's SAME padding as left, right, top, bottom: what is odd goes to the end."""
    pads = []
    for length, kernel, step in zip(x.shape[2:], size, stride, strict=True):
        total = max((math.ceil(length / step) - 1) * step + kernel - length, 0)
        pads.append((total // 2, total - total // 2))
    return (*pads[1], *pads[0])


def _convolve(step: dict, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    padding = (0, 0)
    if step["same"]:
        left, right, top, bottom = _same_pads(x, (weight.shape[2], weight.shape[3]), step["stride"])
        if (left, top) == (right, bottom):
            padding = (top, left)
        else:
            x = F.pad(x, (left, right, top, bottom))
    groups = weight.shape[0] if step["op"] == "depthwise_conv_2d" else 1
    return _activate(step, F.conv2d(x, weight, bias, step["stride"], padding, groups=groups))


def _max_pool(step: dict, x: Tensor) -> Tensor:
    if step["same"] and any(pads := _same_pads(x, tuple(step["size"]), step["stride"])):
        x = F.pad(x, pads, value=-math.inf)
    return _activate(step, F.max_pool2d(x, step["size"], step["stride"]))


def _average_pool(step: dict, x: Tensor) -> Tensor:
    if tuple(step["size"]) == tuple(x.shape[2:]):
        return _activate(step, x.mean((2, 3), keepdim=True))
    return _activate(step, F.avg_pool2d(x, step["size"], step["stride"]))


def _pad(step: dict, x: Tensor) -> Tensor:
    (top, bottom), (left, right), (front, back) = step["pads"]
    return F.pad(x, (left, right, top, bottom, front, back))


def _reshape(step: dict, x: Tensor) -> Tensor:
    if x.ndim == 4:
        x = x.permute(0, 2, 3, 1)
    return x.reshape(x.shape[0], *step["shape"])


def _concatenate(step: dict, *parts: Tensor) -> Tensor:
    axis = step["axis"]
    if parts[0].ndim == 4:
        axis = {1: 2, 2: 3, 3: 1, -1: 1}[axis]
    return torch.cat(parts, axis)


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "conv_2d": _convolve,
    "depthwise_conv_2d": _convolve,
    "conv_transpose_2d": lambda step, x, weight, bias: F.conv_transpose2d(x, weight, bias, step["stride"]),
    "max_pool_2d": _max_pool,
    "average_pool_2d": _average_pool,
    "prelu": lambda step, x, slope: F.prelu(x, slope.reshape(-1)),
    "relu": lambda step, x: F.relu(x),
    "logistic": lambda step, x: torch.sigmoid(x),
    "hard_swish": lambda step, x: F.hardswish(x),
    "add": lambda step, a, b: _activate(step, a + b),
    "mul": lambda step, a, b: _activate(step, a * b),
    "pad": _pad,
    "reshape": _reshape,
    "concatenation": _concatenate,
    "resize_bilinear": lambda step, x: F.interpolate(x, tuple(step["size"]), mode="bilinear", align_corners=False),
}
