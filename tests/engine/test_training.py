"""Training: a resumed one goes on as if it had never stopped, two processes learn what one does, stages are told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.cli import main
from engine.errors import InputError
from engine.face import find
from engine.face.image import load
from engine.render.generator import FAR, SLOTS
from engine.render.pattern import SIZE, cut, facial_map, square_of, support
from engine.training import generator, loop
from engine.training.generator import Pairs

REPO = Path(__file__).resolve().parents[2]
POINTS = np.array([[20 + 88 * i / 67, 40 + 30 * np.sin(i)] for i in range(68)])


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Twelve of noise: what is learned from them is of no interest, that it is the same is."""
    rng = np.random.default_rng(0)
    count = 12

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 255, (count, *shape), np.uint8)

    lips = np.rint(255 * support(POINTS)).astype(np.uint8)
    return Pairs(
        noise(SIZE, SIZE, 3),
        np.stack([facial_map(POINTS)] * count),
        noise(SIZE, SIZE, 3),
        noise(SLOTS, SIZE, SIZE, 4),
        np.stack([lips] * count),
        rng.uniform(0, 0.2, (count, 1 + SLOTS)).astype(np.float32),
        np.ones(count, np.float32),
    )


def test_patterns_come_in_any_order_and_keep_their_distance(pairs: Pairs) -> None:
    """In the order None, M, R, O the network learned to prefer one slot to another."""
    light = 40 * np.arange(1, 1 + SLOTS, dtype=np.uint8)  # the further away, the lighter
    patterns = np.broadcast_to(light[:, None, None, None], pairs.patterns.shape).copy()
    patterns[..., 3] = 255
    far = np.broadcast_to(0.05 * np.arange(1 + SLOTS, dtype=np.float32), pairs.apart.shape)
    told = replace(pairs, patterns=patterns, apart=far)
    lightest = set()
    for step in range(20):
        batch = generator.drawn_batch(told, 0, step, range(1))
        there = batch.patterns[0, :, 3].amax((1, 2)) > 0
        seen = batch.patterns[0, there, :3].mean((1, 2, 3))
        np.testing.assert_array_equal(seen.argsort(), batch.apart[0, 1:][there].argsort())
        lightest.add(int(there.nonzero()[seen.argmax(), 0]))
    assert lightest == set(range(SLOTS))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "BATCH", 2)
    monkeypatch.setattr(generator, "SAVE_EVERY", 2)
    monkeypatch.setattr(generator, "JUDGED_FROM", 1)
    monkeypatch.setattr(generator, "JUDGED_FULLY", 3)


@contextmanager
def cut_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A training that somebody stops just after its checkpoint of so many steps."""
    save = loop.Checkpoint.save

    def cut(kept: loop.Checkpoint, more: dict[str, torch.Tensor]) -> None:
        save(kept, more)
        if kept.done == steps:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Checkpoint, "save", cut)
        yield


def test_a_resumed_training_goes_on_as_if_it_had_never_stopped(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str, steps: int = 6, resume: bool = False) -> dict[str, torch.Tensor]:
        out = tmp_path / f"{name}.safetensors"
        generator.train(pairs, tmp_path / name, out, steps, width=8, resume=resume, tell=lambda words: None)
        return load_file(out)

    whole = train("whole")
    with cut_after(4, monkeypatch):
        train("cut")
    again = train("cut", resume=True)
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    assert (tmp_path / "whole.png").stat().st_size > 5000  # the plot
    table = (tmp_path / "whole" / "loss.csv").read_text().splitlines()
    assert table == (tmp_path / "cut" / "loss.csv").read_text().splitlines() and len(table) == 4
    with pytest.raises(InputError, match="--steps 6"):
        train("cut", steps=8, resume=True)
    with pytest.raises(InputError, match="no checkpoint"):
        train("new", resume=True)


SCRIPT = """
import sys
import torch
from pathlib import Path
from safetensors.torch import save_file
sys.path.insert(0, {tests!r})
import test_training as t
from engine.training import generator, loop
torch.set_num_threads(1)
with loop.together() as (rank, size):
    torch.manual_seed(1)
    net, judge = generator.StyleAwareGenerator(8), generator.Judge(4)
    batch = generator.drawn_batch(t.pairs.__wrapped__(), 0, 5, loop.share(generator.BATCH, rank, size))
    generator.learn(net, judge, batch, 0.0)
    loop.average_gradients(net, size)
    if rank == 0:
        save_file({{n: p.grad.contiguous() for n, p in net.named_parameters()}}, sys.argv[1])
