"""Shut lids against films: an open eye's frame made to blink as the film does, and how light its lids then are.

    python -m engine.evaluation.lids --data DIR [--landmarks FILE] [--pictures FILE]

The films of `addresses/` in which somebody blinks. A lid's light is compared with the true one in the same place, and
how dark beside it the line of lashes is, where lids meet. The control is the same frame with the lid that the open eye
shows, stretched, without a line. Writes a picture of all to look at.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from engine.errors import ParlandoError
from engine.evaluation.report import tracked
from engine.render.mouth import LUMINANCE
from engine.render.renderer import Renderer
from engine.training.generator import Film

OPEN = 80  # percentile of a film's openings: of the frame that is made to blink
SHUT = 0.45  # of the usual opening: a blink
ABOVE, LID, LINE = (-0.2, 0.17), -0.08, 0.17  # of an eye's length, downward from where lids meet: see `lines`
EYES = ((36, 39, (37, 38), (41, 40)), (42, 45, (43, 44), (47, 46)))  # corners, upper lid, lower lid


def openings(landmarks: np.ndarray) -> np.ndarray:
    """(T,) how far both eyes are open, over the distance of their outer corners, from landmarks (T, 68, 3)."""
    gaps = [
        np.linalg.norm(landmarks[:, list(upper), :2] - landmarks[:, list(lower), :2], axis=2).mean(1)
        for _, _, upper, lower in EYES
    ]
    return np.asarray(sum(gaps) / np.linalg.norm(landmarks[:, 36, :2] - landmarks[:, 45, :2], axis=1))


def lights(frame: np.ndarray, landmarks: np.ndarray) -> list[float]:
    """How light the two shut lids of a frame (H, W, 3) are: means of an ellipse above the line where they meet."""
    found = []
    for first, last, _, _ in EYES:
        eye = landmarks[first : last + 1, :2]
        width, middle = float(np.linalg.norm(eye[-1] - eye[0])), eye.mean(0)
        mask = np.zeros(frame.shape[:2], np.uint8)
        centre = (round(float(middle[0])), round(float(middle[1] - 0.1 * width)))
        cv2.ellipse(mask, centre, (int(0.33 * width), max(1, int(0.12 * width))), 0, 0, 360, 1, -1)
        found.append(float((frame[mask > 0].astype(np.float32) @ LUMINANCE).mean()))
    return found


def lines(frame: np.ndarray, landmarks: np.ndarray) -> list[float]:
    """How light the line where the lids meet is in two shut eyes of a frame (H, W, 3), over the lid above it."""
    found = []
    light = frame.astype(np.float32) @ LUMINANCE
    for first, last, upper, lower in EYES:
        eye = landmarks[[first, last], :2].astype(np.float64)
        across = eye[1] - eye[0]
        down = np.array([-across[1], across[0]])
        meet = eye[0] + down * float((landmarks[[*upper, *lower], :2].mean(0) - eye[0]) @ down / (down @ down))
        along, below = np.meshgrid(np.linspace(0.3, 0.7, 25), np.linspace(*ABOVE, 41))
        at = (meet + along[..., None] * across + below[..., None] * down).astype(np.float32)
        profile = np.median(cv2.remap(light, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), axis=1)
        lid, line = below[:, 0] < LID, np.abs(below[:, 0]) < LINE
        found.append(float(profile[line].min() / max(profile[lid].mean(), 1.0)))
    return found


def around_eyes(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(132, 300, 3) uint8: the part of a frame with both eyes."""
    eyes = landmarks[36:48, :2]
    middle, half = eyes.mean(0), 0.72 * float(np.ptp(eyes[:, 0]))
    x0, y0 = np.maximum(middle - [half, 0.5 * half], 0).astype(int)
    x1, y1 = (middle + [half, 0.38 * half]).astype(int)
    return np.asarray(cv2.resize(np.asarray(frame[y0:y1, x0:x1], np.uint8), (300, 132), interpolation=cv2.INTER_AREA))


def stretched(renderer: Renderer, landmarks: np.ndarray) -> np.ndarray:
    """The frame with the lid that the open eye shows, and no line of lashes along its edge."""
    kept = [(eye.shut_lid, eye.lashes) for eye in renderer.eyes]
    for eye in renderer.eyes:
        eye.shut_lid, eye.lashes = None, np.full(3, np.inf, np.float32)
    try:
        return renderer.render(landmarks)
    finally:
        for eye, (lid, lashes) in zip(renderer.eyes, kept, strict=True):
            eye.shut_lid, eye.lashes = lid, lashes


def blinks(data: Path, landmarks: Path) -> Iterator[tuple[str, dict[str, list[tuple[float, float]]], np.ndarray]]:
    """Of each film with a blink: name, by system the log of made over true light and the line of both lids, and a
    strip."""
    with np.load(landmarks) as stored:
        for name in sorted(name for name in stored.files if f"{name}_fps" in stored.files):
            film = Film.read(data / "addresses" / f"{name}.mp4", stored[name], float(stored[f"{name}_fps"]))
            open_by = openings(film.landmarks)
            shut = int(np.argmin(open_by))
            if open_by[shut] > SHUT * np.median(open_by):
                continue
            source = int(np.argmin(np.abs(open_by - np.percentile(open_by, OPEN))))
            try:
                renderer = film.renderer(source)
            except ParlandoError:
                continue
            points = film.landmarks[shut]
            frames = {"stretched lid": stretched(renderer, points), "**result**": renderer.render(points)}
            frames["the films themselves"] = film.frames[shut]
            true = lights(film.frames[shut], points)
            figures = {
                system: [
                    (float(np.log(made / real)), line)
                    for made, real, line in zip(lights(frame, points), true, lines(frame, points), strict=True)
                ]
                for system, frame in frames.items()
            }
            shown = [around_eyes(film.frames[source], film.landmarks[source])]
            shown += [around_eyes(frame, points) for frame in frames.values()]
            yield name, figures, np.hstack(shown)


def markdown(films: list[dict[str, list[tuple[float, float]]]]) -> str:
    """A row for each system: mean of made over true light less 1, and how far from 1 it is, in per cent, as logs; and
    the line of lashes over the lid, median."""
    rows = [f"| lids of {len(films)} blinks | lighter by | off by | line |", "| --- | --- | --- | --- |"]
    for system in films[0]:
        values = np.array([lid for film in films for lid in film[system]])
        light, line = 100 * values[:, 0], np.median(values[:, 1])
        rows.append(f"| {system} | {light.mean():.0f} % | {np.abs(light).mean():.0f} % | {line:.2f} |")
    return "\n".join(rows) + "\n"


def table(data: Path, landmarks: Path, pictures: Path | None = None) -> str:
    """The table, as Markdown; strips of open, stretched, made and true go to the file `pictures`."""
    found = list(blinks(data, landmarks))
    if pictures is not None:
        cv2.imwrite(str(pictures), np.vstack([strip for _, _, strip in found])[..., ::-1])
    return markdown([figures for _, figures, _ in found])


def main(report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.evaluation.lids", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder shared/data")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--pictures", type=Path, help="PNG of strips")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    report(table(chosen.data, tracked(chosen.data, chosen.landmarks), chosen.pictures))


if __name__ == "__main__":
    main()
