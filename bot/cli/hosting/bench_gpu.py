"""`lorabot bench-gpu`: compare musubi-tuner's training step with the compiled one on this GPU."""

import json as jsons
import subprocess
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter

from bot.cli.home import Home
from bot.cli.output import console, print_json
from bot.cli.parameters import Json
from bot.hosting.local import musubi_checkout
from training.errors import StageError
from training.musubi.engine import MusubiEngine

_SHOWN = ("family", "tokens", "mode")

Families = Annotated[
    str,
    Parameter(help="One or more, separated by commas: wan21-t2v, wan21-i2v, wan22-t2v, wan22-i2v."),
]
Tokens = Annotated[
    str,
    Parameter(
        help="One or more, separated by commas: 1560, 3600, 7800, 10800, 21600, 24480, 32760."
    ),
]
Modes = Annotated[str, Parameter(help="One or both, separated by a comma: 16bit, fp8.")]
Memory = Annotated[
    float | None, Parameter(help="Plan as if the GPU had only this much memory, in GiB.")
]


def bench_gpu(
    *,
    families: Families = "wan21-t2v",
    tokens: Tokens = "3600,21600",
    modes: Modes = "16bit,fp8",
    memory: Memory = None,
    json: Json = False,
) -> None:
    arguments = ["--families", families, "--tokens", tokens, "--modes", modes]
    if memory is not None:
        arguments += ["--memory", f"{memory:g}"]
    engine = MusubiEngine(*musubi_checkout(Home().settings()))
    lines: list[dict[str, Any]] = []
    for line in _lines(engine.bench_command(tuple(arguments))):
        lines.append(line)
        if not json:
            console.print(_text(line), markup=False)
    if json:
        print_json(lines)


def _lines(command: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Run the measurement and yield each line of JSON that it prints.

    Raises:
        StageError: The measurement failed.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise ValueError("stdout is not a pipe")
        # Skip the lines that musubi-tuner itself prints.
        yield from (jsons.loads(line) for line in process.stdout if line.startswith("{"))
    if process.returncode:
        raise StageError(
            f"The measurement ended with exit code {process.returncode}.",
            "The lines above say why. The measurement needs a CUDA GPU with free memory.",
        )


def _text(line: dict[str, Any]) -> str:
    place = " ".join(str(line[key]) for key in _SHOWN if key in line)
    values = ", ".join(
        f"{key.replace('_', ' ')} {_value(value)}"
        for key, value in line.items()
        if key not in _SHOWN
    )
    return f"{place}: {values}" if place else values


def _value(value: object) -> str:
    return value if isinstance(value, str) else str(value).strip("[]").replace(",", "")
