"""Sizes: how they are worded, and that every text counts them in powers of 1,024."""

import ast
import re
from pathlib import Path

import pytest

from training.files.sizes import size

ROOT = Path(__file__).parents[4]
# GPUs are called A100-80GB; everything else in powers of 1,000 is a slip.
DECIMAL = re.compile(r"(?<![\w-])(\d[\d.,]* ?)?(KB|kB|MB|GB|TB)\b")


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (158_000_000, "151 MiB"),
        (1024**2 * 1024 - 1, "1.0 GiB"),
        (1_320_000_000, "1.2 GiB"),
        (5 * 1024**5, "5120 TiB"),
    ],
)
def test_sizes_have_two_or_three_digits(size_bytes: int, words: str) -> None:
    assert size(size_bytes) == words


def slips(path: Path) -> list[str]:
    """Return the texts in a file that count in powers of 1,000; docstrings are no texts."""
    source = path.read_text()
    if DECIMAL.search(source) is None:  # parsing every file would take seconds
        return []
    if path.suffix != ".py":
        return [source]
    nodes = list(ast.walk(ast.parse(source)))
    documented = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    shown = [n.value for n in nodes if isinstance(n, ast.Constant) and id(n) not in documented]
    return [text for text in shown if isinstance(text, str) and DECIMAL.search(text)]


def test_no_text_counts_in_powers_of_1000() -> None:
    pages = [*(ROOT / "bot").rglob("*.js"), *(ROOT / "bot").rglob("*.html")]
    tops = ("bot", "training", "storage")
    programs = [path for top in tops for path in (ROOT / top).rglob("*.py")]

    found = {path: slips(path) for path in (*pages, *programs) if "vendor" not in path.parts}

    assert {str(path): texts for path, texts in found.items() if texts} == {}
