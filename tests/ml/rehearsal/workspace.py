"""A small real dataset, its weights, and ways to run the rehearsal on them."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.media import jpeg, mp4
from training.musubi.progress_reader import read_events
from training.rehearsal.__main__ import main
from training.rehearsal.model.weights import write_weights
from training.rehearsal.options import CACHE_LATENTS, CACHE_TEXT, TRAIN
from training.runs.training_events import ProgressEvent, StepDone

Task = Literal["t2v-14B", "i2v-14B", "t2v-A14B", "i2v-A14B"]
DATE = {"SOURCE_DATE_EPOCH": "1767225600"}
DIT: dict[Task, str] = {
    "t2v-14B": "t2v.safetensors",
    "i2v-14B": "i2v-clip.safetensors",
    "t2v-A14B": "t2v-fp16.safetensors",
    "i2v-A14B": "i2v-fp16.safetensors",
}

_CONFIG = """
[general]
caption_extension = ".txt"
enable_bucket = true

[[datasets]]
resolution = [320, 192]
image_directory = "{root}/images"
cache_directory = "{root}/cache-images"

[[datasets]]
resolution = [192, 128]
video_directory = "{root}/videos"
cache_directory = "{root}/cache-videos"
target_frames = [1, 9, 18]
"""


@dataclass(frozen=True)
class Workspace:
    """A cached dataset of three images and two clips: nine items."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "dataset.toml"

    def train_arguments(self, task: Task, output: Path, *extra: str) -> list[str]:
        precision = "fp16" if task.endswith("A14B") else "bf16"
        return [
            *(TRAIN, "--task", task, "--dit", str(self.root / DIT[task])),
            *("--dataset_config", str(self.config), "--mixed_precision", precision),
            *("--sdpa", "--timestep_sampling", "shift", "--discrete_flow_shift", "3"),
            *("--network_module", "networks.lora_wan", "--network_dim", "4"),
            *("--network_alpha", "4", "--optimizer_type", "adamw8bit"),
            *("--learning_rate", "8e-5", "--lr_scheduler", "polynomial"),
            *("--lr_scheduler_power", "2", "--save_precision", "bf16", "--seed", "42"),
            *("--output_dir", str(output), "--output_name", "lora", *extra),
        ]


def write_media(root: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"annika, {path.stem}", encoding="utf-8")


def prepare(root: Path) -> Workspace:
    """Write media, weights and caches for all four tasks."""
    made = Workspace(root)
    pictures = {f"images/{n}.jpg": jpeg(seed=n) for n in range(3)}
    clips = {f"videos/clip {n}.mp4": mp4(20, seed=n) for n in range(2)}
    write_media(root, {**pictures, **clips})
    made.config.write_text(_CONFIG.format(root=root))
    write_weights(root / "t2v.safetensors", role="dit", seed="base")
    write_weights(root / "i2v-clip.safetensors", role="dit", seed="base", in_channels=36, clip=True)
    write_weights(root / "t2v-fp16.safetensors", role="dit", seed="base", dtype="fp16")
    write_weights(
        root / "i2v-fp16.safetensors", role="dit", seed="base", in_channels=36, dtype="fp16"
    )
    write_weights(root / "vae.safetensors", role="vae", seed="base")
    write_weights(root / "t5.pth", role="t5", seed="base")
    write_weights(root / "clip.pth", role="clip", seed="base")
    common = ["--dataset_config", str(made.config)]
    vae = ["--vae", str(root / "vae.safetensors"), "--i2v", "--clip", str(root / "clip.pth")]
    assert main([CACHE_LATENTS, *common, *vae], {}) == 0
    assert main([CACHE_TEXT, *common, "--t5", str(root / "t5.pth")], {}) == 0
    return made


def observed(arguments: Sequence[str], environment: Mapping[str, str]) -> list[ProgressEvent]:
    """Run a rehearsal that succeeds in this process and return its events."""
    code, events = run_observed(arguments, environment)
    assert code == 0
    return events


def run_observed(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[int, list[ProgressEvent]]:
    """Run a rehearsal in this process; return exit code and events.

    Its events must fit a pipe's buffer (64 KiB), some three hundred steps.
    """
    reader, writer = os.pipe()
    try:
        code = main(arguments, {**environment, "LORABOT_PROGRESS_FD": str(writer)})
    finally:
        os.close(writer)
    events = list(read_events(reader))
    os.close(reader)
    return code, events


def steps(events: Sequence[ProgressEvent]) -> list[StepDone]:
    return [event for event in events if isinstance(event, StepDone)]


def losses(events: Sequence[ProgressEvent]) -> list[float]:
    """Return the loss of every step."""
    return [step.loss for step in steps(events)]


@contextmanager
def child(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    before: Callable[[], None] | None = None,
) -> Generator[tuple["subprocess.Popen[bytes]", Iterator[ProgressEvent]]]:
    """Start a rehearsal as a separate process; yield it and its events as they come."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "training.rehearsal", *arguments],
        env={**os.environ, **environment, "LORABOT_PROGRESS_FD": str(writer)},
        pass_fds=[writer],
        preexec_fn=before,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    try:
        yield process, read_events(reader)
    finally:
        process.kill()
        process.communicate()
        os.close(reader)
