"""Runs one call of a stage in a Modal container, and ends it before Modal kills the container."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from training.deployment.resources import SOFT_DEADLINE_SECONDS
from training.ports import Call
from training.runs.state import StageStatus

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """Time limits and intervals of a call, in seconds.

    Attributes:
        look: Time between two checks for the end of the work.
        watch: Time between two checks for a stop request.
        deadline: Time after which the work is asked to save its state for another attempt.
        stop: Longest time from a noticed stop request until the work is abandoned, chosen so that
            the GPU is free within 30 s.
        grace: Longest time that the work may still take once Modal is ending its container; Modal
            kills the container after 30 s.
    """

    look: float = 0.2
    watch: float = 2.0
    deadline: float = SOFT_DEADLINE_SECONDS
    stop: float = 22.0
    grace: float = 27.0


_TIMES = CallTimes()


class CallRegister(Protocol):
    """The part of `CallRecords` that a running function needs."""

    def register(self, name: str, call_id: str) -> bool:
        """Claim a call for a Modal function call; return False if another function call has it."""
        ...

    def stop_requested(self, name: str) -> bool: ...


def run_call(
    call: Call,
    function_call: str,
    register: CallRegister,
    work: Callable[[threading.Event], StageStatus | None],
    times: CallTimes = _TIMES,
) -> str:
    """Do a call's work, unless another function call does it, and return how it ended.

    Modal preempts or cancels a function by raising an exception in its main thread. The work runs
    in another thread, so the exception does not interrupt it. Instead, this function asks the work
    to save its state and end. `function_call` is Modal's id of this function call.
    """
    if not register.register(call.name, function_call):
        logger.warning("run %s: another function call is already working on %s", call.run, call.key)
        return "taken by another"
    running = _Work(work, f"stage {call.key}")
    try:
        running.start()
        _wait(running, call, register, times)
    finally:
        # If Modal is ending the container, let the work use the time until Modal kills it.
        running.stopping.set()
        if running.is_worth_waiting:
            running.over.wait(times.grace)
    return running.result()


class _Work:
    """The work of a call, in a separate thread.

    Attributes:
        stopping: Set to ask the work to save its state and end.
        over: Set when the work has ended. `Thread.is_alive` cannot tell: in Python 3.11, a thread
            counts as ended once a call of its `join` was interrupted.
        is_worth_waiting: Whether the work has started and may still end by itself.
    """

    def __init__(self, work: Callable[[threading.Event], StageStatus | None], name: str) -> None:
        self.stopping, self.over = threading.Event(), threading.Event()
        self.is_worth_waiting = False
        self._work = work
        self._outcome: StageStatus | BaseException | None = None
        # The thread is a daemon, so it does not keep the container alive if the work never ends.
        self._thread = threading.Thread(target=self._do, name=name, daemon=True)

    def start(self) -> None:
        """Start the work.

        `is_worth_waiting` is set before the work starts, so that the caller waits for the work even
        if an exception interrupts this method.
        """
        self.is_worth_waiting = True
        self._thread.start()

    def _do(self) -> None:
        try:
            self._outcome = self._work(self.stopping)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self._outcome = error
        finally:
            self.over.set()

    def result(self) -> str:
        """Return how the work ended ("abandoned" if it did not), or raise its exception."""
        if not self.over.is_set():
            return "abandoned"
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return str(self._outcome or "nothing to do")


def _wait(running: _Work, call: Call, register: CallRegister, times: CallTimes) -> None:
    """Wait for the work to end.

    Ask it to stop at the deadline or on request; after a request, abandon it if it does not stop.
    """
    started = looked = time.monotonic()
    leaves_at = math.inf
    while not running.over.wait(times.look):
        now = time.monotonic()
        if now >= leaves_at:
            logger.error("run %s: %s did not stop and is abandoned", call.run, call.key)
            running.is_worth_waiting = False
            return
        if running.stopping.is_set():
            continue
        if now - started >= times.deadline:
            logger.warning("run %s: %s saves its state for another attempt", call.run, call.key)
            running.stopping.set()
        elif now - looked >= times.watch:
            looked = now
            if _is_asked_to_stop(call, register):
                running.stopping.set()
                leaves_at = now + times.stop


def _is_asked_to_stop(call: Call, register: CallRegister) -> bool:
    try:
        is_asked = register.stop_requested(call.name)
    except OSError:
        # Let the work continue; a later check asks again.
        logger.warning("run %s: %s could not check for a stop request", call.run, call.key)
        return False
    if is_asked:
        logger.info("run %s: %s was asked to stop", call.run, call.key)
    return is_asked
