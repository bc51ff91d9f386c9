"""The folder that holds this code's packages, for child processes that import them."""

import os
from pathlib import Path

CODE_ROOT = Path(__file__).resolve().parents[2]


def python_path() -> str:
    """Return the PYTHONPATH for a child: this code first, then what this process inherited."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{CODE_ROOT}{os.pathsep}{inherited}" if inherited else str(CODE_ROOT)
