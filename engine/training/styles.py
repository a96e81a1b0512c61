"""Makes the styles that ship, engine/styles/NAME.safetensors, by the recipes below.

    python -m engine.training.styles --data DIR [--landmarks FILE] [--out DIR]

DIR holds `addresses/`; FILE is what `engine.training.landmarks` wrote for it. *lively* and *restrained* are measured on
people's films, within bounds. There is no singing footage with clear rights, so *ballad*, *opera* and *rap* are set by
hand, and their cards say so; when a singing mouth moves is learned by the network (`sing.py`). None has anybody's
resting expression: portraits keep their own.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import engine.style.file as style_file
from engine.motion.generate import WEIGHTS, MotionGenerator
from engine.motion.net import OPENING, WIDTH
from engine.style.extract import from_landmarks
from engine.style.file import SHIPPED, Style
from engine.training.motion import addresses_landmarks

MOST = 1.25  # gain of a component that the network hardly hears: measured ones would only fidget
BROWS = {"inner": (20, 21, 22, 23), "all": tuple(range(17, 27))}


@dataclass(frozen=True)
class Recipe:
    """films: whose manner is measured (speakers of `addresses/`); none: the network's own. The rest is multiplied or
    added by hand: opening, width, others: gains. round: canonical units by which the mouth is narrower while it sounds.
    head, brows: amounts. raised: canonical units by which brows rest higher. relax: how much of the portrait's own
    expression gives way to a neutral face."""

    about: str
    films: tuple[str, ...] = ()
    opening: float = 1.0
    width: float = 1.0
    others: float = 1.0
    round: float = 0.0
    head: float = 1.0
    brows: float = 1.0
    raised: dict[str, float] = field(default_factory=dict)
    relax: float = 0.0


RECIPES = {
    "neutral": Recipe("Parlando's own manner on a face without expression. Nothing in it is anybody's.", relax=1.0),
    "lively": Recipe(
        "Large mouth, much head and brow. Measured on a film of a member of Congress (Hill), head by hand.",
        ("hill",),
        opening=1.1,
        head=0.75,
    ),
    "restrained": Recipe(
        "Small mouth, calm head. Measured on films of Reagan and Noem (official addresses), head by hand.",
        ("reagan", "noem"),
        head=0.5,
        brows=0.4,
    ),
    "ballad": Recipe(
        "For slow song: mouth a little larger and rounder, calm head, brows drawn up inside. Set by hand.",
        opening=1.2,
        round=0.015,
        head=0.7,
        brows=1.2,
        raised={"inner": 0.012},
    ),
    "opera": Recipe(
        "For trained song: wide open and round, brows high. Set by hand, after Sundberg and Skoog (1997).",
        opening=2.0,
        width=0.8,
        round=0.03,
        head=0.9,
        brows=1.5,
        raised={"all": 0.02},
    ),
    "rap": Recipe(
        "For fast words: mouth a little smaller and wider, much head. Set by hand.",
        opening=0.9,
        width=1.2,
        others=1.1,
        round=-0.01,
        head=1.6,
        brows=1.2,
    ),
}


def make(name: str, films: dict[str, list[np.ndarray]], generator: MotionGenerator) -> Style:
    """A style by its recipe; `films`: landmarks (T, 68, 3) of each speaker's films."""
    recipe = RECIPES[name]
    count = generator.net.sizes.codes
    measured = [from_landmarks(np.concatenate(films[speaker]), speaker) for speaker in recipe.films]
    gains = np.mean([one.gains for one in measured], 0) if measured else np.ones(count)
    gains = gains * np.array([recipe.opening, recipe.width] + [recipe.others] * (count - 2))
    gains[2:] = np.minimum(gains[2:], MOST)
    shift = np.mean([one.shift for one in measured], 0) if measured else np.zeros(count)
    shift[WIDTH] -= recipe.round
    slope = np.mean([one.slope for one in measured], 0) if measured else np.zeros(count)
    rest = np.zeros((68, 3), np.float32)
    for brows, up in recipe.raised.items():
        rest[list(BROWS[brows]), 1] = up
    return Style(
        name.capitalize(),
        rest,
        gains.astype(np.float32),
        recipe.head * (float(np.mean([one.head for one in measured])) if measured else 1.0),
        recipe.brows * (float(np.mean([one.brows for one in measured])) if measured else 1.0),
        recipe.relax,
        slope.astype(np.float32),
        shift.astype(np.float32),
        about=recipe.about,
    )


def card(name: str, style: Style) -> str:
    """What there is to know of a style that ships."""
    recipe = RECIPES[name]
    films = ", ".join(speaker.replace("_", " ").title() for speaker in recipe.films)
    source = (
        f"films of {films} in `addresses/` (US government works and official addresses of members of Congress)"
        if films
        else "nothing: its numbers are set by hand"
    )
    rights = "what was measured is free to use as said above" if films else "no data of anybody's went into it"
    mouth = "rounder" if recipe.round > 0 else "wider" if recipe.round < 0 else "as wide"
    raised = max(recipe.raised.values(), default=0.0)
    return f"""# {name}.safetensors

{recipe.about}

- **Learned from** {source}. No resting expression of anybody is in it.
- **Rights** GPL-3.0-or-later with Parlando; {rights}.
- **Made by** `python -m engine.training.styles --data ../shared/data`, recipe `{name}` there, in under a minute.
- **Numbers** lip opening × {style.gains[OPENING]:.2f}, width × {style.gains[WIDTH]:.2f}, head × {style.head:.2f},
  brows × {style.brows:.2f}; mouth {mouth} by {abs(recipe.round):g} canonical units, brows raised by {raised:g};
  the portrait's own expression gives way by {style.relax:g}.
- **Falls short** Nobody was asked whether it looks like its name; the pictures were looked at. Song was learned from
  stretched and re-pitched speech (`engine/training/sing.py`), not from singers.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.styles", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with addresses")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the styles go")
    chosen = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    generator = MotionGenerator.load(torch.device("cpu"), WEIGHTS)
    films: dict[str, list[np.ndarray]] = {}
    for name, (points, _) in addresses_landmarks(chosen.data, chosen.landmarks).items():
        films.setdefault(name.rstrip("0123456789_"), []).append(points)
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in RECIPES:
        style = make(name, films, generator)
        style_file.save(style, chosen.out / f"{name}.safetensors")
        (chosen.out / f"{name}.md").write_text(card(name, style), encoding="utf-8")
        print(
            f"{name:11} opening × {style.gains[OPENING]:.2f}, width × {style.gains[WIDTH]:.2f}, "
            f"head × {style.head:.2f}, brows × {style.brows:.2f}"
        )


if __name__ == "__main__":
    main()
