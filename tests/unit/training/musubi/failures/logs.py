"""What musubi-tuner printed in real runs, as fixtures."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[4] / "data" / "musubi-logs"
EXIT_CODES: dict[str, int] = json.loads((FOLDER / "exit_codes.json").read_text("utf-8"))
# Public logs and variants of them, each with its cause and fix.
PUBLIC = FOLDER.parent / "explain-logs"
TABLE: list[dict[str, Any]] = tomllib.loads((PUBLIC / "table.toml").read_text("utf-8"))["log"]


@dataclass(frozen=True)
class Log:
    """The two streams of one run, and its exit code."""

    name: str
    stdout: bytes
    stderr: bytes
    exit_code: int

    @property
    def mixed(self) -> bytes:
        """Both streams in one; their order is unknown, so text comes first, then bars."""
        return self.stdout + self.stderr


def read_log(name: str) -> Log:
    """Return one run's log by the name of its files."""
    return Log(name, _read(name, "stdout"), _read(name, "stderr"), EXIT_CODES[name])


def _read(name: str, stream: str) -> bytes:
    path = FOLDER / f"{name}.{stream}.txt"
    return path.read_bytes() if path.exists() else b""
