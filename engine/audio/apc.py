"""The paper's audio representation: autoregressive predictive coding on log-mel, 512 numbers at 120 Hz, streamed.

A recurrent network is taught to say what the spectrum will be three frames (25 ms) from now; to do that it must know
what is being said, and its last layer's state is the feature (Chung and Glass, Interspeech 2019; the sizes are those of
Live Speech Portraits and of the paper). It looks at the past only, and one state of 3 × 512 numbers is all it keeps: an
hour costs no memory, and a file gives the same numbers however it is cut. Trained by `engine/training/audio.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from engine.audio import features
from engine.audio.load import Sound
from engine.errors import MissingModel

WEIGHTS = Path(__file__).parents[1] / "weights" / "apc.safetensors"
STEPS_PER_SECOND = features.FRAMES_PER_SECOND


@dataclass(frozen=True)
class Config:
    """Sizes of the network."""

    mels: int = features.MELS
    width: int = 512  # of each layer's state, and of a feature
    layers: int = 3
    ahead: int = 3  # frames: the first whose window shares no sample with the present one's or its neighbour's


class APC(nn.Module):
    """Log-mel → states of a recurrent network that predicts the log-mel `ahead` frames later.

    `mean` and `scale` (mels,) are of the training sound's log-mel: the network sees and predicts (mel - mean) / scale.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config = config or Config()
        widths = [config.mels] + [config.width] * (config.layers - 1)
        self.layers = nn.ModuleList(nn.GRU(width, config.width, batch_first=True) for width in widths)
        self.output = nn.Linear(config.width, config.mels)
        self.register_buffer("mean", torch.zeros(config.mels))
        self.register_buffer("scale", torch.ones(config.mels))

    @classmethod
    def load(cls, device: torch.device | str = "cpu", path: Path = WEIGHTS) -> "APC":
        """The trained network."""
        if not path.is_file():
            raise MissingModel(f"The weights {path} are missing; install Parlando again.")
        network = cls()
        network.load_state_dict({name: value.float() for name, value in safetensors.torch.load_file(path).items()})
        return network.to(device).eval()

    def normalise(self, mel: Tensor) -> Tensor:
        """Natural-log mel energies (..., mels) in the network's own scale."""
        return (mel - self.mean) / self.scale

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalised mel (B, n, mels), state (layers, B, width) → features (B, n, width), the state after them."""
        after = []
        for i, layer in enumerate(self.layers):
            h, last = layer(x, None if state is None else state[i : i + 1].contiguous())
            x = h if i == 0 else x + h  # residual between layers, as Chung and Glass have it
            after.append(last)
        return x, torch.cat(after)

    def predict(self, x: Tensor) -> Tensor:
        """Features (B, n, width) → normalised mel (B, n, mels) of `ahead` frames later."""
        return self.output(x)


@torch.inference_mode()
def apc_features(sound: Sound, network: APC, seconds: float = 10.0) -> Iterator[np.ndarray]:
    """(n, 512) float32, step k at k / 120 s, `floor(duration * 120) + 1` in all, streamed in blocks of `seconds`."""
    state: Tensor | None = None
    for mel in features.log_mel(sound, seconds):
        x = network.normalise(torch.from_numpy(np.ascontiguousarray(mel, np.float32)).to(network.mean.device))
        made, state = network(x[None], state)
        yield made[0].cpu().numpy()
