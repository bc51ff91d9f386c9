"""musubi-tuner's three command lines as typed objects, rendered to argument lists.

Every flag comes from the catalogue or from the run's settings. Options and their meaning are those
of musubi-tuner v0.3.4, commit 30c658c4f4b0bf05038b3346eff9670259b10fc7.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from training.catalogue import Expert, Model
from training.settings import ExpertSettings

Script = Literal[
    "wan_cache_latents.py", "wan_cache_text_encoder_outputs.py", "wan_train_network.py"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weight files a run's commands name; `clip` for Wan 2.1 I2V only."""

    vae: Path
    t5: Path
    clip: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLatents:
    """Encode every image and clip window with the VAE, and for I2V its first frame."""

    model: Model
    dataset_config: Path
    weights: Weights
    script: Script = "wan_cache_latents.py"

    def arguments(self) -> tuple[str, ...]:
        """Return the script's arguments."""
        arguments = ["--dataset_config", str(self.dataset_config), "--vae", str(self.weights.vae)]
        arguments += ["--vae_cache_cpu", "--skip_existing"]
        if self.model.i2v:
            arguments.append("--i2v")
        arguments += _clip(self.model, self.weights)
        return checked(self.script, arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheText:
    """Encode every caption with the T5 text encoder."""

    dataset_config: Path
    weights: Weights
    script: Script = "wan_cache_text_encoder_outputs.py"

    def arguments(self) -> tuple[str, ...]:
        """Return the script's arguments."""
        arguments = ["--dataset_config", str(self.dataset_config), "--t5", str(self.weights.t5)]
        arguments += ["--batch_size", "16", "--fp8_t5", "--skip_existing"]
        return checked(self.script, arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainNetwork:
    """Train one expert's adapter; `resume` names the training state to go on from."""

    model: Model
    expert: Expert
    settings: ExpertSettings
    dit: Path
    dataset_config: Path
    weights: Weights
    output_dir: Path
    output_name: str
    comment: str
    resume: Path | None = None
    script: Script = "wan_train_network.py"

    def arguments(self) -> tuple[str, ...]:
        """Return the script's arguments; every one is known to the script and given once."""
        parts = [
            *self._model(),
            *self._adapter(),
            *self._schedule(),
            *self._saving(),
        ]
        if self.resume is not None:
            parts += ["--resume", str(self.resume)]
        return checked(self.script, parts)

    def _model(self) -> list[str]:
        arguments = ["--task", self.model.task, "--dit", str(self.dit)]
        arguments += ["--dataset_config", str(self.dataset_config)]
        arguments += ["--mixed_precision", self.model.dtype, *self.model.fp8]
        arguments += _clip(self.model, self.weights)
        arguments += ["--sdpa", "--gradient_checkpointing"]
        arguments += ["--timestep_sampling", "shift"]
        arguments += ["--discrete_flow_shift", _number(self.settings.flow_shift)]
        if self.expert.timesteps is not None:
            lowest, highest = self.expert.timesteps
            arguments += ["--min_timestep", str(lowest), "--max_timestep", str(highest)]
            arguments.append("--preserve_distribution_shape")
        arguments += ["--vae_cache_cpu", "--max_data_loader_n_workers", "2"]
        return [*arguments, "--persistent_data_loader_workers"]

    def _adapter(self) -> list[str]:
        return [
            *("--network_module", "networks.lora_wan"),
            *("--network_dim", str(self.settings.rank)),
            *("--network_alpha", _number(self.settings.alpha)),
        ]

    def _schedule(self) -> list[str]:
        settings = self.settings
        arguments = ["--optimizer_type", settings.optimizer]
        arguments += ["--optimizer_args", "weight_decay=0.01"]
        arguments += ["--learning_rate", _number(settings.learning_rate)]
        arguments += ["--lr_scheduler", settings.scheduler]
        arguments += ["--lr_scheduler_power", _number(settings.scheduler_power)]
        arguments += ["--lr_scheduler_min_lr_ratio", _number(settings.min_lr_ratio)]
        if settings.scheduler == "polynomial":
            # musubi hands the ratio to other schedules only; the polynomial one takes its last
            # rate from here and would otherwise always end at 1e-7.
            last = settings.learning_rate * settings.min_lr_ratio
            arguments += ["--lr_scheduler_args", f"lr_end={last:.6g}"]
        arguments += ["--max_train_epochs", str(settings.epochs)]
        return [*arguments, "--seed", str(settings.seed)]

    def _saving(self) -> list[str]:
        return [
            *("--output_dir", str(self.output_dir), "--output_name", self.output_name),
            *("--save_every_n_epochs", str(self.settings.save_every)),
            *("--save_precision", "bf16"),
            *("--save_state", "--save_last_n_epochs_state", "2"),
            *("--training_comment", self.comment),
        ]


def checked(script: Script, arguments: list[str]) -> tuple[str, ...]:
    """Return the arguments, known to be options of the script and none given twice.

    Raises:
        ValueError: An option is unknown or repeated, which is a mistake in this module.
    """
    names = [argument for argument in arguments if argument.startswith("--")]
    unknown = [name for name in names if name not in known_options()[script]]
    repeated = {name for name in names if names.count(name) > 1}
    if unknown or repeated:
        raise ValueError(f"{script}: unknown {unknown}, repeated {sorted(repeated)}")
    return tuple(arguments)


@cache
def known_options() -> Mapping[str, frozenset[str]]:
    """Return the option names of each script, read from the live parsers of that commit."""
    text = resources.files("training.musubi").joinpath("options.json").read_text("utf-8")
    scripts = json.loads(text)["scripts"]
    return {
        script: frozenset(option["name"] for option in options)
        for script, options in scripts.items()
    }


def _clip(model: Model, weights: Weights) -> list[str]:
    if not model.clip:
        return []
    if weights.clip is None:
        raise ValueError(f"{model.name} needs the CLIP weights")
    return ["--clip", str(weights.clip)]


def _number(value: float) -> str:
    # 5.0 and 8e-05 as people write them; musubi parses either.
    return f"{value:g}" if value != int(value) or value >= 1e6 else str(value)
