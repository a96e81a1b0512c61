"""The paper's audio representation: streaming, what it predicts, its training, and the manifold projection."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from engine.audio import features
from engine.audio.apc import APC, WEIGHTS, Config, apc_features
from engine.audio.load import Sound, open_audio
from engine.audio.manifold import BANK, Manifold, weights
from engine.errors import InputError, MissingModel
from engine.training import audio

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

# The network


@pytest.fixture(scope="module")
def network() -> APC:
    """The network that ships."""
    return APC.load("cpu")


def test_a_step_depends_on_the_past_alone() -> None:
    torch.manual_seed(0)
    net = APC(Config(mels=4, width=8, layers=2))
    x = torch.randn(1, 12, 4)
    changed = x.clone()
    changed[:, 7:] += 1
    a, b = net(x)[0], net(changed)[0]
    assert torch.equal(a[:, :7], b[:, :7]) and not torch.allclose(a[:, 7:], b[:, 7:])


def test_layers_are_joined_past_one_another() -> None:
    torch.manual_seed(0)
    net = APC(Config(mels=4, width=8, layers=2))
    x = torch.randn(2, 5, 4)
    first = net.layers[0](x)[0]
    features_, state = net(x)
    torch.testing.assert_close(features_, first + net.layers[1](first)[0])
    assert state.shape == (2, 2, 8)


@pytest.mark.parametrize("seconds", [0.05, 0.31, 10.0])
def test_the_same_numbers_however_sound_is_cut(network: APC, words: Path, seconds: float) -> None:
    sound = open_audio(words)
    whole = np.concatenate(list(apc_features(sound, network, 100.0)))
    cut = np.concatenate(list(apc_features(sound, network, seconds)))
    assert whole.shape == (int(1.5 * 120) + 1, 512) and whole.dtype == np.float32
    np.testing.assert_allclose(cut, whole, atol=1e-4)


def test_an_hour_is_streamed_in_blocks(network: APC, words: Path) -> None:
    class Hour(Sound):
        def blocks(self, rate: int, seconds: float = 1.0) -> Iterator[np.ndarray]:
            for _ in range(3600):
                read.append(1)
                yield np.zeros(rate, np.float32)

    read: list[int] = []
    hour = apc_features(Hour(words, 24000, 1, 3600.0), network, 1.0)
    for _ in range(5):
        assert len(next(hour)) <= 120
    assert len(read) <= 6  # no more is read than is asked for


def test_it_knows_better_than_a_copy_what_comes(network: APC) -> None:
    """Of speakers it was never trained on."""
    clips = sorted((DATA / "grid_others").glob("*.mp4"))[::3]
    if not clips:
        pytest.skip(f"needs {DATA / 'grid_others'}")
    heard = [audio.mels(path) for path in clips]
    copied = np.concatenate([np.abs((mel[3:] - mel[:-3]) / network.scale.numpy()).mean(1) for mel in heard]).mean()
    assert audio.held_out(network, heard) < 0.95 * copied
    untrained = audio.fresh(0, network.mean.numpy(), network.scale.numpy())
    assert audio.held_out(network, heard) < 0.5 * audio.held_out(untrained, heard)


def test_another_voice_another_microphone_and_silence(network: APC, speech: Path, silence: Path) -> None:
    mel = audio.mels(speech)
    untrained = audio.fresh(0, network.mean.numpy(), network.scale.numpy())
    assert audio.held_out(network, [mel]) < 0.5 * audio.held_out(untrained, [mel])
    assert np.isfinite(np.concatenate(list(apc_features(open_audio(silence), network)))).all()


def test_shipped_weights_are_small_and_told_of() -> None:
    assert WEIGHTS.stat().st_size + BANK.stat().st_size < 12e6
    card = WEIGHTS.with_suffix(".md").read_text()
    for word in ("grid_s1", "addresses", "facegood", "engine.training.audio", "CC BY"):
        assert word in card


def test_missing_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match=r"none\.safetensors"):
        APC.load(path=tmp_path / "none.safetensors")
    with pytest.raises(MissingModel, match=r"none\.safetensors"):
        Manifold.load(path=tmp_path / "none.safetensors")


# Its training


@pytest.fixture
def data(tmp_path: Path, speech: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like shared/data with 5 s of training sound, and a training of two streams."""
    samples, rate = soundfile.read(speech, dtype="float32")
    for folder, names, ending in (
        ("grid_s1", [f"c{i:03d}" for i in range(102)], "mp4"),
        ("addresses", ["a"], "mp4"),
        ("facegood", ["2_01", "3_16"], "flac"),
        ("grid_others", ["o"], "mp4"),
    ):
        (tmp_path / folder).mkdir()
        for i, name in enumerate(names):
            held_out = name == "3_16" or i >= 2
            piece = samples[:800] if held_out else samples[i * rate : (i + 1) * rate]
            file = tmp_path / folder / f"{name}.flac"
            soundfile.write(file, piece, rate)
            shutil.move(file, file.with_suffix(f".{ending}"))  # the content tells, not the name
    for name, value in {"STREAMS": 2, "STEP": 20, "SAVE_EVERY": 2, "CHECK_EVERY": 2, "BANK": 16}.items():
        monkeypatch.setattr(audio, name, value)
    monkeypatch.setattr(audio, "APC", lambda: APC(Config(width=16)))
    return tmp_path


def test_only_what_may_be_learned_from_is(data: Path) -> None:
    files = audio.recordings(data)
    assert [path.stem for path in files["train"]] == ["c000", "c001", "a", "2_01"]
    assert [path.stem for path in files["facegood"]] == ["3_16"]
    assert all(path.stem > "c001" for path in files["grid_s1"])
    with pytest.raises(InputError, match="grid_s1"):
        audio.recordings(data / "facegood")


def test_interrupted_training_ends_in_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def train(name: str, resume: bool = False) -> dict[str, torch.Tensor]:
        options = audio.Options(data, tmp_path / name, tmp_path / f"{name}.safetensors", steps=12)
        audio.train(options, resume, said.append)
        return load_file(options.out)

    whole = train("whole")
    save = audio.Training.save

    def cut(training: audio.Training) -> None:
        save(training)
        if training.done == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(audio.Training, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        train("cut")
    monkeypatch.setattr(audio.Training, "save", save)
    again = train("cut", resume=True)
    assert whole.keys() == again.keys()
    for name in whole:
        assert whole[name].dtype == torch.float16
        assert torch.equal(whole[name], again[name]), name
    assert torch.equal(*(load_file(tmp_path / f"{name}_bank.safetensors")["bank"] for name in ("whole", "cut")))
    losses = [
        list(csv.DictReader((tmp_path / name / "loss.csv").read_text().splitlines())) for name in ("whole", "cut")
    ]
    assert losses[0] == losses[1] and [row["step"] for row in losses[0]] == ["2", "4", "6", "8", "10", "12"]
    with pytest.raises(InputError, match="no checkpoint"):
        train("other", resume=True)
    with pytest.raises(InputError, match="--steps 12"):
        audio.train(audio.Options(data, tmp_path / "cut", tmp_path / "c.safetensors", steps=20), True, said.append)


def test_the_learning_rate_falls_at_the_end_alone() -> None:
    rates = {steps: [audio.learning_rate(step, steps) for step in range(steps)] for steps in (600, 900)}
    assert rates[600][:540] == rates[900][:540]
    assert max(rates[600]) < audio.PEAK and rates[600][0] == pytest.approx(audio.PEAK / 40)
    assert rates[600][540:] == sorted(rates[600][540:], reverse=True) and rates[600][-1] < 0.01 * audio.PEAK


def test_training_learns(data: Path, speech: Path, tmp_path: Path) -> None:
    mel = audio.mels(speech)
    training = audio.Training(audio.Options(data, tmp_path, steps=150), [[mel]])
    before = audio.held_out(training.network, [mel])
    for _ in range(150):
        training.step()
    assert audio.held_out(training.network, [mel]) < 0.9 * before


def test_streams_follow_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "STREAMS", 2)
    monkeypatch.setattr(audio, "STEP", 20)
    clips = [[np.full((50 + 10 * i, 80), float(i), np.float32)] for i in range(8)]
    one, same, other = (audio.Hearing(clips, seed, 3) for seed in (0, 0, 1))
    assert one.steps == (sum(50 + 10 * i for i in range(8)) // 2 - 3) // 20
    for number in range(one.steps + 1):
        a, b, c = one.step(number), same.step(number), other.step(number)
        assert a.shape == (2, 20 + 3, 80)
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.array_equal(same.step(0), audio.Hearing(clips, 0, 3).step(0))  # going back finds the same again


def test_louder_is_what_louder_sound_gives(words: Path) -> None:
    sound = open_audio(words)

    class Half(Sound):
        def blocks(self, rate: int, seconds: float = 1.0) -> Iterator[np.ndarray]:
            return (block / 2 for block in sound.blocks(rate, seconds))

    half = np.concatenate(list(features.log_mel(Half(words, sound.rate, 1, sound.duration))))
    np.testing.assert_allclose(audio.louder(audio.mels(words), -20 * np.log10(2)), half, atol=1e-4)


def test_representatives_are_features_from_everywhere() -> None:
    generator = torch.Generator().manual_seed(0)
    crowds = torch.cat([torch.randn(n, 2, generator=generator) * 0.1 + at for n, at in ((900, 0), (60, 10), (40, 20))])
    chosen = audio.representatives(crowds, 12, seed=0)
    assert 3 <= len(chosen) <= 12
    assert all((crowds == one).all(1).any() for one in chosen)
    for at in (0, 10, 20):
        assert ((chosen - at).abs().max(1).values < 1).any()
    assert torch.equal(chosen, audio.representatives(crowds, 12, seed=0))
    assert torch.equal(audio.representatives(crowds[:5], 12, 0), crowds[:5])


# Manifold projection


def test_weights_by_hand() -> None:
    around = torch.tensor([[[0.0], [1.0]]], dtype=torch.float64)
    found = weights(torch.tensor([[0.25]], dtype=torch.float64), around, 1e-9)
    assert found[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-6)
    # Outside of both neighbours the line goes on; G = [[4, 2], [2, 1]] for h = 2.
    found = weights(torch.tensor([[2.0]], dtype=torch.float64), around, 1e-9)
    assert found[0].tolist() == pytest.approx([-1, 2], abs=1e-6)
    # With regularisation 1: G + 2.5 I = [[6.5, 2], [2, 3.5]] → w ~ (1.5, 4.5) / 18.75.
    found = weights(torch.tensor([[2.0]], dtype=torch.float64), around, 1.0)
    assert found[0].tolist() == pytest.approx([0.25, 0.75])


def test_weights_sum_to_one_and_are_the_best() -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(5, 30, generator=generator, dtype=torch.float64)
    around = torch.randn(5, 10, 30, generator=generator, dtype=torch.float64)
    w = weights(h, around, 1e-9)
    torch.testing.assert_close(w.sum(1), torch.ones(5, dtype=torch.float64))
    error = (h - (w[..., None] * around).sum(1)).norm(dim=1)
    for _ in range(20):
        other = w + (change := 0.05 * torch.randn(w.shape, generator=generator)) - change.mean(1, keepdim=True)
        assert ((h - (other[..., None] * around).sum(1)).norm(dim=1) > error).all()


def test_a_feature_is_brought_to_the_manifold() -> None:
    """Training features lie on a line in space: what is off it is rebuilt at its foot."""
    line = torch.linspace(0, 10, 41)[:, None] * torch.tensor([[1.0, 1.0, 0.0]])
    manifold = Manifold(line, neighbours=3)
    off = torch.tensor([[4.0, 5.0, 0.7], [2.5, 2.5, 0.0]])
    torch.testing.assert_close(
        manifold.project(off), torch.tensor([[4.5, 4.5, 0.0], [2.5, 2.5, 0.0]]), atol=0.02, rtol=0
    )
    assert manifold.nearest(torch.tensor([[1.0, 1.0, 0.0]]))[0].tolist()[0] == 4
    assert manifold.project(off[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="41 features"):
        Manifold(line, neighbours=42)


def test_projection_of_speech_stays_near_and_leaves_noise_behind(network: APC, words: Path) -> None:
    manifold = Manifold.load()
    assert manifold.bank.shape[1] == 512 and 1000 < len(manifold.bank) <= 2048
    speech = torch.from_numpy(np.concatenate(list(apc_features(open_audio(words), network))))
    made = manifold.project(speech)
    again = manifold.project(made)
    spread = manifold.bank.std(0).norm()
    assert (made - speech).norm(dim=1).mean() < 0.6 * spread
    assert (again - made).norm(dim=1).mean() < (made - speech).norm(dim=1).mean()
    torch.testing.assert_close(torch.cat([manifold.project(part) for part in speech.split(7)]), made, atol=1e-3, rtol=0)
