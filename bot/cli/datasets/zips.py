"""A dataset on the command line: a zip file, or the name of a stored dataset."""

from pathlib import Path

from bot.cli.home import GUILD, OPERATOR
from bot.installation import Installation
from training.dataset.inspect import inspect_zip
from training.dataset.original import used_as
from training.dataset.report import Media, Report
from training.errors import NotFoundError
from training.files.given_files import require_regular
from training.registry.dataset_draft import Upload, refuse_unusable
from training.registry.dataset_edits import DatasetEdits
from training.runs.spec import DatasetRef, name_from_file
from training.wording import listed


def is_zip(dataset: str) -> bool:
    """Return whether `dataset` is the path of a zip rather than the name of a stored dataset.

    Raises:
        NotFoundError: `dataset` is a path at which there is no file.
    """
    if dataset.lower().endswith(".zip") or "/" in dataset:
        require_file(Path(dataset))
        return True
    return False


def require_file(path: Path) -> None:
    """Raise TrainingError unless `path` is a regular file."""
    if path.is_dir():
        raise NotFoundError(f"{path} is a folder.", "Zip the folder and give the path of the zip.")
    require_regular(path)


def look_at(
    local: Installation, dataset: str, media: Media | None = None, *, reads_layout: bool = False
) -> tuple[DatasetRef, Report]:
    """Return a dataset's version, and the report on it, without storing anything.

    `dataset` is a zip or the name of a stored dataset. A zip with the content of a stored version
    counts as that version; any other zip gets the next version number. `media` says whether to
    train on the repaired files or on the originals. The default for a zip is the repaired files;
    for a stored version, it is whatever was chosen when the version was stored.

    Raises:
        NotFoundError: There is no such file or dataset.
        DatasetError: The zip cannot be used.
    """
    if not is_zip(dataset):
        version = local.datasets.find_complete(GUILD, dataset)
        report = local.datasets.report(GUILD, version, media)
        if media in (None, version.media):
            return version.ref, report
        name = version.name
    else:
        limits = local.settings.limits
        inspected = inspect_zip(Path(dataset), reads_layout=reads_layout, limits=limits)
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


def stored_dataset(
    local: Installation, dataset: str, ref: DatasetRef, *, reads_layout: bool = False
) -> str:
    """Store the dataset unless it is stored already; return its reference, such as `annika@2`."""
    stored = local.datasets.versions(GUILD, ref.name)
    if any(version.version == ref.version for version in stored):
        return str(ref)
    if is_zip(dataset):
        path = Path(dataset)
        upload = Upload(archive=path, by=OPERATOR, file_name=path.name, reads_layout=reads_layout)
        draft = local.datasets.inspect_for(GUILD, ref.name, upload)
        chosen = draft.with_media(ref.media, by=OPERATOR)
        version = local.datasets.store(GUILD, ref.name, chosen)
    else:
        edits = DatasetEdits(local.datasets)
        version = edits.choose_media(GUILD, dataset, ref.media, by=OPERATOR)
    return str(version.ref)


def layout_hint(report: Report) -> str | None:
    """Return a hint to add `--read-layout` if another tool's layout was found but not read."""
    if report.layout is None or report.layout.is_read:
        return None
    return f"This can be read as {listed(report.layout.names)}: add --read-layout."
