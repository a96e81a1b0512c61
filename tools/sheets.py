"""Contact sheets of portraits that say one sentence: steps.jpg, strips.jpg, insides.jpg, and plates.jpg of films that
do, in docs/pictures.

    .venv/bin/python tools/sheets.py [--data ../shared/data] [--out docs/pictures] [--work FOLDER]

Insides: mouths with teeth and tongue of two strangers' films beside the portrait's own (`--mouth inside`).
Steps: the frames of the sentence whose lips are closed, a fifth open, … as wide as they get, a row for each portrait.
Strips: twelve frames in a row around the mouth. Portraits are those of the demo and of the training data's folder; each
is rendered by `parlando dub` with the demo's speech. Judges nothing: they are there to be looked at.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np

from engine.plate import Plate
from engine.render.mouth import lip_gap
from engine.take import Landmarks

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "demo" / "source"
TILE, MOUTH = 190, 100  # px
STEPS, ROW = 6, 12
WORN, WEARERS = ("ocasio_cortez", "hill"), (1, 2, 4)  # films of addresses, and which of SOURCES get their insides
SECONDS = 4.0
PLATES = ("hill", 1.0), ("obama_3", 0.0)  # films of addresses, and from which second on
SHOWN = (10, 24, 30, 36, 55, 80)  # frames of them
# What is shown, and where it comes from: of the demo, of portraits/, or a film of addresses/ and its frame.
PORTRAITS = "portraits/"  # by its place in index.json
# What is shown, where it is, and which picture of it or how much smaller.
SOURCES: tuple[tuple[str, str, float], ...] = (
    ("open smile", "astronaut.png", 1.0),
    ("dark skin, moustache", PORTRAITS, 51),
    ("closed lips, light skin", PORTRAITS, 9),
    ("glasses, dark skin", PORTRAITS, 86),
    ("full beard, old photograph", PORTRAITS, 188),
    ("glasses, grey photograph", PORTRAITS, 124),
    ("turned by 22 degrees", "addresses/hill.mp4", 36),
    ("engraving", PORTRAITS, 145),
    ("cartoon, points by hand", "cartoon.png", 1.0),
    ("low resolution, face 60 px wide", "astronaut.png", 0.42),
)


def pictures(data: Path, folder: Path) -> list[tuple[str, Path]]:
    """Every source's title and file."""
    index = json.loads((data / "portraits" / "index.json").read_text())
    made = []
    for number, (title, where, which) in enumerate(SOURCES):
        path = folder / f"{number}.png"
        if where == PORTRAITS:
            picture = cv2.imread(str(data / "portraits" / index[int(which)]["file"]))
        elif where.endswith(".mp4"):
            with av.open(str(data / where)) as film:
                frames = (frame for k, frame in enumerate(film.decode(video=0)) if k == which)
                picture = next(frames).to_ndarray(format="bgr24")
        else:
            picture = cv2.imread(str(SOURCE / where))
            picture = cv2.resize(picture, None, fx=which, fy=which, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(path), picture)
        made.append((title, path))
    return made


