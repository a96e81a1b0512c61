"""The process Blender talks to: protocol, queue, cancel, garbage, end of stdin."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import cv2
import numpy as np
import pytest

from engine import protocol
from engine.face import find, image
from engine.take import Landmarks, read_frame

REPO = Path(__file__).resolve().parents[2]


class Served:
    """A real engine process and its events."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine", "serve"],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.decode("ascii"))

    def send(self, line: str | bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line if isinstance(line, bytes) else line.encode())
        self.process.stdin.flush()

    def ask(self, number: int, verb: str, **params: Any) -> None:
        self.send(protocol.encode(protocol.request(number, verb, **params)))

    def next(self, *events: str, id: int | None = None) -> dict[str, Any]:
        """The next event of these kinds; every line must be an event."""
        while True:
            event = protocol.decode_event(self.lines.get(timeout=90))
            if event["event"] in events and (id is None or event["id"] == id):
                return event


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served()
    hello = made.next("hello")
    assert hello["protocol"] == protocol.PROTOCOL_VERSION and hello["pid"] == made.process.pid
    yield made
    assert made.process.stdin is not None
    made.process.stdin.close()
    assert made.process.wait(timeout=10) == 0


def dub(words: Path, portrait: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {"audio": str(words), "image": str(portrait), "out": str(out), "fps": [12, 1], "preview": False, **more}


def test_a_job_tells_its_progress_and_result(served: Served, words: Path, portrait: Path, tmp_path: Path) -> None:
    served.ask(1, "dub", **dub(words, portrait, tmp_path / "take"))
    assert served.next("started")["id"] == 1
    fractions = []
    while (event := served.next("progress", "done", "error"))["event"] == "progress":
        fractions.append(event["fraction"])
    assert event["event"] == "done" and event["result"]["frames"] == 18
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_jobs_queue_and_one_is_cancelled(
    served: Served, speech: Path, words: Path, portrait: Path, tmp_path: Path
) -> None:
    served.ask(10, "dub", **dub(speech, portrait, tmp_path / "long"))
    served.ask(11, "dub", **dub(words, portrait, tmp_path / "short"))
    served.ask(12, "dub", **dub(words, portrait, tmp_path / "never"))
    assert served.next("queued")["id"] == 11
    served.ask(13, "cancel", job=12)
    served.ask(14, "cancel", job=10)
    assert served.next("cancelled", "error")["id"] == 10
    assert served.next("done", id=11)["result"]["frames"] == 18
    assert served.next("cancelled", "error")["id"] == 12
    assert not (tmp_path / "never").exists()


def test_bad_input_is_one_sentence_and_the_engine_goes_on(
    served: Served, words: Path, portrait: Path, tmp_path: Path
) -> None:
    served.ask(20, "dub", **dub(tmp_path / "absent.wav", portrait, tmp_path / "take"))
    error = served.next("error")
    assert error["id"] == 20 and error["kind"] == "input" and "absent.wav" in error["message"] and not error["details"]
    served.ask(21, "dub", **dub(words, portrait, tmp_path / "take"), singing=True)
    assert "singing" in served.next("error")["message"]
    served.ask(22, "ping")
    assert served.next("done")["id"] == 22
    served.ask(23, "phones", audio="x" * 300, out=str(tmp_path / "p.json"))
    error = served.next("error")
    assert error["kind"] == "input" and "xxx cannot be used" in error["message"]


def test_values_are_checked_as_on_the_command_line(served: Served, words: Path, portrait: Path, tmp_path: Path) -> None:
    good = dub(words, portrait, tmp_path / "take")
    for wrong in (
        {"fps": [-25, 1]},
        {"fps": [10**30, 1]},
        {"fps": [25, 0]},
        {"fps": [25.5, 1]},
        {"fps": 25},
        {"frames": 2.5},
        {"frames": 10**12},
        {"side": -5},
        {"face": "0"},
        {"face": True},
        {"seed": -1},
        {"strength": "1"},
        {"strength": float("nan")},
        {"head": 10**400},
        {"preview": 1},
        {"mouth": "open"},
        {"format": "gif"},
        {"points": [["a", "b"]]},
        {"audio": 3},
        {"audio": "a\0b"},
        {"out": None},
    ):
        served.ask(24, "dub", **{**good, **wrong})
        error = served.next("error", "done", id=24)
        assert error["event"] == "error" and error["kind"] == "input" and not error["details"], wrong
        assert next(iter(wrong)) in error["message"]
    for verb, params in (
        ("style", {"source": str(portrait), "name": "a", "out": "b", "fit": -1}),
        ("style", {"source": str(portrait), "out": "b"}),
        ("landmarks", {"source": str(portrait), "out": "b", "face": "0"}),
        ("points", {"image": ["x"]}),
        ("phones", {"audio": str(words), "out": "b", "words": 3}),
        ("doctor", {"fetch": "yes"}),
        ("frame", {"landmarks": [[1, 2, 3]] * 67 + [[1]], "image": str(portrait), "out": "b"}),
        ("frame", {"landmarks": [[1, 2, None]] * 68, "image": str(portrait), "out": "b"}),
    ):
        served.ask(25, verb, **params)
        error = served.next("error", "done", id=25)
        assert error["event"] == "error" and error["kind"] == "input" and not error["details"], (verb, error)
    assert list(tmp_path.iterdir()) == []


def test_garbage_is_answered(served: Served) -> None:
    for garbage in ("hello?\n", "[1, 2]\n", '{"id": "x", "verb": "dub"}\n', '{"id": 1, "verb": "dance"}\n'):
        served.send(garbage)
        assert served.next("error")["id"] is None


def test_what_only_looks_like_a_request_is_answered(served: Served) -> None:
    deep = "[" * 100_000
    for job in ("[1]", "{}", '"1"', "null", "1.5"):
        served.send(f'{{"id": 1, "verb": "cancel", "params": {{"job": {job}}}}}\n')
        assert served.next("error", "done")["event"] == "error"
    for garbage in (b"\xff\n", b'{"id": 1, "verb": "ping\xe9"}\n', f"{deep}\n", f'{{"id": 1, "verb": {deep}\n'):
        served.send(garbage)
        assert served.next("error")["id"] is None
    served.ask(2, "ping")
    assert served.next("done")["id"] == 2


def test_doctor_and_landmarks(served: Served, portrait: Path, tmp_path: Path) -> None:
    served.ask(30, "doctor")
    assert served.next("done")["result"]["device"]
    served.ask(31, "landmarks", source=str(portrait), out=str(tmp_path / "l.npz"))
    assert served.next("done")["result"]["frames"] == 1


def test_a_frame_does_not_wait_for_a_job_and_is_the_very_one_of_the_take(
    served: Served, words: Path, speech: Path, portrait: Path, tmp_path: Path
) -> None:
    take = tmp_path / "take"
    served.ask(40, "dub", **dub(words, portrait, take))
    served.next("done", id=40)
    landmarks = Landmarks.load(take / "landmarks.npz")
    asked = {"landmarks": landmarks.landmarks[9].tolist(), "gaze": landmarks.looks[9].tolist(), "image": str(portrait)}
    asked["take"] = str(take)
    served.ask(41, "dub", **dub(speech, portrait, tmp_path / "long"))
    served.next("progress", id=41)
    served.ask(42, "frame", **asked, out=str(tmp_path / "live.png"))
    served.ask(43, "frame", **asked, out=str(tmp_path / "small.png"), side=128)
    answers = [served.next("done", "cancelled", "error") for _ in range(2)]
    served.ask(44, "cancel", job=41)
    assert {answer["id"] for answer in answers} == {42, 43}, "the long job ended first"
    assert served.next("cancelled", "done", id=41)["event"] == "cancelled"
    if not (tmp_path / "live.png").exists():  # 43 came before 42 was begun
        served.ask(45, "frame", **asked, out=str(tmp_path / "live.png"))
        assert served.next("done", "error", id=45)["result"]["size"] == list(landmarks.size)
    assert (read_frame(tmp_path / "live.png") == read_frame(take / "frames" / "000010.png")).all()
    small = read_frame(tmp_path / "small.png")
    assert max(small.shape) == 128
    shrunk = cv2.resize(read_frame(tmp_path / "live.png"), small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - shrunk).mean() < 3


def test_the_newest_frame_wins_and_bad_ones_are_told(served: Served, portrait: Path, tmp_path: Path) -> None:
    points = find.find(image.load(portrait)).landmarks.tolist()
    for number in range(50, 60):
        served.ask(number, "frame", landmarks=points, image=str(portrait), out=str(tmp_path / f"{number}.png"))
    ends = {(e := served.next("done", "cancelled", "error"))["id"]: e["event"] for _ in range(10)}
    assert ends[59] == "done" and "cancelled" in ends.values() and "error" not in ends.values()
    assert {n for n, event in ends.items() if event == "done"} == {int(p.stem) for p in tmp_path.glob("*.png")}
    served.ask(60, "frame", landmarks=points[:67], image=str(portrait), out=str(tmp_path / "x.png"))
    assert "68 points" in served.next("error", id=60)["message"]
    served.ask(61, "frame", landmarks=points, image=str(tmp_path / "gone.png"), out=str(tmp_path / "x.png"))
    assert "gone.png" in served.next("error", id=61)["message"]
    served.ask(62, "ping")
    assert served.next("done")["id"] == 62


def test_the_engine_ends_with_blender(words: Path, speech: Path, portrait: Path, tmp_path: Path) -> None:
    """In mid-job, when stdin ends."""
    served = Served()
    served.next("hello")
    served.ask(1, "dub", **dub(speech, portrait, tmp_path / "take"))
    served.next("progress")
    assert served.process.stdin is not None
    served.process.stdin.close()
    assert served.process.wait(timeout=10) == 0


def test_requests_and_events_are_checked() -> None:
    assert protocol.decode_request(protocol.encode(protocol.request(3, "dub", seed=1))) == (3, "dub", {"seed": 1})
    with pytest.raises(protocol.ProtocolError):
        protocol.request(1, "dance")
    for line in ("", "[]", json.dumps({"event": "dance"}), "{" * 10):
        with pytest.raises(protocol.ProtocolError):
            protocol.decode_event(line)
    assert "\n" not in protocol.encode({"event": "note", "message": f"two{os.linesep}lines"})[:-1]
