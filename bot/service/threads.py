"""Runs blocking calls in threads; no other module leaves the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in one of the loop's own threads."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def in_pool(pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a thread of `pool`, which bounds how many such calls run at once."""
    call = partial(function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(pool, call)
