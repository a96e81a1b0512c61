"""A list of dubs, one a line: read, checked, made one after another by one engine. A bad line stops none of the others.

The list is CSV with a header, or JSON lines. Columns and keys are the long options of `parlando dub` without their
dashes (`audio`, `image`, `out`, `style`, `fps`, `no-preview` …); empty ones are left to their defaults, and paths are
relative to the list. A finished take is found again and costs nothing, so a list that was interrupted is started again.
"""

import csv
import io
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import Cancelled, InputError, ParlandoError, naming_files
from engine.progress import Progress
from engine.style.file import named

PATHS = ("audio", "image", "style", "out")
NOT_HERE = ("json", "device", "help")  # options of the whole batch
_YES, _NO = {"true", "yes", "1", "x"}, {"false", "no", "0", ""}


@dataclass(frozen=True)
class Line:
    """One line: its number in the file from 1, and its options as `dub` takes them, or what is wrong with it."""

    number: int
    argv: tuple[str, ...] = ()
    problem: str = ""


def read(path: Path, out: Path | None, flags: set[str]) -> list[Line]:
    """The lines of a list. `flags`: options without a value. `out`: folder for takes of lines that name none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
        raise InputError(f"The list {path} cannot be read ({why}): choose a CSV or JSON-lines file.") from problem
    json_lines = path.suffix.lower() in {".json", ".jsonl", ".ndjson"} or text.lstrip().startswith("{")
    rows = _json_rows(text) if json_lines else _csv_rows(text, path)
    lines = [
        Line(number, problem=row) if isinstance(row, str) else _line(number, row, path.parent, out, flags)
        for number, row in rows
    ]
    if not lines:
        raise InputError(f"The list {path} has no lines: each needs at least audio and image.")
    return lines


def _json_rows(text: str) -> list[tuple[int, dict[str, Any] | str]]:
    rows: list[tuple[int, dict[str, Any] | str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as problem:
            rows.append((number, f"it is not JSON ({problem})"))
        else:
            rows.append((number, row if isinstance(row, dict) else "it is not a JSON object"))
    return rows


def _csv_rows(text: str, path: Path) -> list[tuple[int, dict[str, Any] | str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, Any] | str]] = []
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if not {"audio", "image"} <= set(names):
            raise InputError(f"The list {path} needs a first line that names its columns: audio, image, out …")
        reader.fieldnames = names
        for row in reader:
            long = None in row
            rows.append((reader.line_num, "it has more columns than the first line names" if long else dict(row)))
    except csv.Error as problem:
        raise InputError(f"The list {path} is not CSV from line {reader.line_num} on ({problem}).") from problem
    return rows


def _line(number: int, row: dict[str, Any], folder: Path, out: Path | None, flags: set[str]) -> Line:
    argv = ["dub"]
    options = {str(name).strip().replace("_", "-").lower(): value for name, value in row.items()}
    if out is not None and not str(options.get("out") or "").strip() and options.get("audio"):
        options["out"] = str(out.resolve() / f"{Path(str(options['audio'])).stem}_{number:03d}")
    for name, value in options.items():
        word = "" if value is None else str(value).strip()
        if name in NOT_HERE:
            return Line(number, problem=f"{name} is an option of the whole batch, not of one line")
        if name in flags:
            if word.lower() not in _YES | _NO:
                return Line(number, problem=f"{name} is “{word}”, it can be yes or no")
            if word.lower() in _YES:
                argv.append(f"--{name}")
        elif word:
            shipped = name == "style" and named(word) != Path(word) and not (folder / word).exists()
            argv.append(f"--{name}={folder / word if name in PATHS and not shipped else word}")
    return Line(number, tuple(argv))


def run(
    lines: list[Line],
    make: Callable[[tuple[str, ...], Progress], dict[str, Any]],
    progress: Progress,
    tell: Callable[[Line, dict[str, Any]], None],
) -> dict[str, Any]:
    """Makes every line with `make`, which raises ParlandoError for a bad one; what became of each."""
    results = []
    for place, line in enumerate(lines, 1):
        result: dict[str, Any] = {"line": line.number}
        try:
            if line.problem:
                raise InputError(line.problem)
            with naming_files():
                result |= make(line.argv, _counted(progress, f"{place}/{len(lines)} "))
        except Cancelled:
            raise
        except ParlandoError as problem:
            result["error"] = str(problem)
        except Exception as problem:  # a fault of ours in one line must not cost the night's others
            traceback.print_exc(file=sys.stderr)
            result["error"] = f"the engine failed ({type(problem).__name__}: {problem})"
        tell(line, result)
        results.append(result)
    failed = sum("error" in result for result in results)
    return {"lines": results, "done": len(results) - failed, "failed": failed, "healthy": not failed}


def _counted(progress: Progress, prefix: str) -> Progress:
    return lambda stage, done, total: progress(prefix + stage, done, total)
