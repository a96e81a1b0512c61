"""Measures where phones are found: starts of words in GRID's clips against the corpus' own word times.

    python -m engine.training.phones_check --data DIR [--clips N]

DIR holds `grid_s1/`. Words are given, as an animator may; beside it the control: the same starts 200 ms later. Trains
nothing.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from engine.audio.load import open_audio
from engine.audio.phones import SILENCE, phones


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.phones_check", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_s1")
    parser.add_argument("--clips", type=int, default=40)
    chosen = parser.parse_args()
    folder = chosen.data / "grid_s1"
    said = json.loads((folder / "words.json").read_text())
    apart: list[float] = []
    for name in sorted(said)[-chosen.clips :]:
        words = [(start, word) for start, _, word in said[name] if word not in {"sil", "sp"}]
        found = phones(open_audio(folder / f"{name}.mp4"), " ".join(word for _, word in words))
        starts = np.array([phone.start for phone in found if phone.name not in SILENCE])
        if len(starts):
            apart += [float(starts[np.abs(starts - start).argmin()] - start) for start, _ in words]
    off = np.array(apart)
    print(f"{len(off)} words of {chosen.clips} clips: the phone nearest to a word's start lies")
    for label, error in (("as found", off), ("200 ms later (control)", off + 0.2)):
        near = ", ".join(
            f"{np.mean(np.abs(error) <= limit):.0%} within {1000 * limit:.0f} ms" for limit in (0.03, 0.05)
        )
        print(f"{label:24} median {1000 * np.median(np.abs(error)):.0f} ms off, {near}")


if __name__ == "__main__":
    main()
