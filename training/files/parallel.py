"""Concurrent calls to a store: on Modal each one is a network round trip."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
AT_ONCE = 16


def each(function: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """Return `function` of every item, in order; raises the first error."""
    todo = list(items)
    if len(todo) < 2:
        return [function(item) for item in todo]
    with ThreadPoolExecutor(min(AT_ONCE, len(todo)), thread_name_prefix="at once") as pool:
        return list(pool.map(function, todo))
