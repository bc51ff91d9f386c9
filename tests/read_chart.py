"""Prints what this environment's PyAV reads from clips of the chart; see `trainer_reader`."""

import json
import sys
from typing import Any

import av
import numpy as np

from tests.charts import patches
from training.musubi.launcher.clip_colours import TaggedAv


def main(how: str, *paths: str) -> None:
    """Print the version and the patches of each clip."""
    reader = TaggedAv(av) if how == "launcher" else av
    found: list[list[list[int]]] = []
    for path in paths:
        container = reader.open(path)
        frame: Any = next(iter(container.decode(video=0)))  # as musubi-tuner's load_video
        found.append(patches(np.array(frame.to_image(), np.uint8)).tolist())
        container.close()
    sys.stdout.write(json.dumps({"av": av.__version__, "patches": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
