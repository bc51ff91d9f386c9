"""What training a 14B model with the real musubi-tuner costs: random weights, our command lines.

`LORABOT_MUSUBI_DIR=… LORABOT_MUSUBI_PYTHON=… python -m tests.bench.bench_musubi` on a machine with
a GPU; `--tiny` rehearses it on a CPU. Every line is printed as soon as it is known, and kept in
`$OUT/bench_musubi.json` where that variable is set.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.musubi_report import Report, describe
from tests.bench.musubi_run import Run, Watched
from training.catalogue import Expert, ExpertName, Model, find_model
from training.errors import StageError
from training.musubi.commands import BaseFile, TrainNetwork, Weights
from training.musubi.engine import MusubiEngine
from training.musubi.progress import EXIT_STOPPED, ProgressEvent, StateSaved, StepDone
from training.rehearsal.shape import BLOCKS, FFN_WIDTH, HEADS, WIDTH
from training.settings import resolve_expert
from training.stages.publish import check_adapter

_SHIM = Path(__file__).parents[1] / "musubi/shim"
_INPUTS = Path(__file__).with_name("musubi_inputs.py")
_PATHS: dict[str, tuple[str, ExpertName]] = {
    "bf16": ("wan21-t2v-14b", "main"),
    "fp16": ("wan22-t2v-vanilla", "high"),
}
_SHAPES = {"image": (1, 90, 160), "video": (6, 90, 160)}  # latent frames, height, width
_TINY_SHAPES = {"image": (1, 8, 16), "video": (3, 8, 16)}
_STOP_AFTER = 2
_BASE_BYTES = 29e9

_CONFIG = """
[general]
caption_extension = ".txt"
enable_bucket = true

[[datasets]]
resolution = [{width}, {height}]
{kind}_directory = "{media}"
cache_directory = "{caches}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One path through musubi-tuner: a model in its dtype, with its flags, on one base file."""

    engine: MusubiEngine
    python: Path
    checkout: Path
    folder: Path
    model: Model
    expert: Expert
    optimizer: str
    is_tiny: bool

    @property
    def base(self) -> Path:
        return self.folder / "base.safetensors"

    def inputs(self, *arguments: object) -> dict[str, Any]:
        """Let musubi-tuner's interpreter make something; return what it reports of it."""
        return inputs(self.python, self.checkout, arguments, is_tiny=self.is_tiny)

    def dataset(self, kind: str, items: int) -> Path:
        """Write the cache files of so many items and return the dataset's TOML."""
        frames, height, width = (_TINY_SHAPES if self.is_tiny else _SHAPES)[kind]
        media, caches = self.folder / f"{kind}-media", self.folder / f"{kind}-caches"
        media.mkdir()
        self.inputs("caches", caches, items, frames, height, width)
        text = _CONFIG.format(
            kind=kind, media=media, caches=caches, width=width * 8, height=height * 8
        )
        if kind == "video":
            text += f"target_frames = [{(frames - 1) * 4 + 1}]\n"
        config = self.folder / f"{kind}.toml"
        config.write_text(text)
        return config

    def command(self, config: Path, resume: Path | None = None) -> TrainNetwork:
        """Return the training of one epoch, as the train stage would start it."""
        given = {"optimizer": self.optimizer, "epochs": "1", "save_every": "1"}
        return TrainNetwork(
            model=self.model,
            expert=self.expert,
            settings=resolve_expert(self.model, self.expert, given),
            dit=BaseFile(path=self.base, weight=self.expert.dit),
            dataset_config=config,
            weights=Weights(vae=self.folder / "none", t5=self.folder / "none", clip=None),
            output_dir=self.folder / f"{config.stem}-output",
            output_name=config.stem,
            comment="random weights",
            resume=resume,
        )

    def start(self, command: TrainNetwork) -> Run:
        """Start a training through the launcher."""
        shim = shim_of(self.checkout) if self.is_tiny else {}
        return Run(
            self.engine.command(command.script, command.arguments()),
            {**self.engine.environment(), **shim},
            self.folder / "log.txt",
        )

    def check(self, command: TrainNetwork) -> str:
        """Check the final checkpoint as the publish stage does; return what it holds."""
        path = command.output_dir / f"{command.output_name}.safetensors"
        count = BLOCKS * 10 if self.is_tiny else self.model.modules
        check_adapter(path, modules=None, count=count)
        return f"{count} modules, {path.stat().st_size / 1e6:.1f} MB, passed"


def shim_of(checkout: Path) -> dict[str, str]:
    """Return the environment in which musubi-tuner runs on a CPU with a model of a few layers."""
    tiny = {"dim": WIDTH, "ffn_dim": FFN_WIDTH, "num_heads": HEADS, "num_layers": BLOCKS}
    return {"LORABOT_TEST_TINY": json.dumps(tiny), "PYTHONPATH": _search(_SHIM, checkout / "src")}


