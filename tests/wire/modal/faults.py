"""What a test breaks in the middle of a run, at a point that it names."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.rpc import Caller


@contextmanager
def kill_after(loopback: Loopback, rpc: str, *, of: str) -> Generator[list[Container]]:
    """Kill the first container of a function whose RPC was served, before it has the answer.

    Args:
        loopback: Where.
        rpc: The RPC.
        of: Tag of the function.

    Yields:
        The container, once it was killed.
    """
    killed: list[Container] = []

    async def listen(name: str, caller: Caller) -> None:
        container = loopback.plane.scheduler.containers.get(caller.container_id or "")
        if killed or name != rpc or container is None or container.name != of:
            return
        killed.append(container)
        container.kill()
        loopback.plane.changes.notify()
        await asyncio.Event().wait()  # nobody is left to be answered

    listeners = loopback.plane.router.listeners
    listeners.append(listen)
    try:
        yield killed
    finally:
        listeners.remove(listen)
