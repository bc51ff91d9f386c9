"""`lorabot` in this process, or in a separate one if the client must start again."""

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.__main__ import main
from tests.wire.modal.loopback.api import Loopback

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Result:
    """The output and exit code of a command line."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the document that was printed."""
        return json.loads(self.out)


def lorabot(*arguments: str) -> Result:
    """Run one command line here, with the environment as it is."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return Result(code, out.getvalue(), err.getvalue())


def lorabot_alone(loopback: Loopback, *arguments: str, env: Mapping[str, str]) -> Result:
    """Run one command line as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        env=loopback.process_env(env),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)
