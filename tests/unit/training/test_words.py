"""The domain does not know who is talking: no text of it names a command of a front end."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.bot.driven import TABLE

ROOT = Path(__file__).parents[3]
COMMANDS = sorted({item[1:].split()[0] for item in TABLE if item.startswith("/")})
# A slash command as people type it; a path has something before the slash or another after it.
COMMAND = re.compile(rf"(?<![\w./{{}}-])/(?:{'|'.join(COMMANDS)})(?![\w/-]|\.\w)")
# The program's name in a sentence. A literal without a space is an identifier: the name of an app,
# a folder or tag (lorabot-code), the prefix of a key (lorabot.), a word in a list of arguments.
# Environment variables are LORABOT_..., which operators need to read.
PROGRAM = re.compile(r"\blorabot\b(?!/)")
# A setting as it is typed in chat alone: max-frames:33. Both front ends take max-frames=33.
OPTION = re.compile(r"\b(?:max-frames|resolution|items|rank|alpha|epochs|gpu|settings):[\w{]")


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every string of a file except docstrings; strings of several parts are joined."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                skipped.add(first.value)
        elif isinstance(node, ast.JoinedStr):
            skipped.update(node.values)
            yield node.lineno, "".join(_text(part) for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.lineno, node.value


def _text(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "{}"


def speaks_of_a_front_end(text: str) -> bool:
    names_program = " " in text and PROGRAM.search(text) is not None
    return names_program or any(one.search(text) for one in (COMMAND, OPTION))


def test_no_text_of_the_domain_names_a_command() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for package in ("training", "storage")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in literals(path)
        if speaks_of_a_front_end(text)
    ]

    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "Go on with /resume.",
        "Start it again with `/train`; nothing is lost.",
        "/dataset add",
        "Deploy it again: lorabot deploy --app team",
        "Run lorabot.",
        "Use /run restore to bring it back.",
        "See /settings.",
        "Begin with /help.",
        "What fits: max-frames:33.",
    ],
)
def test_a_command_in_a_text_is_noticed(text: str) -> None:
    assert speaks_of_a_front_end(text)


@pytest.mark.parametrize(
    "text",
    [
        "lorabot",
        "LORABOT_GPU",
        "lorabot-code",
        "{}/runs",
        "/mnt/lorabot/{}",
        "run/train",
        "/dataset.toml",
    ],
)
def test_paths_and_identifiers_are_no_commands(text: str) -> None:
    assert not speaks_of_a_front_end(text)
