"""Breaks something in the middle of a run, at a point that the test names."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.rpc import Caller


@contextmanager
def kill_after(loopback: Loopback, rpc: str, *, of: str) -> Generator[list[Container]]:
    """Kill the first container of a function that sends an RPC, before it gets the answer.

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
        await asyncio.Event().wait()  # the caller is dead

    listeners = loopback.plane.router.listeners
    listeners.append(listen)
    try:
        yield killed
    finally:
        listeners.remove(listen)


@contextmanager
def connection_lost(loopback: Loopback, rpc: str) -> Generator[list[Caller]]:
    """Break the connection of the first caller of an RPC, before it is served.

    Yields:
        Who asked, once the connection was lost.
    """
    lost: list[Caller] = []

    async def refuse(name: str, caller: Caller) -> None:
        if name == rpc and not lost:
            lost.append(caller)
            raise GRPCError(Status.UNAVAILABLE, "the connection was lost")

    guards = loopback.plane.router.guards
    guards.append(refuse)
    try:
        yield lost
    finally:
        guards.remove(refuse)


@contextmanager
def refused(loopback: Loopback, rpc: str) -> Generator[None]:
    """Refuse an RPC while the body runs, with what the client does not try again."""

    async def refuse(name: str, _caller: Caller) -> None:
        if name == rpc:
            raise GRPCError(Status.FAILED_PRECONDITION, "a concurrent write")

    guards = loopback.plane.router.guards
    guards.append(refuse)
    try:
        yield
    finally:
        guards.remove(refuse)
