"""Parsers for musubi-tuner's three Wan scripts, built from `options.json`."""

import argparse
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypedDict, cast

from training.rehearsal.musubi_error import MusubiError

CACHE_LATENTS = "wan_cache_latents.py"
CACHE_TEXT = "wan_cache_text_encoder_outputs.py"
TRAIN = "wan_train_network.py"


# What the rehearsal reads of the command line, and what changes speed or memory alone.
# fmt: off
READ = frozenset((
    "clip", "dataset_config", "discrete_flow_shift", "dit", "fp8_base", "fp8_scaled",
    "gradient_accumulation_steps", "i2v", "keep_cache", "learning_rate", "lr_scheduler",
    "lr_scheduler_args", "lr_scheduler_min_lr_ratio", "lr_scheduler_num_cycles",
    "lr_scheduler_power", "lr_warmup_steps", "max_grad_norm", "max_timestep",
    "max_train_epochs", "max_train_steps", "metadata_arch", "metadata_reso", "metadata_title",
    "min_timestep", "mixed_precision", "network_alpha", "network_dim", "network_module",
    "network_weights", "no_metadata", "optimizer_args", "optimizer_type", "output_dir",
    "output_name", "preserve_distribution_shape", "resume", "save_every_n_epochs",
    "save_every_n_steps", "save_last_n_epochs", "save_last_n_epochs_state",
    "save_last_n_steps", "save_last_n_steps_state", "save_precision", "save_state",
    "save_state_on_train_end", "seed", "sigmoid_scale", "skip_existing", "t5", "task",
    "timestep_sampling", "training_comment", "vae",
))
WITHOUT_EFFECT = frozenset((
    "batch_size", "blocks_to_swap", "fp8_t5", "gradient_checkpointing",
    "max_data_loader_n_workers", "persistent_data_loader_workers", "sdpa", "vae_cache_cpu",
))
# fmt: on


class RehearsalOption(TypedDict):
    """One option of musubi-tuner's own parser."""

    name: str
    dest: str
    kind: Literal["store", "flag"]
    type: str
    nargs: str | None
    default: str | float | bool | None
    choices: list[str] | None
    required: bool


def read_options() -> dict[str, list[RehearsalOption]]:
    """Return the options of every script."""
    text = files("training.musubi").joinpath("options.json").read_text(encoding="utf-8")
    return cast("dict[str, list[RehearsalOption]]", json.loads(text)["scripts"])


def build_parser(script: str) -> argparse.ArgumentParser:
    """Return the parser of a script; an unknown option exits with 2."""
    parser = argparse.ArgumentParser(prog=script)
    for option in read_options()[script]:
        if option["kind"] == "flag":
            parser.add_argument(option["name"], dest=option["dest"], action="store_true")
            continue
        parser.add_argument(
            option["name"],
            dest=option["dest"],
            type=_TYPES[option["type"]],
            nargs=option["nargs"],
            default=option["default"],
            choices=option["choices"],
            required=option["required"],
        )
    return parser


def check_supported(script: str, args: argparse.Namespace) -> None:
    """Refuse an option that the rehearsal would leave out without a word.

    Raises:
        MusubiError: The option is set, and the rehearsal has no counterpart of it.
    """
    for option in read_options()[script]:
        dest = option["dest"]
        if dest not in READ | WITHOUT_EFFECT and getattr(args, dest) != option["default"]:
            raise MusubiError(
                f"ValueError: The rehearsal has no {option['name']}.",
                "Leave it out, or train with musubi-tuner.",
            )


def _int_or_float(text: str) -> float:
    """Return a number of steps, or a share of all steps (`0.1` or `10%`)."""
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100.0
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not an int or float") from error
    return int(number) if number >= 1 and number.is_integer() else number


_TYPES: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "Path": Path,
    "_int_or_float": _int_or_float,
}