def speak(title: str, image: Path, take: Path, inside: Path | None = None) -> None:
    """A take of the demo's first seconds; `inside`: the style whose teeth and tongue are seen."""
    command = [sys.executable, "-m", "engine", "dub", "--audio", str(SOURCE / "jfk.wav"), "--image", str(image)]
    command += ["--out", str(take), "--frames", str(round(SECONDS * 25)), "--no-preview"]
    if "points by hand" in title:
        command += ["--points", str(SOURCE / "cartoon_points.json")]
    if inside is not None:
        command += ["--style", str(inside), "--strength", "0", "--mouth", "inside"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def style_of(film: Path, style: Path) -> Path:
    """A style made of a film, unless it is there."""
    if not style.exists():
        command = [sys.executable, "-m", "engine", "style", str(film), "--out", str(style)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return style


def worn(title: str, image: Path, data: Path, work: Path) -> np.ndarray:
    """A portrait's mouth in even steps: its own inside, then that of each film in WORN."""
    rows = []
    for film in (None, *WORN):
        take = work / f"take_{image.stem}{f'_{film}' if film else ''}"
        if film is not None:
            style = style_of(data / "addresses" / f"{film}.mp4", work / f"{film}.safetensors")
            speak(title, image, take, style)
        made = Landmarks.load(take / "landmarks.npz").landmarks
        gaps = np.array([lip_gap(points) for points in made])
        chosen = [int(np.abs(gaps - share * gaps.max()).argmin()) for share in np.linspace(0, 1, STEPS)]
        frames = [cv2.imread(str(take / "frames" / f"{k + 1:06d}.png")) for k in chosen]
        mouths = [made[k, 48:68, :2] for k in chosen]
        rows.append(
            np.hstack(
                [
                    crop(f, m, 1.6, TILE, mouths[-1] - mouths[-1].mean(0) + m.mean(0))
                    for f, m in zip(frames, mouths, strict=True)
                ]
            )
        )
    return label(np.vstack(rows), f"{title}: its own, and two strangers' insides")


def plate(name: str, since: float, data: Path, work: Path) -> np.ndarray:
    """Frames of a film above the same that say the sentence."""
    film, take = data / "addresses" / f"{name}.mp4", work / f"take_{name}"
    command = [sys.executable, "-m", "engine", "dub", "--audio", str(SOURCE / "jfk.wav"), "--image", str(film)]
    command += ["--since", str(since), "--out", str(take), "--frames", str(round(SECONDS * 25)), "--no-preview"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    there = Plate.load(take / "plate.npz", film)
    rows: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for k in SHOWN:
        still = there.landmarks[k, :, :2]
        own = there.frame(int(there.numbers[k]))[..., ::-1]
        for row, frame in zip(rows, (own, cv2.imread(str(take / "frames" / f"{k + 1:06d}.png"))), strict=True):
            row.append(crop(np.ascontiguousarray(frame), still, 1.25, TILE, still))
    return np.vstack([np.hstack(row) for row in rows])


def crop(frame: np.ndarray, points: np.ndarray, around: float, side: int, still: np.ndarray) -> np.ndarray:
    """A square around `points` (n, 2) of `still`, the same for all frames of a take."""
    low, high = still.min(0), still.max(0)
    half = around * float((high - low).max()) / 2
    x, y = (low + high) / 2
    to = np.array([[side / (2 * half), 0, side / 2 - x * side / (2 * half)], [0, side / (2 * half), 0]])
    to[1, 2] = side / 2 - y * side / (2 * half)
    if 2 * half > side:
        frame = cv2.GaussianBlur(frame, (0, 0), 0.4 * half * 2 / side)
    white = (255, 255, 255)
    return np.asarray(cv2.warpAffine(frame, to, (side, side), flags=cv2.INTER_LINEAR, borderValue=white))


def label(picture: np.ndarray, title: str) -> np.ndarray:
    """With its title above."""
    band = np.full((20, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(band, title, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
    return np.vstack([band, picture])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "sheets", help="folder of the takes")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    steps, strips, insides = [], [], []
    for number, (title, image) in enumerate(pictures(chosen.data, chosen.work)):
        take = chosen.work / f"take_{image.stem}"
        speak(title, image, take)
        made = Landmarks.load(take / "landmarks.npz").landmarks
        frames = [cv2.imread(str(take / "frames" / f"{k + 1:06d}.png")) for k in range(len(made))]
        gaps = np.array([lip_gap(points) for points in made])
        chosen_frames = [int(np.abs(gaps - share * gaps.max()).argmin()) for share in np.linspace(0, 1, STEPS)]
        still = made[0, :, :2]
        steps.append(label(np.hstack([crop(frames[k], still, 1.7, TILE, still) for k in chosen_frames]), title))
        first = int(np.clip(gaps.argmax() - ROW // 2, 0, len(frames) - ROW))
        mouth = made[first, 48:68, :2]
        row = np.hstack([crop(frames[k], mouth, 1.6, MOUTH, mouth) for k in range(first, first + ROW)])
        strips.append(label(row, title))
        if number in WEARERS:
            insides.append(worn(title, image, chosen.data, chosen.work))
        print(title, flush=True)
    films = [plate(name, since, chosen.data, chosen.work) for name, since in PLATES]
    for name, rows in (("steps", steps), ("strips", strips), ("insides", insides), ("plates", films)):
        cv2.imwrite(str(chosen.out / f"{name}.jpg"), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
