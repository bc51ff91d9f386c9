"""`lorabot check`: what is wrong with a dataset's zip, before anything is stored."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bot.cli.options import Home, Json
from bot.cli.output import console, print_json
from bot.cli.zips import require_file
from bot.messages.dataset_text import report_text
from training.dataset.inspect import inspect_zip
from training.dataset.original import why_not_original
from training.dataset.report import Report
from training.datasets import refuse_unusable
from training.prediction import predictions, suited


def check(
    zip_file: Annotated[Path, Parameter(name="ZIP", help="The zip to look at.")],
    /,
    *,
    json: Json = False,
    home: Home | None = None,
) -> None:
    """Inspect a dataset's zip: its samples, and what is wrong with them."""
    del home  # taken for uniformity: nothing is stored
    require_file(zip_file)
    report = inspect_zip(zip_file)
    if json:
        print_json(as_json(report))
    else:
        console.print(report_text(report), markup=False)
    refuse_unusable(report)


def as_json(report: Report) -> dict[str, Any]:
    """Return the stable fields of a report."""
    totals = report.totals
    return {
        "version": report.version,
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
