"""Uploaded files, stored in the home folder and served through expiring signed links."""

import hashlib
import hmac
import io
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from PIL import Image, UnidentifiedImageError

from bot.sandbox.wire import MAX_FILE_BYTES, Clock, Json, Snowflakes
from bot.sandbox.world.archive import WorldArchive

LINK_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file from a multipart request."""

    filename: str
    content: bytes

    @property
    def is_too_large(self) -> bool:
        return len(self.content) > MAX_FILE_BYTES


class Attachments:
    """Stores uploads; signs and verifies their links."""

    def __init__(self, archive: WorldArchive, ids: Snowflakes, clock: Clock) -> None:
        self._archive, self._ids, self._clock = archive, ids, clock
        self._records = archive.all("file")
        self._key = archive.token("cdn").encode()
        self.base_url = ""

    def store(self, upload: FilePart, channel_id: str, *, description: str | None = None) -> Json:
        record: Json = {"id": self._ids.next(), "channel_id": channel_id}
        record["filename"] = _safe_name(upload.filename)
        record["size"] = len(upload.content)
        record["content_type"] = mimetypes.guess_type(upload.filename)[0]
        record["description"] = description
        record |= _picture_size(upload.content)
        (self._archive.files / record["id"]).write_bytes(upload.content)
        self._records[record["id"]] = record
        self._archive.put("file", record)
        return record

    def record(self, attachment_id: str) -> Json | None:
        return self._records.get(attachment_id)

    def payload(self, record: Json, *, is_ephemeral: bool = False) -> Json:
        """Return the attachment object with freshly signed links."""
        url = self.sign(record)
        optional = ("content_type", "description", "width", "height")
        shown = {key: record[key] for key in optional if record.get(key) is not None}
        shown |= {key: record[key] for key in ("id", "filename", "size")}
        shown |= {"url": url, "proxy_url": url}
        return shown | {"ephemeral": True} if is_ephemeral else shown

    def sign(self, record: Json) -> str:
        """Return a link that is valid for a day."""
        path = f"/attachments/{record['channel_id']}/{record['id']}/{quote(record['filename'])}"
        expires = f"{int(self._clock()) + LINK_SECONDS:x}"
        issued = f"{int(self._clock()):x}"
        signature = self._signature(path, expires, issued)
        return f"{self.base_url}{path}?ex={expires}&is={issued}&hm={signature}&"

    def open(self, url: str) -> tuple[Json, Path] | None:
        """Return the record and file behind a link; None if the link is forged or expired."""
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        expires, issued = query.get("ex", ""), query.get("is", "")
        expected = self._signature(parts.path, expires, issued)
        if not hmac.compare_digest(expected, query.get("hm", "")):
            return None
        if int(expires, 16) < self._clock():
            return None
        record = self._records.get(parts.path.split("/")[3])
        if record is None:
            return None
        return record, self._archive.files / record["id"]

    def _signature(self, path: str, expires: str, issued: str) -> str:
        text = f"{path}|{expires}|{issued}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _safe_name(name: str) -> str:
    # Discord keeps letters, digits, dots, dashes and underscores and replaces the rest.
    return re.sub(r"[^\w.\-]+", "_", name.rsplit("/", maxsplit=1)[-1]).lstrip(".") or "file"


def _picture_size(content: bytes) -> Json:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return {"width": picture.width, "height": picture.height}
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return {}
