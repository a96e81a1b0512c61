"""The command line as a person meets it: exit status, one line of words, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from engine.cli import main

REPO = Path(__file__).resolve().parents[2]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line an unacceptable command answers with; asserts its form and status."""
    status = main(arguments)
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("parlando")]
    assert status == 2 and len(lines) == 1 and "Traceback" not in told.err
    return lines[0]


def dub(audio: Path, image: Path, out: Path, *more: str) -> list[str]:
    return [
        "dub",
        "--audio",
        str(audio),
        "--image",
        str(image),
        "--out",
        str(out),
        "--fps",
        "12",
        "--no-preview",
        *more,
    ]


def corrupt(path: Path) -> Path:
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    return path


def test_bad_sound(tmp_path: Path, portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0, np.float32), 16000)
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(100, np.float32), 16000)
    pictures = tmp_path / "mute.png"
    cv2.imwrite(str(pictures), np.zeros((64, 64, 3), np.uint8))
    for bad in (tmp_path / "absent.wav", corrupt(tmp_path / "corrupt.wav"), empty, short, pictures, tmp_path):
        assert bad.name in refused(dub(bad, portrait, tmp_path / "out"), capsys)
        assert not (tmp_path / "out").exists()


def test_bad_pictures(tmp_path: Path, words: Path, portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = tmp_path / "nobody.png"
    cv2.imwrite(str(nobody), np.full((300, 300, 3), 127, np.uint8))
    tiny = tmp_path / "tiny.png"
    face = cv2.imread(str(portrait))[20:220, 130:330]
    room = np.full((400, 400, 3), 90, np.uint8)
    room[100:136, 100:136] = cv2.resize(face, (36, 36), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tiny), room)
    for bad in (tmp_path / "absent.png", corrupt(tmp_path / "corrupt.png"), nobody, tiny):
        assert bad.name in refused(dub(words, bad, tmp_path / "out"), capsys)
        assert not (tmp_path / "out").exists()
    assert "face" in refused(dub(words, portrait, tmp_path / "out", "--face", "3"), capsys)


