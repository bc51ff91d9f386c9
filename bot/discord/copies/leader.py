"""Elects one copy of the bot as the active one, using a lease. Only that copy updates the cards."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bot.service.background import log_failure
from bot.service.threads import in_pool
from training.ports import Grant, Leases

logger = logging.getLogger(__name__)

_RELEASE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Timing of the hand-over between copies, in seconds.

    Attributes:
        poll: Time between a standby's attempts to become active.
        beat: Time between renewals of the lease.
        trust: How long a copy relies on its lease after renewing it; shorter than the lease.
        pause: How long other copies wait, so that the active copy can claim an interaction first.
            Discord waits 3 s for an acknowledgement.
        grace: Time for a copy that shuts down to finish its commands.
        rest: Time that a copy whose work has failed waits before it tries to become active again.
    """

    poll: float = 0.5
    beat: float = 5.0
    trust: float = 12.0
    pause: float = 1.0
    grace: float = 20.0
    rest: float = 10.0


class Leader:
    """Tries to become the active copy, and runs `work` while it is active."""

    def __init__(
        self, leases: Leases, work: Callable[[], Coroutine[Any, Any, None]], timing: Timing
    ) -> None:
        self._leases, self._work, self._timing = leases, work, timing
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"
        self._own: Grant | None = None
        self._is_active = False
        self._is_unreachable = False
        self._turns: asyncio.Task[None] | None = None
        # One thread makes all calls in order, so a release never overtakes a call that timed out.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leader")

    @property
    def is_active(self) -> bool:
        return self._is_active

    async def begin(self, lease: str) -> None:
        """Become active if no other copy is; otherwise stand by and keep trying."""
        self._own = Grant(lease, self._holder, attempt=1)
        await self._try(self._own)
        self._turns = asyncio.create_task(self._take_turns(self._own), name="leader election")
        self._turns.add_done_callback(log_failure)

    async def end(self) -> None:
        """Stop working and release the lease."""
        if self._own is None:
            return
        own, self._own = self._own, None
        if self._turns is not None:
            self._turns.cancel()
            await asyncio.wait({self._turns})
        await self._release(own)
        self._thread.shutdown(wait=False)

    async def _take_turns(self, own: Grant) -> None:
        while True:
            if self._is_active:
                await self._hold(own)
            else:
                await asyncio.sleep(self._timing.poll)
                await self._try(own)

    async def _try(self, own: Grant) -> None:
        try:
            async with asyncio.timeout(self._timing.trust):
                acquire = self._leases.acquire
                found = await in_pool(
                    self._thread, acquire, own.name, holder=own.holder, attempt=own.attempt
                )
            self._is_active = found is not None
        except OSError:
            if not self._is_unreachable:
                logger.warning("the store of the bot's lease cannot be reached", exc_info=True)
            self._is_unreachable = True
        else:
            self._is_unreachable = False

    async def _hold(self, own: Grant) -> None:
        """Work until the lease is lost or the work fails."""
        logger.info("this copy of the bot is active")
        work = asyncio.create_task(self._work(), name="work of the active copy")
        lease = asyncio.create_task(self._renew(own), name="lease of the active copy")
        try:
            await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_active = False
            has_failed = work.done()
            for task in (work, lease):
                task.cancel()
            await asyncio.wait({work, lease})
            log_failure(work)
            log_failure(lease)
            logger.info("this copy of the bot is no longer active")
        if has_failed:
            # Give another copy a chance before trying again.
            await self._release(own)
            await asyncio.sleep(self._timing.rest)

    async def _renew(self, own: Grant) -> None:
        """Keep renewing the lease; return when it is lost or may have been lost."""
        clock = asyncio.get_running_loop().time
        trusted_until = clock() + self._timing.trust
        while True:
            await asyncio.sleep(min(self._timing.beat, max(0.0, trusted_until - clock())))
            asked_at = clock()
            try:
                async with asyncio.timeout_at(trusted_until):
                    is_held = await in_pool(self._thread, self._leases.renew, own)
            except OSError:
                logger.warning("the lease of the bot could not be renewed", exc_info=True)
                is_held = clock() < trusted_until
            else:
                trusted_until = asked_at + self._timing.trust
            if not is_held:
                logger.warning("this copy of the bot lost its lease")
                return

    async def _release(self, own: Grant) -> None:
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await in_pool(self._thread, self._leases.release, own)
        except OSError:
            logger.warning("the lease of the bot was not released and will expire", exc_info=True)
