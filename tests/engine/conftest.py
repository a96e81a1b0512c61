"""Material for the engine's tests: the demo's portrait and voice, cut short."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def portrait() -> Path:
    """512² RGB portrait of an astronaut, smiling with teeth."""
    return REPO / "demo" / "source" / "astronaut.png"


@pytest.fixture(scope="session")
def speech() -> Path:
    """11 s of speech at 16 kHz."""
    return REPO / "demo" / "source" / "jfk.wav"


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    """1.5 s of speech."""
    path = tmp_path_factory.mktemp("words") / "words.wav"
    sound, rate = soundfile.read(speech, dtype="float32")
    soundfile.write(path, sound[: round(1.5 * rate)], rate)
    return path


@pytest.fixture(scope="session")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1 s of digital silence."""
    path = tmp_path_factory.mktemp("silence") / "silence.wav"
    soundfile.write(path, np.zeros(16000, np.float32), 16000)
    return path
