"""Head motion, brows and blinks sampled from a bank of real trajectories.

The bank holds minutes of real talking heads. Stretches of it are chosen one after another by how well what was heard
around them matches what is heard now and how well they go on from the head's present pose and speed (a motion graph),
and joined so that position and speed are continuous. Poses are absolute, relative to the film's median, so half an hour
cannot drift; in long silence they fade to near stillness. Everything depends on sound up to now and on the seed only.
Does not move the mouth.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from engine.errors import InputError
from engine.motion.curves import cubic, smoothstep, soft_limit

FORMAT = "parlando-bank-1"
RATE = 25  # Hz of the bank's trajectories
BROWS = list(range(17, 27))
NECK = np.array([0.0, -1.25, -0.9])  # pivot of the head in canonical units: the top of the spine
BLINK_STEPS = 25  # of a lid curve
BLINK_SECONDS = 0.4
STRETCH = 40  # steps played before the next choice, 1.6 s …
STRETCH_MORE = 35  # … and up to 1.4 s more
JOIN = 20  # steps over which a join is worked off: 0.8 s
HEARD = 15  # steps of sound compared at a join: 0.6 s
CHANCE, CHANCE_AT_FIRST = 0.35, 1.0  # in the choice; at first there is silence before, and few stretches fit that well
FREE, MOST = np.radians(6.0), np.radians(12.0)  # a turn is as it was up to 6°, and never beyond 12°


class Loudness:
    """Log-mel blocks → how loud it is for this recording, 0 (pause) to about 1 (emphasis), 120 a second, streaming.

    The recording's own level is followed as it goes, so quiet and loud recordings move the head alike.
    """

    def __init__(self) -> None:
        self.level = -3.0  # natural log of mel energy; a moderate voice to start from
        self.held = 0.0

    def __call__(self, mel: np.ndarray) -> np.ndarray:
        """(n, 80) natural-log mel → (n,)."""
        now = np.log(np.exp(mel).mean(-1))
        out = np.empty(len(now), np.float32)
        fall = 1.0 / (120 * 20)
        for i, value in enumerate(now):
            self.level = max(float(value), self.level - fall)
            loud = min(1.0, max(0.0, 1 + (float(value) - self.level) / 8))
            self.held += (loud - self.held) * 0.08  # about 100 ms
            out[i] = self.held
        return out


@dataclass(frozen=True)
class Bank:
    """trajectory (N, 6 + B): rotation vector (rad), sway (canonical units), brow amounts. drive (N, 2): loudness and
    chance of speech. ends: where films end. brows (B, 10, 3): what a brow amount moves. blinks (n, 25): lid curves."""

    trajectory: np.ndarray
    drive: np.ndarray
    ends: np.ndarray
    brows: np.ndarray
    blinks: np.ndarray
    pauses: np.ndarray

    @classmethod
    def load(cls, path: Path) -> "Bank":
        """As `engine.training.bank` wrote it."""
        with safetensors.safe_open(path, "np") as file:
            form = (file.metadata() or {}).get("format")
        if form != FORMAT:
            raise InputError(f"{path} is {form}, this engine reads {FORMAT}; install the engine again.")
        return cls(**safetensors.numpy.load_file(path))

    def head_and_brows(
        self, drive: np.ndarray, rng: np.random.Generator, at: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pose (T, 6) and brow amounts (T, B) at positions `at` (T,) in steps of 25 Hz, for a drive (n, 2) as heard."""
        path = self._walk(drive, rng)
        awake = wakefulness(drive[:, 1])[:, None]
        path = path * (0.12 + 0.88 * awake)
        path[:, :3] = soft_limit(path[:, :3], FREE, MOST)
        sampled = cubic(path, at)
        return sampled[:, :6], sampled[:, 6:]

    def _walk(self, drive: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, 6 + B): one way through the bank."""
        length, spread = len(drive), self.trajectory.std(0) + 1e-6
        speed = np.gradient(self.trajectory, axis=0)
        quick = speed.std(0) + 1e-6
        starts = self._starts()
        heard_there = np.stack([self.drive[starts - HEARD + k] for k in range(HEARD)], 1)
        importance = np.array([1.5, 1.0, 1.0, 0.5, 0.5, 0.0] + [0.5] * (self.trajectory.shape[1] - 6))
        out = np.zeros((length, self.trajectory.shape[1]))
        used = np.full(len(starts), -1e9)
        step = 0
        position, velocity = np.zeros(out.shape[1]), np.zeros(out.shape[1])
        while step < length:
            past = np.clip(np.arange(step - HEARD, step), 0, length - 1)
            cost = 2.0 * ((heard_there - drive[past]) ** 2).mean((1, 2)) / 0.1
            cost += (importance * ((self.trajectory[starts] - position) / spread) ** 2).mean(-1)
            cost += (importance * ((speed[starts] - velocity) / quick) ** 2).mean(-1)
            cost += 4.0 * np.exp(-(step - used) / (RATE * 20))  # a gesture is not repeated soon
            cost += rng.gumbel(0, CHANCE if step else CHANCE_AT_FIRST, len(starts))
            best = int(np.argmin(cost))
            near = np.abs(starts - starts[best]) < 2 * RATE
            used[near] = step
            run = STRETCH + int(rng.integers(0, STRETCH_MORE))
            end = int(self.ends[np.searchsorted(self.ends, starts[best], "right")])
            run = max(1, min(run, end - int(starts[best]) - 1, length - step))
            piece = self.trajectory[starts[best] : starts[best] + run + 1].astype(np.float64)
            going = speed[starts[best] : starts[best] + run + 1]
            u = np.minimum(np.arange(run + 1) / JOIN, 1)[:, None]
            gap, drift = position - piece[0], (velocity - going[0]) * JOIN
            piece += gap * (1 + 2 * u) * (1 - u) ** 2 + drift * u * (1 - u) ** 2  # Hermite: to zero with its speed
            out[step : step + run] = piece[:run]
            position = piece[run]
            velocity = piece[run] - piece[run - 1]
            step += run
        return out

    def _starts(self) -> np.ndarray:
        """Where a stretch may begin: with sound before it and enough film after it."""
        first = np.concatenate([[0], self.ends[:-1]])
        return np.concatenate(
            [
                np.arange(a + HEARD, b - JOIN - 5, 3)
                for a, b in zip(first, self.ends, strict=True)
                if b - a > HEARD + JOIN + 8
            ]
        )

    def blink_curve(self, times: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
        """(T,) how far the lids are closed, 0 open to 1 shut, at `times` (s), for blinks `amount` times as often as in
        life. Pauses between blinks and the lids' curves are those of the bank."""
        closed = np.zeros(len(times), np.float32)
        if amount <= 0 or not len(times):
            return closed
        end = float(times[-1]) + BLINK_SECONDS
        at = float(rng.choice(self.pauses)) * float(rng.uniform(0.3, 1)) / amount
        while at < end:
            curve = self.blinks[int(rng.integers(len(self.blinks)))]
            window = slice(*np.searchsorted(times, [at, at + BLINK_SECONDS]))
            inside = (times[window] - at) / BLINK_SECONDS * (BLINK_STEPS - 1)
            closed[window] = np.maximum(closed[window], cubic(curve, inside))
            at += max(BLINK_SECONDS, float(rng.choice(self.pauses)) * float(rng.uniform(0.85, 1.15)) / amount)
        return np.clip(closed, 0, 1)


def wakefulness(speech: np.ndarray) -> np.ndarray:
    """(n,) 25 Hz chance of speech → 1 while talking, sinking to 0 in some 3 s of silence, without a kink."""
    target = smoothstep(speech, 0.2, 0.6)
    out = np.empty(len(target))
    first = second = 0.3
    for i, value in enumerate(target):
        rate = 0.08 if value > first else 0.02
        first += (float(value) - first) * rate
        second += (first - second) * 0.1
        out[i] = second
    return out
