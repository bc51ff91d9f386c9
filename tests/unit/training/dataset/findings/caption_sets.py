"""Captions as people write them, good and flawed, in several languages; the trigger is ann1ka."""

from pathlib import Path


def _sets() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in Path(__file__).with_suffix(".txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = []
        elif line:
            found[list(found)[-1]].append(line)
    return found


SETS = _sets()
GOOD = [name for name in SETS if name.startswith("good ")]
