"""The command line for tests, in its own process or in the test's."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main


@dataclass(frozen=True)
class Lorabot:
    """`lorabot` with its own home.

    With `capture` it runs in the test's process, because starting another takes longer than most
    commands.
    """

    home: Path
    capture: pytest.CaptureFixture[str] | None = None

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one command line."""
        line = [*map(str, arguments), "--home", str(self.home)]
        if self.capture is not None:
            return _run_here(line, self.capture)
        command = [sys.executable, "-m", "bot", *line]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)

    def json(self, *arguments: object) -> Any:
        """Run one command line that must succeed and return its JSON."""
        result = self.run(*arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def refused(self, *arguments: object, code: int = 1) -> str:
        """Run one command line that must fail and return its stderr."""
        result = self.run(*arguments)
        assert result.returncode == code, result.stderr
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return result.stderr


def _run_here(
    line: list[str], capture: pytest.CaptureFixture[str]
) -> subprocess.CompletedProcess[str]:
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(line)
    said = capture.readouterr()
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return subprocess.CompletedProcess(line, code or 0, said.out, said.err)
