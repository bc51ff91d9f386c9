"""Runs blocking calls in threads. All other modules of the bot do so through this one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a thread of the event loop's default pool."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def in_pool(pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a thread of `pool`. The pool's size limits how many calls run at once."""
    call = partial(function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(pool, call)
