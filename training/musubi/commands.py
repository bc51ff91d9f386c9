"""musubi-tuner's three command lines, built from the catalogue and the run's settings.

Paths have forward slashes, because `lorabot plan` on Windows shows commands that run on Linux.

The options are those of musubi-tuner v0.3.4, commit 30c658c4f4b0bf05038b3346eff9670259b10fc7.
`options.json` lists them, as recorded from its parsers. One more option, `--fast`, belongs to the
launcher.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.catalogue.models import Expert, Model, WeightFile
from training.musubi.launcher.hooks import FAST_OPTION, OFF
from training.runs.hyperparameters import ExpertSettings

Script = Literal[
    "wan_cache_latents.py", "wan_cache_text_encoder_outputs.py", "wan_train_network.py"
]


# For each task, a pattern for the beginning of its base models' file names.
_BASES = {
    "t2v-14B": "wan2.1_t2v_14B_",
    "t2v-1.3B": "wan2.1_t2v_1.3B_",
    "i2v-14B": "wan2.1_i2v_(480p|720p)_14B_",
    "t2v-A14B": "wan2.2_t2v_(high|low)_noise_14B_",
    "i2v-A14B": "wan2.2_i2v_(high|low)_noise_14B_",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weight files that the commands need; `clip` is None except for Wan 2.1 I2V."""

    vae: Path
    t5: Path
    clip: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFile:
    """A base model on disk.

    `weight` is the published file, even if the file at `path` is a copy with a LoRA merged into it.
    """

    path: Path
    weight: WeightFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLatents:
    """The command that encodes images and clip windows with the VAE; for I2V, also first frames."""

    model: Model
    dataset_config: Path
    weights: Weights
    script: Script = "wan_cache_latents.py"

    def arguments(self) -> tuple[str, ...]:
        arguments = ["--dataset_config", self.dataset_config.as_posix()]
        arguments += ["--vae", self.weights.vae.as_posix()]
        arguments += ["--vae_cache_cpu", "--skip_existing"]
        if self.model.i2v:
            arguments.append("--i2v")
        arguments += _clip(self.model, self.weights)
        return tuple(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheText:
    """The command that encodes every caption with the T5 text encoder."""

    dataset_config: Path
    weights: Weights
    script: Script = "wan_cache_text_encoder_outputs.py"

    def arguments(self) -> tuple[str, ...]:
        arguments = ["--dataset_config", self.dataset_config.as_posix()]
        arguments += ["--t5", self.weights.t5.as_posix()]
        arguments += ["--batch_size", "16", "--fp8_t5", "--skip_existing"]
        return tuple(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainNetwork:
    """The command that trains one expert's adapter.

    `resume` is the training state to continue from, `network_weights` a LoRA file to start from.
    The base must be the published file of the model and expert. musubi-tuner does not check this:
    it would train on a Wan 2.2 file with a Wan 2.1 task and give a useless result.
    """

    model: Model
    expert: Expert
    settings: ExpertSettings
    dit: BaseFile
    dataset_config: Path
    weights: Weights
    output_dir: Path
    output_name: str
    comment: str
    resume: Path | None = None
    network_weights: Path | None = None
    script: Script = "wan_train_network.py"

    def __post_init__(self) -> None:
        of_model = self.expert in self.model.experts and self.dit.weight == self.expert.dit
        name = Path(self.dit.weight.file).name
        if not of_model or not re.match(_BASES[self.model.task], name):
            raise ValueError(
                f"{name} is not the base of {self.model.name} ({self.expert.name}) for the task "
                f"{self.model.task}"
            )

    def arguments(self) -> tuple[str, ...]:
        parts = [
            *self._model(),
            *self._adapter(),
            *self._schedule(),
            *self._saving(),
        ]
        if self.settings.fast != OFF:
            parts += [FAST_OPTION, self.settings.fast]
        if self.resume is not None:
            parts += ["--resume", self.resume.as_posix()]
        elif self.network_weights is not None:
            # Omitted when resuming, because the training state holds the adapter weights.
            parts += ["--network_weights", self.network_weights.as_posix()]
        return tuple(parts)

    def _model(self) -> list[str]:
        arguments = ["--task", self.model.task, "--dit", self.dit.path.as_posix()]
        arguments += ["--dataset_config", self.dataset_config.as_posix()]
        arguments += ["--mixed_precision", self.model.dtype, *self._memory()]
        arguments += _clip(self.model, self.weights)
        arguments += ["--sdpa", "--gradient_checkpointing"]
        arguments += ["--timestep_sampling", "shift"]
        arguments += ["--discrete_flow_shift", _number(self.settings.flow_shift)]
        if self.expert.timesteps is not None:
            lowest, highest = self.expert.timesteps
            arguments += ["--min_timestep", str(lowest), "--max_timestep", str(highest)]
            arguments.append("--preserve_distribution_shape")
        if self.settings.force_v2_1_time_embedding:
            arguments.append("--force_v2_1_time_embedding")
        arguments += ["--vae_cache_cpu", "--max_data_loader_n_workers", "2"]
        return [*arguments, "--persistent_data_loader_workers"]

    def _memory(self) -> list[str]:
        arguments = list(self.model.fp8 or ("--fp8_base",)) if self.settings.fp8 else []
        if self.settings.blocks_to_swap:
            arguments += ["--blocks_to_swap", str(self.settings.blocks_to_swap)]
        return arguments

    def _adapter(self) -> list[str]:
        arguments = ["--network_module", "networks.lora_wan"]
        arguments += ["--network_dim", str(self.settings.rank)]
        arguments += ["--network_alpha", _number(self.settings.alpha)]
        if (ratio := self.settings.loraplus_lr_ratio) is not None:
            arguments += ["--network_args", f"loraplus_lr_ratio={_number(ratio)}"]
        return arguments

    def _schedule(self) -> list[str]:
        settings = self.settings
        arguments = ["--optimizer_type", settings.optimizer]
        arguments += ["--optimizer_args", "weight_decay=0.01"]
        if settings.optimizer == "adafactor":
            # Without these options, Adafactor chooses its own learning rates, and musubi-tuner
            # ignores the learning rate and schedule given below.
            arguments += ["relative_step=False", "scale_parameter=False", "warmup_init=False"]
        arguments += ["--learning_rate", _number(settings.learning_rate)]
        arguments += ["--lr_scheduler", settings.scheduler]
        arguments += ["--lr_scheduler_power", _number(settings.scheduler_power)]
        arguments += ["--lr_scheduler_min_lr_ratio", _number(settings.min_lr_ratio)]
        if settings.scheduler == "polynomial":
            # musubi-tuner does not pass min_lr_ratio to the polynomial schedule. Without `lr_end`,
            # the schedule would end at a rate of 1e-7.
            last = settings.learning_rate * settings.min_lr_ratio
            arguments += ["--lr_scheduler_args", f"lr_end={last:.12g}"]
        arguments += ["--max_train_epochs", str(settings.epochs)]
        return [*arguments, "--seed", str(settings.seed)]

    def _saving(self) -> list[str]:
        return [
            *("--output_dir", self.output_dir.as_posix(), "--output_name", self.output_name),
            *("--save_every_n_epochs", str(self.settings.save_every)),
            *("--save_precision", "bf16"),
            "--save_state",
            *("--training_comment", self.comment),
        ]


def _clip(model: Model, weights: Weights) -> list[str]:
    if not model.clip:
        return []
    if weights.clip is None:
        raise ValueError(f"{model.name} needs the CLIP weights")
    return ["--clip", weights.clip.as_posix()]


def _number(value: float) -> str:
    # Whole numbers below a million keep their ".0", as in 5.0. Others are short, as in 8e-05.
    return f"{value:g}" if value != int(value) or value >= 1e6 else str(value)
