"""Entry point: `python path/to/training/musubi/launcher SCRIPT ARGUMENTS…`, installed nowhere."""

import os
import sys
import types
from pathlib import Path

if not __package__:
    # Only this project's own package becomes importable. Its folder in `sys.path` would offer
    # Only this project's package becomes importable. With its folder in `sys.path`, musubi-tuner
    # would also see the packages installed beside it, built for another interpreter.
    _package = types.ModuleType("training")
    _package.__path__ = [str(Path(__file__).resolve().parents[2])]
    sys.modules["training"] = _package

from training.musubi.launcher.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