def inputs(
    python: Path, checkout: Path, arguments: tuple[object, ...], *, is_tiny: bool
) -> dict[str, Any]:
    """Run `musubi_inputs` in musubi-tuner's interpreter."""
    shim = shim_of(checkout) if is_tiny else {"PYTHONPATH": _search(checkout / "src")}
    command = [str(python), str(_INPUTS), *map(str, arguments)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **shim})
    # Libraries print on their own when they are imported; the report is the last line.
    lines = run.stdout.decode().strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def _search(*folders: Path) -> str:
    given = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join([*map(str, folders), *([given] if given else [])])


def image(bench: Bench, report: Report, items: int) -> None:
    """Train on pictures to the end."""
    command = bench.command(bench.dataset("image", items))
    watched = _watch(bench.start(command), lambda run, event: None, code=0)
    describe(report, "image", watched)
    report.row("image", "checkpoint", bench.check(command))


def video(bench: Bench, report: Report, items: int) -> None:
    """Train on clips, stop in the middle of a step, and go on to the end."""
    config = bench.dataset("video", items)
    command = bench.command(config)

    def stop_in_the_middle(run: Run, event: ProgressEvent) -> None:
        if isinstance(event, StepDone) and event.step == _STOP_AFTER:
            run.terminate_in(event.seconds_per_step / 2)

    stopped = _watch(bench.start(command), stop_in_the_middle, code=EXIT_STOPPED)
    describe(report, "video", stopped)
    state = next(e for _, e in reversed(stopped.events) if isinstance(e, StateSaved))
    report.row("video", "SIGTERM", f"exit code {stopped.code}, state of step {state.step} saved")
    if stopped.signalled_at is not None:
        seconds = stopped.seconds - stopped.signalled_at
        report.row("video", "SIGTERM to exit", f"{seconds:.1f} s", seconds)
    command = bench.command(config, Path(state.path))
    resumed = _watch(bench.start(command), lambda run, event: None, code=0)
    describe(report, "resumed", resumed)
    first = next(e.step for _, e in resumed.events if isinstance(e, StepDone))
    if first != state.step + 1:
        raise StageError(f"Resumed at step {first} after step {state.step}.", "Mend the launcher.")
    report.row("resumed", "first step", f"{first} of {items}, after {state.step}")
    report.row("resumed", "checkpoint", bench.check(command))


def _watch(run: Run, on_event: Callable[[Run, ProgressEvent], None], *, code: int) -> Watched:
    watched = run.finish(on_event)
    if watched.code != code:
        raise StageError(
            f"It ended with exit code {watched.code} instead of {code}:\n{run.tail()}",
            "See the lines above.",
        )
    return watched


def measure(bench: Bench, report: Report, options: argparse.Namespace, until: float) -> None:
    """Write the base and measure every part that there is time to begin."""
    began = time.monotonic()
    made = bench.inputs("base", bench.model.task, bench.model.dtype, bench.base)
    seconds, size = time.monotonic() - began, bench.base.stat().st_size / 1e9
    report.row(
        *("base", f"{made['parameters'] / 1e9:.2f} billion in {made['tensors']} tensors"),
        *(f"{size:.1f} GB in {seconds:.1f} s", seconds),
    )
    parts = {"image": (image, options.steps), "video": (video, options.video_steps)}
    for name in options.parts:
        if time.monotonic() > until:
            report.row(name, "left out", "the time was over")
            continue
        run, items = parts[name]
        try:
            run(bench, report, items)
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
    for path in options.paths:
        name, expert = _PATHS[path]
        model = find_model(name)
        target = roomy(options.folders, 1e9 if options.tiny else _BASE_BYTES)
        with tempfile.TemporaryDirectory(dir=target) as folder:
            report.path = f"{path} {' '.join(model.fp8)}"
            bench = Bench(
                engine=MusubiEngine(checkout, python),
                python=python,
                checkout=checkout,
                folder=Path(folder),
                model=model,
                expert=model.expert(expert),
                optimizer=optimizer,
                is_tiny=options.tiny,
            )
            measure(bench, report, options, began + options.budget_seconds)
    report.row("all", "seconds in all", f"{time.monotonic() - began:.0f} s")
    return 1 if report.has_failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", nargs="+", choices=list(_PATHS), default=list(_PATHS))
    parser.add_argument("--parts", nargs="+", choices=list(_SHAPES), default=list(_SHAPES))
    parser.add_argument("--steps", type=int, default=6, help="with pictures")
    parser.add_argument("--video-steps", type=int, default=4, help="more than two")
    parser.add_argument("--budget-seconds", type=float, default=270, help="begin no part later")
    folders = [Path("/dev/shm"), Path(tempfile.gettempdir())]
    parser.add_argument("--folders", nargs="+", type=Path, default=folders, help="first with room")
    parser.add_argument("--tiny", action="store_true", help="a few layers, on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
