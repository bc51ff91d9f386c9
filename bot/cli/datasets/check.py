"""`lorabot check`: check a dataset's zip without storing it."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bot.cli.datasets.zips import require_file
from bot.cli.home import Home
from bot.cli.output import console, print_json
from bot.cli.parameters import Json, ZipOptions
from bot.cli.progress import counted
from bot.messages.datasets.contact_sheet import draw_sheet
from bot.messages.datasets.report import report_text
from bot.messages.options import on_terminal
from training.dataset.captions.table import write_table
from training.dataset.inspect import TooSlowError
from training.dataset.limits import Limits
from training.dataset.original import why_not_original
from training.dataset.repair import repair as write_repaired
from training.dataset.report import Finding, Report
from training.dataset.zip.archive import ArchiveRefusedError
from training.errors import DatasetError, RequestError
from training.estimates.steps_per_model import predicted_single_frames, predictions, suited
from training.registry.dataset_draft import (
    DatasetDraft,
    Upload,
    inspect_upload,
    other_way,
    refuse_unusable,
    way_on,
)


def check(  # noqa: PLR0913  # options
    zip_file: Annotated[Path, Parameter(name="ZIP", help="The zip to check.")],
    /,
    *,
    repair: Annotated[
        Path | None, Parameter(help="Write the repaired dataset into this new or empty folder.")
    ] = None,
    options: ZipOptions | None = None,
    sheet: Annotated[Path | None, Parameter(help="Write a contact sheet to this JPEG.")] = None,
    table: Annotated[
        Path | None,
        Parameter(
            help="Write the caption table to this CSV; missing captions are empty cells to fill in."
        ),
    ] = None,
    json: Json = False,
    home: Home | None = None,
) -> None:
    options = options or ZipOptions()
    require_file(zip_file)
    if repair is not None:
        _require_empty(repair)
    limits = (home or Home()).settings().limits
    upload = Upload(
        archive=zip_file,
        by="",
        file_name=zip_file.name,
        trigger=options.trigger,
        reads_layout=options.read_layout,
    )
    draft = _inspected(upload, limits, as_json_too=json)
    if sheet is not None and (drawn := draw_sheet(draft.report, draft.thumbnails.images())):
        sheet.write_bytes(drawn.data)
    if table is not None:
        table.write_bytes(write_table(draft.report))
        if not json:
            console.print(f"Caption table written to {table}", markup=False)
    if json:
        print_json(as_json(draft.report))
        refuse_unusable(draft.report)
    else:
        console.print(report_text(draft.report, on_terminal), markup=False, end="")
        _refuse_shown(draft.report, zip_file)
    if repair is not None:
        with counted("Repairing", is_quiet=json) as on_progress:
            manifest = write_repaired(
                zip_file, draft.report, repair.resolve(), limits=limits, on_progress=on_progress
            )
        if not json:
            console.print(f"{len(manifest.files)} files written to {repair}", markup=False)


def _inspected(upload: Upload, limits: Limits, *, as_json_too: bool) -> DatasetDraft:
    """Inspect a zip. If that fails and `as_json_too` is set, print a JSON report before raising."""
    try:
        with counted("Checking", is_quiet=as_json_too) as on_progress:
            return inspect_upload(upload, on_progress, limits)
    except (ArchiveRefusedError, TooSlowError) as error:
        if as_json_too:
            print_json(as_json(_refused(error)))
        raise


def _refuse_shown(report: Report, zip_file: Path) -> None:
    """Raise if the dataset cannot be used. Call this after the findings have been printed."""
    if errors := len(report.errors):
        must = "the finding" if errors == 1 else f"the {errors} findings"
        raise DatasetError(
            f"{zip_file.name} cannot be used yet: see {must} marked [error] above.",
            "Fix the items above, zip the folder again and check it again." + other_way(report),
            way_on(report),
        )


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON with stable field names."""
    totals = report.totals
    return {
        "version": report.version or None,
        "samples": [sample.model_dump(mode="json") for sample in report.samples],
        "findings": [finding.model_dump(mode="json") for finding in report.findings],
        "totals": {
            "images": totals.images,
            "clips": totals.clips,
            "seconds": totals.seconds,
            "frames": totals.frames_16fps,
        },
        "suits": {name: reason is None or reason for name, reason in suited(report).items()},
        "single_frames": {
            name: {"steps_per_epoch": found.steps, "time_share": round(found.time_share, 3)}
            for name, found in predicted_single_frames(report).items()
        },
        "predictions": {
            name: prediction.model_dump(mode="json")
            for name, prediction in predictions(report).items()
        },
        "original": why_not_original(report) or True,
        "layout": report.layout.model_dump(mode="json") if report.layout is not None else None,
        "configs": [config.file for config in report.configs],
    }


def _refused(error: ArchiveRefusedError | TooSlowError) -> Report:
    """Return the report on a zip that could not be inspected; its `version` is empty."""
    finding = Finding(
        code=error.code,
        severity="error",
        file=None,
        cause=error.cause,
        fix=error.fix,
        repaired=False,
    )
    return Report(version="", samples=(), findings=(finding,))


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(
            f"{folder} already exists and is not empty.", "Choose a new or empty folder."
        )
