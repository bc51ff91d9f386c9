"""Progress read from what musubi-tuner prints by itself, for a run without the launcher.

Text goes to stdout, records of `logging` and progress bars to stderr; either stream or both may be
fed, mixed or apart.
"""

import re
from typing import Literal

from training.musubi.plain_records import PlainRecords
from training.musubi.progress import ProgressEvent

StreamName = Literal["stdout", "stderr"]

# A bar ends at its bracket, not at the carriage return that its next drawing begins with: the
# return of a step's bar comes a step later.
_RECORD = re.compile(rb"[^\r\n]*?(?:[\r\n]|(?:steps:|\d+it \[)[^\r\n\]]*\])")
_LONGEST_RECORD = 64 * 1024  # bytes; no line that means something here is longer


class PlainLog:
    """Reads one training or caching; the same bytes give the same events however they are cut."""

    def __init__(self, *, expected_items: int = 0) -> None:
        """Read from the beginning of a log.

        Args:
            expected_items: How many items a caching will do, which its log does not say.
        """
        self._waiting: dict[StreamName, bytes] = {"stdout": b"", "stderr": b""}
        self._records = PlainRecords(expected_items)

    def feed(self, data: bytes, stream: StreamName = "stderr") -> list[ProgressEvent]:
        """Return what the next bytes of a stream tell; one mixed log is fed as one stream."""
        data = self._waiting[stream] + data
        events: list[ProgressEvent] = []
        start = 0
        while (end := _end_of_record(data, start)) is not None:
            events += self._records.take(_text(data[start:end]))
            start = end
        self._waiting[stream] = data[start:]
        return events

    def close(self) -> list[ProgressEvent]:
        """Return what the ends of the streams tell; a file still being written never counts."""
        events: list[ProgressEvent] = []
        for stream, rest in self._waiting.items():
            events += self._records.take(_text(rest))
            self._waiting[stream] = b""
        return [*events, *self._records.close()]


def _text(record: bytes) -> str:
    # A record ends at an ASCII byte, so that no character is cut in two.
    return record.decode("utf-8", "replace").strip()


def _end_of_record(data: bytes, start: int) -> int | None:
    """Return where the record at `start` ends, None when that has not come yet."""
    match = _RECORD.match(data, start, start + _LONGEST_RECORD)
    if match is not None:
        return match.end()
    return start + _LONGEST_RECORD if len(data) - start >= _LONGEST_RECORD else None
