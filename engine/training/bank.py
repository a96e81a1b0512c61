"""Cuts the bank of head motion, brows and blinks out of tracked films: real trajectories, nothing invented.

Per film the head's rotation and sway relative to the film's median, the brows as principal components of their motion
in canonical space, and every blink's lid curve; saved for `engine.motion.bank`. Amplitudes of restless films (somebody
who looks from prompter to prompter) are reduced to a natural spread, never raised.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from engine.audio.features import FRAMES_PER_SECOND, log_mel
from engine.audio.load import open_audio
from engine.face.canonical import FLIP, rotation_matrix, rotation_vector, to_canonical
from engine.motion.bank import BLINK_STEPS, BROWS, FORMAT, NECK, RATE, Loudness
from engine.motion.curves import cubic, smooth
from engine.motion.net import CODES_PER_SECOND, MotionNet
from engine.tensors import packed

NATURAL = np.radians([3.0, 3.5, 2.5])  # most spread of pitch, yaw, roll a film may keep
SWAY = 0.03  # most spread of the sway, canonical units (about 3 mm)
BROW_COMPONENTS = 3
BLINK_DEPTH = 0.5  # share of the lid opening that must close for a blink
BLINK_SECONDS = 0.4
EYES = (((37, 38), (41, 40), (36, 39)), ((43, 44), (47, 46), (42, 45)))  # upper lid, lower lid, corners


def build_bank(
    folder: Path,
    tracked: dict[str, tuple[np.ndarray, float]],
    speech: dict[str, np.ndarray],
    out: Path,
) -> dict[str, object]:
    """Writes the bank of the films in `folder`; `tracked` has name → landmarks (T, 68, 3), fps; `speech` the chance of
    speech at 50 Hz. Returns what it holds, for the model card."""
    heads: list[np.ndarray] = []
    brows: list[np.ndarray] = []
    drives: list[np.ndarray] = []
    ends: list[int] = []
    curves, pauses = [], []
    for name, (landmarks, fps) in tracked.items():
        canonical, placement = to_canonical(landmarks)
        steps = int((len(landmarks) - 1) / fps * RATE) + 1
        at = np.arange(steps) / RATE
        head = head_motion(placement.rotation, placement.origin, placement.scale)
        raised = canonical[:, BROWS] - np.median(canonical[:, BROWS], 0)
        raised = without(raised.reshape(len(raised), -1), head[:, :3])
        heads.append(smooth(cubic(head, at * fps), 2))
        brows.append(smooth(cubic(raised, at * fps), 3))
        level = Loudness()
        loud = np.concatenate([level(block) for block in log_mel(open_audio(folder / f"{name}.mp4"))])
        talk = cubic(speech[name], at * CODES_PER_SECOND)
        drives.append(np.stack([cubic(loud, at * FRAMES_PER_SECOND), talk], -1))
        ends.append(steps + (ends[-1] if ends else 0))
        found, times = blinks(canonical, fps)
        curves += found
        if len(landmarks) / fps > 4:  # from the film's start and to its end as well: at least so long
            pauses += [p for p in np.diff([0, *times, (len(landmarks) - 1) / fps]) if p > BLINK_SECONDS]
    flat = np.concatenate(brows)
    _, vectors = np.linalg.eigh(flat.T @ flat)
    components = vectors[:, ::-1][:, :BROW_COMPONENTS].T
    tensors = {
        "trajectory": np.concatenate([np.concatenate(heads), flat @ components.T], -1).astype(np.float32),
        "drive": np.concatenate(drives).astype(np.float32),
        "ends": np.array(ends, np.int64),
        "brows": components.reshape(-1, len(BROWS), 3).astype(np.float32),
        "blinks": np.array(curves, np.float32),
        "pauses": np.array(pauses, np.float32),
    }
    out.write_bytes(packed(tensors, {"format": FORMAT}))
    return {
        "seconds": ends[-1] / RATE,
        "blinks": len(curves),
        "median_pause_s": float(np.median(pauses)),
        "degrees": [round(float(x), 2) for x in np.degrees(tensors["trajectory"][:, :3].std(0))],
    }


def head_motion(rotation: np.ndarray, origin: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(T, 6): rotation vector from the film's median pose, sway of the neck in canonical units (depth left at 0)."""
    matrices = rotation_matrix(rotation)
    usual = rotation_matrix(np.median(rotation, 0))
    turned = rotation_vector(usual.T @ matrices)
    turned -= np.median(turned, 0)
    size = float(np.median(scale))
    moved = (origin - np.median(origin, 0)) / size * FLIP[:2]
    by_turning = np.einsum("tij,j->ti", rotation_matrix(turned) - np.eye(3), -NECK)[:, :2]
    sway = moved - by_turning
    sway -= np.median(sway, 0)
    turned *= np.minimum(1, NATURAL / np.maximum(turned.std(0), 1e-6))
    sway *= min(1.0, SWAY / max(float(sway.std(0).max()), 1e-6))
    return np.concatenate([turned, sway, np.zeros((len(sway), 1))], -1)


