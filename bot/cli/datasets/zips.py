"""A dataset on the command line: a zip file, or the name of a stored dataset."""

from pathlib import Path

from bot.cli.home import GUILD, OPERATOR
from bot.installation import Installation
from training.dataset.inspect import inspect_zip
from training.dataset.original import used_as
from training.dataset.report import Media, Report
from training.errors import NotFoundError
from training.registry.dataset_draft import Upload, refuse_unusable
from training.registry.dataset_edits import DatasetEdits
from training.runs.spec import DatasetRef, name_from_file


def is_zip(dataset: str) -> bool:
    """Return whether `dataset` is the path of a zip, not the name of a stored dataset.

    Raises:
        NotFoundError: The text is the path of a zip that does not exist.
    """
    if dataset.lower().endswith(".zip") or "/" in dataset:
        require_file(Path(dataset))
        return True
    return False


def require_file(path: Path) -> None:
    """Raise if `path` is not a file.

    Raises:
        NotFoundError: It is missing, or a folder.
    """
    if path.is_dir():
        raise NotFoundError(f"{path} is a folder.", "Zip the folder and give the path of the zip.")
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", "Check the path.")


def look_at(
    local: Installation, dataset: str, media: Media | None = None
) -> tuple[DatasetRef, Report]:
    """Return the version that a zip or a name refers to, without storing anything.

    A zip whose content equals a stored version is that version. Without `media`, a zip is used
    repaired and a stored dataset as stored.

    Raises:
        NotFoundError: There is no such file or dataset.
        DatasetError: The zip cannot be used.
    """
    if not is_zip(dataset):
        version = local.datasets.find(GUILD, dataset)
        report = local.datasets.report(GUILD, version, media)
        if media in (None, version.media):
            return version.ref, report
        name = version.name
    else:
        inspected = inspect_zip(Path(dataset), limits=local.settings.limits)
        refuse_unusable(inspected)
        report = used_as(inspected, media or "repaired")
        name = name_from_file(Path(dataset).name)
    versions = local.datasets.versions(GUILD, name)
    for version in reversed(versions):
        if version.version == report.version:
            return version.ref, report
    number = versions[-1].number + 1 if versions else 1
    ref = DatasetRef(name=name, number=number, version=report.version, media=report.media)
    return ref, report


def stored_dataset(local: Installation, dataset: str, ref: DatasetRef) -> str:
    """Return the reference of the dataset, storing it first if it is new."""
    stored = local.datasets.versions(GUILD, ref.name)
    if any(version.version == ref.version for version in stored):
        return str(ref)
    if is_zip(dataset):
        path = Path(dataset)
        upload = Upload(archive=path, by=OPERATOR, file_name=path.name)
        draft = local.datasets.inspect(upload)
        chosen = draft.with_media(ref.media, by=OPERATOR)
        version = local.datasets.store(GUILD, ref.name, chosen)
    else:
        edits = DatasetEdits(local.datasets)
        version = edits.choose_media(GUILD, dataset, ref.media, by=OPERATOR)
    return str(version.ref)
