"""The command line as a process of its own, for tests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class Lorabot:
    """`lorabot` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command line."""
        command = [sys.executable, "-m", "bot", *arguments, "--home", str(self.home)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)

    def json(self, *arguments: str) -> Any:
        """Run one command line that must succeed and return its JSON."""
        result = self.run(*arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def refused(self, *arguments: str, code: int = 1) -> str:
        """Run one command line that must fail and return what it says."""
        result = self.run(*arguments)
        assert result.returncode == code, result.stderr
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return result.stderr
