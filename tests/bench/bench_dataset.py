"""How long inspecting and repairing a dataset takes beside the ffmpeg program on the same cores.

`python -m tests.bench.bench_dataset --clips 60 --runs 3`
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.footage import SIZE, footage, zipped
from tests.bench.hardware import hardware
from training.dataset.inspect import inspect_zip
from training.dataset.repair import repair
from training.dataset.report import Report

# The filters, encoder settings and tags that repair uses.
CONVERSION = (
    *("-vf", "fps=16:round=near,scale=in_color_matrix=bt709:in_range=limited:out_color_matrix=bt709"
      ":out_range=limited:flags=bicubic+accurate_rnd,format=yuv420p"),
    *("-c:v", "libx264", "-crf", "18", "-preset", "medium", "-threads", "2"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    *("-frames:v", "77", "-an", "-movflags", "+faststart"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--repaired", type=int, default=16, help="so many of them are repaired")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where footage is kept")
    options = parser.parse_args()
    sys.stdout.write(hardware())
    with tempfile.TemporaryDirectory() as scratch:
        clips = footage(options.folder or Path(scratch) / "footage", options.clips)
        width, height = SIZE
        sys.stdout.write(
            f"clips of 5 s at {width} x {height}, 24 fps; ffmpeg runs once for each, as many at "
            f"once as there are cores; median of {options.runs} alternating runs\n"
        )
        _compare_looking(clips, Path(scratch), options.runs)
        _compare_repairing(clips[: options.repaired], Path(scratch), options.runs)


def _compare_looking(clips: list[Path], scratch: Path, runs: int) -> None:
    archive = zipped(clips, scratch / "looked-at.zip")
    times = _alternate(lambda: _decode(clips), lambda: _inspect(archive), runs)
    _tell("inspect", clips, *times)


def _compare_repairing(clips: list[Path], scratch: Path, runs: int) -> None:
    archive = zipped(clips, scratch / "repaired.zip")
    report = inspect_zip(archive)
    times = _alternate(
        lambda: _convert(clips, scratch), lambda: _repair(archive, report, scratch), runs
    )
    _tell("repair", clips, *times)


def _tell(name: str, clips: list[Path], theirs: list[float], ours: list[float]) -> None:
    megabytes = sum(clip.stat().st_size for clip in clips) / 1e6
    sys.stdout.write(
        f"{name:8} {len(clips)} clips, {megabytes:.0f} MB: {_median(ours)}, "
        f"ffmpeg {_median(theirs)}: {statistics.median(ours) / statistics.median(theirs):.2f} "
        f"times, best of each {min(ours) / min(theirs):.2f}\n"
    )
    sys.stdout.flush()


def _alternate(
    first: Callable[[], None], second: Callable[[], None], runs: int
) -> tuple[list[float], list[float]]:
    # The runs alternate, so that a slow phase of the machine affects both.
    times = [(_seconds(first), _seconds(second)) for _ in range(runs)]
    return [one for one, _ in times], [other for _, other in times]


def _seconds(work: Callable[[], None]) -> float:
    os.sync()  # earlier writes must not count for this run
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _decode(clips: list[Path]) -> None:
    _ffmpeg_each([("-i", str(clip), "-f", "null", "-") for clip in clips])


def _inspect(archive: Path) -> None:
    if not inspect_zip(archive).is_usable:
        raise SystemExit("The benchmark's own clips are refused.")


def _convert(clips: list[Path], scratch: Path) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        _ffmpeg_each([("-i", str(c), *CONVERSION, f"{out}/{c.name}") for c in clips])


def _repair(archive: Path, report: Report, scratch: Path) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        repair(archive, report, Path(out) / "set")


def _ffmpeg_each(calls: list[tuple[str, ...]]) -> None:
    def run(arguments: tuple[str, ...]) -> None:
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *arguments], check=True)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        list(threads.map(run, calls))


def _median(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


if __name__ == "__main__":
    main()
