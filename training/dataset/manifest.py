"""The manifest of a repaired dataset: it lists all files, and marks the dataset as complete."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from training.dataset.report import REPAIR_VERSION, Sample
from training.errors import DatasetError
from training.files.atomic import atomic_write

MANIFEST = "manifest.json"
MEDIA_FOLDERS = ("images", "videos")


class ManifestFile(BaseModel):
    """One file of a repaired dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    size_bytes: int


class Manifest(BaseModel):
    """The content of a complete repaired dataset.

    Attributes:
        version: The content id in the report from which the dataset was made.
        samples: The samples in that report.
        files: All images, clips and caption files, sorted by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    repair_version: int = REPAIR_VERSION
    samples: tuple[Sample, ...]
    files: tuple[ManifestFile, ...]


def describe_file(folder: Path, name: str) -> ManifestFile:
    path = folder / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ManifestFile(name=name, sha256=digest, size_bytes=path.stat().st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest. Call this last, because it marks the dataset as complete."""
    text = manifest.model_dump_json(indent=1) + "\n"
    atomic_write(folder / MANIFEST, text.encode())


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest; the other files are not checked.

    Raises:
        DatasetError: The manifest is missing or damaged.
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
    """Check every file against the manifest, and return the manifest.

    Raises:
        DatasetError: A file is missing, has changed, or is not in the manifest.
    """
    manifest = read_manifest(folder)
    listed = {file.name for file in manifest.files}
    for file in manifest.files:
        if not (folder / file.name).is_file():
            raise _broken(file.name, "is missing")
        if describe_file(folder, file.name) != file:
            raise _broken(file.name, "has changed")
    # Refuse other files, because the trainer trains on every file in these folders.
    for media in sorted({*MEDIA_FOLDERS, *(sample.folder for sample in manifest.samples)}):
        for path in sorted((folder / media).glob("*")):
            if f"{media}/{path.name}" not in listed:
                raise _broken(f"{media}/{path.name}", "is not part of it")
    return manifest


def _broken(name: str, problem: str) -> DatasetError:
    return DatasetError(
        f"The repaired dataset has been modified: {name} {problem}.",
        "Repair the dataset again from its zip.",
    )
