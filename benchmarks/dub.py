"""How fast and how large the whole job is: `dub` as its own process, on the demo's portrait and speech.

    python -m benchmarks.dub [--seconds 10 60 600] [--sizes 256 512 1024 2048] [--out FOLDER]

Three tables, a plot and, as the last line, one JSON object: ms a frame for every size and number of threads, of 10 s of
speech; memory and ms a frame against length, at 512²; what each stage of a frame takes on one thread, and how long one
frame takes from edited landmarks to its file in a warm engine. Times of whole jobs include the engine's start. Memory
is the largest resident set. Measures no quality.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile

from engine.job import Engine
from engine.render.eyes import Eye
from engine.render.finish import Finish
from engine.render.lips import Lips
from engine.render.renderer import Renderer
from engine.request import DubRequest, FrameRequest
from engine.take import Landmarks, Take

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "demo" / "source"
FPS = 25
COUNTED = 100  # frames of which the stages are timed


@dataclass
class Measured:
    """One clip: the fastest of the runs, and the largest memory of them."""

    size: int
    threads: int
    seconds: float
    frames: int
    wall_s: float
    ms_a_frame: float
    peak_mb: float


JOB = """
import json, sys
from pathlib import Path
from engine.job import Engine
from engine.request import DubRequest
audio, image, out, threads = sys.argv[1:]
made = Engine("auto", int(threads)).dub(DubRequest(Path(audio), Path(image), Path(out), preview=False))
print(json.dumps(made.as_dict()))
"""
STAGES = {
    "pose": (Renderer, "_posed"),
    "field": (Renderer, "_where"),
    "warp": (Renderer, "_warped"),
    "eyes": (Eye, "draw"),
    "lips and proxy": (Lips, "draw"),
    "network": (Finish, "draw"),
    "encode": (Take, "write_frame"),
}


def dub(audio: Path, image: Path, out: Path, threads: int) -> tuple[int, float, float]:
    """(frames, wall seconds, peak MB) of one `dub`. Raises CalledProcessError with the engine's words."""
    command = [sys.executable, "-c", JOB, str(audio), str(image), str(out), str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as the command line sets them
    with tempfile.TemporaryFile("w+") as words, tempfile.TemporaryFile("w+") as trouble:
        start = time.monotonic()
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=words, stderr=trouble
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        words.seek(0)
        trouble.seek(0)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, command, words.read(), trouble.read())
        return json.loads(words.read().splitlines()[-1])["frames"], wall, usage.ru_maxrss / 1024


def portrait_of(size: int, folder: Path) -> Path:
    """The demo's portrait, `size` pixels wide."""
    image = folder / f"portrait_{size}.png"
    portrait = cv2.imread(str(SOURCE / "astronaut.png"))
    kind = cv2.INTER_AREA if size < portrait.shape[0] else cv2.INTER_CUBIC
    cv2.imwrite(str(image), cv2.resize(portrait, (size, size), interpolation=kind))
    return image


def measure(seconds: float, size: int, threads: int) -> Measured:
    """Dub the demo's speech, looped to `seconds`, on its portrait at `size` pixels."""
    with tempfile.TemporaryDirectory(prefix="parlando_bench_") as folder:
        audio = Path(folder) / "speech.wav"
        heard, rate = soundfile.read(SOURCE / "jfk.wav", dtype="int16")
        soundfile.write(audio, np.resize(heard, round(seconds * rate)), rate)
        frames, wall, peak = dub(audio, portrait_of(size, Path(folder)), Path(folder) / "take", threads)
    return Measured(size, threads, seconds, frames, round(wall, 2), round(1000 * wall / frames, 1), round(peak))


