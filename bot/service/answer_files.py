"""Files attached to an answer, kept within Discord's size limit."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.files.sizes import MIB

FILE_LIMIT_BYTES = 10 * MIB  # Discord's limit for a file from a bot on a server without boosts


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """A small file attached to an answer; `alt` says in words what a picture shows."""

    name: str
    data: bytes
    alt: str = ""

    @property
    def is_zip(self) -> bool:
        return self.name.endswith(".zip")


def fitted(file: AnswerFile) -> AnswerFile | None:
    """Return the file, zipped if it is too large; None if it is too large even when zipped."""
    if len(file.data) <= FILE_LIMIT_BYTES:
        return file
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(file.name, file.data)
    name = PurePosixPath(file.name).with_suffix(".zip").name
    zipped = AnswerFile(name, buffer.getvalue())
    return zipped if len(zipped.data) <= FILE_LIMIT_BYTES else None
