"""How long a merge takes beside `cp` and the plain way, on one disk with a warm page cache.

`python -m tests.bench.bench_merge --gigabytes 8.4 --runs 5 --folder /some/disk`

A merge's output is on the disk when it returns; that of `cp` and `save_file` is only in the page
cache. So each way is timed twice: until it returns, and until an fsync of its output ends.
"""

import argparse
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from tests.bench.merge_inputs import BLOCK_GIGABYTES, write_model
from tests.bench.merge_report import table
from tests.bench.merge_ways import WAYS, Measured, Way, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=8.4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; needs 3x")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--cores", nargs="+", type=int, default=None, help="default: all, and 2")
    parser.add_argument("--keep", action="store_true", help="use and leave the folder's model")
    options = parser.parse_args()
    available = sorted(os.sched_getaffinity(0))
    cores = options.cores or sorted({len(available), min(2, len(available))}, reverse=True)
    if options.keep:
        options.folder.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.TemporaryDirectory(dir=options.folder)
    with nullcontext(options.folder) if options.keep else scratch as folder:
        base, lora = (Path(folder) / f"{name}.safetensors" for name in ("base", "lora"))
        if not base.exists():
            write_model(base, lora, blocks=round(options.gigabytes / BLOCK_GIGABYTES))
        for count in cores:
            os.sched_setaffinity(0, available[:count])  # child processes inherit it
            sys.stdout.write(table(base, compare(base, lora, options.runs, options.ways)))


def compare(base: Path, lora: Path, runs: int, ways: list[Way]) -> dict[Way, list[Measured]]:
    """Return the times of each way; the ways alternate in every round."""
    measured: dict[Way, list[Measured]] = {way: [] for way in ways}
    for _ in range(runs):
        for way in ways:
            found = measure(way, base, lora)
            measured[way].append(found)
            # Print at once, so that a stopped benchmark has not measured for nothing.
            sys.stderr.write(f"{way}: {found.returned:.2f} s, on disk {found.durable:.2f} s\n")
    return measured


if __name__ == "__main__":
    main()
