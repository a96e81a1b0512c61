"""The promises of the repo's structure: who may import whom, what product code never does, versions that agree."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).resolve().parent.parent
BLENDER_SIDE = ("addon", "operators", "ui_panels")
PRODUCT = [
    ROOT / "__init__.py",
    *(file for part in (*BLENDER_SIDE, "engine") for file in sorted((ROOT / part).rglob("*.py"))),
]


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def imported(file: Path) -> Iterator[str]:
    """Full dotted names of what a file imports, relative imports resolved from the repo root (`engine.protocol`)."""
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{module}.{name.name}".lstrip(".") for name in node.names)


def identifier(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", [f for f in PRODUCT if f.is_relative_to(ROOT / "engine")], ids=identifier)
def test_engine_knows_nothing_of_blender(file: Path) -> None:
    forbidden = {"bpy", "bl_ext", "mathutils", "aud", "addon", "operators", "ui_panels"}
    assert not {name.split(".")[0] for name in imported(file)} & forbidden


@pytest.mark.parametrize("file", [f for f in PRODUCT if not f.is_relative_to(ROOT / "engine")], ids=identifier)
def test_blender_side_knows_only_the_protocol(file: Path) -> None:
    from_engine = [name for name in imported(file) if name.split(".")[0] == "engine"]
    assert all(name == "engine.protocol" or name.startswith("engine.protocol.") for name in from_engine), from_engine
    heavy = {"torch", "cv2", "soundfile", "av", "safetensors", "PIL"}
    assert not {name.split(".")[0] for name in imported(file)} & heavy


@pytest.mark.parametrize("file", [f for f in PRODUCT if f.relative_to(ROOT).parts[0] in BLENDER_SIDE], ids=identifier)
def test_one_direction(file: Path) -> None:
    """ui_panels → operators → addon."""
    above = {"addon": {"operators", "ui_panels"}, "operators": {"ui_panels"}, "ui_panels": set()}
    allowed = {
        "addon/__init__.py": {"operators", "ui_panels"},  # registers all three
        "addon/preferences.py": {"ui_panels"},  # Blender asks preferences to draw themselves; they pass it on
    }
    forbidden = above[file.relative_to(ROOT).parts[0]] - allowed.get(identifier(file), set())
    assert not {name.split(".")[0] for name in imported(file)} & forbidden


@pytest.mark.parametrize("file", PRODUCT, ids=identifier)
def test_no_code_from_data_and_no_shell(file: Path) -> None:
    assert not {name.split(".")[0] for name in imported(file)} & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    for node in ast.walk(tree(file)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in {"eval", "exec", "__import__", "os.system", "os.popen", "subprocess.getoutput"}, called
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        assert options.get("shell", "False") == "False", called
        if called == "torch.load":
            assert options.get("weights_only") == "True", "torch.load without weights_only=True"
        if called in {"np.load", "numpy.load"}:
            assert options.get("allow_pickle", "False") == "False", called


@pytest.mark.parametrize("file", PRODUCT, ids=identifier)
def test_every_file_says_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(tree(file)) or not file.read_text(encoding="utf-8").strip(), "no docstring at the top"


def test_only_models_reach_the_network() -> None:
    network = {"urllib", "requests", "httpx", "socket", "http", "ftplib"}
    users = [identifier(f) for f in PRODUCT if {n.split(".")[0] for n in imported(f)} & network]
    assert not users


def test_every_weight_has_a_card() -> None:
    weights = sorted((ROOT / "engine").rglob("*.safetensors"))
    assert weights
    for file in weights:
        card = file.with_suffix(".md")
        assert card.exists(), f"{identifier(file)} has no model card {card.name}"
        text = card.read_text(encoding="utf-8").lower()
        for what in ("made by", "data", "licen|rights|public domain|government works|cc by|cc0"):
            assert re.search(what, text), f"{identifier(card)} says nothing of {what}"


def test_arrays_are_written_through_one_door() -> None:
    """safetensors' numpy side scrambles arrays that do not lie in C order (see engine/tensors.py)."""
    wrong = re.compile(r"safetensors\.numpy\.save|from safetensors\.numpy import .*save")
    found = [identifier(f) for f in PRODUCT if wrong.search(f.read_text(encoding="utf-8"))]
    assert found == ["engine/tensors.py"]


def test_versions_agree() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    top = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert top is not None
    assert manifest["version"] == engine.__version__ == top[1]


def test_requirements_are_exact() -> None:
    for name in ("engine/requirements.txt", "requirements-dev.txt", "requirements-blender-5.2.txt"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            assert (
                not line
                or line.startswith("#")
                or re.fullmatch(r"[\w.-]+==[\w.]+(; (python_version|platform_machine) .+)?", line)
            ), f"{name}: {line}"
