"""Runs in musubi-tuner's environment: what `load_video` gives it, read as the launcher has it.

Usage: read_clips.py CLIP... Prints a JSON list: the chart's patches in each clip's first frame.
"""

import importlib
import json
import sys
from typing import Any

from tests.charts import patches
from training.musubi.launcher.cache_hooks import CacheHooks
from training.musubi.progress import ProgressWriter

# There is no musubi-tuner, and so no type of it, in the environment that checks this file.
media_utils: Any = importlib.import_module("musubi_tuner.dataset.media_utils")


def main(*paths: str) -> None:
    """Read the clips."""
    CacheHooks(ProgressWriter(None)).install()
    found: list[list[list[int]]] = []
    for path in paths:
        first: Any = media_utils.load_video(path, 0, 1)[0]
        found.append(patches(first).tolist())
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
