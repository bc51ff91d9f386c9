"""The tus protocol: versions, headers and refusals.

Source: https://tus.io/protocols/resumable-upload, version 1.0.0, with its extensions creation,
expiration and termination.
"""

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import hdrs, web

from training.errors import TrainingError
from training.registry.uploads.files import FileFacts

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
CONTENT_TYPE = "application/offset+octet-stream"
_MOST_METADATA = 8_000  # characters
_MOST_BYTES = 1 << 50


class TusError(TrainingError):
    """A request that does not follow the protocol, with the HTTP status for the response."""

    def __init__(self, status: HTTPStatus, cause: str) -> None:
        super().__init__(cause, "This is a mistake in the program that sends the file.")
        self.status = status
        self.args = (status, cause)


def require_version(request: web.Request) -> None:
    """Raise `TusError` unless the sender speaks this version."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise TusError(
            HTTPStatus.PRECONDITION_FAILED, f"The header Tus-Resumable must be {VERSION}."
        )


def number(request: web.Request, header: str) -> int:
    """Return the value of a header as a whole number."""
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < _MOST_BYTES):
        raise TusError(HTTPStatus.BAD_REQUEST, f"The header {header} must be a whole number.")
    return int(text)


def facts(request: web.Request) -> FileFacts:
    """Return the path, size and modification time that a creation request gives."""
    metadata = _metadata(request.headers.get("Upload-Metadata", ""))
    modified = metadata.get("modified", "0")
    return FileFacts(
        path=metadata.get("path") or metadata.get("filename", ""),
        size_bytes=number(request, "Upload-Length"),
        modified_ms=int(modified) if modified.isdecimal() and len(modified) < 20 else 0,
    )


def require_body(request: web.Request) -> None:
    """Raise `TusError` unless the body is an uncompressed piece of a file."""
    if request.content_type != CONTENT_TYPE:
        raise TusError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The content type must be {CONTENT_TYPE}."
        )
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise TusError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed.")


def describe(found: FileFacts) -> Mapping[str, str]:
    """Return the headers that describe a file."""
    values = {"path": found.path, "modified": str(found.modified_ms)}
    coded = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {
        "Upload-Length": str(found.size_bytes),
        "Upload-Metadata": ",".join(f"{name} {value}" for name, value in coded.items()),
    }


def _metadata(header: str) -> dict[str, str]:
    if len(header) > _MOST_METADATA:
        raise TusError(HTTPStatus.BAD_REQUEST, "The header Upload-Metadata is too long.")
    found: dict[str, str] = {}
    for pair in filter(None, header.split(",")):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise TusError(
                HTTPStatus.BAD_REQUEST, "The header Upload-Metadata does not follow the protocol."
            ) from error
    return found
