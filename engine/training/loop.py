"""What every stage's training shares: a checkpoint that resumes exactly, a table and a plot of losses, many processes.

A training here is a pure function of its data, its seed and its number of steps: what a step draws depends on seed and
step alone, so that a resumed training goes on as if it had never stopped, and two processes learn from the batch that
one would. Knows no network and no data.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from engine.errors import InputError
from engine.take import replacing

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Checkpoint:
    """Network, Adam's moments and losses of a training in a folder; `about` is what must be the same to go on."""

    def __init__(self, folder: Path, network: nn.Module, adam: torch.optim.Optimizer, about: dict[str, Any]) -> None:
        self.folder, self.network, self.adam, self.about = folder, network, adam, about
        self.losses: list[dict[str, float]] = []
        self.done = 0

    @property
    def file(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def save(self, more: dict[str, Tensor] | None = None) -> None:
        """Writes checkpoint.safetensors and loss.csv; each is whole or absent."""
        tensors = {f"network.{name}": value.contiguous() for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for moment, value in self.adam.state[parameter].items():
                tensors[f"adam.{name}.{moment}"] = value.contiguous()
        tensors |= {f"more.{name}": value.contiguous() for name, value in (more or {}).items()}
        about = {"about": self.about, "done": self.done, "losses": self.losses}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.file) as part:
            safetensors.torch.save_file(tensors, part, {"about": json.dumps(about)})
        write_losses(self.losses, self.folder / "loss.csv")

    def resume(self, goes_on: Callable[[dict[str, Any], int], bool] | None = None) -> dict[str, Tensor]:
        """Goes back to where it was saved; what was saved with it. InputError when there is none or of another
        training: one of another `about`, unless `goes_on` says of that and of the steps done that it is none."""
        if not self.file.is_file():
            raise InputError(f"There is no checkpoint {self.file} to go on from: leave --resume out.")
        with safe_open(self.file, "pt") as file:
            kept = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        same = goes_on(kept["about"], kept["done"]) if goes_on is not None else kept["about"] == self.about
        if not same:
            told = " ".join(f"--{name} {value}" for name, value in kept["about"].items())
            raise InputError(f"{self.file} is of a training with {told}: give these, or leave --resume out.")
        self.network.load_state_dict(_named(tensors, "network."))
        for name, parameter in self.network.named_parameters():
            if f"adam.{name}.step" in tensors:
                self.adam.state[parameter] = {moment: tensors[f"adam.{name}.{moment}"] for moment in MOMENTS}
        self.losses, self.done = kept["losses"], kept["done"]
        return _named(tensors, "more.")


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def write_losses(losses: list[dict[str, float]], path: Path) -> None:
    """A row for each entry, `step` first."""
    columns = sorted({key for row in losses for key in row}, key=lambda key: (key != "step", key))
    with replacing(path) as part, open(part, "w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(losses)


def plot_losses(losses: list[dict[str, float]], path: Path, title: str) -> None:
    """A curve for each kind of loss that is above 0, logarithmic, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name in sorted({key for row in losses for key in row} - {"step"}):
        rows = [(row["step"], row[name]) for row in losses if row.get(name, 0.0) > 0]
        if not rows:
            continue
        axes.plot(*zip(*rows, strict=True), label=name)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as part:
        figure.savefig(part, dpi=100, format="png")
    pyplot.close(figure)


@contextmanager
def together() -> Iterator[tuple[int, int]]:
    """This process's number and how many train together: 0 and 1, or as `torchrun` started them."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield 0, 1
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend)
    try:
        yield torch.distributed.get_rank(), size
    finally:
        torch.distributed.destroy_process_group()


def average_gradients(network: nn.Module, size: int) -> None:
    """Gives every process the mean of all processes' gradients: what one process would have of the whole batch."""
    if size == 1:
        return
    for parameter in network.parameters():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= size


def share(batch: int, rank: int, size: int) -> range:
    """Which members of a batch are this process's. InputError when they cannot be dealt out evenly."""
    if batch % size:
        raise InputError(
            f"A batch of {batch} cannot be dealt out to {size} processes: choose a number that divides it."
        )
    each = batch // size
    return range(rank * each, (rank + 1) * each)
