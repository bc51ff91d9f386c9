"""The house's import rules, read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bot", "training", "storage")
COMPOSITION_ROOTS = {
    "bot/hosting/local.py",
    "bot/hosting/modal.py",
    "bot/deploy/operator.py",
    "bot/modal_app.py",
    "training/modal_app.py",
}
TOP_LEVEL = {"bot", "training", "storage", "tests", "pyproject.toml", "README.md", "Makefile"}


def sources(package: str) -> Iterator[Path]:
    yield from (ROOT / package).rglob("*.py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def importers(name: str) -> set[str]:
    found: set[str] = set()
    for package in PACKAGES:
        for path in sources(package):
            if any(module == name or module.startswith(f"{name}.") for module in imports(path)):
                found.add(path.relative_to(ROOT).as_posix())
    return found


def outside(found: set[str], *allowed: str) -> set[str]:
    return {path for path in found if not path.startswith(allowed)}


def test_the_domain_imports_neither_neighbour() -> None:
    found = {p for p in importers("bot") | importers("storage") if p.startswith("training/")}

    assert found <= COMPOSITION_ROOTS


def test_the_adapters_do_not_import_the_bot() -> None:
    assert not {path for path in importers("bot") if path.startswith("storage/")}


def test_only_composition_roots_of_the_bot_know_the_adapters() -> None:
    found = {path for path in importers("storage") if path.startswith("bot/")}

    assert found <= COMPOSITION_ROOTS


def test_the_chat_library_stays_at_the_chat_edge() -> None:
    assert not outside(importers("discord"), "bot/discord/", "bot/sandbox/connect.py")


def test_torch_stays_in_the_parts_that_calculate() -> None:
    allowed = ("training/merge/", "training/rehearsal/", "training/musubi/launcher")

    assert not outside(importers("torch"), *allowed)


def test_modal_stays_in_its_adapters() -> None:
    allowed = (
        "bot/modal_app.py",
        "bot/deploy/",
        "bot/hosting/modal.py",
        "training/modal_app.py",
        "training/backends/modal/",
        "training/deployment/modal_",
        "storage/modal/",
    )

    assert not outside(importers("modal"), *allowed)


@pytest.mark.parametrize(
    "module",
    ["bot.hosting.bot", "bot.hosting.worker", "bot.__main__", "training.pipeline.stages.train"],
)
def test_importing_the_bot_never_imports_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert result.returncode == 0


def test_files_stay_small_enough_to_be_read_in_one_go() -> None:
    too_long = {
        path.relative_to(ROOT).as_posix(): lines
        for package in (*PACKAGES, "tests")
        for path in sources(package)
        if (lines := len(path.read_text("utf-8").splitlines())) > 300
    }

    assert not too_long


def test_nothing_else_lies_at_the_top() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {name.split("/")[0] for name in listed}

    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL
