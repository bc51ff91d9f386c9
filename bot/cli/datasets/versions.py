"""`lorabot add`, `captions` and `diff`: stored datasets and their versions."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bot.cli.datasets.sending import send_to_bot
from bot.cli.datasets.settling import Settling
from bot.cli.datasets.zips import layout_hint, require_file
from bot.cli.home import OPERATOR, ServerHome
from bot.cli.output import console, print_json
from bot.cli.parameters import IgnoreLayout, Json, StoredName, Trigger, ZipOptions
from bot.cli.progress import counted
from bot.messages.datasets.difference import difference_text
from bot.messages.datasets.report import report_text
from bot.messages.options import on_terminal
from training.dataset.captions.table import TABLE_LIMIT_BYTES
from training.dataset.difference import Difference
from training.dataset.report import Report
from training.errors import RequestError
from training.files.given_files import read_given
from training.registry.dataset_draft import TriggerChange, Upload, UploadMode, refuse_unusable
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import DatasetVersion
from training.registry.uploads.session import DatasetTarget
from training.runs.spec import check_name, name_from_file, parse_reference

Prefix = Annotated[
    bool, Parameter(help="Prefix the trigger word to captions that lack it.", negative=())
]


def add(  # noqa: PLR0913  # options
    zip_file: Annotated[Path, Parameter(name="ZIP", help="The zip to store.")],
    /,
    *,
    name: Annotated[
        str | None, Parameter(help="Name of the dataset. Default: the zip's file name.")
    ] = None,
    mode: Annotated[
        UploadMode,
        Parameter(
            help="new: only these files; add: keep the existing files too; replace: like add, but "
            "overwrite files of the same name."
        ),
    ] = "new",
    options: ZipOptions | None = None,
    ignore_layout: IgnoreLayout = False,
    prefix: Prefix = False,
    settling: Settling | None = None,
    home: ServerHome | None = None,
) -> None:
    options, home = options or ZipOptions(), home or ServerHome()
    require_file(zip_file)
    if options.read_layout and ignore_layout:
        raise RequestError("--read-layout and --ignore-layout cannot be combined.", "Choose one.")
    settling = settling or Settling()
    settling.check()
    local, guild = home.open(), home.guild
    datasets = local.datasets
    chosen = name_from_file(zip_file.name) if name is None else name
    stored_as = check_name("dataset", chosen) if mode == "new" else parse_reference(chosen)[0]
    if mode != "new":
        datasets.find(guild, chosen)
    upload = Upload(
        archive=zip_file,
        by=OPERATOR,
        file_name=zip_file.name,
        trigger=options.trigger,
        is_prefixed=prefix,
        reads_layout=options.read_layout,
        table=settling.table(),
        leaves_out=settling.leave_out,
        uses_trigger_only=settling.trigger_only,
    )
    before = datasets.versions(guild, stored_as)
    with counted("Checking", is_quiet=False) as on_progress:
        draft = replace(datasets.inspect_for(guild, chosen, upload, on_progress), mode=mode)
    if mode != "new" and not ignore_layout:
        _require_no_layout(draft.report)
    if home.is_sent:
        refuse_unusable(draft.report)
        target = _target(
            chosen, mode, options, settling, is_prefixed=prefix, ignore_layout=ignore_layout
        )
        sent = [zip_file] if settling.captions is None else [zip_file, settling.captions]
        version = send_to_bot(home, local, sent, target)
    elif mode == "new":
        version = datasets.store(guild, chosen, draft)
    else:
        version = DatasetEdits(datasets).join(guild, chosen, draft, is_prefixed=prefix)
    if _is_known(version, before):
        return
    _print_version(version)
    console.print(report_text(datasets.report(guild, version), on_terminal), markup=False)


def _target(
    name: str,
    mode: UploadMode,
    options: ZipOptions,
    settling: Settling,
    *,
    is_prefixed: bool,
    ignore_layout: bool,
) -> DatasetTarget:
    return DatasetTarget(
        name=name,
        mode=mode,
        trigger=options.trigger,
        is_prefixed=is_prefixed,
        layout="read" if options.read_layout else "ignore" if ignore_layout else "ask",
        leaves_out=settling.leave_out,
        uses_trigger_only=settling.trigger_only,
        captions=settling.captions.name if settling.captions is not None else None,
    )


def _require_no_layout(report: Report) -> None:
    """Refuse files in another tool's layout: adding them to a dataset would lose the layout."""
    if (hint := layout_hint(report)) is not None:
        raise RequestError(
            f"{hint} Adding the files to a stored dataset loses this layout.",
            "Or add the files without their layout: --ignore-layout.",
        )


def captions(  # noqa: PLR0913  # options
    dataset: StoredName,
    /,
    *,
    file: Annotated[
        Path | None, Parameter(help="An edited caption table to store as a new version.")
    ] = None,
    prefix: Prefix = False,
    trigger: Trigger = None,
    replaces: Annotated[
        str | None,
        Parameter(help="Old trigger word to replace with the new one in every caption."),
    ] = None,
    out: Annotated[Path | None, Parameter(help="Write the table to this file.")] = None,
    home: ServerHome | None = None,
) -> None:
    home = home or ServerHome()
    local, guild = home.open(), home.guild
    change = TriggerChange(trigger, replaces, prefix)
    if file is None and not change.edits_captions:
        _write(local.datasets.captions(guild, dataset)[1], out)
        return
    if file is not None and change.edits_captions:
        raise RequestError(
            "--file cannot be combined with --prefix or --replaces.",
            "Run the command once with --file and once with the other options.",
        )
    before = local.datasets.find(guild, dataset)
    known = local.datasets.versions(guild, before.name)
    edits = DatasetEdits(local.datasets)
    if file is None:
        after = edits.set_trigger(guild, dataset, change, by=OPERATOR)
    else:
        table = read_given(file, TABLE_LIMIT_BYTES)
        after = edits.recaption(guild, dataset, table, trigger=trigger, by=OPERATOR)
    if _is_known(after, known):
        return
    _print_version(after)
    _print_difference(*local.datasets.difference(guild, str(before.ref), str(after.ref)))


def diff(
    old: StoredName, new: StoredName, /, *, json: Json = False, home: ServerHome | None = None
) -> None:
    home = home or ServerHome()
    local, guild = home.open(), home.guild
    before, after, found = local.datasets.difference(guild, old, new)
    if json:
        print_json({"old": str(before.ref), "new": str(after.ref), **asdict(found)})
    else:
        _print_difference(before, after, found)


def _is_known(version: DatasetVersion, before: Sequence[DatasetVersion]) -> bool:
    """Return whether a version already existed; if so, tell the user."""
    if all(version.number != known.number for known in before):
        return False
    console.print(f"Identical to {version.ref}; nothing was stored.", markup=False)
    return True


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