def stages(size: int, folder: Path) -> dict[str, float]:
    """Milliseconds of each stage of a frame, and the latency of one frame; on one thread, in this process."""
    engine = Engine("cpu", 1)
    image = portrait_of(size, folder)
    spent = dict.fromkeys(STAGES, 0.0)
    take = folder / f"take_{size}"
    with ExitStack() as stack:
        for name, (owner, method) in STAGES.items():
            stack.enter_context(timed(owner, method, name, spent))
        request = DubRequest(SOURCE / "jfk.wav", image, take, frames=COUNTED, preview=False)
        engine.dub(request)
    found = {name: round(1000 * seconds / COUNTED, 2) for name, seconds in spent.items()}
    found["whole frame"] = round(sum(found.values()), 2)
    landmarks = Landmarks.load(take / "landmarks.npz").landmarks
    waits = []
    for index in range(30, 50):
        moved = landmarks[index].copy()
        moved[57, 1] += 2.0
        begun = time.perf_counter()
        engine.frame(FrameRequest(moved.tolist(), image, folder / "one.png", take=take))
        waits.append(time.perf_counter() - begun)
    found["latency"] = round(1000 * float(np.median(waits)), 2)
    return found


@contextmanager
def timed(owner: Any, method: str, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Adds up how long a method takes."""
    plain = getattr(owner, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - begun

    setattr(owner, method, counted)
    try:
        yield
    finally:
        setattr(owner, method, plain)


def plot(result: dict[str, Any], path: Path) -> None:
    """ms a frame against size, and memory against length."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for threads in sorted({row["threads"] for row in result["sizes"]}):
        rows = [row for row in result["sizes"] if row["threads"] == threads]
        label = f"{threads} thread{'s' if threads > 1 else ''}"
        left.plot([row["size"] for row in rows], [row["ms_a_frame"] for row in rows], "o-", label=label)
    left.axhline(40, color="grey", linewidth=1, linestyle="--", label="25 fps")
    left.set(xscale="log", yscale="log", xlabel="side of the picture, px", ylabel="ms a frame, whole dub of 10 s")
    left.set_xticks([row["size"] for row in result["sizes"]], [str(row["size"]) for row in result["sizes"]])
    left.minorticks_off()
    left.legend()
    rows = result["lengths"]
    right.plot([row["seconds"] for row in rows], [row["peak_mb"] for row in rows], "o-")
    right.set(
        xscale="log", xlabel="length of the sound, s (512², 2 threads)", ylabel="largest memory, MB", ylim=(0, None)
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 600], help="lengths of sound (10 60 600)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048], help="sides of the portrait")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (1 2)")
    parser.add_argument("--out", type=Path, help="folder for bench.json and bench.png")
    options = parser.parse_args()
    result: dict[str, Any] = {"fps": FPS, "cores": os.cpu_count(), "machine": platform.machine()}
    head = f"{'size':>6} {'threads':>8} {'sound s':>8} {'frames':>7} {'wall s':>8} {'ms/frame':>9} {'peak MB':>8}"

    def row(seconds: float, size: int, threads: int) -> dict[str, Any]:
        one = measure(seconds, size, threads)
        print(
            f"{one.size:6} {one.threads:8} {one.seconds:8g} {one.frames:7} {one.wall_s:8.2f} {one.ms_a_frame:9.1f} "
            f"{one.peak_mb:8.0f}",
            flush=True,
        )
        return asdict(one)

    try:
        print(head)
        result["sizes"] = [row(10, size, threads) for threads in options.threads for size in options.sizes]
        print(head)
        result["lengths"] = [row(seconds, 512, max(options.threads)) for seconds in sorted(options.seconds)]
    except subprocess.CalledProcessError as problem:
        print(f"bench: {problem}\n{problem.stderr}", file=sys.stderr)
        return 1
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="parlando_bench_") as folder:
        result["stages"] = {size: stages(size, Path(folder)) for size in options.sizes}
    print(f"{'ms':>16}" + "".join(f"{size:>9}" for size in options.sizes))
    for name in next(iter(result["stages"].values())):
        print(f"{name:>16}" + "".join(f"{result['stages'][size][name]:9.2f}" for size in options.sizes))
    if options.out is not None:
        (options.out / "bench.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        plot(result, options.out / "bench.png")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
