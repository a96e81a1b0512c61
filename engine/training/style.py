"""Makes what the style code is measured against: key motion templates, and how the shipped network usually speaks.

    python -m engine.training.style --data DIR [--out DIR]

DIR holds `grid_s1/` and `addresses/`. Templates are the mouths of GRID's speaker 1 on silence and on the spoken letters
m, r and o, the last 100 clips by name left out. The network's manner is measured on its answers to the sound of
`addresses/`. Writes style_base.safetensors; needs motion_base.safetensors; a minute on one core. `mead_style/`, which
measures styles, is not read: see `engine.training.style_check`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from engine.audio.load import open_audio
from engine.face.canonical import to_canonical
from engine.motion.generate import WEIGHTS, MotionGenerator
from engine.motion.net import OPENING, mouth_opening, mouth_width
from engine.style.extract import on_opening
from engine.style.reference import LIMITS, NAMES, WIDEST, mouth_shapes
from engine.tensors import packed
from engine.training.motion import HELD_OUT

FPS = 25.0  # of GRID
LETTERS = {"m": "M", "r": "R", "o": "O"}
MARGIN = 3  # frames at either end of a silence that still belong to speech
CONTENT = 5000  # steps of 20 ms kept for style transfer
AFTER = 2  # frames after a letter in which lips may still close or round


def templates(folder: Path) -> tuple[np.ndarray, float]:
    """(4, 20, 2) mean mouths in the order of NAMES, and the speaker's widest opening they are scaled to.

    Of M the narrowest frame of each letter counts, of R the widest, of O the one with the corners nearest together.
    """
    words = json.loads((folder / "words.json").read_text())
    shapes: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    widest = []
    with np.load(folder / "landmarks.npz") as stored:
        for name in tqdm(sorted(stored.files)[:-HELD_OUT], unit="clip"):
            canonical, _ = to_canonical(stored[name].astype(np.float32) * np.array([1, 1, -1], np.float32))
            opening, width = mouth_opening(canonical), mouth_width(canonical)
            widest.append(float(np.clip(np.percentile(opening - opening.min(), WIDEST), *LIMITS)))
            mouths = mouth_shapes(canonical)
            for start, end, word in words.get(name, []):
                first, last = int(np.ceil(start * FPS)), min(int(end * FPS) + 1, len(canonical))
                if word == "sil" and last - first > 2 * MARGIN:
                    shapes["None"].append(mouths[first + MARGIN : last - MARGIN].mean(0))
                if word in LETTERS and last - first > 1:
                    reach = slice(first, min(last + AFTER, len(canonical)))
                    at = {"m": opening[reach].argmin(), "r": opening[reach].argmax(), "o": width[reach].argmin()}[word]
                    shapes[LETTERS[word]].append(mouths[first + int(at)])
    scale = float(np.median(widest))
    return scale * np.stack([np.mean(shapes[name], 0) for name in NAMES]), scale


def usual_manner(folder: Path, generator: MotionGenerator) -> dict[str, np.ndarray]:
    """How the network speaks: root mean square of the opening, and the other codes' line and spread about it, all
    over each code's usual spread; and content: codes and chance of speech (n, K + 1), words for style transfer."""
    scale = generator.net.scale[:, 0].numpy()
    paths = sorted(folder.glob("*.mp4"))
    said = [np.column_stack(generator.codes(open_audio(path))) for path in tqdm(paths, unit="film")]
    content = np.concatenate(said)[:CONTENT]
    over = np.concatenate(said)[:, :-1] / scale
    line, left = on_opening(over.astype(np.float64))
    opening = np.sqrt((over[:, OPENING].astype(np.float64) ** 2).mean(keepdims=True))
    told = {name: value.astype(np.float32) for name, value in (("opening", opening), ("line", line), ("left", left))}
    return told | {"content": content.astype(np.float16)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.training.style", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with grid_s1 and addresses")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the file goes")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shapes, widest = templates(chosen.data / "grid_s1")
    tensors = usual_manner(chosen.data / "addresses", MotionGenerator.load(torch.device("cpu")))
    tensors |= {"templates": shapes.astype(np.float32), "widest": np.array([widest], np.float32)}
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / "style_base.safetensors"
    path.write_bytes(packed(tensors))
    print(f"{path}: {', '.join(f'{name} {value.shape}' for name, value in tensors.items())}")


if __name__ == "__main__":
    main()
