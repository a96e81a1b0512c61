"""Whether a picture shows the same person: the distance of two faces in a recognition network's space. For measuring.

The network is face-api's (MIT), a ResNet with 128 numbers. Its weights come from npm, which the engine never asks:
`npm pack @vladmandic/face-api@1.7.15` and give the folder `model` of that package. About 0.1 to 0.5 for two pictures
of one person, 0.8 for two people.
"""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import InputError

FILE = "face_recognition_model"
SHA256 = "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589"
SIDE = 150  # px, what the network sees
MEAN = (122.782, 117.001, 104.298)
AROUND = 0.25  # of the landmarks' extent: what is cut around a face
BLOCKS = (
    ("conv32_1", "conv32_2", "conv32_3"),
    ("conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    ("conv128_down", "conv128_1", "conv128_2"),
    ("conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)


class Identity:
    """The network from the folder of its weights. InputError when that does not hold them."""

    def __init__(self, folder: Path) -> None:
        try:
            data = (folder / f"{FILE}.bin").read_bytes()
            listed = json.loads((folder / f"{FILE}-weights_manifest.json").read_text())[0]["weights"]
        except (OSError, ValueError) as problem:
            raise InputError(f"{folder} does not hold face-api's {FILE}: unpack its npm package there.") from problem
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise InputError(f"{folder / FILE}.bin is not that of face-api 1.7.15.")
        self.tensors, start = {}, 0
        for entry in listed:
            count = int(np.prod(entry["shape"]))
            stored = np.dtype(np.uint8 if "quantization" in entry else "<f4")
            values = np.frombuffer(data, stored, count, start).astype(np.float32)
            if "quantization" in entry:
                values = values * entry["quantization"]["scale"] + entry["quantization"]["min"]
            tensor = torch.from_numpy(values.reshape(entry["shape"]))
            self.tensors[entry["name"]] = tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor
            start += count * stored.itemsize

    def __call__(self, rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(128,) of the face at landmarks (68, 2 or 3) px of a picture (H, W, 3) uint8."""
        low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
        side = float((high - low).max()) * (1 + 2 * AROUND)
        x, y = (low + high) / 2
        scale = SIDE / side
        to = np.array([[scale, 0, SIDE / 2 - scale * x], [0, scale, SIDE / 2 - scale * y]])
        if scale < 1:
            rgb = cv2.GaussianBlur(rgb, (0, 0), 0.4 / scale)
        face = cv2.warpAffine(rgb, to, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        batch = (torch.from_numpy(face).float() - torch.tensor(MEAN)).permute(2, 0, 1)[None] / 256
        with torch.inference_mode():
            return self._forward(batch)[0].numpy()

    def _forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self._convolve("conv32_down", x, 2, 0)), 3, 2)
        for names in BLOCKS:
            for name in names:
                x = self._residual(name, x, 2 if "down" in name else 1)
        return x.mean((2, 3)) @ self.tensors["fc"]

    def _residual(self, name: str, x: Tensor, stride: int) -> Tensor:
        y = F.relu(self._convolve(f"{name}/conv1", x, stride, 0 if stride == 2 else 1))
        y = self._convolve(f"{name}/conv2", y, 1, 1)
        if stride == 2:
            x = F.avg_pool2d(x, 2, 2)
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(x + y)

    def _convolve(self, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
        t = self.tensors
        x = F.conv2d(x, t[f"{name}/conv/filters"], t[f"{name}/conv/bias"], stride, padding)
        return x * t[f"{name}/scale/weights"].view(1, -1, 1, 1) + t[f"{name}/scale/biases"].view(1, -1, 1, 1)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Euclidean, of two faces' numbers."""
    return float(np.linalg.norm(a - b))