def test_bad_settings(tmp_path: Path, words: Path, portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (
        ("--strength", "9"),
        ("--strength", "nan"),
        ("--head", "-1"),
        ("--frames", "0"),
        ("--frames", "1000000000000"),
        ("--seed", "-1"),
        ("--fps", "fast"),
        ("--fps", "1000"),
    ):
        told = refused(dub(words, portrait, tmp_path / "out", option, value), capsys)
        assert option[2:] in told or "frame rate" in told.lower()
        assert not (tmp_path / "out").exists()


def test_bad_style(tmp_path: Path, words: Path, portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.numpy import save_file

    newer = tmp_path / "newer.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, newer, metadata={"format": "parlando-style", "version": "99"})
    for bad in (tmp_path / "absent.safetensors", corrupt(tmp_path / "corrupt.safetensors"), newer):
        assert bad.name in refused(dub(words, portrait, tmp_path / "out", "--style", str(bad)), capsys)
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as on Unix")
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, words: Path, portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "file" in refused(dub(words, portrait, tmp_path / "file" / "take"), capsys)
    if Path("/proc/self").exists():  # cannot be written by root either
        assert "/proc" in refused(dub(words, portrait, Path("/proc/take")), capsys)


def test_a_name_the_system_refuses_is_told_by_every_verb(
    tmp_path: Path, words: Path, portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too long for a file. Permissions are refused in the same way, to everybody but root, who may run this."""
    long, out = str(tmp_path / ("x" * 300)), str(tmp_path / "out")
    made = ["render", "--landmarks", str(tmp_path / "l.npz"), "--image", str(portrait), "--out", out]
    assert main(["landmarks", str(portrait), "--out", str(tmp_path / "l.npz")]) == 0
    for arguments in (
        dub(Path(long), portrait, Path(out)),
        dub(words, portrait, Path(long)),
        dub(words, portrait, Path(out), "--style", long),
        [*made, "--take", long],
        [*made, "--audio", long],
        [*made[:-1], long],
        ["style", long, "--out", f"{out}.safetensors"],
        ["landmarks", long, "--out", f"{out}.npz"],
        ["landmarks", str(portrait), "--out", long],
        ["phones", "--audio", long, "--out", f"{out}.json"],
        ["evaluate", "--generated", long, "--truth", out],
        ["train", "motion", "--data", long],
        ["train", "motion", "--data", str(tmp_path / "nope")],
    ):
        told = refused(arguments, capsys)
        assert "nope" in told or "x" * 300 in told
        assert [path.name for path in tmp_path.iterdir()] == ["l.npz"]


def test_a_bad_name_in_a_list_stops_none_of_the_others(
    tmp_path: Path, words: Path, portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{'x' * 300},{portrait},bad", f"{words},{portrait},good"]
    (tmp_path / "list.csv").write_text(
        "\n".join(["audio,image,out,frames,no-preview", *(f"{row},1,yes" for row in rows)])
    )
    assert main(["batch", str(tmp_path / "list.csv")]) == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.err and "File name too long" in told.err and (tmp_path / "good").is_dir()


def test_wrong_options_are_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["dub"], ["sing"], [], ["dub", "--seed", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_dub_from_outside_with_json(tmp_path: Path, words: Path, portrait: Path) -> None:
    command = [sys.executable, "-m", "engine", *dub(words, portrait, tmp_path / "out", "--json")]
    ran = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert result["frames"] == 18 and result["size"] == [512, 512] and (tmp_path / "out" / "take.json").exists()


def test_ctrl_c_is_130_and_keeps_whole_frames_only(tmp_path: Path, speech: Path, portrait: Path) -> None:
    command = [sys.executable, "-m", "engine", *dub(speech, portrait, tmp_path / "out", "--json")]
    process = subprocess.Popen(command, cwd=REPO, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list((tmp_path / "out" / "frames").glob("0*.png")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err
    assert not list((tmp_path / "out").rglob("*.part"))
    assert list((tmp_path / "out" / "frames").glob("0*.png"))


def test_an_interrupt_that_a_library_drops_still_ends_the_verb(
    tmp_path: Path, speech: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python ignores what is raised in a finaliser: there Ctrl+C comes once, and is lost."""

    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    sent: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    from engine.cli import _Bars

    progressed = _Bars.__call__

    def progress(self: _Bars, stage: str, done: int, total: int) -> None:
        if stage == "frames" and done == 2 and not sent:
            sent.append(Finalised())
            sent[0] = None  # raised and dropped here, on the main thread
        progressed(self, stage, done, total)

    monkeypatch.setattr(_Bars, "__call__", progress)
    try:
        assert main(dub(speech, portrait, tmp_path / "out")) == 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert sent and "interrupted" in capsys.readouterr().err
    assert 0 < len(list((tmp_path / "out" / "frames").glob("0*.png"))) < 270


def test_doctor_tells(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["packages"]["torch"] and found["device"]
    assert {m["name"] for m in found["models"]} >= {"face", "whisper_base"}
    assert found["weights"] and (status == 0) == (found["problems"] == [])


def test_doctor_offline_and_missing_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Path, portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARLANDO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PARLANDO_OFFLINE", "1")
    assert main(["doctor"]) == 2
    assert "parlando doctor --fetch" in capsys.readouterr().out
    assert "parlando doctor --fetch" in refused(dub(words, portrait, tmp_path / "out"), capsys)
    assert not (tmp_path / "out").exists()


def test_landmarks_of_a_picture(tmp_path: Path, portrait: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["landmarks", str(portrait), "--out", str(tmp_path / "l.npz")]) == 0
    with np.load(tmp_path / "l.npz", allow_pickle=False) as file:
        assert file["landmarks"].shape == (1, 68, 3) and list(file["size"]) == [512, 512]
    refused(["landmarks", str(tmp_path / "none.png"), "--out", str(tmp_path / "m.npz")], capsys)
    assert not (tmp_path / "m.npz").exists()
