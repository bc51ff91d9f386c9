"""A dataset on the command line: a zip file, or the name of a stored dataset."""

from pathlib import Path

from bot.cli.options import GUILD, OPERATOR
from bot.wiring import LocalHouse
from training.dataset.inspect import inspect_zip
from training.dataset.report import Report
from training.datasets import refuse_unusable
from training.errors import NotFoundError
from training.request import DatasetRef, name_from_file


def is_zip(dataset: str) -> bool:
    """Return whether the text names a zip file rather than a stored dataset.

    Raises:
        NotFoundError: It looks like a zip file that is not there.
    """
    if dataset.lower().endswith(".zip") or "/" in dataset:
        require_file(Path(dataset))
        return True
    return False


def require_file(path: Path) -> None:
    """Raise when there is no such file.

    Raises:
        NotFoundError: There is none.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", "Check the path of the zip.")


def look_at(local: LocalHouse, dataset: str) -> tuple[DatasetRef, Report]:
    """Return the dataset that a zip or a name stands for; nothing is stored.

    A zip with the content of a stored version is that version.

    Raises:
        NotFoundError: There is no such file or dataset.
        DatasetError: The zip cannot be used.
    """
    if not is_zip(dataset):
        version = local.datasets.find(GUILD, dataset)
        return version.ref, local.datasets.report(GUILD, version)
    report = inspect_zip(Path(dataset), limits=local.settings.limits)
    refuse_unusable(report)
    name = name_from_file(Path(dataset).name)
    versions = local.datasets.versions(GUILD, name)
    for version in reversed(versions):
        if version.version == report.version:
            return version.ref, report
    number = versions[-1].number + 1 if versions else 1
    return DatasetRef(name=name, number=number, version=report.version), report


def stored_dataset(local: LocalHouse, dataset: str, ref: DatasetRef) -> str:
    """Return the reference of a dataset that was looked at, adding the zip if it is new."""
    stored = local.datasets.versions(GUILD, ref.name)
    if any(version.version == ref.version for version in stored):
        return str(ref)
    path = Path(dataset)
    version, _report = local.datasets.add(GUILD, ref.name, path, by=OPERATOR, file_name=path.name)
    return str(version.ref)
