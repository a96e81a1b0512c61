"""Manifold projection: a feature is rebuilt from its K = 10 nearest neighbours among features of the training sound.

A voice, a room or a noise that was never trained on gives features where no training feature ever was; the rebuilt one
lies among them. The weights are those of locally linear embedding (Roweis and Saul 2000), as in Live Speech Portraits
and in the paper: min ‖h − Σ_k w_k f_k‖² with Σ_k w_k = 1, solved in closed form. Each feature is rebuilt alone, so
sound may be streamed. The bank of training features is made by `engine/training/audio.py`.
"""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from engine.errors import MissingModel

BANK = Path(__file__).parents[1] / "weights" / "apc_bank.safetensors"
NEIGHBOURS = 10  # K
REGULARISATION = 1e-3  # of the mean squared distance to the neighbours
BATCH = 1024  # features at a time: bounds the memory


class Manifold:
    """A bank of training features and the projection on them."""

    def __init__(self, bank: Tensor, neighbours: int = NEIGHBOURS) -> None:
        """bank: (N, d) with N ≥ neighbours."""
        if len(bank) < neighbours:
            raise ValueError(f"a bank of {len(bank)} features cannot give {neighbours} neighbours")
        self.bank = bank
        self.neighbours = neighbours
        self.lengths = (bank**2).sum(-1)

    @classmethod
    def load(cls, device: torch.device | str = "cpu", path: Path = BANK) -> "Manifold":
        """The bank of APC features that ships."""
        if not path.is_file():
            raise MissingModel(f"The features {path} are missing; install Parlando again.")
        return cls(safetensors.torch.load_file(path)["bank"].float().to(device))

    def nearest(self, features: Tensor) -> Tensor:
        """(n, K) rows of the bank nearest to each feature (n, d), the nearest first."""
        return (self.lengths - 2 * features @ self.bank.T).topk(self.neighbours, largest=False).indices

    @torch.inference_mode()
    def project(self, features: Tensor) -> Tensor:
        """Features (n, d) rebuilt from their neighbours, (n, d)."""
        made = [features[:0]]
        for some in features.split(BATCH):
            around = self.bank[self.nearest(some)]
            made.append((weights(some, around)[..., None] * around).sum(-2))
        return torch.cat(made)


def weights(features: Tensor, around: Tensor, regularisation: float = REGULARISATION) -> Tensor:
    """(n, K) weights, each row summing to 1, that best rebuild features (n, d) from their neighbours (n, K, d).

    With G = (h − f_k)·(h − f_l), the local Gram matrix, w solves G w = 1 and is scaled to the sum 1. G is singular
    where there are more neighbours than dimensions, or a neighbour is the feature itself: a share of its trace is added
    to its diagonal, which prefers the weights that are small.
    """
    apart = features[..., None, :] - around
    gram = apart @ apart.mT
    count = gram.shape[-1]
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    ridge = (regularisation * trace / count).clamp(min=1e-12)
    gram = gram + ridge[..., None, None] * torch.eye(count, dtype=gram.dtype, device=gram.device)
    solved = torch.linalg.solve(gram, torch.ones_like(gram[..., :1]))[..., 0]
    return solved / solved.sum(-1, keepdim=True)
