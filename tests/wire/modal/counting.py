"""Counts the RPCs of a piece of work by caller."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.rpc import Caller

BOT = "bot"
# A container asks these by itself, however long it takes.
_BY_THE_CLOCK = ("ContainerHeartbeat", "FunctionGetInputs", "AppHeartbeat")


@contextmanager
def counted(loopback: Loopback) -> Generator[dict[str, Counter[str]]]:
    """Count RPCs by caller, a function's tag or the bot, while the body runs."""
    found: dict[str, Counter[str]] = {}

    async def listen(name: str, caller: Caller) -> None:
        container = loopback.plane.scheduler.containers.get(caller.container_id or "")
        asks = container.name if container is not None else BOT
        if name not in _BY_THE_CLOCK:
            found.setdefault(asks, Counter())[name] += 1

    listeners = loopback.plane.router.listeners
    listeners.append(listen)
    try:
        yield found
    finally:
        listeners.remove(listen)


def total(found: dict[str, Counter[str]], *prefixes: str) -> int:
    """Return how many RPCs there were whose names begin with one of the prefixes."""
    each = (item for counter in found.values() for item in counter.items())
    return sum(count for name, count in each if name.startswith(prefixes))
