"""One training of a model with random weights, as the train stage would start it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.musubi_run import Run
from training.catalogue.models import Expert, Model
from training.lora.contents import read_contents
from training.lora.fit import require_fit, require_values
from training.musubi.commands import BaseFile, TrainNetwork, Weights
from training.musubi.engine import MusubiEngine
from training.musubi.launcher.fast.compile_cache import FOLDER_VARIABLE
from training.rehearsal.engine import RehearsalEngine
from training.rehearsal.model.shape import BLOCKS, FFN_WIDTH, HEADS, WIDTH
from training.runs.hyperparameters import resolve_expert

_SHIM = Path(__file__).parents[1] / "musubi/shim"
_INPUTS = Path(__file__).with_name("musubi_inputs.py")
SHAPES = {"image": (1, 90, 160), "video": (6, 90, 160)}  # latent frames, height, width
_TINY_SHAPES = {"image": (1, 8, 16), "video": (3, 8, 16)}

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
class Training:
    """One path through musubi-tuner: a model in its dtype, with its flags, on one base file.

    `folder` has the path's own files, `datasets` the data for all paths, `logs` the output of the
    trainings, and `compiled` what compiled steps can be loaded from.
    """

    engine: MusubiEngine
    python: Path
    checkout: Path
    folder: Path
    datasets: Path
    logs: Path
    model: Model
    expert: Expert
    optimizer: str
    fast: str
    compiled: Path
    is_tiny: bool

    @property
    def base(self) -> Path:
        return self.folder / "base.safetensors"

    def inputs(self, *arguments: object) -> dict[str, Any]:
        """Let musubi-tuner's interpreter make inputs; return its report."""
        return inputs(self.python, self.checkout, arguments, is_tiny=self.is_tiny)

    def dataset(self, kind: str, items: int) -> Path:
        """Return the TOML of a dataset that has only cache files, written on first use."""
        config = self.datasets / f"{kind}.toml"
        if config.exists():
            return config
        frames, height, width = (_TINY_SHAPES if self.is_tiny else SHAPES)[kind]
        media, caches = self.datasets / f"{kind}-media", self.datasets / f"{kind}-caches"
        media.mkdir()
        self.inputs("caches", caches, items, frames, height, width)
        text = _CONFIG.format(
            kind=kind, media=media, caches=caches, width=width * 8, height=height * 8
        )
        if kind == "video":
            text += f"target_frames = [{(frames - 1) * 4 + 1}]\n"
        config.write_text(text)
        return config

    def command(self, config: Path, resume: Path | None = None) -> TrainNetwork:
        """Return the training of one epoch, as the train stage would start it."""
        given = {"optimizer": self.optimizer, "epochs": "1", "save_every": "1"}
        given["fast"] = self.fast
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

    def start(self, command: TrainNetwork, name: str) -> Run:
        """Start a training through the launcher; `name` is the name of its log."""
        shim = shim_of(self.checkout) if self.is_tiny else {}
        return Run(
            self.engine.command(command.script, command.arguments()),
            {**self.engine.environment(), FOLDER_VARIABLE: str(self.compiled), **shim},
            self.log(name),
        )

    def log(self, name: str) -> Path:
        return self.logs / f"{self.model.dtype}-{self.fast}-{name}.log"

    def check(self, command: TrainNetwork) -> str:
        """Check the final checkpoint as the publish stage does; return its contents."""
        path = command.output_dir / f"{command.output_name}.safetensors"
        widths = RehearsalEngine().modules if self.is_tiny else self.engine.modules
        contents = read_contents(path)
        loads = require_fit(
            contents, model=self.model, expert=self.expert, modules=widths(self.model)
        )
        require_values(contents)
        return f"{loads}, {path.stat().st_size / 1e6:.1f} MB, passed"


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
