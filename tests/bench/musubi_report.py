"""A table that is printed line by line while it is measured, and kept as JSON."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from tests.bench.musubi_run import Watched
from training.runs.training_events import FastRefused, StepDone, TrainingStarted, Warned

_GIB, _MIB_PER_GIB = 2**30, 1024


class Report:
    """Prints every line at once and rewrites the file, so that a time-out loses nothing.

    Args:
        file: Where the JSON goes; None for nowhere.
        machine: Facts about the machine.
    """

    def __init__(self, file: Path | None, machine: dict[str, Any]) -> None:
        self._file, self._machine = file, machine
        self._rows: list[dict[str, object]] = []
        self.path = "all"
        self.has_failed = False

    def row(self, part: str, what: str, text: str, value: float | None = None) -> None:
        """Add a line; `value` is its number for programs."""
        sys.stdout.write(f"{self.path:26} {part:8} {what:28} {text}\n")
        sys.stdout.flush()
        line: dict[str, object] = {"path": self.path, "part": part, "what": what, "text": text}
        self._rows.append({**line, "value": value})
        if self._file is not None:
            found = {"machine": self._machine, "rows": self._rows}
            self._file.write_text(json.dumps(found, indent=1))

    def failure(self, part: str, cause: str) -> None:
        """Add the line of a part that failed."""
        self.has_failed = True
        self.row(part, "FAILED", cause)


def describe(report: Report, part: str, watched: Watched) -> None:
    """Add the figures of one training."""
    started = next(at for at, e in watched.events if isinstance(e, TrainingStarted))
    steps = [(at, e) for at, e in watched.events if isinstance(e, StepDone)]
    pairs = zip(watched.events, watched.core_seconds, strict=True)
    used = [(at, seconds) for (at, e), seconds in pairs if isinstance(e, StepDone)]
    report.row(part, "load", f"{started:.1f} s", started)
    if steps:
        _describe_steps(report, part, started, steps)
    if len(used) > 1:
        (first_at, first), (last_at, last) = used[0], used[-1]
        cores = (last - first) / (last_at - first_at)
        report.row(part, "cores in use after step 1", f"{cores:.2f}", cores)
    host = watched.host_mib / _MIB_PER_GIB
    report.row(part, "host memory, own", f"{host:.1f} GiB", host)
    if watched.pss_mib is not None:
        shared = watched.pss_mib / _MIB_PER_GIB
        report.row(part, "host memory, mapped files too", f"{shared:.1f} GiB", shared)
    if watched.gpu_mib is not None:
        device = watched.gpu_mib / _MIB_PER_GIB
        report.row(part, "GPU memory, device", f"{device:.1f} GiB", device)
    for event in (e for _, e in watched.events if isinstance(e, FastRefused)):
        report.failure(part, f"Steps ran uncompiled: {event.reason}")
    troubles = [f"{e.trouble} at step {e.step}" for _, e in watched.events if isinstance(e, Warned)]
    if troubles:
        report.row(part, "warned", ", ".join(troubles))
    report.row(part, "start to exit", f"{watched.seconds:.1f} s", watched.seconds)


def _describe_steps(
    report: Report, part: str, started: float, steps: list[tuple[float, StepDone]]
) -> None:
    first_at, first = steps[0]
    report.row(part, "first step", f"{first_at - started:.1f} s", first_at - started)
    report.row(part, "start to first step done", f"{first_at:.1f} s", first_at)
    later = [s.seconds_per_step for _, s in steps[1:] if s.seconds_per_step is not None]
    if later:
        median = statistics.median(later)
        spread = f"({min(later):.2f} to {max(later):.2f}, {len(later)} steps)"
        report.row(part, "a step, median", f"{median:.2f} s {spread}", median)
    _, last = steps[-1]
    report.row(part, "loss", f"{first.loss:.4g} to {last.loss:.4g}")
    if last.gpu_memory_bytes is not None:
        reserved = last.gpu_memory_bytes / _GIB
        report.row(part, "GPU memory, reserved", f"{reserved:.1f} GiB", reserved)
