"""Runs calls in parallel, because on Modal each call to a store is a network round trip."""

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
AT_ONCE = 16


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def each(function: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """Call `function` for all items in parallel; return the results in the order of the items.

    If calls fail, the error of the earliest failing item is raised.
    """
    todo = list(items)
    if len(todo) < 2:
        return [function(item) for item in todo]
    with ThreadPoolExecutor(min(AT_ONCE, len(todo)), thread_name_prefix="at once") as pool:
        return list(pool.map(function, todo))
