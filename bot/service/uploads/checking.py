"""Stores the files of a finished upload as a dataset version or as a LoRA file."""

import logging
import shutil
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bot.installation import Installation
from bot.messages.errors import unexpected_text
from bot.service.datasets import CheckedDataset, DatasetService, StoredDataset
from bot.service.loras import LoraService
from bot.service.rights import GuildMember
from bot.service.threads import in_thread
from training import store_keys
from training.dataset.captions.table import TABLE_LIMIT_BYTES
from training.dataset.report import OnProgress
from training.dataset.zip.gather import GatheredFile, gather
from training.errors import RequestError, TrainingError
from training.files.given_files import read_given
from training.registry.dataset_draft import Upload
from training.registry.uploads.files import IncomingFile
from training.registry.uploads.session import (
    AddedLora,
    DatasetTarget,
    KeptUpload,
    LoraTarget,
    RefusedUpload,
    StoredVersion,
    UploadSession,
)

Result = StoredVersion | KeptUpload | AddedLora | RefusedUpload
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UploadChecker:
    """Checks and stores uploaded files."""

    installation: Installation
    datasets: DatasetService
    loras: LoraService

    async def check(
        self, session: UploadSession, files: Sequence[IncomingFile], on_progress: OnProgress
    ) -> Result:
        """Check the files and return the result. Failures are returned too, never raised."""
        try:
            target = session.target
            if isinstance(target, DatasetTarget):
                return await self._dataset(session, target, files, on_progress)
            return await self._lora(session, target, files)
        except TrainingError as error:
            return RefusedUpload.of(error)
        except Exception:
            # Report even a bug as a result: nobody would see an exception in a background task.
            error_id = uuid.uuid4().hex[:8]
            logger.exception("error %s in an upload", error_id)
            return RefusedUpload(cause=unexpected_text(error_id), fix="")

    async def _dataset(
        self,
        session: UploadSession,
        target: DatasetTarget,
        files: Sequence[IncomingFile],
        on_progress: OnProgress,
    ) -> Result:
        async with self._work_folder(session) as folder:
            upload = await in_thread(self._upload, session, target, files, folder)
            if target.is_check:
                return _kept(
                    await self.datasets.check(session.guild, target.name, upload, on_progress)
                )
            added = await self.datasets.add(
                person_of(session),
                target.name,
                upload,
                mode=target.mode,
                ignores_layout=target.layout == "ignore",
                on_progress=on_progress,
            )
        if isinstance(added, StoredDataset):
            return StoredVersion(reference=str(added.version.ref), is_new=added.is_new)
        return _kept(added)

    def _upload(
        self,
        session: UploadSession,
        target: DatasetTarget,
        files: Sequence[IncomingFile],
        folder: Path,
    ) -> Upload:
        copies: list[GatheredFile] = []
        table: bytes | None = None
        for index, file in enumerate(files):
            copy = folder / f"{index}{PurePosixPath(file.facts.path).suffix}"
            file.copy_to(copy)
            if file.facts.path == target.captions:
                table = read_given(copy, TABLE_LIMIT_BYTES)
            else:
                copies.append(GatheredFile(file.facts.path, copy))
        limits = self.installation.settings.limits
        return Upload(
            archive=gather(copies, folder / "gathered.zip", limits),
            by=session.by,
            file_name=_file_name([copy.path for copy in copies]),
            trigger=target.trigger,
            is_prefixed=target.is_prefixed,
            reads_layout=target.layout == "read",
            table=table,
            uses_trigger_only=target.uses_trigger_only,
            leaves_out=target.leaves_out,
        )

    async def _lora(
        self, session: UploadSession, target: LoraTarget, files: Sequence[IncomingFile]
    ) -> Result:
        if len(files) != 1:
            raise RequestError(
                f"These are {len(files)} files, but a LoRA is a single file.",
                "Remove all but one, and request another link for each of the others.",
            )
        async with self._work_folder(session) as folder:
            file = folder / PurePosixPath(files[0].facts.path).name
            await in_thread(files[0].copy_to, file)
            record = await self.loras.add(
                person_of(session),
                file,
                model=target.model,
                expert=target.expert,
                name=target.name,
            )
        return AddedLora(name=record.name)

    @asynccontextmanager
    async def _work_folder(self, session: UploadSession) -> AsyncGenerator[Path]:
        """Yield an empty folder on the store's disk, so that files can be hard-linked into it."""
        key = f"{store_keys.upload(session.guild, session.id)}/work"
        folder = self.installation.runtime.store.staging_path(key)
        try:
            await in_thread(_empty, folder)
            yield folder
        finally:
            await in_thread(shutil.rmtree, folder, ignore_errors=True)


def person_of(session: UploadSession) -> GuildMember:
    """Return the person for whom a link was made, with the roles they had at that time."""
    return GuildMember(
        id=session.by,
        guild=session.guild,
        roles=frozenset(session.roles),
        manages_server=session.manages_server,
    )


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _kept(checked: CheckedDataset) -> KeptUpload:
    if checked.token is None:
        raise ValueError("a new upload was checked without being kept")
    has_bad_files = bool(checked.inspection.report.bad_files)
    return KeptUpload(token=checked.token, has_bad_files=has_bad_files)


def _file_name(paths: Sequence[str]) -> str:
    """Return the upload's name, as recorded with the dataset version."""
    if len(paths) == 1:
        return PurePosixPath(paths[0]).name
    tops = {PurePosixPath(path).parts[0] for path in paths if "/" in path}
    return tops.pop() if len(tops) == 1 else f"{len(paths)} files"
