"""What containers print, kept in one order, and the RPCs that read it."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import groupby

from google.protobuf.timestamp_pb2 import Timestamp
from modal_proto import api_pb2

from tests.wire.modal.loopback.apps import STOPPED, Apps
from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.scheduler import Scheduler

STREAM_SECONDS = 55.0
_LINE = re.compile(r"[^\r\n]*[\r\n]")


@dataclass(frozen=True)
class Entry:
    """One line: as printed, with its end; a progress bar ends its lines with a return.

    Attributes:
        at: Seconds since the epoch.
        function_call_id: The call that its container worked on, empty if that is unclear.
    """

    at: float
    text: str
    is_error: bool
    container: Container
    function_call_id: str = ""

    @property
    def source(self) -> "api_pb2.FileDescriptor.ValueType":
        """Which of the two outputs it came through."""
        return api_pb2.FILE_DESCRIPTOR_STDERR if self.is_error else api_pb2.FILE_DESCRIPTOR_STDOUT


def split_lines(text: str) -> tuple[list[str], str]:
    """Return the complete lines of a text and what is left."""
    lines = _LINE.findall(text)
    return lines, text[sum(map(len, lines)) :]


class Logs:
    """Everything that was printed.

    Attributes:
        entries: In the order in which it arrived.
    """

    def __init__(self, apps: Apps, scheduler: Scheduler, changes: Changes) -> None:
        self._apps, self._scheduler, self._changes = apps, scheduler, changes
        self.entries: list[Entry] = []

    def add(self, container: Container, at: float, text: str, *, is_error: bool) -> None:
        """Keep a line."""
        calls = {work.call.id for work in container.inputs}
        # The last lines of an input arrive after its output.
        call_id = container.last_call_id if len(calls) < 2 else ""
        self.entries.append(Entry(at, text, is_error, container, call_id))
        container.printed.append(text)
        self._changes.notify()

    def of(self, call_id: str) -> list[str]:
        """Return the lines that were printed for a call."""
        return [entry.text for entry in self.entries if entry.function_call_id == call_id]

    @rpc
    async def app_get_logs(
        self, request: api_pb2.AppGetLogsRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        app = self._apps.get(request.app_id)
        read = int(request.last_entry_id or 0)

        def is_over() -> bool:
            living = self._scheduler.living_all()
            runs = any(its.function.app_id == app.id for its in living)
            return app.state in STOPPED and not runs

        def has_news() -> bool:
            return len(self.entries) > read or is_over()

        now = asyncio.get_running_loop().time
        end = now() + (request.timeout or STREAM_SECONDS)
        while await self._changes.wait_for(has_news, end - now()):
            fresh, read = self.entries[read:], len(self.entries)
            wanted = [its for its in fresh if _is_wanted(its, request, request.file_descriptor)]
            for batch in _batches(wanted, str(read)):
                yield batch
            if is_over():
                yield api_pb2.TaskLogsBatch(app_done=True, entry_id=str(read))
                return

    @rpc
    async def app_fetch_logs(
        self, request: api_pb2.AppFetchLogsRequest, caller: Caller
    ) -> api_pb2.AppFetchLogsResponse:
        self._apps.get(request.app_id)
        found = self._between(request, request.since, request.until, request.source)
        last = found[-request.limit :] if request.limit else found
        return api_pb2.AppFetchLogsResponse(batches=_batches(last))

    @rpc
    async def app_count_logs(
        self, request: api_pb2.AppCountLogsRequest, caller: Caller
    ) -> api_pb2.AppCountLogsResponse:
        self._apps.get(request.app_id)
        found = self._between(request, request.since, request.until, request.source)
        buckets: dict[int, api_pb2.AppCountLogsResponse.LogBucket] = {}
        for entry in found:
            start = int(entry.at) // request.bucket_secs * request.bucket_secs
            bucket = buckets.setdefault(
                start,
                api_pb2.AppCountLogsResponse.LogBucket(bucket_start_at=Timestamp(seconds=start)),
            )
            if entry.is_error:
                bucket.stderr_logs += 1
            else:
                bucket.stdout_logs += 1
        in_order = [buckets[start] for start in sorted(buckets)]
        return api_pb2.AppCountLogsResponse(app_id=request.app_id, buckets=in_order)

    def _between(
        self,
        request: api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest,
        since: Timestamp,
        until: Timestamp,
        source: int,
    ) -> list[Entry]:
        first, end = since.ToNanoseconds() / 1e9, until.ToNanoseconds() / 1e9
        return [
            entry
            for entry in self.entries
            if first <= entry.at <= end and _is_wanted(entry, request, source)
        ]


def _is_wanted(
    entry: Entry,
    request: api_pb2.AppGetLogsRequest | api_pb2.AppFetchLogsRequest | api_pb2.AppCountLogsRequest,
    source: int,
) -> bool:
    function = entry.container.function
    functions = {function.id, function.base.id if function.base else function.id}
    return (
        function.app_id == request.app_id
        and (not request.function_id or request.function_id in functions)
        and request.task_id in ("", entry.container.id)
        and request.function_call_id in ("", entry.function_call_id)
        and request.search_text in entry.text
        and source in (api_pb2.FILE_DESCRIPTOR_UNSPECIFIED, entry.source)
    )


def _batches(entries: list[Entry], last_id: str = "") -> list[api_pb2.TaskLogsBatch]:
    """Return lines by container; only the last batch has an id, to go on from after a break."""
    runs = groupby(entries, key=lambda entry: entry.container)
    batches = [_batch(container, list(run)) for container, run in runs]
    if batches:
        batches[-1].entry_id = last_id
    return batches


def _batch(container: Container, entries: list[Entry]) -> api_pb2.TaskLogsBatch:
    return api_pb2.TaskLogsBatch(
        task_id=container.id,
        function_id=container.function.id,
        items=[
            api_pb2.TaskLogs(
                data=entry.text,
                timestamp=entry.at,
                timestamp_ns=int(entry.at * 1e9),
                file_descriptor=entry.source,
                function_call_id=entry.function_call_id,
                container_id=container.id,
            )
            for entry in entries
        ],
    )
