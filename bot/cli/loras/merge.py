"""`lorabot merge`: merge a speed LoRA into a base model, or verify a merge."""

import importlib.util
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import CycloptsError, Parameter
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bot.cli.home import Home
from bot.cli.output import console, print_json
from bot.cli.parameters import Json
from training.errors import MergeError, RequestError
from training.files.sizes import size
from training.merge.receipt import Receipt, read_receipt, receipt_path
from training.merge.request import MergeProgress, MergeRequest


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Inputs and output of a merge."""

    base: Annotated[
        Path | None, Parameter(help="Base model: a .safetensors file, or a sharded model's index.")
    ] = None
    lora: Annotated[Path | None, Parameter(help="LoRA to merge into the base model.")] = None
    out: Annotated[Path | None, Parameter(help="Path of the merged model.")] = None
    strength: Annotated[float, Parameter(help="Strength of the LoRA.")] = 1.0
    expect: Annotated[
        int | None,
        Parameter(
            help="Fail unless exactly this many layers change. Even without this option, the merge "
            "fails if a layer changes in some blocks but not in all."
        ),
    ] = None
    receipt: Annotated[
        Path | None,
        Parameter(help="Write a copy of the receipt here. With --verify: read it from here."),
    ] = None
    verify: Annotated[
        Path | None, Parameter(help="Verify that this merged model matches its receipt.")
    ] = None


def merge(
    *, options: MergeOptions | None = None, json: Json = False, home: Home | None = None
) -> None:
    (home or Home()).this_machine("merge")
    given = options or MergeOptions()
    if given.verify is not None:
        if given.base or given.lora or given.out or given.expect is not None:
            raise CycloptsError(msg="--verify can only be combined with --receipt.")
        _verify(given.verify, given.receipt)
        return
    if given.base is None or given.lora is None or given.out is None:
        raise CycloptsError(msg="Give --base, --lora and --out to merge, or --verify.")
    request = MergeRequest(
        base=given.base,
        lora=given.lora,
        output=given.out,
        strength=given.strength,
        expected_count=given.expect,
    )
    _refuse_receipt(given.receipt, given.out)
    made = _merge(request)
    if given.receipt is not None:
        given.receipt.write_text(made.to_json(), "utf-8")
    if json:
        print_json(made.model_dump(mode="json", exclude={"tensor_sha256"}))
    else:
        _print(made, given.out)


def _merge(request: MergeRequest) -> Receipt:
    if importlib.util.find_spec("torch") is None:
        raise RequestError(
            "Merging needs torch, which is not installed.",
            "Install it: pip install 'wan-lora-bot[local]'.",
        )
    from training.merge.merge import merge as merge_files  # noqa: PLC0415  # imports torch

    with _bar("merging") as show:

        def show_layers(at: MergeProgress) -> None:
            show(at.bytes_done, at.bytes_total, f"{at.layers_done}/{at.layers_total} layers")

        return merge_files(request, on_progress=show_layers)


@contextmanager
def _bar(verb: str) -> Generator[Callable[[int, int, str], None]]:
    """Show a progress bar; yield a callback that takes the bytes done, the total and a note."""
    columns = (TextColumn(verb), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task(verb, total=None, note="")

        def show(done: int, whole: int, note: str) -> None:
            progress.update(bar, completed=done, total=whole, note=note)

        yield show


def _refuse_receipt(copy: Path | None, out: Path) -> None:
    """Raise if the receipt at `copy` would overwrite another file, or its folder does not exist."""
    if copy is None:
        return
    if not copy.parent.is_dir():
        raise RequestError(f"The folder of the receipt {copy} does not exist.", "Create it first.")
    if copy.resolve() == out.resolve() or (copy.exists() and not _is_receipt(copy)):
        raise RequestError(
            f"Writing the receipt to {copy} would overwrite another file.", "Choose another path."
        )


def _is_receipt(path: Path) -> bool:
    try:
        read_receipt(path)
    except MergeError:
        return False
    return True


def _verify(output: Path, receipt: Path | None) -> None:
    from training.merge.verify import verify as verify_files  # noqa: PLC0415

    if not output.exists():
        raise MergeError(f"There is no {output} to verify.", "Check the path.")
    found = read_receipt(receipt or receipt_path(output))
    with _bar("verifying") as show:
        verify_files(
            output,
            found,
            on_progress=lambda done, whole: show(done, whole, f"{size(done)} of {size(whole)}"),
        )
    console.print(f"{output} matches its receipt.", markup=False)
    layers = f"{found.layers_merged}/{found.layers_expected} layers"
    inputs = f"{found.lora_name} into {found.base_name} at strength {found.strength:g}"
    console.print(f"{layers} merged: {inputs}; receipt: {found.sha256}", markup=False)


def _print(receipt: Receipt, output: Path) -> None:
    merged = f"{receipt.layers_merged}/{receipt.layers_expected} layers merged"
    console.print(f"{merged} at strength {receipt.strength:g} into {output}", markup=False)
    console.print(f"{size(receipt.bytes)} in {receipt.seconds:.1f} s; receipt: {receipt.sha256}")
    for kind, decision in receipt.decisions.items():
        console.print(f"{kind}: {decision}", markup=False)
