"""A rig's mouth as landmarks, and what training takes from it."""

from pathlib import Path

import numpy as np
import pytest

from engine.audio.load import open_audio
from engine.motion.net import LOWER_FACE, encode, mouth_opening, mouth_width
from engine.training import rig
from engine.training.motion import audible, examples, fit_basis
from engine.training.rig import HELD_OUT, mouths, movements, takes

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "facegood").is_dir(), reason="needs ../shared/data/facegood")


def test_the_rigs_jaw_opens_a_mouth_and_its_pucker_narrows_it() -> None:
    moves = np.stack(list(movements(DATA).values()))
    assert mouth_opening(moves[0]) > 0.2  # mouth_stretch_c, the jaw
    narrowed = [mouth_width(move) for move in moves[3:5]]  # mouth_pucker_l, _r
    assert max(narrowed) < -0.02


def test_a_take_speaks_and_rests_closed() -> None:
    take = takes(DATA)[0]
    mouth = mouths(DATA, take)
    opening = mouth_opening(mouth)
    assert 0.1 < np.percentile(opening, 95) < 0.4 and abs(np.median(opening[:25])) < 0.01
    assert not mouth[:, [k for k in range(68) if k not in LOWER_FACE]].any()


def test_held_out_takes_are_there_and_others_too() -> None:
    names = {take.stem for take in takes(DATA)}
    assert set(HELD_OUT) < names and len(names) == 7


def test_nothing_is_learned_of_a_rigs_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    take = min(takes(DATA), key=lambda take: take.stat().st_size)
    monkeypatch.setattr(rig, "HELD_OUT", [other.stem for other in takes(DATA) if other != take])
    monkeypatch.setattr(rig, "speech_features", lambda sound, encoder: [np.zeros((round(sound.duration * 50), 512))])
    (clip,) = rig.rig_clips(DATA, None)  # type: ignore[arg-type]
    assert clip.name == take.stem and clip.known is not None
    quiet = ~audible(open_audio(take), clip.steps)
    assert 0.2 < clip.known.mean() < 0.9 and clip.known[quiet].mean() < 0.35 and clip.known[~quiet].all()
    basis = fit_basis([clip], 4)
    (made,) = examples([clip], [encode(clip.offsets, basis)], np.ones(4))
    assert (made.known.numpy() == clip.known).all()
