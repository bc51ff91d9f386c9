"""The real musubi-tuner on tiny models, driven by the project's own commands and processes."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.media import jpeg, mp4
from tests.ml.rehearsal.workspace import write_media
from tests.ml.step_rows import StepRow, step_rows
from training.catalogue.models import Expert, Model
from training.errors import StageError
from training.files.safetensors_header import read_header
from training.musubi.commands import BaseFile, CacheLatents, CacheText, TrainNetwork, Weights
from training.musubi.engine import MusubiEngine
from training.pipeline.child_process import Listener, run_command
from training.pipeline.stage_writes import StageInterruptedError
from training.rehearsal import tensor_file
from training.rehearsal.model.shape import BLOCKS, FFN_WIDTH, HEADS, IMAGE_WIDTH, WIDTH
from training.rehearsal.model.weights import write_weights
from training.runs.hyperparameters import resolve_expert
from training.runs.training_events import ProgressEvent

SHIM = Path(__file__).parent / "shim"
ITEMS = 4

_CONFIG = """
[general]
caption_extension = ".txt"
enable_bucket = true

[[datasets]]
resolution = [128, 64]
image_directory = "{media}/images"
cache_directory = "{caches}/images"

[[datasets]]
resolution = [128, 64]
video_directory = "{media}/videos"
cache_directory = "{caches}/videos"
target_frames = [1, 9]
"""


@dataclass
class Outcome:
    """One script that is over."""

    events: list[ProgressEvent] = field(default_factory=list[ProgressEvent])
    is_interrupted: bool = False

    @property
    def steps(self) -> list[StepRow]:
        return step_rows(self.events)


@dataclass(frozen=True)
class Checkout:
    """A checkout with its interpreter, and a folder with media and tiny weights."""

    musubi: Path
    python: Path
    root: Path

    @property
    def engine(self) -> MusubiEngine:
        return MusubiEngine(self.musubi, self.python)

    @property
    def weights(self) -> Weights:
        root = self.root
        return Weights(vae=root / "vae.safetensors", t5=root / "t5.pth", clip=root / "clip.pth")

    @property
    def shim(self) -> dict[str, str]:
        tiny = {"dim": WIDTH, "ffn_dim": FFN_WIDTH, "num_heads": HEADS, "num_layers": BLOCKS}
        return {"PYTHONPATH": str(SHIM), "LORABOT_TEST_TINY": json.dumps(tiny)}

    def write_media(self) -> None:
        """Write two images and a clip, which make four items."""
        pictures = {f"images/{n}.jpg": jpeg(seed=n) for n in range(2)}
        write_media(self.root, {**pictures, "videos/clip 0.mp4": mp4(12, seed=0)})

    def prepare(self) -> None:
        """Write media and weights."""
        self.write_media()
        script = Path(__file__).with_name("make_weights.py")
        subprocess.run(
            [self.python, script, self.root], check=True, env={**os.environ, **self.shim}
        )

    def config(self, caches: Path) -> Path:
        """Return a dataset TOML that keeps its caches in that folder."""
        caches.mkdir(parents=True, exist_ok=True)
        path = caches / "dataset.toml"
        path.write_text(_CONFIG.format(media=self.root, caches=caches))
        return path

    def cache_latents(self, model: Model, caches: Path) -> CacheLatents:
        return CacheLatents(model=model, dataset_config=self.config(caches), weights=self.weights)

    def cache_text(self, caches: Path) -> CacheText:
        return CacheText(dataset_config=self.config(caches), weights=self.weights)

    def base(self, model: Model, *, is_rehearsal: bool = False) -> Path:
        """Return the tiny base of a model, written when it is first asked for."""
        kind = "rehearsal" if is_rehearsal else "musubi"
        path = self.root / f"{kind}-{model.task}-{model.dtype}.safetensors"
        if not path.exists():
            channels = 36 if model.i2v else 16
            write_weights(
                path,
                role="dit",
                seed=model.task,
                in_channels=channels,
                clip=model.clip,
                dtype=model.dtype,
            )
            if model.clip and not is_rehearsal:
                _widen_image_embedding(path)
        return path

    def train(
        self,
        model: Model,
        expert: Expert,
        caches: Path,
        output: Path,
        resume: Path | None = None,
        *,
        epochs: int = 3,
    ) -> TrainNetwork:
        """Return the training of one expert: epochs of four steps, each saved."""
        # The optimizer in 8 bit needs a GPU.
        given = {"optimizer": "adamw", "epochs": str(epochs), "save_every": "1", "rank": "4"}
        return TrainNetwork(
            model=model,
            expert=expert,
            settings=resolve_expert(model, expert, {**given, "learning_rate": "1e-3"}),
            dit=BaseFile(path=self.base(model), weight=expert.dit),
            dataset_config=self.config(caches),
            weights=self.weights,
            output_dir=output,
            output_name="lora",
            comment=json.dumps({"run": "annika", "expert": expert.name}),
            resume=resume,
        )

    def run(
        self,
        command: CacheLatents | CacheText | TrainNetwork,
        log: Path,
        *,
        state_seconds: float = 900.0,
        until: Callable[[ProgressEvent], bool] | None = None,
    ) -> Outcome:
        """Run a command as a stage does; stop it after the event for which `until` holds."""
        engine = MusubiEngine(self.musubi, self.python, state_seconds)
        outcome, stopping = Outcome(), threading.Event()

        def on_event(event: ProgressEvent) -> None:
            outcome.events.append(event)
            if until is not None and until(event):
                stopping.set()

        try:
            run_command(
                engine.command(command.script, command.arguments()),
                environment={**engine.environment(), **self.shim},
                log=log,
                stopping=stopping,
                listener=Listener(on_event, lambda _log: None),
            )
        except StageInterruptedError:
            outcome.is_interrupted = True
        except StageError:
            sys.stderr.write(log.read_text("utf-8", "replace")[-5000:])
            raise
        return outcome

    def plain(self, command: TrainNetwork, log: Path) -> int:
        """Run musubi-tuner's own script without the launcher; return its exit code."""
        script = self.musubi / "src/musubi_tuner" / command.script
        with log.open("wb") as output:
            done = subprocess.run(
                [self.python, script, *command.arguments()],
                check=False,
                env={**os.environ, **self.shim},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return done.returncode


def _widen_image_embedding(path: Path) -> None:
    """Give the rehearsal's narrow image embedding, narrow for speed, the width of Wan's own."""
    header, random = tensor_file.read_header(path), np.random.default_rng(0)
    found = {
        name: tensor_file.encode(tensor_file.floats(header, name), "BF16")
        for name in header.tensors
    }
    for layer, outputs in ((1, IMAGE_WIDTH), (3, WIDTH)):
        name = f"img_emb.proj.{layer}"
        weight = random.standard_normal((outputs, IMAGE_WIDTH), np.float32) * np.float32(0.02)
        found[f"{name}.weight"] = tensor_file.encode(weight, "BF16")
        found[f"{name}.bias"] = tensor_file.encode(np.zeros(outputs, np.float32), "BF16")
    tensor_file.write(path, found, {})


def tensors(path: Path) -> dict[str, bytes]:
    """Return the bytes of every tensor of a file."""
    header = read_header(path)
    return {name: header.read(name).tobytes() for name in header.tensors}


def names(folder: Path) -> list[str]:
    """Return what lies in a folder of checkpoints, but the states that were not asked for."""
    return sorted(path.name for path in folder.iterdir() if "-step" not in path.name)
