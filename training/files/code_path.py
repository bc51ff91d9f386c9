"""Lets child processes import this project's packages."""

import os
from pathlib import Path

CODE_ROOT = Path(__file__).resolve().parents[2]


def python_path() -> str:
    """Return the PYTHONPATH for a child process: this project, then the inherited PYTHONPATH."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{CODE_ROOT}{os.pathsep}{inherited}" if inherited else str(CODE_ROOT)
