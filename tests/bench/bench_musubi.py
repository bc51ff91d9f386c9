"""Measures training a 14B model with the real musubi-tuner: random weights, our command lines.

`LORABOT_MUSUBI_DIR=… LORABOT_MUSUBI_PYTHON=… python -m tests.bench.bench_musubi` on a machine with
a GPU; `--tiny` rehearses it on a CPU. Every line is printed as soon as it is known; where `OUT` is
set, `$OUT/bench_musubi.json` keeps them and the trainings' logs lie beside it.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

from tests.bench.musubi_report import Report, describe
from tests.bench.musubi_run import Run, Watched
from tests.bench.musubi_training import Training, inputs
from training.catalogue.models import find_model
from training.errors import StageError
from training.musubi.engine import MusubiEngine
from training.musubi.launcher.hooks import OFF
from training.musubi.progress import EXIT_STOPPED
from training.musubi.state import read_state
from training.runs.hyperparameters import Fast
from training.runs.training_events import ProgressEvent, StateSaved, StepDone
from training.vocabulary import ExpertName

_PATHS: dict[str, tuple[str, ExpertName]] = {
    "bf16": ("wan21-t2v-14b", "main"),
    "fp16": ("wan22-t2v-vanilla", "high"),
}
_PARTS = {"image": "image", "again": "image", "video": "video"}
_CHOSEN = ("Compiled steps (", "After measuring a step: ", "Steps now use ", "Memory ran out; ")
_STOP_AFTER = 2
_BASE_BYTES = 29e9


def image(training: Training, report: Report, items: int) -> None:
    """Train on pictures to the end."""
    _images(training, report, items, "image")


def again(training: Training, report: Report, items: int) -> None:
    """Train on the same pictures again, with the graphs that the first training compiled."""
    _images(training, report, items, "again")


@contextmanager
def limited_to(cores: int | None) -> Generator[None]:
    """Let the processes that are started in this context use only so many of the cores."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usual)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def _images(training: Training, report: Report, items: int, part: str) -> None:
    command = training.command(training.dataset("image", items))
    watched = _watch(training.start(command, part), lambda run, event: None, code=0)
    _describe(training, report, part, watched)
    report.row(part, "checkpoint", training.check(command))


def video(training: Training, report: Report, items: int, *, cores: int | None = None) -> None:
    """Train on clips, stop in the middle of a step, and continue to the end on so many cores."""
    config = training.dataset("video", items)
    command = training.command(config)

    def stop_in_the_middle(run: Run, event: ProgressEvent) -> None:
        if isinstance(event, StepDone) and event.step == _STOP_AFTER:
            run.terminate_in((event.seconds_per_step or 0.0) / 2)

    stopped = _watch(training.start(command, "video"), stop_in_the_middle, code=EXIT_STOPPED)
    _describe(training, report, "video", stopped)
    state = next(e for _, e in reversed(stopped.events) if isinstance(e, StateSaved))
    report.row("video", "SIGTERM", f"exit code {stopped.code}, state of step {state.step} saved")
    if stopped.signalled_at is not None:
        seconds = stopped.seconds - stopped.signalled_at
        report.row("video", "SIGTERM to exit", f"{seconds:.1f} s", seconds)
    report.row("video", "steps, as the state says", read_state(Path(state.path)).fast or "off")
    command = training.command(config, Path(state.path))
    with limited_to(cores):
        resumed = _watch(training.start(command, "resumed"), lambda run, event: None, code=0)
    _describe(training, report, "resumed", resumed)
    first = next(e.step for _, e in resumed.events if isinstance(e, StepDone))
    if first != state.step + 1:
        raise StageError(f"Resumed at step {first} after step {state.step}.", "Mend the launcher.")
    report.row("resumed", "goes on at step", f"{first} of {items}, after {state.step}")
    report.row("resumed", "checkpoint", training.check(command))
    left = ", ".join(sorted(path.name for path in command.output_dir.iterdir()))
    report.row("resumed", "files", left)


def _describe(training: Training, report: Report, part: str, watched: Watched) -> None:
    describe(report, part, watched)
    printed = training.log(part).read_text("utf-8", "replace").replace("\r", "\n")
    for line in printed.splitlines():
        for opening in _CHOSEN:
            if opening in line:
                report.row(part, "log", line[line.index(opening) :])


def _watch(run: Run, on_event: Callable[[Run, ProgressEvent], None], *, code: int) -> Watched:
    watched = run.finish(on_event)
    if watched.code != code:
        raise StageError(
            f"It ended with exit code {watched.code} instead of {code}:\n{run.tail()}",
            "See the lines above.",
        )
    return watched


