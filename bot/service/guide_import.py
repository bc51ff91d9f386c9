"""Brings datasets and LoRA files of somebody who followed the guide into an installation."""

import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from bot.installation import Installation
from bot.messages.figures import count, size
from training.errors import DatasetError, NotFoundError, RequestError, TrainingError
from training.lora.origin import proven_models, read_origin
from training.registry.dataset_draft import Upload
from training.registry.guide_volumes import FoundCheckpoint, FoundDataset, SourceFile, config_names
from training.registry.loras import open_adapter
from training.vocabulary import ExpertName

Watch = Callable[[int], None]
Kind = Literal["dataset", "checkpoint"]
Status = Literal["imported", "there already", "not imported"]
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class Source(Protocol):
    """A Volume that is read and never written."""

    def files(self) -> list[SourceFile]:
        """Return all its files; `FileNotFoundError` when there is no such Volume."""
        ...

    def copy(self, path: str, target: BinaryIO, watch: Watch) -> None:
        """Write a file's content to `target`, telling how many bytes are there."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item, in words; `fix` is what helps one that was not imported."""

    kind: Kind
    name: str
    status: Status
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a person says LoRA files are for; what is left open is read from their headers."""

    model: str | None = None
    expert: ExpertName | None = None


class GuideImport:
    """Imports what was found, item by item; an item that cannot be imported stops no other."""

    def __init__(self, installation: Installation, guild: str, by: str) -> None:
        self._installation, self._guild, self._by = installation, guild, by

    def dataset(self, source: Source, found: FoundDataset, watch: Watch) -> Outcome:
        """Store a dataset as the next version of its name, checked as an upload is."""
        try:
            return self._dataset(source, found, watch)
        except (TrainingError, OSError) as error:
            return _refused("dataset", found.name, error)

    def checkpoint(
        self, source: Source, found: FoundCheckpoint, binding: Binding, watch: Watch
    ) -> Outcome:
        """Store a LoRA file as one that trainings can start from."""
        try:
            return self._checkpoint(source, found, binding, watch)
        except (TrainingError, OSError) as error:
            return _refused("checkpoint", found.name, error)

    def _dataset(self, source: Source, found: FoundDataset, watch: Watch) -> Outcome:
        datasets = self._installation.datasets
        most = datasets.limits.archive_bytes
        if found.size_bytes > most:
            raise DatasetError(
                f"Its files have {size(found.size_bytes)}, and a zip may have {size(most)}.",
                "Raise LORABOT_DATASET_ZIP_GIB and LORABOT_DATASET_UNPACKED_GIB.",
            )
        before = {version.number for version in datasets.versions(self._guild, found.name)}
        with tempfile.TemporaryDirectory(prefix="lorabot-import-") as folder:
            archive = Path(folder) / f"{found.name}.zip"
            _write_zip(archive, source, found, watch)
            upload = Upload(archive=archive, by=self._by, file_name=archive.name)
            version, report = datasets.add(self._guild, found.name, upload)
        if version.number in before:
            return Outcome("dataset", found.name, "there already", f"as {version.ref}")
        what = f"{count(version.images, 'image')} and {count(version.clips, 'clip')}"
        findings = len(report.findings)
        note = f"; {count(findings, 'finding')}" if findings else ""
        return Outcome("dataset", found.name, "imported", f"{version.ref}: {what}{note}")

    def _checkpoint(
        self, source: Source, found: FoundCheckpoint, binding: Binding, watch: Watch
    ) -> Outcome:
        checkpoints, file = self._installation.loras, found.file.pure.name
        with suppress(NotFoundError):
            record = checkpoints.find(self._guild, found.name)
            if record.file_name != file:
                raise RequestError(
                    f"Another checkpoint is called {found.name}: it was {record.file_name}.",
                    f"Remove or keep that one; lorabot checkpoint remove {found.name} removes it.",
                )
            text = f"for {record.model}, {record.expert}"
            return Outcome("checkpoint", found.name, "there already", text)
        with tempfile.TemporaryDirectory(prefix="lorabot-import-") as folder:
            path = Path(folder) / file
            with path.open("wb") as target:
                source.copy(found.file.path, target, watch)
            model = binding.model or _model_of(path)
            record = checkpoints.add(
                self._guild, path, model=model, expert=binding.expert, name=found.name, by=self._by
            )
        told = "as you said" if binding.model else "as its header says"
        text = f"for {record.model} {told}, {record.expert}, rank {record.rank}"
        open_questions = "".join(f"; not proven: {question}" for question in record.unproven)
        return Outcome("checkpoint", found.name, "imported", f"{text}{open_questions}")


def _refused(kind: Kind, name: str, error: TrainingError | OSError) -> Outcome:
    if isinstance(error, TrainingError):
        return Outcome(kind, name, "not imported", error.cause, error.fix)
    return Outcome(kind, name, "not imported", f"{error}.", "Mend that and import it again.")


def _model_of(path: Path) -> str:
    """Return the model that a file's header names.

    Raises:
        RequestError: It names none.
    """
    models = proven_models(read_origin(open_adapter(path).header.metadata))
    if not models:
        raise RequestError(
            "Its header does not say which model it was trained for.",
            "Name it with --model, together with the names of the files that it is true of.",
        )
    return models[0].name


def _write_zip(archive: Path, source: Source, found: FoundDataset, watch: Watch) -> None:
    """Write a zip of a dataset, not compressed: media do not shrink."""
    before = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for file in found.files:
            _add(target, source, file, found.place(file), lambda here, b=before: watch(b + here))
            before += file.size_bytes
            watch(before)
        taken = {found.place(file) for file in found.files}
        for config in found.configs:
            is_free = config.pure.name not in taken
            if is_free and config_names(_text(source, config), found.folder):
                _add(target, source, config, config.pure.name, lambda _here: None)


def _add(
    archive: zipfile.ZipFile, source: Source, file: SourceFile, name: str, watch: Watch
) -> None:
    # Blocks come in no order, and a zip takes them in order only.
    with tempfile.TemporaryFile() as copy:
        source.copy(file.path, copy, watch)
        copy.seek(0)
        with archive.open(zipfile.ZipInfo(name, _ZIP_DATE), "w", force_zip64=True) as member:
            while block := copy.read(1 << 20):
                member.write(block)


def _text(source: Source, file: SourceFile) -> str:
    with tempfile.TemporaryFile() as copy:
        source.copy(file.path, copy, lambda _here: None)
        copy.seek(0)
        return copy.read().decode("utf-8", "replace")
