"""How fast and how large the whole job is: `dub` as its own process, on the demo's portrait and speech.

    python -m benchmarks.dub [--seconds 10 120] [--size 512] [--runs 1]

Times include the engine's start; `ms_more` is what one more frame costs, between the shortest and the longest clip.
Memory is the largest resident set. Prints a table and, as the last line, one JSON object. Measures no quality.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "demo" / "source"
FPS = 25


@dataclass
class Measured:
    """One clip: the fastest of the runs, and the largest memory of them."""

    seconds: float
    frames: int
    wall_s: float
    ms_a_frame: float
    peak_mb: float


def dub(audio: Path, image: Path, out: Path, preview: bool) -> tuple[int, float, float]:
    """(frames, wall seconds, peak MB) of one `dub`. Raises CalledProcessError with the engine's words."""
    command = [sys.executable, "-m", "engine", "dub", "--audio", str(audio), "--image", str(image), "--out", str(out)]
    command += ["--fps", str(FPS), "--json", *([] if preview else ["--no-preview"])]
    with tempfile.TemporaryFile("w+") as words, tempfile.TemporaryFile("w+") as trouble:
        start = time.monotonic()
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=words, stderr=trouble)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        trouble.seek(0)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command, words.read(), trouble.read())
        return json.loads(words.read().splitlines()[-1])["frames"], wall, usage.ru_maxrss / 1024


def measure(seconds: float, size: int, runs: int, preview: bool) -> Measured:
    """Dub the demo's speech, looped to `seconds`, on its portrait at `size` pixels."""
    with tempfile.TemporaryDirectory(prefix="parlando_bench_") as folder:
        audio, image = Path(folder) / "speech.wav", Path(folder) / "portrait.png"
        heard, rate = soundfile.read(SOURCE / "jfk.wav", dtype="int16")
        soundfile.write(audio, np.resize(heard, round(seconds * rate)), rate)
        portrait = cv2.imread(str(SOURCE / "astronaut.png"))
        cv2.imwrite(str(image), cv2.resize(portrait, (size, size), interpolation=cv2.INTER_CUBIC))
        found = [dub(audio, image, Path(folder) / f"take{run}", preview) for run in range(runs)]
    frames, wall = found[0][0], min(one[1] for one in found)
    return Measured(seconds, frames, round(wall, 2), round(1000 * wall / frames, 1), round(max(f[2] for f in found)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 120], help="lengths of sound (10 120)")
    parser.add_argument("--size", type=int, default=512, help="the portrait's side in pixels (512)")
    parser.add_argument("--runs", type=int, default=1, help="runs of each, the fastest counts (1)")
    parser.add_argument("--preview", action="store_true", help="make preview.mp4 too")
    options = parser.parse_args()
    rows = []
    print(f"{'sound s':>8} {'frames':>7} {'wall s':>8} {'ms/frame':>9} {'peak MB':>8}")
    for seconds in sorted(options.seconds):
        try:
            row = measure(seconds, options.size, options.runs, options.preview)
        except subprocess.CalledProcessError as problem:
            print(f"bench: {problem}\n{problem.stderr}", file=sys.stderr)
            return 1
        rows.append(row)
        print(f"{row.seconds:8g} {row.frames:7} {row.wall_s:8.2f} {row.ms_a_frame:9.1f} {row.peak_mb:8.0f}", flush=True)
    result = {
        "size": options.size,
        "fps": FPS,
        "preview": options.preview,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "clips": [asdict(row) for row in rows],
    }
    if len(rows) > 1:
        result["ms_more"] = round(1000 * (rows[-1].wall_s - rows[0].wall_s) / (rows[-1].frames - rows[0].frames), 1)
        print(f"one more frame costs {result['ms_more']} ms")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
