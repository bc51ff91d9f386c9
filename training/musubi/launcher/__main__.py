"""Entry point; runs without being installed: `python path/to/training/musubi/launcher SCRIPT …`."""

import os
import sys
import types
from pathlib import Path

if not __package__:
    # Make only the package `training` importable. If its parent folder were in `sys.path`,
    # musubi-tuner could also import the packages there, which are built for another interpreter.
    _package = types.ModuleType("training")
    _package.__path__ = [str(Path(__file__).resolve().parents[2])]
    sys.modules["training"] = _package

from training.musubi.launcher.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
