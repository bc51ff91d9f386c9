"""One container: a process tree with its own folder, log and connection."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modal_proto import api_pb2

from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.starter import Process, Starter
from tests.wire.modal.loopback.work import Input

# Reads one output stream to its end; the flag marks stderr.
Keep = Callable[[asyncio.StreamReader, bool], Awaitable[None]]
ContainerState = Literal["queued", "starting", "running", "draining", "ended"]


@dataclass(eq=False)
class Container:
    """One container of a function.

    Attributes:
        definition: The function as this container runs it: on the GPU that it got.
        definition_id: Of which deploy.
        root: Stands for the root of its file system.
        code: The folder with the packages that it mounts; None without the product's.
        taken: How many inputs it took.
        last_call_id: The call of the input that it took last.
        cancels: Inputs that its next heartbeat is told to cancel.
        is_ready: Whether it asked for its first input, or, as a server, serves its port.
        is_preempted: Whether it has to go before its work is done: its inputs run again elsewhere.
        port: What a server listens on instead of its published port.
        has_entered: Whether a server's enter hooks are through.
        requests: Requests that a server answers now.
        failed_checks: Looks at a server's port that failed in a row.
        is_retiring: Whether a server is being shut down.
        printed: The lines of its log.
        failure: What it reported when it could not start.
        exit_code: As a shell sees it, None while it lives.
    """

    id: str
    function: FunctionRecord
    definition_id: str
    definition: api_pb2.Function
    root: Path
    enqueued_at: float
    state: ContainerState = "queued"
    inputs: list[Input] = field(default_factory=list[Input])
    taken: int = 0
    last_call_id: str = ""
    cancels: list[str] = field(default_factory=list[str])
    is_ready: bool = False
    is_preempted: bool = False
    port: int = 0
    has_entered: bool = False
    requests: int = 0
    failed_checks: int = 0
    is_retiring: bool = False
    failure: api_pb2.GenericResult | None = None
    exit_code: int | None = None
    printed: list[str] = field(default_factory=list[str])
    code: Path | None = None
    process: Process | None = None
    task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Tag of its function in the app."""
        return self.function.name

    @property
    def capacity(self) -> int:
        """How many inputs it takes at once."""
        return self.definition.max_concurrent_inputs or 1

    @property
    def is_single_use(self) -> bool:
        """Whether it ends after its first input."""
        return self.definition.single_use_containers or self.definition.max_inputs == 1

    @property
    def takes_inputs(self) -> bool:
        """Whether it may be given another input."""
        is_spent = self.is_single_use and self.taken > 0
        return self.state in ("queued", "starting", "running") and not is_spent

    @property
    def is_serving(self) -> bool:
        """Whether a server takes requests."""
        return self.is_ready and self.state == "running"

    @property
    def text(self) -> str:
        """Everything that it printed."""
        return "".join(self.printed)

    def signal(self, number: int) -> None:
        """Send a signal to the container's main process, as Modal's worker does."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill every process of the container at once."""
        self.signal(signal.SIGHUP)

    async def run(self, starter: Starter, env: Mapping[str, str], keep: Keep) -> None:
        """Run the container's process until it ends, handing on what it prints."""
        streams = starter.start(self.root / "root", env, self.code)
        async with (
            _reading(streams.status) as status,
            _reading(streams.out) as out,
            _reading(streams.err) as err,
        ):
            self.process = await _first_process(status)
            await asyncio.gather(keep(out, False), keep(err, True))
            # Nothing is reported by a first process that was killed itself.
            self.exit_code = int(await status.readline() or 128 + signal.SIGKILL)
            self.process.close()


async def _first_process(status: asyncio.StreamReader) -> Process:
    """Return the process that a new container reports first; kill it if nobody waits any more."""
    line = asyncio.ensure_future(status.readline())
    try:
        return Process(int(await asyncio.shield(line)))
    except asyncio.CancelledError:
        Process(int(await line)).send_signal(signal.SIGHUP)
        raise


@asynccontextmanager
async def _reading(file: int) -> AsyncGenerator[asyncio.StreamReader]:
    """Read what comes from a pipe."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(file, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        yield reader
    finally:
        transport.close()
