"""`lorabot merge`: a speed LoRA into a base model, or the proof of an earlier merge."""

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
from bot.messages.figures import size
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
    (home or Home()).this_machine("merge")
    given = options or MergeOptions()
    if given.verify is not None:
        if given.base or given.lora or given.out or given.expect is not None:
            raise CycloptsError(msg="--verify takes --receipt, and nothing else of a merge.")
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
            "A merge calculates with torch, which is not installed here.",
            "Install it: pip install 'wan-lora-bot[local]'.",
        )
    from training.merge.merge import merge as merge_files  # noqa: PLC0415  # imports torch

    with _bar("merging") as show:

        def show_layers(at: MergeProgress) -> None:
            show(at.bytes_done, at.bytes_total, f"{at.layers_done}/{at.layers_total} layers")

        return merge_files(request, on_progress=show_layers)


@contextmanager
def _bar(verb: str) -> Generator[Callable[[int, int, str], None]]:
    """Draw a bar on a terminal; yield what moves it: bytes done, bytes in all, and a note."""
    columns = (TextColumn(verb), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task(verb, total=None, note="")

        def show(done: int, whole: int, note: str) -> None:
            progress.update(bar, completed=done, total=whole, note=note)

        yield show


def _refuse_receipt(copy: Path | None, out: Path) -> None:
    """Refuse a place for the receipt's copy where a file would be lost, or that is none."""
    if copy is None:
        return
    if not copy.parent.is_dir():
        raise RequestError(f"There is no folder for the receipt {copy}.", "Make it first.")
    if copy.resolve() == out.resolve() or (copy.exists() and not _is_receipt(copy)):
        raise RequestError(
            f"A receipt at {copy} would take another file's place.", "Name another file."
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
    console.print(f"{output} is what its receipt says.", markup=False)
    layers = f"{found.layers_merged}/{found.layers_expected} layers"
    inputs = f"{found.lora_name} into {found.base_name} at strength {found.strength:g}"
    console.print(f"{layers} of {inputs}; receipt: {found.sha256}", markup=False)


def _print(receipt: Receipt, output: Path) -> None:
    merged = f"{receipt.layers_merged}/{receipt.layers_expected} layers merged"
    console.print(f"{merged} at strength {receipt.strength:g} into {output}", markup=False)
    console.print(f"{size(receipt.bytes)} in {receipt.seconds:.1f} s; receipt: {receipt.sha256}")
    for key, reason in receipt.keys_skipped.items():
        console.print(f"skipped {key}: {reason}", markup=False)
