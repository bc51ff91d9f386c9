"""Parsers for musubi-tuner's three Wan scripts, built from `options.json`."""

import argparse
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypedDict, cast

CACHE_LATENTS = "wan_cache_latents.py"
CACHE_TEXT = "wan_cache_text_encoder_outputs.py"
TRAIN = "wan_train_network.py"


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
