"""The network from speech features to the motion of the lower face, and the numbers it speaks in.

Codes: what the lips and jaw do, K = 8 numbers a step at 50 Hz. Code 0 is the lip opening (canonical units between the
inner lips, exactly), code 1 the mouth's width beyond what opening brings, the rest principal components of what is
left. `basis` turns codes into offsets of landmarks from the speaker at rest with lips closed. Does not know time, files
or portraits; head, lids and brows are not its business (see `engine/motion/bank.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import InputError

FORMAT = "parlando-motion-1"
CODES_PER_SECOND = 50
OPENING, WIDTH = 0, 1
LOWER_FACE = [*range(17), *range(48, 68)]  # iBUG points speech moves: jaw line and lips
INNER_UPPER, INNER_LOWER = [61, 62, 63], [67, 66, 65]
# Outer lip points go with the inner ones, so that lips keep their thickness: (outer, inner, share of the way). The
# outline beside the corners is 0.8 as high as further in: of four in five lower lips 0.77 to 0.85, shut or smiling.
UPPER_OUTER = ((49, 61, 0.8), (50, 61, 1.0), (51, 62, 1.0), (52, 63, 1.0), (53, 63, 0.8))
LOWER_OUTER = ((59, 67, 0.8), (58, 67, 1.0), (57, 66, 1.0), (56, 65, 1.0), (55, 65, 0.8))


@dataclass(frozen=True)
class MotionSizes:
    """What the network is built from."""

    features: int = 512  # numbers of a speech step
    hidden: int = 192  # channels
    codes: int = 8  # K
    knots: int = 33  # of the table that gives each code its natural distribution
    spread: int = 2  # steps between a convolution's taps: 40 ms
    dropout: float = 0.4
    noise: float = 0.5  # standard deviation added to the normalised features in training
    members: int = 1  # networks whose answers are averaged


class MotionNet(nn.Module):
    """Speech features (B, 512, n + 2 · CONTEXT) → codes (B, K, n), closed and speech logits (B, n) each.

    Short context on purpose: ±80 ms. Longer context learns words instead of sounds and fails on free speech. It is
    several networks side by side that share nothing but what they hear: where data says little, what one of them
    makes of a sound is chance, and their mean is less so.
    """

    CONTEXT = 4  # steps lost on either side
    mean: Tensor  # (512, 1) of the features
    deviation: Tensor  # (512, 1)
    scale: Tensor  # (K, 1) spread of each code in the data, canonical units
    basis: Tensor  # (K, 68, 3) what a code of 1 moves
    knots_in: Tensor  # (K, 33) quantiles of answers …
    knots_out: Tensor  # (K, 33) … and where they go: towards the truth's
    average: Tensor  # (68, 3) canonical face at rest, mean over the speakers trained on

    def __init__(self, sizes: MotionSizes = MotionSizes()) -> None:
        super().__init__()
        self.sizes = sizes
        self.register_buffer("mean", torch.zeros(sizes.features, 1))
        self.register_buffer("deviation", torch.ones(sizes.features, 1))
        self.register_buffer("scale", torch.ones(sizes.codes, 1))
        self.register_buffer("basis", torch.zeros(sizes.codes, 68, 3))
        self.register_buffer("knots_in", torch.zeros(sizes.codes, sizes.knots))
        self.register_buffer("knots_out", torch.zeros(sizes.codes, sizes.knots))
        self.register_buffer("average", torch.zeros(68, 3))
        self.dropout = nn.Dropout(sizes.dropout)

        many = sizes.members

        def convolution(into: int, out: int, taps: int) -> nn.Conv1d:
            return nn.Conv1d(many * into, many * out, taps, dilation=sizes.spread, groups=many)

        self.narrow = convolution(sizes.features, sizes.hidden, 1)
        self.near = convolution(sizes.hidden, sizes.hidden, 3)
        self.wide = convolution(sizes.hidden, sizes.hidden, 3)
        self.answer = convolution(sizes.hidden, sizes.codes + 2, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, closed, speech = self.each(features)
        return codes.mean(1), closed.mean(1), speech.mean(1)

    def each(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each member answers: codes (B, members, K, n), closed and speech (B, members, n)."""
        x = ((features - self.mean) / self.deviation).repeat(1, self.sizes.members, 1)
        if self.training:
            x = x + self.sizes.noise * torch.randn_like(x)
        x = self.dropout(F.gelu(self.narrow(self.dropout(x))))
        for layer in (self.near, self.wide):
            trim = self.sizes.spread
            x = self.dropout(F.gelu(layer(x))) + x[..., trim:-trim]
        x = self.answer(x).unflatten(1, (self.sizes.members, -1))
        return x[:, :, :-2] * self.scale, x[:, :, -2], x[:, :, -1]

    def naturalise(self, codes: Tensor) -> Tensor:
        """Codes (n, K) → codes (n, K) nearer to real speech in their spread.

        A regression answers the mean of what could be, which is too small a mouth that never quite closes. Each code
        goes through a rising table that brings the quantiles of held-out predictions towards those of the truth.
        """
        out = torch.empty_like(codes)
        for k in range(codes.shape[1]):
            x, y = self.knots_in[k], self.knots_out[k]
            at = torch.clamp(torch.searchsorted(x, codes[:, k].contiguous()), 1, len(x) - 1)
            slope = (y[at] - y[at - 1]) / (x[at] - x[at - 1])
            inside = codes[:, k].clamp(x[0], x[-1])
            beyond = codes[:, k] - inside  # what is louder than all that was seen goes on as it is answered …
            if k == OPENING:
                beyond = beyond.clamp(min=0)  # … but lips do not cross
            out[:, k] = y[at - 1] + slope * (inside - x[at - 1]) + beyond
        return out

    @classmethod
    def joined(cls, nets: Sequence["MotionNet"]) -> "MotionNet":
        """The members of all these side by side; what else they know is the first one's."""
        first = nets[0]
        net = cls(replace(first.sizes, members=sum(one.sizes.members for one in nets)))
        parts = [dict(one.named_parameters()) for one in nets]
        weights = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        net.load_state_dict(dict(first.named_buffers()) | weights)
        return net.eval()

    def save(self, path: Path, made_by: str) -> None:
        """Weights, basis and tables as safetensors, the sizes with them. The same weights give the same bytes."""
        about = json.dumps({"format": FORMAT, "made_by": made_by, "sizes": asdict(self.sizes)})
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        path.write_bytes(safetensors.torch.save(tensors, {"parlando": about}))  # one key: their order is not kept

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "MotionNet":
        """As saved, ready to answer."""
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["parlando"])
        if about["format"] != FORMAT:
            raise InputError(f"{path} is {about['format']}, this engine reads {FORMAT}; install the engine again.")
        net = cls(MotionSizes(**about["sizes"]))
        net.load_state_dict(safetensors.torch.load_file(path))
        return net.to(device).eval()


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """(..., 68, 3) canonical, y up → (...): mean distance of the inner lips, negative where they cross."""
    return (landmarks[..., INNER_UPPER, 1] - landmarks[..., INNER_LOWER, 1]).mean(-1)


def mouth_width(landmarks: np.ndarray) -> np.ndarray:
    """(..., 68, 3) → (...): from one mouth corner to the other along x."""
    return landmarks[..., 54, 0] - landmarks[..., 48, 0]


def rest_of(canonical: np.ndarray) -> np.ndarray:
    """(68, 3): the face with lips closed, the median of the tenth of frames whose lips are nearest each other."""
    opening = mouth_opening(canonical)
    nearest = np.argsort(opening, kind="stable")[: max(3, len(opening) // 10)]
    return np.median(canonical[nearest], 0)


def encode(offsets: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Offsets (n, 68, 3) → codes (n, K): opening and width exactly, the rest of `basis` by least squares."""
    left = offsets.astype(np.float64)
    codes = np.zeros((len(left), len(basis)))
    for code, measure in ((OPENING, mouth_opening), (WIDTH, mouth_width)):
        codes[:, code] = measure(left)
        left = left - codes[:, code, None, None] * basis[code]
    rest = basis[2:].reshape(len(basis) - 2, -1).astype(np.float64)
    codes[:, 2:] = left.reshape(len(left), -1) @ np.linalg.pinv(rest)
    return codes.astype(np.float32)
