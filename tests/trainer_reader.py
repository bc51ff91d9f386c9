"""Reads clips as the trainer does, with the PyAV that musubi-tuner pins, in its own folder.

The first test that needs it installs it from PyPI.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AV = "av==14.0.1"  # musubi-tuner's pyproject.toml at the pinned commit
FOLDER = Path(sys.prefix) / "trainer-reader"
ROOT = Path(__file__).resolve().parents[1]


def install() -> Path:
    """Return a folder with that PyAV; install it from PyPI if it is missing."""
    if not FOLDER.exists():
        fresh = Path(tempfile.mkdtemp(dir=FOLDER.parent))
        pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:")
        subprocess.run([sys.executable, *pip, "--target", str(fresh), AV], check=True)
        try:
            fresh.rename(FOLDER)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return FOLDER


def read_as_trainer(
    paths: Sequence[Path], how: Literal["plain", "launcher"]
) -> list[NDArray[np.uint8]]:
    """Return the chart's patches [12, 3] in the first frame of each clip.

    Args:
        paths: Clips of the chart.
        how: With the pinned PyAV alone, or with the launcher's changes to it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(install()), str(ROOT)))}
    told = subprocess.run(
        [sys.executable, "-m", "tests.read_chart", how, *map(str, paths)],
        capture_output=True,
        env=environment,
        cwd=ROOT,
        text=True,
        check=True,
    ).stdout
    found = json.loads(told)
    assert found["av"] == AV.partition("==")[2]
    return [np.array(patches, np.uint8) for patches in found["patches"]]
