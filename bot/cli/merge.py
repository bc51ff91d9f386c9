"""`lorabot merge`: a speed LoRA into a base model, or the proof of an earlier merge."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import CycloptsError, Parameter
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bot.cli.options import Home, Json
from bot.cli.output import console, print_json
from bot.messages.duration import size
from training.errors import MergeError, RequestError
from training.merge.receipt import Receipt, read_receipt, receipt_path
from training.merge.request import MergeProgress, MergeRequest


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """What is merged, and where to."""

    base: Annotated[
        Path | None, Parameter(help="The model: a safetensors file, or the index of several.")
    ] = None
    lora: Annotated[Path | None, Parameter(help="The LoRA to merge into it.")] = None
    out: Annotated[Path | None, Parameter(help="Where the merged model goes.")] = None
    strength: Annotated[float, Parameter(help="Factor on every change of the LoRA.")] = 1.0
    expect: Annotated[
        int | None, Parameter(help="How many layers must change; else all of the LoRA's kinds.")
    ] = None
    receipt: Annotated[
        Path | None, Parameter(help="Where a copy of the receipt goes, or with --verify lies.")
    ] = None
    verify: Annotated[
        Path | None, Parameter(help="Check that a merged model is the one of its receipt.")
    ] = None


def merge(
    *, options: MergeOptions | None = None, json: Json = False, home: Home | None = None
) -> None:
    """Merge a LoRA into a base model with proof, or verify an earlier merge.

    Every layer must be accounted for: when anything does not fit, there is no output.
    """
    (home or Home()).this_machine("merge")
    given = options or MergeOptions()
    if given.verify is not None:
        _verify(given.verify, given.receipt)
        return
    if given.base is None or given.lora is None or given.out is None:
        raise CycloptsError(msg="A merge needs --base, --lora and --out, or else --verify.")
    request = MergeRequest(
        base=given.base,
        lora=given.lora,
        output=given.out,
        strength=given.strength,
        expected_count=given.expect,
    )
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
            "A merge calculates with torch, which is not installed here.",
            "Install it: pip install 'wan-lora-bot[local]'.",
        )
    from training.merge.stream import merge as merge_files  # noqa: PLC0415  # imports torch

    columns = (TextColumn("merging"), BarColumn(), TextColumn("{task.fields[layers]} layers"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("merge", total=None, layers="0")

        def show(at: MergeProgress) -> None:
            layers = f"{at.layers_done}/{at.layers_total}"
            progress.update(bar, completed=at.bytes_done, total=at.bytes_total, layers=layers)

        return merge_files(request, on_progress=show)


def _verify(output: Path, receipt: Path | None) -> None:
    from training.merge.verify import verify as verify_files  # noqa: PLC0415

    if not output.exists():
        raise MergeError(f"There is no {output} to verify.", "Check the path.")
    verify_files(output, read_receipt(receipt or receipt_path(output)))
    console.print(f"{output} is what its receipt says.", markup=False)


def _print(receipt: Receipt, output: Path) -> None:
    merged = f"{receipt.layers_merged}/{receipt.layers_expected} layers merged"
    console.print(f"{merged} at strength {receipt.strength:g} into {output}", markup=False)
    console.print(f"{size(receipt.bytes)} in {receipt.seconds:.1f} s; receipt: {receipt.sha256}")
    for key, reason in receipt.keys_skipped.items():
        console.print(f"skipped {key}: {reason}", markup=False)
