"""The documentation says what the code says: messages quoted, operators and verbs named, links that lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
DOCS = sorted((REPO / "docs").glob("*.md")) + [REPO / "README.md"]
CODE = [path for part in ("addon", "operators", "ui_panels", "engine") for path in sorted((REPO / part).rglob("*.py"))]


def words(node: ast.AST) -> str | None:
    """A string of the code with … where something is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(words(part) or "…" for part in node.values)
    return None


def said() -> list[str]:
    """All strings of the code."""
    return [
        text for path in CODE for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if (text := words(node))
    ]


def quoted() -> list[str]:
    """The messages in the tables of troubleshooting.md."""
    text = (REPO / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| *")]
    return [message for cell in cells for message in re.findall(r"\*([^*]+)\*", cell)]


def test_quoted_messages_are_the_codes() -> None:
    code = said()
    assert len(quoted()) > 20
    for message in quoted():
        parts = [re.escape(part.strip(" .")) for part in message.split("…") if part.strip(" .:")]
        assert any(re.search(".*".join(parts), text, re.DOTALL) for text in code), f"nothing says “{message}”"


def test_a_message_nobody_says_would_be_found() -> None:
    assert not any(re.search("The engine has no umbrella", text) for text in said())


def test_operators_named_are_there() -> None:
    there = {text for text in said() if text.startswith("parlando.")}
    for path in DOCS:
        for name in re.findall(r"`(parlando\.[a-z_0-9]+)`", path.read_text(encoding="utf-8")):
            assert name in there, f"{path.name} names {name}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
