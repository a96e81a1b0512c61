"""Phones: what Kennedy says, when; long sounds in pieces; silence; the file and its errors."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.audio.load import open_audio
from engine.audio.phones import PIECE, RATE, SILENCE, VISEME, Phone, phones, pieces
from engine.cli import main
from engine.errors import InputError

JFK = Path(__file__).resolve().parents[2] / "demo" / "source" / "jfk.wav"
WORDS = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def speech(found: list[Phone]) -> list[Phone]:
    return [phone for phone in found if phone.name not in SILENCE]


@pytest.fixture(scope="module")
def given() -> list[Phone]:
    return speech(phones(open_audio(JFK), WORDS))


def test_every_word_where_it_is_heard(given: list[Phone]) -> None:
    assert all(a.end <= b.start + 1e-6 for a, b in pairwise(given))
    assert {p.name for p in given} <= set(VISEME)
    text = "".join(p.name + " " for p in given)
    assert text.startswith(("AE N D S OW M AY F EH L OW", "AH N D S OW M AY F EH L OW"))
    audio, _ = soundfile.read(JFK)
    loud = [np.sqrt((audio[int(p.start * 16000) : int(p.end * 16000)] ** 2).mean()) for p in given]
    pauses = [
        np.sqrt((audio[int(a.end * 16000) : int(b.start * 16000)] ** 2).mean())
        for a, b in pairwise(given)
        if b.start - a.end > 0.3
    ]
    assert len(pauses) >= 2 and np.median(loud) > 4 * np.median(pauses)


def test_guessed_words_give_much_the_same(given: list[Phone]) -> None:
    guessed = speech(phones(open_audio(JFK)))
    starts = np.array([p.start for p in guessed])
    near = [np.abs(starts - p.start).min() < 0.05 for p in given]
    chance = [np.abs(starts - (p.start * 0.37 + 2.0)).min() < 0.05 for p in given]  # other times of the same sound
    assert np.mean(near) > 0.7 and np.mean(near) > np.mean(chance)


def test_long_sounds_are_heard_in_pieces(tmp_path: Path) -> None:
    audio, rate = soundfile.read(JFK)
    soundfile.write(tmp_path / "long.wav", np.tile(audio, 3), rate)
    sound = open_audio(tmp_path / "long.wav")
    parts = list(pieces(sound))
    assert len(parts) >= 2 and all(len(part) <= PIECE * RATE for _, part in parts)
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), sound.read(RATE))
    assert [start for start, _ in parts[:2]] == [0, len(parts[0][1])]
    once, thrice = speech(phones(open_audio(JFK))), speech(phones(sound))
    assert 2.4 * len(once) < len(thrice) < 3.6 * len(once)
    soundfile.write(tmp_path / "longer.wav", np.tile(audio, 6), rate)
    with pytest.raises(InputError, match="at most 60 s"):
        phones(open_audio(tmp_path / "longer.wav"), WORDS)
    assert thrice[-1].end > 2 * sound.duration / 3 and thrice[-1].end <= sound.duration + 0.05


def test_silence_has_none_and_the_file_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "still.wav", np.zeros(3 * 16000), 16000)
    out = tmp_path / "phones.json"
    assert main(["phones", "--audio", str(tmp_path / "still.wav"), "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == {"phones": []} and "Nobody speaks" in capsys.readouterr().out
    assert main(["phones", "--audio", str(JFK), "--words", WORDS, "--out", str(out), "--json"]) == 0
    told = json.loads(out.read_text())["phones"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["count"] == len(told) > 60
    assert {"name": "M", "viseme": "MBP"}.items() <= next(p for p in told if p["name"] == "M").items()


def test_words_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "short.wav", soundfile.read(JFK)[0][:8000], 16000)
    with pytest.raises(InputError, match="aligned"):
        phones(open_audio(tmp_path / "short.wav"), WORDS)
    gone = str(tmp_path / "gone.wav")
    assert main(["phones", "--audio", gone, "--out", str(tmp_path / "p.json")]) == 2
    assert "gone.wav" in capsys.readouterr().err and not (tmp_path / "p.json").exists()
