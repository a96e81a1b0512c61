"""Lays the mouth's interior over real speaking mouths and measures it against them; nothing is trained.

    python -m engine.training.mouth_check --data ../shared/data [--landmarks L.npz] [--sheet sheet.png]

From each film's frame with lips nearest the interior is built; on its open frames it replaces what is between the real
lips. `L1` is the mean difference there, `match` the correlation of light with the real one's, `spread` that of light
over the real one's, `red` what red is off by. Controls: the same interior upside down, an even grey, which L1 likes
best, and a black hole. `edge` is how far the inner lips' curve is from that of the dense mesh found in the same
picture, mm; its control is the straight way through the landmarks. Constants of `engine/render/mouth.py` were chosen
on the films in the first list and the second has people never fitted to, but for how round lips are: that was chosen on
all of these and on portraits, and two actors' feelings (`mead_style`, which trains nothing) are what it never saw.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from engine.face import find
from engine.face.track import frames_at
from engine.render import mouth
from engine.render.lips import LOWER_EDGE, UPPER_EDGE
from engine.training.generator import Film
from engine.training.mouth_tint import films

OPEN_MM = 3.0
CLIPS, FRAMES = 12, 72  # of one person, at most
LEAST = 20  # px between the lips
SOME = list(range(5, 65, 6))  # frames of a clip of feelings
MESHES = 4  # frames of a film looked at again for their dense mesh
NAMES = ("interior", "upside down", "grey", "black")

Scores = dict[str, list[list[float]]]


def view(rgb: np.ndarray, points: np.ndarray, width: int = 200) -> np.ndarray:
    """The mouth's surroundings, 4/5 as high as wide."""
    middle, scale = points[[48, 54, 62, 66], :2].mean(0), width / (0.85 * np.linalg.norm(points[45] - points[36]))
    shift = [width / 2 - middle[0] * scale, 0.4 * width - middle[1] * scale]
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(rgb, matrix, (width, int(0.8 * width)), flags=cv2.INTER_CUBIC)


def measure(real: np.ndarray, shown: np.ndarray) -> list[float]:
    """L1, match, spread, red of RGB in [0, 1] (N, 3) inside the lips."""
    a, b = real @ mouth.LUMINANCE, shown @ mouth.LUMINANCE
    match = float(np.corrcoef(a, b)[0, 1]) if min(a.std(), b.std()) > 1e-3 else 0.0
    off = shown - real
    return [float(np.abs(off).mean()), match, float(b.std() / max(a.std(), 1e-3)), float(off[:, 0].mean())]


def spread_out(order: np.ndarray, count: int) -> list[int]:
    """At most `count` of `order`, evenly."""
    return [int(order[i]) for i in np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]


def insides(film: Film, count: int) -> tuple[Scores, list[np.ndarray]]:
    """The interior and its controls on `count` of a film's open frames; real and made views, from narrow to wide."""
    source = int(np.argmin(film.gaps))
    interior = mouth.MouthInterior(film.frames[source], film.landmarks[source])
    gaps = film.gaps / interior.head.px
    opened = np.flatnonzero(gaps >= OPEN_MM)
    scores: Scores = {name: [] for name in NAMES}
    views = []
    for k in spread_out(opened[np.argsort(gaps[opened])], count):
        real = film.frames[k].astype(np.float32) / 255.0
        points = film.landmarks[k].astype(np.float32)
        layer = interior.layer(points, (0, 0, real.shape[1], real.shape[0]))
        seen = layer[:, :, 3] > 0.9
        if seen.sum() < LEAST:
            continue
        rows = np.flatnonzero(seen.any(1))
        turned = layer[rows[0] : rows[-1] + 1, :, :3][::-1][seen[rows[0] : rows[-1] + 1]]
        truth = real[seen]
        grey = np.broadcast_to(np.median(truth, axis=0), truth.shape)
        for name, shown in zip(NAMES, (layer[seen][:, :3], turned, grey, np.zeros_like(truth)), strict=True):
            scores[name].append(measure(truth, shown))
        alpha = layer[:, :, 3:]
        made = np.clip((real * (1 - alpha) + layer[:, :, :3] * alpha) * 255, 0, 255).astype(np.uint8)
        views.append(np.vstack([view(film.frames[k], points), view(made, points)]))
    return scores, views


