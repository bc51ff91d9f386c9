"""One inspection in a process that loads nothing else; prints its results and reads as JSON.

`python -m tests.bench.one_inspection ZIP`, for `bench_memory`.
"""

import json
import sys
from pathlib import Path

import psutil

from training.dataset.inspect import inspect_zip


def main() -> None:
    before = psutil.Process().io_counters().read_chars
    read: list[int] = []

    def count(_done: int, _total: int) -> None:
        # Read this while the decoders live: after they end, their reads count for this process too.
        read.append(psutil.Process().io_counters().read_chars - before)

    found = inspect_zip(Path(sys.argv[1]), on_progress=count)
    sys.stdout.write(json.dumps({"clips": len(found.clips), "read_bytes": read[-1]}))


if __name__ == "__main__":
    main()
