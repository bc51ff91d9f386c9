"""Asking a store for several things at once: on Modal each answer is a journey over a network."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
AT_ONCE = 16


def each(function: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """Return `function` of every item, in their order; the first error is raised."""
    todo = list(items)
    if len(todo) < 2:
        return [function(item) for item in todo]
    with ThreadPoolExecutor(min(AT_ONCE, len(todo)), thread_name_prefix="at once") as pool:
        return list(pool.map(function, todo))
