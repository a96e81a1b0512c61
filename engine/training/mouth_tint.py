"""Fits how bright and which colour teeth are: in smiles on portraits that show them, in speech on films.

    python -m engine.training.mouth_tint --data ../shared/data [--landmarks L.npz]

Four linear regressions in the logarithm of linear light, ten numbers: engine/weights/mouth_tint.safetensors. Of films
only those are fitted that `engine.training.generator` may read; films of people it never met are measured on. It does
not segment teeth: a smile's are the brightest 40 per cent between its lips, speech's the brightest tenth.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from engine.render import mouth
from engine.tensors import packed
from engine.training.generator import GRID_HELD_OUT, HELD_OUT, Film, read_grid
from engine.training.motion import addresses_landmarks

WIDE_MM = 8.0  # between the inner lips: wide open
EVERY = 3  # frames
GRID_EVERY = 12  # clips
SMILE = 0.3  # what a portrait's smile counts of a film's person, whose mouth speaks


def landmarks_of(rgb: np.ndarray) -> np.ndarray:
    from engine.face import find

    return find.faces(rgb)[0].landmarks


def teeth_of(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """Median linear RGB (3,) of the brightest 40 % between the lips; None when too few pixels show."""
    upper, lower = mouth.inner_lips(landmarks)
    if mouth.lip_gap(landmarks) < 4.0:
        return None
    upper, lower = upper[16:25], lower[16:25]  # the front teeth: the lips' corners are lip and shadow
    middle = 0.5 * (upper + lower)
    inside = np.concatenate([middle + 0.6 * (upper - middle), (middle + 0.6 * (lower - middle))[::-1]])
    pixels = mouth._patch(rgb, inside)
    if len(pixels) < 30:
        return None
    light = pixels @ mouth.LUMINANCE
    return np.median(pixels[light >= np.percentile(light, 60)], axis=0)


Told = tuple[np.ndarray, float]  # what light tells (3,), and teeth's brightness over the skin, logarithm


def spoken(film: Film) -> Told | None:
    """From a film: what its portrait, the frame with the lips nearest, tells of the light (3,), and how bright the
    brightest tenth between wide open lips is over the skin, logarithm. None when they never are."""
    source = int(np.argmin(film.gaps))
    light = mouth.measure_light(film.frames[source], film.landmarks[source])
    scale = mouth.measure_head(film.landmarks[source]).px
    told = []
    for k in np.flatnonzero(film.gaps >= WIDE_MM * scale)[::EVERY]:
        upper, lower = mouth.inner_lips(film.landmarks[k])
        pixels = mouth._patch(film.frames[k], np.concatenate([upper, lower[::-1]]))
        if len(pixels) >= 12:
            told.append(np.percentile(pixels @ mouth.LUMINANCE, 90))
    if len(told) < 2:
        return None
    return light.speaking(), float(np.log(np.mean(told) / (light.skin @ mouth.LUMINANCE)))


def films(data: Path, landmarks: Path | None) -> tuple[list[tuple[str, Film]], list[tuple[str, Film]]]:
    """By speaker: films to fit on, and films of people never trained on, to measure on. `landmarks`: of addresses,
    else tracked."""
    known, strangers = [], []
    with np.load(data / "grid_s1" / "landmarks.npz") as stored:
        names = sorted(stored.files)[:-GRID_HELD_OUT][::GRID_EVERY]
    known += [("grid_s1", read_grid(data / "grid_s1", [name])) for name in names]
    with np.load(data / "grid_others" / "landmarks.npz") as stored:
        strangers += [(name, read_grid(data / "grid_others", [name])) for name in sorted(stored.files)]
    for name, (points, fps) in addresses_landmarks(data, landmarks).items():
        film = Film.read(data / "addresses" / f"{name}.mp4", points, fps)
        (strangers if name in HELD_OUT else known).append((name.rstrip("0123456789_"), film))
    return known, strangers


def speaking(portraits: list[Told], known: list[tuple[str, Film]], strangers: list[tuple[str, Film]]) -> np.ndarray:
    """(3,) weights of teeth's brightness in speech. Smiles and speech share the slopes, so that 128 people tell them
    and four films' people how much darker speech is."""
    rows = [(who, told) for who, film in known if (told := spoken(film)) is not None]
    people = [who for who, _ in rows]
    weight = np.sqrt([SMILE] * len(portraits) + [1 / people.count(who) for who in people])
    every = portraits + [told for _, told in rows]
    x, goal = np.array([light for light, _ in every]), np.array([teeth for _, teeth in every])
    smiles = np.arange(len(x)) < len(portraits)
    x = np.column_stack([smiles, x])  # a smile's offset from speech
    found = np.linalg.lstsq(x * weight[:, None], goal * weight, rcond=None)[0]
    left = np.sqrt(np.average((x @ found - goal)[~smiles] ** 2, weights=weight[~smiles] ** 2))
    usual = np.average(goal[~smiles], weights=weight[~smiles] ** 2)
    spread = np.sqrt(np.average((goal[~smiles] - usual) ** 2, weights=weight[~smiles] ** 2))
    print(f"speaking: {found[1:].round(3)}, smiles {found[0]:+.3f}; {len(rows)} films of {len(set(people))}", end=" ")
    print(f"and {len(portraits)} smiles, rest on films {left:.3f} of {spread:.3f}")
    missed = {
        who: (seen[0] @ found[1:] - seen[1], usual - seen[1]) for who, film in strangers if (seen := spoken(film))
    }
    for who, (by, constant) in missed.items():
        print(f"    {who}: {by:+.2f}, a constant {constant:+.2f}")
    by, constant = np.sqrt(np.mean(np.square(list(missed.values())), axis=0))
    print(f"    {len(missed)} people it never met: {by:.2f}, a constant {constant:.2f}")
    return np.asarray(found[1:])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses; else tracked")
    options = parser.parse_args(arguments)
    folder = options.data / "portraits"
    lights, found = [], []
    for entry in json.loads((folder / "index.json").read_text()):
        if entry["lip_gap"] < 0.05:
            continue
        rgb = cv2.cvtColor(cv2.imread(str(folder / entry["file"])), cv2.COLOR_BGR2RGB)
        points = landmarks_of(rgb)
        teeth = teeth_of(rgb, points)
        if teeth is not None:
            lights.append(mouth.measure_light(rgb, points))
            found.append(teeth)
    teeth = np.log(np.maximum(np.array(found), 2e-3))
    weights = {}

    def fitted(name: str, x: np.ndarray, goal: np.ndarray, spread: np.ndarray) -> None:
        weights[name] = np.linalg.lstsq(x, goal, rcond=None)[0].astype(np.float32)
        rest = np.std(x @ weights[name] - goal)
        print(f"{name}: {weights[name].round(3)}, {len(goal)} portraits, rest {rest:.3f} of {np.std(spread):.3f}")

    luma = np.log(np.array(found) @ mouth.LUMINANCE)
    fitted("smiling", np.array([light.smiling() for light in lights]), luma, luma)
    hues = np.array([light.hues() for light in lights])
    for name, i, over in (("red", 0, 0), ("blue", 1, 2)):
        # A cast shifts all logarithms alike: teeth lie between skin and eye whites, and a little off.
        x = np.column_stack([np.ones(len(hues)), hues[:, i, 0] - hues[:, i, 1]])
        goal = teeth[:, over] - teeth[:, 1]
        fitted(name, x, goal - hues[:, i, 1], goal)
    skin = np.array([light.luma[0] for light in lights])
    smiles = [(light.speaking(), float(over)) for light, over in zip(lights, luma - skin, strict=True)]
    weights["speaking"] = speaking(smiles, *films(options.data, options.landmarks)).astype(np.float32)
    out = Path(mouth.TINT)
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(packed(weights, {"format": "2"}))
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
