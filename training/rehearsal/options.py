"""Parsers for musubi-tuner's three Wan scripts, built from `options.json`."""

import argparse
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypedDict, cast

from training.musubi.launcher.hooks import FAST_OPTION
from training.rehearsal.musubi_error import MusubiError

CACHE_LATENTS = "wan_cache_latents.py"
CACHE_TEXT = "wan_cache_text_encoder_outputs.py"
TRAIN = "wan_train_network.py"


# Options that the rehearsal reads, and options that it ignores because they only change speed or
# memory.
# fmt: off
READ = frozenset((
    "clip", "dataset_config", "discrete_flow_shift", "dit", "fp8_base", "fp8_scaled", "i2v",
    "learning_rate", "lr_scheduler", "lr_scheduler_args", "lr_scheduler_min_lr_ratio",
    "lr_scheduler_power", "max_timestep", "max_train_epochs", "max_train_steps", "min_timestep",
    "mixed_precision", "network_alpha", "network_args", "network_dim", "network_module",
    "network_weights",
    "optimizer_args", "optimizer_type", "output_dir", "output_name",
    "preserve_distribution_shape", "resume", "save_every_n_epochs", "save_state", "seed",
    "skip_existing", "t5", "task", "training_comment", "vae",
))
WITHOUT_EFFECT = frozenset((
    "batch_size", "blocks_to_swap", "force_v2_1_time_embedding", "fp8_t5",
    "gradient_checkpointing",
    "max_data_loader_n_workers", "persistent_data_loader_workers", "sdpa", "vae_cache_cpu",
))
# fmt: on Options that the rehearsal supports only with this value, which is not musubi-tuner's
# default.
REQUIRED: Mapping[str, str] = MappingProxyType(
    {"timestep_sampling": "shift", "save_precision": "bf16"}
)


class RehearsalOption(TypedDict):
    """An option of a musubi-tuner script, as listed in `options.json`."""

    name: str
    dest: str
    kind: Literal["store", "flag"]
    type: str
    nargs: str | None
    default: str | float | bool | None
    choices: list[str] | None
    required: bool


def read_options() -> dict[str, list[RehearsalOption]]:
    """Return the options of each script, keyed by the script's file name."""
    text = files("training.musubi").joinpath("options.json").read_text(encoding="utf-8")
    return cast("dict[str, list[RehearsalOption]]", json.loads(text)["scripts"])


def build_parser(script: str) -> argparse.ArgumentParser:
    """Return a parser with all of a script's options; it exits with code 2 on any other option."""
    parser = argparse.ArgumentParser(prog=script)
    for option in read_options()[script]:
        if option["kind"] == "flag":
            parser.add_argument(option["name"], dest=option["dest"], action="store_true")
            continue
        parser.add_argument(
            option["name"],
            dest=option["dest"],
            type=_TYPES.get(option["type"], str),
            nargs=option["nargs"],
            default=option["default"],
            choices=option["choices"],
            required=option["required"],
        )
    # The launcher's own option, which only changes speed.
    parser.add_argument(FAST_OPTION)
    return parser


def check_supported(script: str, args: argparse.Namespace) -> None:
    """Refuse every option that the rehearsal would silently ignore.

    Raises:
        MusubiError: An option is set that the rehearsal does not support.
    """
    for option in read_options()[script]:
        dest, name = option["dest"], option["name"]
        if dest in READ | WITHOUT_EFFECT:
            continue
        value = getattr(args, dest)
        if dest in REQUIRED and value != REQUIRED[dest]:
            raise MusubiError(
                f"ValueError: The rehearsal needs {name} {REQUIRED[dest]}.",
                "Use that value, or train with musubi-tuner.",
            )
        if dest not in REQUIRED and value != option["default"]:
            raise MusubiError(
                f"ValueError: The rehearsal has no {name}.",
                "Omit it, or train with musubi-tuner.",
            )


_TYPES: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {"int": int, "float": float, "Path": Path}
)
