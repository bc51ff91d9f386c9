"""The manifest of a repaired dataset: written last, checked before use."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from training.dataset.report import REPAIR_VERSION, Sample
from training.errors import DatasetError
from training.files.atomic import atomic_write

MANIFEST = "manifest.json"
MEDIA_FOLDERS = ("images", "videos")


class ManifestFile(BaseModel):
    """One file of the repaired dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    size_bytes: int


class Manifest(BaseModel):
    """A complete repaired dataset.

    Attributes:
        version: The report's content id.
        samples: The report's samples.
        files: Media and captions, sorted by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    repair_version: int = REPAIR_VERSION
    samples: tuple[Sample, ...]
    files: tuple[ManifestFile, ...]


def describe_file(folder: Path, name: str) -> ManifestFile:
    """Return the manifest's entry for a file in `folder`."""
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ManifestFile(name=name, sha256=digest, size_bytes=path.stat().st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest as the last file of a repaired set."""
    text = manifest.model_dump_json(indent=1) + "\n"
    atomic_write(folder / MANIFEST, text.encode(), shared=True)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest without checking the files.

    Raises:
        DatasetError: It is missing or damaged.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{folder.name} is not a complete repaired dataset: its manifest is missing.",
            "Repair the dataset again.",
        ) from error
    except ValidationError as error:
        raise DatasetError(
            f"The manifest of {folder.name} is damaged.", "Repair the dataset again."
        ) from error


def verify_manifest(folder: Path) -> Manifest:
    """Return the manifest after checking every file against it.

    Raises:
        DatasetError: A file is missing, differs, or does not belong there.
    """
    manifest = read_manifest(folder)
    listed = {file.name for file in manifest.files}
    for file in manifest.files:
        if not (folder / file.name).is_file():
            raise _broken(file.name, "is missing")
        if describe_file(folder, file.name) != file:
            raise _broken(file.name, "has changed")
    # The trainer uses every file in a folder: a stray one would be trained on.
    for media in sorted({*MEDIA_FOLDERS, *(sample.folder for sample in manifest.samples)}):
        for path in sorted((folder / media).glob("*")):
            if f"{media}/{path.name}" not in listed:
                raise _broken(f"{media}/{path.name}", "does not belong there")
    return manifest


def _broken(name: str, problem: str) -> DatasetError:
    return DatasetError(
        f"The repaired dataset has been modified: {name} {problem}.",
        "Repair the dataset again from its zip.",
    )
