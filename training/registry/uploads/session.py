"""The records of an upload link: who may send files, what the files are for, and the result."""

import secrets
from datetime import datetime
from email.utils import formatdate
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from training.dataset.report import Report
from training.errors import TrainingError
from training.registry.dataset_draft import DatasetRefusedError, UploadMode
from training.remedies import Remedy
from training.vocabulary import ExpertName

UploadStatus = Literal["open", "complete", "done"]
LayoutChoice = Literal["ask", "read", "ignore"]


class UploadEndedError(TrainingError):
    """The upload link no longer takes files: it was used or revoked, or it has expired."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetTarget(_Record):
    """The dataset to make from the uploaded files.

    Attributes:
        is_check: Whether the files are only checked, not stored as a dataset.
        layout: What to do with another tool's layout: "ask" the user if ignoring it would lose
            something, "read" it, or "ignore" it.
        uses_trigger_only, leaves_out: As in `Upload`.
        captions: Path of the uploaded file that is a caption table; None if there is none.
    """

    name: str
    mode: UploadMode = "new"
    trigger: str | None = None
    is_prefixed: bool = False
    is_check: bool = False
    layout: LayoutChoice = "ask"
    uses_trigger_only: bool = False
    leaves_out: bool = False
    captions: str | None = None
    kind: Literal["dataset"] = "dataset"


class LoraTarget(_Record):
    """The LoRA to make from the uploaded file; runs can start from it.

    Attributes:
        expert: The expert that the LoRA is for; None means the one that the file's header names.
        name: The name of the LoRA; None means the file's name.
    """

    model: str
    expert: ExpertName | None = None
    name: str | None = None
    kind: Literal["lora"] = "lora"


UploadTarget = Annotated[DatasetTarget | LoraTarget, Field(discriminator="kind")]


class RemoteFile(_Record):
    """A file on another server, as the import found it when it began.

    Attributes:
        etag: The server's ETag for this content; "" if it sends none.
        modified_ms: As in `FileFacts`.
        is_immutable: Whether the content at the URL never changes.
    """

    url: str
    path: str
    size_bytes: int
    etag: str = ""
    modified_ms: int = 0
    is_immutable: bool = False

    @property
    def validator(self) -> str:
        """The ETag or date for the `If-Range` header of a request for the rest of the file.

        It keeps the server from sending the rest of a different version. It is "" if the server
        sent neither; versions of the file then cannot be told apart.
        """
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return formatdate(self.modified_ms // 1000, usegmt=True) if self.modified_ms else ""


class ImportSource(_Record):
    """The link that an import was started with, and the files behind it."""

    url: str
    files: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def host(self) -> str:
        """The name of the server in the link; "" if there is none."""
        return urlsplit(self.url).hostname or ""


class UploadSession(_Record):
    """An upload link made for one person, or an import, which needs no upload link.

    Attributes:
        source: Where the bot itself fetches the files; None if the person sends them.
        roles: Ids of the roles that the person had in the guild when the link was made.
        manages_server: Whether the person had the Manage Server permission at that time.
        channel: Where the result is announced; None if the link was made on the command line.
    """

    id: str
    guild: str
    by: str
    roles: tuple[str, ...] = ()
    manages_server: bool = False
    channel: str | None
    target: UploadTarget
    source: ImportSource | None = None
    created_at: datetime
    expires_at: datetime


class StoredVersion(_Record):
    """The files are stored as a version of a dataset; `is_new` is False if it existed before."""

    reference: str
    is_new: bool = True
    kind: Literal["stored"] = "stored"


class KeptUpload(_Record):
    """The files are kept for a day as a checked upload, until the user decides.

    Attributes:
        has_bad_files: Whether some of the files cannot be used. Replacements can then be sent
            through the same link.
    """

    token: str
    has_bad_files: bool = False
    kind: Literal["kept"] = "kept"


class AddedLora(_Record):
    """The file is stored as a LoRA that runs can start from."""

    name: str
    kind: Literal["lora"] = "lora"


class RefusedUpload(_Record):
    """The files cannot be used. They are kept, so that only bad files need to be sent again."""

    cause: str
    fix: str
    remedy: Remedy | None = None
    report: Report | None = None
    kind: Literal["refused"] = "refused"

    @classmethod
    def of(cls, error: TrainingError) -> "RefusedUpload":
        report = error.report if isinstance(error, DatasetRefusedError) else None
        return cls(cause=error.cause, fix=error.fix, remedy=error.remedy, report=report)

    @property
    def error(self) -> TrainingError:
        if self.report is not None:
            return DatasetRefusedError(self.cause, self.fix, self.report)
        return TrainingError(self.cause, self.fix, self.remedy)


UploadResult = Annotated[
    StoredVersion | KeptUpload | AddedLora | RefusedUpload, Field(discriminator="kind")
]


class UploadState(_Record):
    """The state of an upload session.

    Attributes:
        status: "open" while files may be sent, "complete" while all of them are being checked, and
            "done" after that.
        is_bound: Whether a browser has used the link. After that, other browsers are refused.
        result: The result of the last check; None until a check has ended.
        is_announced: Whether the result was announced in the channel.
    """

    status: UploadStatus = "open"
    is_bound: bool = False
    result: UploadResult | None = None
    is_announced: bool = True


def new_session_id() -> str:
    return secrets.token_hex(8)
