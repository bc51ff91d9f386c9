"""musubi-tuner's three command lines as typed objects, rendered to argument lists.

Every flag comes from the catalogue or from the run's settings. Options and their meaning are those
of musubi-tuner v0.3.4, commit 30c658c4f4b0bf05038b3346eff9670259b10fc7.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from training.catalogue.models import Expert, Model, WeightFile
from training.runs.hyperparameters import ExpertSettings

Script = Literal[
    "wan_cache_latents.py", "wan_cache_text_encoder_outputs.py", "wan_train_network.py"
]


_NUMBERS = {
    "int": re.compile(r"-?\d+"),
    "float": re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE),
}

# File name prefixes of the base models that each task can train.
_BASES = {
    "t2v-14B": "wan2.1_t2v_14B_",
    "t2v-1.3B": "wan2.1_t2v_1.3B_",
    "i2v-14B": "wan2.1_i2v_(480p|720p)_14B_",
    "t2v-A14B": "wan2.2_t2v_(high|low)_noise_14B_",
    "i2v-A14B": "wan2.2_i2v_(high|low)_noise_14B_",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weight files a run's commands name; `clip` for Wan 2.1 I2V only."""

    vae: Path
    t5: Path
    clip: Path | None


@dataclass(frozen=True, slots=True)
class ScriptOption:
    """One option as musubi-tuner's parser knows it; `choices` is None where it takes any value."""

    name: str
    kind: Literal["flag", "store"]
    type: str | None
    nargs: str | None
    choices: tuple[str, ...] | None

    def takes(self, values: Sequence[str]) -> bool:
        """Return whether the option accepts these values."""
        if self.kind == "flag":
            return not values
        if len(values) != 1 and not (values and self.nargs in ("*", "+")):
            return False
        if self.choices is not None:
            return all(value in self.choices for value in values)
        number = _NUMBERS.get(self.type or "")
        return number is None or all(number.fullmatch(value) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFile:
    """A base model on disk, and the published file that it is or was merged from."""

    path: Path
    weight: WeightFile


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
    """Train one expert's adapter.

    `resume` is the training state to continue from, `network_weights` a LoRA file to start from.
    The task is the model's and the base must be the published file of that model and expert:
    musubi-tuner would silently train a Wan 2.2 file under a Wan 2.1 task, with a useless result.
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
                f"{name} is not what {self.model.name} ({self.expert.name}) is trained on "
                f"under the task {self.model.task}"
            )

    def arguments(self) -> tuple[str, ...]:
        """Return the script's arguments."""
        parts = [
            *self._model(),
            *self._adapter(),
            *self._schedule(),
            *self._saving(),
        ]
        if self.resume is not None:
            parts += ["--resume", str(self.resume)]
        elif self.network_weights is not None:
            # Not with a state, whose values would replace the file's.
            parts += ["--network_weights", str(self.network_weights)]
        return checked(self.script, parts)

    def _model(self) -> list[str]:
        arguments = ["--task", self.model.task, "--dit", str(self.dit.path)]
        arguments += ["--dataset_config", str(self.dataset_config)]
        arguments += ["--mixed_precision", self.model.dtype, *self._memory()]
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

    def _memory(self) -> list[str]:
        arguments = list(self.model.fp8 or ("--fp8_base",)) if self.settings.fp8 else []
        if self.settings.blocks_to_swap:
            arguments += ["--blocks_to_swap", str(self.settings.blocks_to_swap)]
        return arguments

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
        if settings.optimizer == "adafactor":
            # By default it chooses its own rates; musubi then drops rate and schedule.
            arguments += ["relative_step=False", "scale_parameter=False", "warmup_init=False"]
        arguments += ["--learning_rate", _number(settings.learning_rate)]
        arguments += ["--lr_scheduler", settings.scheduler]
        arguments += ["--lr_scheduler_power", _number(settings.scheduler_power)]
        arguments += ["--lr_scheduler_min_lr_ratio", _number(settings.min_lr_ratio)]
        if settings.scheduler == "polynomial":
            # musubi passes the ratio to other schedules only; the polynomial one reads its final
            # rate from here and would otherwise always end at 1e-7.
            last = settings.learning_rate * settings.min_lr_ratio
            arguments += ["--lr_scheduler_args", f"lr_end={last:.12g}"]
        arguments += ["--max_train_epochs", str(settings.epochs)]
        return [*arguments, "--seed", str(settings.seed)]

    def _saving(self) -> list[str]:
        return [
            *("--output_dir", str(self.output_dir), "--output_name", self.output_name),
            *("--save_every_n_epochs", str(self.settings.save_every)),
            *("--save_precision", "bf16"),
            "--save_state",
            *("--training_comment", self.comment),
        ]


def checked(script: Script, arguments: list[str]) -> tuple[str, ...]:
    """Return the arguments, checked against the script's options.

    Raises:
        ValueError: An option is unknown, repeated or has a bad value: a bug in this module.
    """
    known = known_options()[script]
    given: dict[str, list[str]] = {}
    for argument in arguments:
        if not argument.startswith("--"):
            given[next(reversed(given))].append(argument)
        elif argument not in known or argument in given:
            raise ValueError(f"{script}: {argument} is unknown or repeated")
        else:
            given[argument] = []
    for name, values in given.items():
        if not known[name].takes(values):
            raise ValueError(f"{script}: {name} cannot be {values}")
    return tuple(arguments)


@cache
def known_options() -> Mapping[str, Mapping[str, ScriptOption]]:
    """Return the options of each script, recorded from its parser."""
    text = resources.files("training.musubi").joinpath("options.json").read_text("utf-8")
    scripts = TypeAdapter(dict[str, list[ScriptOption]]).validate_python(
        json.loads(text)["scripts"]
    )
    return {
        script: {option.name: option for option in options} for script, options in scripts.items()
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
