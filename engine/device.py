"""Which device the networks run on. Does not set threads or precision: that is each network's own business."""

import torch

from engine.errors import InputError

NAMES = ("auto", "cuda", "mps", "cpu")


def available() -> list[str]:
    """Devices of this machine, the fastest first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def pick(name: str = "auto") -> torch.device:
    """The device of that name ("cuda:1" names one of several); "auto" takes cuda, then mps, then cpu."""
    here = available()
    if name == "auto":
        return torch.device(here[0])
    kind, _, number = name.partition(":")
    if kind not in here:
        raise InputError(f"This machine has no device {name!r}: choose auto or one of {', '.join(here)}.")
    if number and (kind != "cuda" or not number.isdigit() or int(number) >= torch.cuda.device_count()):
        raise InputError(f"This machine has no device {name!r}: choose {kind} without a number.")
    return torch.device(name)
