"""A command imports what it needs, and nothing else that takes long to load."""

import subprocess
import sys
from pathlib import Path

import pytest

from bot.__main__ import app

HEAVY = {"discord", "modal", "av", "torch", "PIL", "pydantic_settings", "rich.progress"}
REPORT = """
import atexit, sys
atexit.register(lambda: sys.stderr.write(" ".join(sorted(sys.modules))))
from bot.__main__ import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["--help", "models", "runs"])
def test_a_light_command_loads_no_heavy_package(command: str, tmp_path: Path) -> None:
    arguments = ["runs", "--home", str(tmp_path)] if command == "runs" else [command]

    ended = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments], capture_output=True, text=True, check=True
    )

    loaded = set(ended.stderr.split())
    assert "cyclopts" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_every_command_can_be_imported() -> None:
    for name in app:
        assert app[name].help, name
