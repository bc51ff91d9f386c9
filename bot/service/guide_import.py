"""Imports datasets and LoRA files from the Modal Volumes of the guide (see README.md)."""

import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from bot.installation import Installation
from bot.messages.imports import ImportedItem
from training.errors import DatasetError, NotFoundError, RequestError, TrainingError
from training.files import zip_format
from training.files.sizes import size
from training.files.temporary import scratch_folder
from training.files.windows_names import portable
from training.lora.origin import proven_models, read_origin
from training.registry.dataset_draft import Upload
from training.registry.guide_volumes import (
    FoundDataset,
    FoundLora,
    SourceFile,
    config_mentions,
)
from training.registry.loras import open_adapter
from training.vocabulary import ExpertName

Watch = Callable[[int], None]


class Source(Protocol):
    """A Modal Volume, opened read-only."""

    def files(self) -> list[SourceFile]:
        """Return all files.

        Raises:
            FileNotFoundError: The Volume does not exist.
        """
        ...

    def copy(self, path: str, target: BinaryIO, watch: Watch) -> None:
        """Write a file to `target`; call `watch` with the number of bytes written so far."""
        ...


@dataclass(frozen=True, slots=True)
class Binding:
    """The model and expert that the user named; the file's header gives those that are None."""

    model: str | None = None
    expert: ExpertName | None = None


class GuideImport:
    """Imports one item per call. An error becomes the item's result; it is not raised."""

    def __init__(self, installation: Installation, guild: str, by: str) -> None:
        self._installation, self._guild, self._by = installation, guild, by

    def dataset(self, source: Source, found: FoundDataset, watch: Watch) -> ImportedItem:
        """Check a dataset like an upload, and store it as the next version under its name."""
        try:
            return self._dataset(source, found, watch)
        except (TrainingError, OSError) as error:
            return ImportedItem(kind="dataset", name=found.name, result=error)

    def lora(
        self, source: Source, found: FoundLora, binding: Binding, watch: Watch
    ) -> ImportedItem:
        """Store a LoRA file that runs can start from."""
        try:
            return self._lora(source, found, binding, watch)
        except (TrainingError, OSError) as error:
            return ImportedItem(kind="checkpoint", name=found.name, result=error)

    def _dataset(self, source: Source, found: FoundDataset, watch: Watch) -> ImportedItem:
        datasets = self._installation.datasets
        most = datasets.limits.archive_bytes
        if found.size_bytes > most:
            raise DatasetError(
                f"Its files total {size(found.size_bytes)}; the limit is {size(most)}.",
                "Raise LORABOT_DATASET_ZIP_GIB and LORABOT_DATASET_UNPACKED_GIB.",
            )
        before = {version.number for version in datasets.versions(self._guild, found.name)}
        with scratch_folder("import") as folder:
            archive = folder / f"{found.name}.zip"
            _write_zip(archive, source, found, watch)
            upload = Upload(archive=archive, by=self._by, file_name=archive.name)
            version, report = datasets.add(self._guild, found.name, upload)
        return ImportedItem(
            kind="dataset",
            name=found.name,
            result=version,
            is_new=version.number not in before,
            findings=len(report.findings),
        )

    def _lora(
        self, source: Source, found: FoundLora, binding: Binding, watch: Watch
    ) -> ImportedItem:
        loras, file = self._installation.loras, portable(found.file.pure.name)
        with suppress(NotFoundError):
            record = loras.find(self._guild, found.name)
            if record.file_name != file:
                raise RequestError(
                    f"{found.name} is already the name of another checkpoint, {record.file_name}.",
                    f"Keep that one, or remove it: lorabot checkpoint remove {found.name}.",
                )
            return ImportedItem(kind="checkpoint", name=found.name, result=record, is_new=False)
        with scratch_folder("import") as folder:
            path = folder / file
            with path.open("wb") as target:
                source.copy(found.file.path, target, watch)
            model = binding.model or _model_of(path)
            record = loras.add(
                self._guild, path, model=model, expert=binding.expert, name=found.name, by=self._by
            )
        return ImportedItem(
            kind="checkpoint",
            name=found.name,
            result=record,
            is_model_named=binding.model is not None,
        )


def _model_of(path: Path) -> str:
    """Return the model that the header of a file names.

    Raises:
        RequestError: The header names no model.
    """
    models = proven_models(read_origin(open_adapter(path).header.metadata))
    if not models:
        raise RequestError(
            "Its header does not say which model it was trained for.",
            "Name the model with --model, and list the files that it applies to.",
        )
    return models[0].name


def _write_zip(archive: Path, source: Source, found: FoundDataset, watch: Watch) -> None:
    """Write an uncompressed zip of a dataset; images and clips are already compressed."""
    before = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for file in found.files:
            _add(target, source, file, found.place(file), lambda here, b=before: watch(b + here))
            before += file.size_bytes
            watch(before)
        taken = {found.place(file) for file in found.files}
        for config in found.configs:
            is_free = config.pure.name not in taken
            if is_free and config_mentions(_text(source, config), found.folder):
                _add(target, source, config, config.pure.name, lambda _here: None)


def _add(
    archive: zipfile.ZipFile, source: Source, file: SourceFile, name: str, watch: Watch
) -> None:
    # Copy to a file first: a zip must be written in order, but blocks arrive in any order.
    with tempfile.TemporaryFile() as copy:
        source.copy(file.path, copy, watch)
        copy.seek(0)
        zip_format.add(archive, name, zip_format.blocks_of(copy))


def _text(source: Source, file: SourceFile) -> str:
    with tempfile.TemporaryFile() as copy:
        source.copy(file.path, copy, lambda _here: None)
        copy.seek(0)
        return copy.read().decode("utf-8", "replace")
