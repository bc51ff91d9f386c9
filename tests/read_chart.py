"""Prints what this environment's PyAV reads from clips of the chart; see `trainer_reader`."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import av

from tests.charts import patches
from training.musubi.launcher.cache_hooks import CacheHooks
from training.musubi.progress import ProgressWriter

# The stand-in for musubi-tuner reads clips with the same calls as musubi-tuner.
MUSUBI = Path(__file__).parent / "ml/launcher/standin/src"


def main(how: str, *paths: str) -> None:
    """Print the version and the patches of each clip."""
    sys.path.insert(0, str(MUSUBI))
    media_utils: Any = importlib.import_module("musubi_tuner.dataset.media_utils")
    if how == "launcher":
        CacheHooks(ProgressWriter(None)).install()
    found = [patches(media_utils.load_video(path)[0]).tolist() for path in paths]
    sys.stdout.write(json.dumps({"av": av.__version__, "patches": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
