"""`parlando batch`: both kinds of list, bad lines beside good ones, resuming, and what it tells."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import batch, cli
from engine.errors import InputError

FLAGS = {"no-preview"}


def lines_of(tmp_path: Path, text: str, name: str = "list.csv", out: Path | None = None) -> list[batch.Line]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return batch.read(tmp_path / name, out, FLAGS)


def test_csv(tmp_path: Path) -> None:
    text = "audio, image,out,fps,no-preview\na.wav,b.png,take,23.976,yes\n\n/x/a b.wav,b.png,,,\n"
    first, second = lines_of(tmp_path, text)
    assert first.number == 2 and first.argv == (
        "dub", f"--audio={tmp_path / 'a.wav'}", f"--image={tmp_path / 'b.png'}", f"--out={tmp_path / 'take'}",
        "--fps=23.976", "--no-preview",
    )  # fmt: skip
    assert second.number == 4 and second.argv == ("dub", "--audio=/x/a b.wav", f"--image={tmp_path / 'b.png'}")


def test_json_lines_and_a_folder_for_takes(tmp_path: Path) -> None:
    text = '{"audio": "a.wav", "image": "b.png", "no_preview": true, "seed": 3, "style": null}\n{"audio": 1'
    first, second = lines_of(tmp_path, text, "list.jsonl", tmp_path / "takes")
    assert first.argv[-1] == f"--out={tmp_path / 'takes' / 'a_001'}"
    assert {"--no-preview", "--seed=3"} <= set(first.argv) and not any("style" in word for word in first.argv)
    assert second.number == 2 and "not JSON" in second.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("audio,image\na.wav,b.png,c\n", "more columns"),
        ("audio,image,device\na.wav,b.png,cpu\n", "whole batch"),
        ("audio,image,no-preview\na.wav,b.png,maybe\n", "yes or no"),
        ('{"audio": "a"}\n[1]\n', "not a JSON object"),
    ],
)
def test_a_bad_line_says_why(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in lines_of(tmp_path, text)[-1].problem


@pytest.mark.parametrize(
    ("text", "problem"), [("", "columns"), ("a.wav,b.png\n", "columns"), ("audio,image\n", "no lines")]
)
def test_a_bad_list_says_why(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        lines_of(tmp_path, text)
    with pytest.raises(InputError, match=r"gone\.csv cannot be read"):
        batch.read(tmp_path / "gone.csv", None, FLAGS)


def small(portrait: Path, tmp_path: Path) -> Path:
    """The portrait at half size: quicker."""
    from PIL import Image

    with Image.open(portrait) as picture:
        picture.resize((256, 256)).save(tmp_path / "small.png")
    return tmp_path / "small.png"


def run(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    status = cli.main(["batch", *argv, "--json"])
    told = capsys.readouterr()
    return status, json.loads(told.out.splitlines()[-1]), told.err


def test_good_lines_are_made_beside_bad_ones(
    portrait: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small(portrait, tmp_path)
    shutil.copy(words, tmp_path / "words.wav")
    list_file = tmp_path / "list.csv"
    list_file.write_text(
        "audio,image,out,frames,no-preview,colour,style\n"
        "words.wav,small.png,one,3,yes,,\n"
        "gone.wav,small.png,two,3,yes,,\n"
        "words.wav,small.png,three,3,yes,red,\n"
        "words.wav,small.png,four,many,yes,,\n"
        "words.wav,small.png,five,2,yes,,\n"
    )
    status, told, errors = run([str(list_file)], capsys)
    assert status == 2 and (told["done"], told["failed"]) == (2, 3)
    assert [row["line"] for row in told["lines"]] == [2, 3, 4, 5, 6]
    assert "line 3: " in errors and "gone.wav" in errors and "--colour" in errors and "'many'" in errors
    assert "Traceback" not in errors
    assert sorted(p.name for p in (tmp_path / "one" / "frames").glob("*.png")) == [f"{n:06d}.png" for n in (1, 2, 3)]
    assert (tmp_path / "five" / "frames" / "000002.png").exists()
    assert not any((tmp_path / name).exists() for name in ("two", "three", "four"))

    kept = (tmp_path / "one" / "frames" / "000001.png").stat().st_mtime_ns
    list_file.write_text("audio,image,out,frames,no-preview\nwords.wav,small.png,one,3,yes\n")
    status, told, _ = run([str(list_file)], capsys)  # again: found, not made
    assert status == 0 and told["lines"][0]["reused"] == 3 and told["lines"][0]["rendered"] == 0
    assert (tmp_path / "one" / "frames" / "000001.png").stat().st_mtime_ns == kept


def test_an_interrupted_list_goes_on(portrait: Path, words: Path, tmp_path: Path) -> None:
    small(portrait, tmp_path)
    row = {"audio": str(words), "image": "small.png", "no_preview": True}
    (tmp_path / "list.jsonl").write_text(
        "".join(json.dumps({**row, "out": name, "frames": n}) + "\n" for name, n in (("one", 2), ("two", 30)))
    )
    command = [sys.executable, "-m", "engine", "batch", str(tmp_path / "list.jsonl"), "--json"]
    repo = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
    deadline = time.monotonic() + 120
    while not (tmp_path / "two" / "frames" / "000003.png").exists():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.communicate()
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    first, second = json.loads(done.stdout.splitlines()[-1])["lines"]
    assert first["reused"] == 2 and second["reused"] >= 2 and second["reused"] + second["rendered"] == 30
    with np.load(tmp_path / "two" / "landmarks.npz") as file:
        assert len(file["landmarks"]) == 30


def test_a_fault_in_one_line_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def make(argv: tuple[str, ...], progress: Any) -> dict[str, Any]:
        if argv == ("bad",):
            raise ZeroDivisionError("oh")
        progress("frames", 1, 1)
        return {"take": argv[0]}

    stages: list[str] = []
    told = batch.run(
        [batch.Line(1, ("bad",)), batch.Line(2, ("good",))],
        make,
        lambda stage, done, total: stages.append(stage),
        lambda line, result: None,
    )
    assert told["failed"] == 1 and "ZeroDivisionError: oh" in told["lines"][0]["error"] and stages == ["2/2 frames"]
    assert "Traceback" in capsys.readouterr().err