def measure(training: Training, report: Report, options: argparse.Namespace, until: float) -> None:
    """Write the base and measure every part for which there is time."""
    began = time.monotonic()
    if began > until:
        report.row("all", "left out", "the time was over")
        return
    made = training.inputs("base", training.model.task, training.model.dtype, training.base)
    seconds, size = time.monotonic() - began, training.base.stat().st_size / 1e9
    report.row(
        *("base", f"{made['parameters'] / 1e9:.2f} billion in {made['tensors']} tensors"),
        *(f"{size:.1f} GB in {seconds:.1f} s", seconds),
    )
    runs = {"image": image, "again": again, "video": partial(video, cores=options.cores)}
    for name in options.parts:
        if time.monotonic() > until:
            report.row(name, "left out", "the time was over")
            continue
        items = options.steps if _PARTS[name] == "image" else options.video_steps
        try:
            runs[name](training, report, items)
        except StageError as error:
            report.failure(name, error.cause)


def roomy(folders: list[Path], size: float) -> Path:
    """Return the first folder that a base file fits into."""
    for folder in folders:
        if folder.is_dir() and shutil.disk_usage(folder).free > size:
            return folder
    raise SystemExit(f"None of {', '.join(map(str, folders))} has {size / 1e9:.0f} GB free.")


def main() -> int:
    options = _options()
    began = time.monotonic()
    checkout = Path(os.environ["LORABOT_MUSUBI_DIR"]).resolve()
    python = Path(os.environ["LORABOT_MUSUBI_PYTHON"])
    machine = inputs(python, checkout, ("probe",), is_tiny=options.tiny)
    out = os.environ.get("OUT")
    report = Report(Path(out) / "bench_musubi.json" if out else None, machine)
    optimizer = "adamw" if machine["adamw8bit"] else "adamw8bit"
    report.row("all", "machine", f"{machine['gpu']}, {os.cpu_count()} cores")
    report.row("all", "versions", ", ".join(f"{k} {v}" for k, v in machine.items() if k != "gpu"))
    report.row("all", "date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    report.row(
        "all", "optimizer", " because ".join(filter(None, (optimizer, machine["adamw8bit"])))
    )
    target = roomy(options.folders, 1e9 if options.tiny else _BASE_BYTES)
    with tempfile.TemporaryDirectory(dir=target) as root:
        for path in options.paths:
            name, expert = _PATHS[path]
            model = find_model(name)
            label = f"{path} {' '.join(model.fp8)}"
            report.path = label if options.fast == OFF else f"{label} fast={options.fast}"
            with tempfile.TemporaryDirectory(dir=root) as folder:
                training = Training(
                    engine=MusubiEngine(checkout, python),
                    python=python,
                    checkout=checkout,
                    folder=Path(folder),
                    datasets=Path(root),
                    logs=Path(out or root),
                    model=model,
                    expert=model.expert(expert),
                    optimizer=optimizer,
                    fast=options.fast,
                    compiled=options.compiled or Path(root) / "compiled",
                    is_tiny=options.tiny,
                )
                measure(training, report, options, began + options.budget_seconds)
    report.path = "all"
    report.row("all", "seconds in all", f"{time.monotonic() - began:.0f} s")
    return 1 if report.has_failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", nargs="+", choices=list(_PATHS), default=list(_PATHS))
    parser.add_argument("--parts", nargs="+", choices=list(_PARTS), default=["image", "video"])
    parser.add_argument("--fast", choices=get_args(Fast), default=OFF)
    parser.add_argument("--compiled", type=Path, help="keep compiled graphs in this folder")
    parser.add_argument("--steps", type=int, default=6, help="with pictures")
    parser.add_argument("--video-steps", type=int, default=4, help="more than two")
    parser.add_argument("--cores", type=int, help="of the resumed training; default: all")
    parser.add_argument("--budget-seconds", type=float, default=270, help="begin no part later")
    folders = [Path("/dev/shm"), Path(tempfile.gettempdir())]
    parser.add_argument("--folders", nargs="+", type=Path, default=folders, help="first with room")
    parser.add_argument("--tiny", action="store_true", help="a few layers, on a CPU")
    options = parser.parse_args()
    if options.video_steps <= _STOP_AFTER:
        parser.error(f"--video-steps: the training is stopped after {_STOP_AFTER}")
    return options


if __name__ == "__main__":
    sys.exit(main())
