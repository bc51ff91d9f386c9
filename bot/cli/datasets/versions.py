"""`lorabot add`, `captions` and `diff`: stored datasets and their versions."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bot.cli.datasets.zips import require_file
from bot.cli.home import GUILD, OPERATOR, Home
from bot.cli.output import console, counted, print_json
from bot.cli.parameters import Json, StoredName, Trigger
from bot.messages.dataset_text import report_text
from bot.messages.difference_text import difference_text
from training.dataset.difference import Difference
from training.errors import RequestError
from training.registry.dataset_draft import Upload
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import DatasetVersion
from training.runs.spec import name_from_file

Prefix = Annotated[
    bool, Parameter(help="Prefix captions that lack the trigger word with it.", negative=())
]


def add(
    zip_file: Annotated[Path, Parameter(name="ZIP", help="The zip to store.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Name of the dataset. Default: the zip's.")] = None,
    mode: Annotated[
        Literal["new", "add", "replace"],
        Parameter(
            help="new: only these files; add: also keep the existing ones; replace: overwrite "
            "files of the same name."
        ),
    ] = "new",
    trigger: Trigger = None,
    prefix: Prefix = False,
    home: Home | None = None,
) -> None:
    require_file(zip_file)
    if prefix and trigger is None:
        raise RequestError("--prefix needs a trigger word.", "Add --trigger WORD.")
    datasets = (home or Home()).open().datasets
    chosen = name or name_from_file(zip_file.name)
    upload = Upload(
        archive=zip_file,
        by=OPERATOR,
        file_name=zip_file.name,
        trigger=trigger,
        is_prefixed=prefix,
    )
    before = [known.number for known in datasets.versions(GUILD, chosen)]
    with counted("Checking", is_quiet=False) as on_progress:
        if mode == "new":
            version, _ = datasets.add(GUILD, chosen, upload, on_progress)
        else:
            version = DatasetEdits(datasets).extend(
                GUILD, chosen, upload, is_replacing=mode == "replace", on_progress=on_progress
            )
    if version.number in before:
        console.print(f"Identical to {version.ref}; nothing was stored.", markup=False)
        return
    _print_version(version)
    console.print(report_text(datasets.report(GUILD, version)), markup=False)


def captions(
    dataset: StoredName,
    /,
    *,
    file: Annotated[
        Path | None, Parameter(help="An edited caption table to store as a new version.")
    ] = None,
    prefix: Prefix = False,
    trigger: Trigger = None,
    out: Annotated[Path | None, Parameter(help="Write the table to this file.")] = None,
    home: Home | None = None,
) -> None:
    local = (home or Home()).open()
    if file is None and not prefix:
        _write(local.datasets.captions(GUILD, dataset)[1], out)
        return
    if file is not None and prefix:
        raise RequestError("--file and --prefix cannot be combined.", "Use one after the other.")
    before = local.datasets.find(GUILD, dataset)
    edits = DatasetEdits(local.datasets)
    if file is None:
        after = edits.prefix(GUILD, dataset, trigger=trigger, by=OPERATOR)
    else:
        require_file(file)
        table = file.read_bytes()
        after = edits.recaption(GUILD, dataset, table, trigger=trigger, by=OPERATOR)
    _print_version(after)
    _print_difference(*local.datasets.difference(GUILD, str(before.ref), str(after.ref)))


def diff(
    old: StoredName, new: StoredName, /, *, json: Json = False, home: Home | None = None
) -> None:
    local = (home or Home()).open()
    before, after, found = local.datasets.difference(GUILD, old, new)
    if json:
        print_json({"old": str(before.ref), "new": str(after.ref), **asdict(found)})
    else:
        _print_difference(before, after, found)


def _print_version(version: DatasetVersion) -> None:
    console.print(f"{version.ref}: {version.change}", markup=False)


def _print_difference(old: DatasetVersion, new: DatasetVersion, found: Difference) -> None:
    console.print(difference_text(old, new, found), markup=False, end="")


def _write(table: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(table.decode("utf-8-sig").replace("\r\n", "\n"))
    else:
        out.write_bytes(table)
        console.print(f"Written to {out}", markup=False)