def heights(edge: np.ndarray, points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Of a contour (N, 2) across the line from corner 60 to corner 64, at shares `at` of its length; px."""
    along = points[64] - points[60]
    length = np.linalg.norm(along)
    along = along / length
    away = edge - points[60]
    return np.interp(at * length, np.maximum.accumulate(away @ along), away @ np.array([-along[1], along[0]]))


def edge(rgb: np.ndarray) -> list[float] | None:
    """How far the inner lips' curve, and the straight way through the landmarks, are from the mesh's contour in a
    picture, mm; None without a face or with lips nearly shut."""
    faces = find.faces(rgb)
    if not faces:
        return None
    at = np.linspace(0.02, 0.98, 97)
    points = faces[0].landmarks[:, :2].astype(np.float32)
    mm = mouth.EYES_MM / np.linalg.norm(points[45] - points[36])
    if mouth.lip_gap(points) * mm < OPEN_MM:
        return None
    straight = points[mouth.UPPER_LIP], points[mouth.LOWER_LIP]
    meshed = faces[0].mesh[UPPER_EDGE, :2], faces[0].mesh[LOWER_EDGE, :2]
    real, *made = (
        np.array([heights(edge, points, at) for edge in both]) for both in (meshed, mouth.inner_lips(points), straight)
    )
    return [float(np.abs(one - real).mean() * mm) for one in made]


def edges(film: Film) -> list[list[float]]:
    """`edge` of some of a film's widest mouths."""
    widest = np.argsort(-film.gaps)[: 3 * MESHES : 3]
    return [found for k in widest if (found := edge(film.frames[k])) is not None]


def edges_elsewhere(data: Path) -> Iterator[tuple[str, list[list[float]]]]:
    """`edge` of portraits that show their teeth, and of people and feelings looked at by nobody before."""
    listed = json.loads((data / "portraits" / "index.json").read_text())
    files = [data / "portraits" / one["file"] for one in listed if one["lip_gap"] >= 0.05]
    portraits = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    yield "portraits", [found for rgb in portraits if (found := edge(rgb)) is not None]
    for person in ("M030", "W009"):
        clips = sorted((data / "mead_style").glob(f"{person}*.mp4"))
        frames = [frame for clip in clips for frame in frames_at(clip, SOME)]
        yield f"mead {person}", [found for rgb in frames if (found := edge(rgb)) is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses; else tracked")
    parser.add_argument("--sheet", type=Path, help="real mouths above made ones, from narrow to wide, a person a row")
    options = parser.parse_args()
    rows = []
    for title, group in zip(("fitted on", "never fitted to"), films(options.data, options.landmarks), strict=True):
        people: dict[str, list[Film]] = {}
        for who, film in group:
            people.setdefault(who, []).append(film)
        means, contours = [], []
        print(f"{title}: L1 match spread red | edge, straight mm")
        for who, theirs in people.items():
            chosen = [theirs[i] for i in spread_out(np.arange(len(theirs)), CLIPS)]
            results = [insides(film, max(6, FRAMES // len(chosen))) for film in chosen]
            scores = {name: [one for found, _ in results for one in found[name]] for name in NAMES}
            if not scores["interior"]:
                continue
            means.append([np.mean(scores[name], axis=0) for name in NAMES])
            edge = [one for film in chosen for one in edges(film)]
            if edge:
                contours.append(np.mean(edge, axis=0))
            told = " ".join(f"{value:.2f}" for value in contours[-1]) if edge else "no face found"
            print(f"    {who:16s}", *(f"{value:+.3f}" for value in means[-1][0]), "|", told)
            views = results[0][1]
            rows.append(np.hstack([views[i] for i in np.linspace(0, len(views) - 1, 6).astype(int)]))
        for i, name in enumerate(NAMES):
            print(f"  {name:18s}", *(f"{value:+.3f}" for value in np.mean([m[i] for m in means], axis=0)))
        print("  edge, straight    ", *(f"{value:.2f}" for value in np.mean(contours, axis=0)))
    print(
        "edge, straight mm:", *(f"{name} {np.mean(of, axis=0).round(2)}" for name, of in edges_elsewhere(options.data))
    )
    if options.sheet:
        cv2.imwrite(str(options.sheet), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
