"""`lorabot check`: check a dataset's zip without storing it."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bot.cli.datasets.zips import require_file
from bot.cli.home import Home
from bot.cli.output import console, counted, print_json
from bot.cli.parameters import Json, Trigger
from bot.messages.contact_sheet import draw_sheet
from bot.messages.dataset_text import report_text
from training.dataset.inspect import TooSlowError
from training.dataset.limits import Limits
from training.dataset.original import why_not_original
from training.dataset.repair import repair as write_repaired
from training.dataset.report import Finding, Report
from training.dataset.zip.archive import ArchiveRefusedError
from training.errors import DatasetError, RequestError
from training.estimates.steps_per_model import predictions, suited
from training.registry.dataset_draft import DatasetDraft, Upload, inspect_upload, refuse_unusable


def check(
    zip_file: Annotated[Path, Parameter(name="ZIP", help="The zip to check.")],
    /,
    *,
    repair: Annotated[
        Path | None, Parameter(help="Write the repaired dataset into this new or empty folder.")
    ] = None,
    trigger: Trigger = None,
    sheet: Annotated[Path | None, Parameter(help="Write a contact sheet to this JPEG.")] = None,
    json: Json = False,
    home: Home | None = None,
) -> None:
    require_file(zip_file)
    if repair is not None:
        _require_empty(repair)
    limits = (home or Home()).settings().limits
    upload = Upload(archive=zip_file, by="", file_name=zip_file.name, trigger=trigger)
    draft = _look(upload, limits, as_json_too=json)
    if sheet is not None and (drawn := draw_sheet(draft.report, draft.thumbnails.images())):
        sheet.write_bytes(drawn)
    if json:
        print_json(as_json(draft.report))
        refuse_unusable(draft.report)
    else:
        console.print(report_text(draft.report), markup=False, end="")
        _refuse_shown(draft.report, zip_file)
    if repair is not None:
        with counted("Repairing", is_quiet=json) as on_progress:
            manifest = write_repaired(
                zip_file, draft.report, repair.resolve(), limits=limits, on_progress=on_progress
            )
        if not json:
            console.print(f"{len(manifest.files)} files written to {repair}", markup=False)


def _look(upload: Upload, limits: Limits, *, as_json_too: bool) -> DatasetDraft:
    """Inspect a zip. With JSON output, even a zip that is refused outright gets a report."""
    try:
        with counted("Checking", is_quiet=as_json_too) as on_progress:
            return inspect_upload(upload, on_progress, limits)
    except (ArchiveRefusedError, TooSlowError) as error:
        if as_json_too:
            print_json(as_json(_refused(error)))
        raise


def _refuse_shown(report: Report, zip_file: Path) -> None:
    """Raise if the dataset cannot be used; its findings have been printed already."""
    if errors := len(report.errors):
        must = "1 finding" if errors == 1 else f"{errors} findings"
        raise DatasetError(
            f"{zip_file.name} cannot be used yet: {must} marked [error] above.",
            "Fix the items above, zip the folder again and check it again.",
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
        "predictions": {
            name: prediction.model_dump(mode="json")
            for name, prediction in predictions(report).items()
        },
        "original": why_not_original(report) or True,
        "configs": [config.file for config in report.configs],
    }


def _refused(error: ArchiveRefusedError | TooSlowError) -> Report:
    """Return a report, without a version, for a zip that could not be opened."""
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
