"""A rig's mouth as landmarks, and what training takes from it."""

from pathlib import Path

import numpy as np
import pytest

from engine.motion.net import LOWER_FACE, encode, mouth_opening, mouth_width
from engine.training.motion import Clip, examples, fit_basis
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


def test_nothing_is_learned_of_a_rigs_pauses() -> None:
    rng = np.random.default_rng(0)
    offsets = np.zeros((40, 68, 3), np.float32)
    offsets[:, LOWER_FACE] = 0.1 * rng.standard_normal((40, len(LOWER_FACE), 3))
    speech = np.repeat([0.0, 1.0], 20).astype(np.float32)
    clip = Clip("a", "facegood", rng.standard_normal((40, 512)).astype(np.float32), offsets, speech, kind="rig")
    basis = fit_basis([clip], 4)
    (made,) = examples([clip], [encode(offsets, basis)], np.ones(4))
    assert not made.known[:, :20].any() and made.known[:, 20:].all()
