"""`lorabot check`: what is wrong with a dataset's zip, before anything is stored."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bot.cli.options import Home, Json
from bot.cli.output import console, print_json
from bot.cli.zips import require_file
from bot.messages.dataset_text import report_text
from training.dataset.inspect import inspect_zip
from training.dataset.report import Report
from training.datasets import refuse_unusable


def check(
    zip_file: Annotated[Path, Parameter(name="ZIP", help="The zip to look at.")],
    /,
    *,
    json: Json = False,
    home: Home | None = None,
) -> None:
    """Inspect a dataset's zip: its samples, and what is wrong with them."""
    require_file(zip_file)
    report = inspect_zip(zip_file, limits=(home or Home()).settings().limits)
    if json:
        print_json(as_json(report))
    else:
        console.print(report_text(report), markup=False)
    refuse_unusable(report)


def as_json(report: Report) -> dict[str, Any]:
    """Return the stable fields of a report."""
    return report.model_dump(mode="json")
