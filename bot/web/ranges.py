"""Finds the bytes that a request asks for, from its Range, If-Range and If-None-Match headers.

Source: RFC 9110, sections 13 and 14.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import hdrs

_ONE_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """The status of a response, and the range of bytes to send; `stop` is exclusive."""

    status: HTTPStatus
    start: int
    stop: int


def asked(headers: Mapping[str, str], etag: str, size_bytes: int) -> Asked:
    """Return the status and the bytes to send for content with this ETag and size."""
    if etag in _etags(headers.get(hdrs.IF_NONE_MATCH, "")):
        return Asked(HTTPStatus.NOT_MODIFIED, 0, 0)
    whole = Asked(HTTPStatus.OK, 0, size_bytes)
    # If several ranges are requested, send everything, as the standard allows. Do the same if
    # If-Range names a different ETag, or a date, because this content has no date.
    match = _ONE_RANGE.fullmatch(headers.get(hdrs.RANGE, ""))
    if match is None or headers.get(hdrs.IF_RANGE, etag) != etag:
        return whole
    return _one(match[1], match[2], size_bytes) or whole


def _one(first: str, last: str, size_bytes: int) -> Asked | None:
    """Return the answer to the range `first-last` or `-last` (the last bytes); None if invalid."""
    if first:
        start, stop = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return None
    elif last:
        start, stop = max(size_bytes - int(last), 0), size_bytes
        start = start if int(last) else size_bytes
    else:
        return None
    if start >= size_bytes:
        return Asked(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0)
    return Asked(HTTPStatus.PARTIAL_CONTENT, start, stop)


def _etags(header: str) -> set[str]:
    return {one.strip().removeprefix("W/") for one in header.split(",")}
