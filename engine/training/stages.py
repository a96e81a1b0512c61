"""The stages of `parlando train`: what each makes, and in which order they make every weight that ships again.

    parlando train STAGE --data ../shared/data [--resume] [options of the stage]
    parlando train all --data ../shared/data
    torchrun --nproc-per-node N -m engine train generator --data ../shared/data

`parlando train STAGE --help` lists a stage's options. Stages that take long (audio, motion, generator) go on from their
last checkpoint with --resume and leave a table and a plot of losses in their folder under build/. They learn the same
whether one process works or several that `torchrun` starts.
"""

import importlib
from dataclasses import dataclass

from engine.errors import InputError


@dataclass(frozen=True)
class Stage:
    """One of them: its module in `engine.training`, and what it makes in `engine/`."""

    module: str
    makes: str
    resumes: bool = False


STAGES = {
    "audio": Stage("audio", "weights/apc.safetensors and its bank: the paper's audio representation", True),
    "mesh": Stage("mesh_base", "weights/mesh_base.safetensors: an average face"),
    "mouth": Stage("mouth_tint", "weights/mouth_tint.safetensors: the colour of teeth"),
    "motion": Stage("motion", "weights/motion_base.safetensors and motion_bank.safetensors: speech to motion", True),
    "head": Stage("bank", "weights/motion_bank.safetensors alone: head motion, brows and blinks"),
    "style": Stage("style", "weights/style_base.safetensors: what styles are measured against"),
    "styles": Stage("styles", "styles/: the six that ship"),
    "generator": Stage("generator", "weights/generator.safetensors: the Style-Aware Generator", True),
}
ALL = ("audio", "mesh", "mouth", "motion", "style", "styles", "generator")


def train(stage: str, arguments: list[str]) -> list[str]:
    """Runs a stage, or all in order; which were run. Raises InputError."""
    names = list(ALL) if stage == "all" else [stage]
    if stage != "all" and stage not in STAGES:
        raise InputError(f"There is no stage {stage}: choose of {', '.join(STAGES)}, all.")
    for name in names:
        own = [a for a in arguments if a != "--resume"] if not STAGES[name].resumes else arguments
        importlib.import_module(f"engine.training.{STAGES[name].module}").main(own)
    return names