def without(values: np.ndarray, cause: np.ndarray) -> np.ndarray:
    """`values` (T, n) less what is linear in `cause` (T, m): brows that only seem to move because the head nods."""
    cause = cause - cause.mean(0)
    return values - cause @ np.linalg.lstsq(cause, values, rcond=None)[0]


def lid_opening(canonical: np.ndarray) -> np.ndarray:
    """(T,): distance of the lids over the eye's width, mean of both eyes."""
    openings = []
    for upper, lower, (outer, inner) in EYES:
        height = (canonical[:, upper, 1] - canonical[:, lower, 1]).mean(-1)
        openings.append(height / np.linalg.norm(canonical[:, outer] - canonical[:, inner], axis=-1))
    return np.mean(openings, 0)


def blinks(canonical: np.ndarray, fps: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Lid curves of a film's blinks, each (BLINK_STEPS,) from 0 over 1 to 0, and the times of their middles (s)."""
    opening = lid_opening(canonical)
    shut = np.clip(1 - opening / np.median(opening), 0, 1)
    reach = round(BLINK_SECONDS / 2 * fps)
    curves: list[np.ndarray] = []
    times: list[float] = []
    for middle in range(len(shut)):
        around = shut[max(0, middle - reach) : middle + reach + 1]
        if shut[middle] < BLINK_DEPTH or shut[middle] < around.max():
            continue
        if times and middle / fps - times[-1] < 0.3:
            continue
        times.append(middle / fps)
        if middle < reach or middle + reach >= len(shut):
            continue  # counts as a blink, but its curve is cut by the film's edge
        at = middle + np.linspace(-reach, reach, BLINK_STEPS)
        curve = cubic(shut, at)
        edge = np.linspace(curve[0], curve[-1], BLINK_STEPS)
        curve = np.clip((curve - edge) / (1 - edge), 0, None)
        if curve.max() < BLINK_DEPTH or curve[[2, -3]].max() > 0.5 * curve.max():
            continue  # eyes held shut or two blinks run together: no single curve
        fade = np.minimum(1, np.minimum(np.arange(BLINK_STEPS), np.arange(BLINK_STEPS)[::-1]) / 3)
        curves.append(np.clip(curve / curve.max(), 0, 1) * fade)
    return curves, np.array(times)


def main(arguments: list[str] | None = None) -> None:
    """The bank alone, with what the shipped network takes for speech. `engine.training.motion` makes it too."""
    from engine.audio.speech import SpeechEncoder
    from engine.training.motion import WEIGHTS, addresses_landmarks, predict, read_addresses

    parser = argparse.ArgumentParser(prog="python -m engine.training.bank", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with addresses")
    parser.add_argument("--landmarks", type=Path, help="npz of engine.training.landmarks for addresses")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "motion_bank.safetensors", help="the bank to write")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    net = MotionNet.load(WEIGHTS / "motion_base.safetensors", torch.device("cpu"))
    clips = read_addresses(chosen.data, chosen.landmarks, SpeechEncoder.load(torch.device("cpu")))
    speech = {clip.name: predict(net, clip)[:, -1] for clip in clips}
    tracked = addresses_landmarks(chosen.data, chosen.landmarks)
    print(f"{chosen.out}: {build_bank(chosen.data / 'addresses', tracked, speech, chosen.out)}")


if __name__ == "__main__":
    main()
