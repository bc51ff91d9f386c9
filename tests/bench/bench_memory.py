"""How much memory all processes of an inspection take together, and how often bytes are read.

`python -m tests.bench.bench_memory --gigabytes 5`
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.bench.footage import footage, large_zip
from tests.bench.hardware import hardware

_PAUSE_SECONDS = 0.05
_MOST_MIB = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, default=None, help="where footage is kept")
    parser.add_argument("--scratch", type=Path, default=None, help="a disk with room for the zip")
    options = parser.parse_args()
    sys.stdout.write(hardware())
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        clips = footage(options.folder or Path(scratch) / "footage", 12)
        archive = large_zip(clips, Path(scratch) / "large.zip", options.gigabytes)
        report(archive)


def report(archive: Path) -> None:
    """Inspect a zip in a separate process and print what it used."""
    size_bytes = archive.stat().st_size
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.one_inspection", str(archive)],
        stdout=subprocess.PIPE,
        text=True,
    )
    proportional, resident, samples = _peak(child)
    assert child.stdout is not None
    found = json.loads(child.stdout.read())
    seconds = time.perf_counter() - started
    sys.stdout.write(
        f"{size_bytes / 2**30:.2f} GiB zip, {found['clips']} clips of 5 s at 1280 x 720, "
        f"inspected in {seconds:.0f} s\n"
        f"peak of all processes together: {proportional:.0f} MiB (PSS), {resident:.0f} MiB "
        f"(RSS, shared pages counted in each), {samples} samples; at most {_MOST_MIB}\n"
        f"bytes read: {found['read_bytes'] / size_bytes:.3f} times the zip\n"
    )


def _peak(child: subprocess.Popen[str]) -> tuple[float, float, int]:
    root = psutil.Process(child.pid)
    proportional = resident = 0.0
    samples = 0
    while child.poll() is None:
        pss = rss = 0.0
        with suppress(psutil.NoSuchProcess):
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    memory = process.memory_full_info()
                    pss, rss = pss + memory.pss / 2**20, rss + memory.rss / 2**20
        proportional, resident = max(proportional, pss), max(resident, rss)
        samples += 1
        time.sleep(_PAUSE_SECONDS)
    return proportional, resident, samples


if __name__ == "__main__":
    main()