"""


def test_two_processes_give_the_gradient_of_one(tmp_path: Path) -> None:
    script = tmp_path / "gradient.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.safetensors"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        subprocess.run([*command, str(script), str(out)], check=True, env=environment, capture_output=True, cwd=REPO)
        found.append(load_file(out))
    moved = 0
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-3, atol=1e-6), name
        moved += int(value.abs().max() > 1e-5)
    assert moved > 10  # not equal because there is none


def test_a_batch_that_cannot_be_dealt_out_is_told() -> None:
    assert [list(loop.share(8, rank, 2)) for rank in (0, 1)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(InputError, match="cannot be dealt out to 3"):
        loop.share(8, 0, 3)


def test_the_verb_tells_stages_it_does_not_know(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "nose", "--data", str(tmp_path)]) == 2
    assert "choose of audio, mesh, mouth, motion, head, style, styles, generator, all" in capsys.readouterr().err


def test_a_smile_closed_by_warping_is_to_be_opened_again(portrait: Path) -> None:
    made = generator.portrait_pairs(portrait, [portrait], 0, 2.0, 0)
    assert made is not None and len(made.weight) == 1 + generator.SPOKEN and (made.weight == 2).all()
    picture = load(portrait)
    points = find.find(picture).landmarks
    own = cut(picture.rgb, square_of(points), SIZE).astype(int)
    assert np.abs(made.truth[0].astype(int) - own).mean() < 0.5  # the truth is the portrait itself
    inside = made.drawn[0, ..., 0] > 200
    assert inside.sum() > 50
    light = [one[0][inside].mean() for one in (made.truth, made.warped)]
    assert light[0] > light[1] + 20  # its teeth are bright, and nothing of them came through the closed lips
    assert (made.patterns[..., 3].max((2, 3)) > 0).sum(1).tolist() == [3] * 4  # two of its own moments, one stranger
    assert (made.apart[:, 4] == FAR).all() and (made.apart[:, :4] < FAR).all() and made.apart[0, 0] > 0.02


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")  # steps drawn again take none
def test_the_motion_generators_training_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.training import motion

    rng = np.random.default_rng(1)
    steps = 300
    talk = np.sin(np.arange(steps) / 5)[:, None]
    basis = rng.standard_normal((3, 68, 3)).astype(np.float32)
    codes = np.abs(talk * rng.uniform(0.02, 0.2, 3)).astype(np.float32)
    offsets = np.einsum("tk,kij->tij", codes, basis)
    features = (talk + 0.1 * rng.standard_normal((steps, 512))).astype(np.float32)
    clip = motion.Clip("a", "a", features, offsets, np.ones(steps, np.float32), free=True)
    monkeypatch.setattr(motion, "SAVE_EVERY", 2)

    def train(work: Path, resume: bool = False) -> dict[str, torch.Tensor]:
        recipe = motion.Recipe((6, 8), members=2)
        return motion.train_all([clip], [codes], basis, recipe, work=work, resume=resume).state_dict()

    whole = train(tmp_path / "whole")
    with cut_after(4, monkeypatch):
        train(tmp_path / "cut")
    assert not (tmp_path / "cut" / "8").exists()
    again = train(tmp_path / "cut", resume=True)
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    apart = [motion.train([clip], [codes], basis, steps, 0, members=2).state_dict() for steps in (6, 8)]
    assert torch.equal(whole["near.weight"], torch.cat([one["near.weight"] for one in apart]))
    assert torch.equal(whole["mean"], apart[1]["mean"]) and len(whole["answer.bias"]) == 4 * 5
