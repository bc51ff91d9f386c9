"""One call of a stage in a Modal container: who may stop it, and how it ends in time."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from training.deployment.resources import SOFT_DEADLINE_SECONDS
from training.ports import Call
from training.runs.state import StageStatus

logger = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
# Modal kills a container 30 s after asking it to end.
GRACE_SECONDS = 27.0
# Time to stop after a request, so that the GPU is free within 30 s.
STOP_SECONDS = 22.0
_LOOK_SECONDS = 0.2


class CallRegister(Protocol):
    """Records of started calls."""

    def register(self, name: str, call_id: str) -> bool:
        """Return whether this function call is the one that may work on the call."""
        ...

    def stop_requested(self, name: str) -> bool: ...


def run_call(
    call: Call,
    function_call: str,
    register: CallRegister,
    work: Callable[[threading.Event], StageStatus | None],
) -> str:
    """Do a call's work, unless another function call does it, and return how it ended.

    The work runs in a separate thread. Modal preempts and cancels by raising in the main thread;
    that then interrupts nothing midway, but asks the work to save its state and end.

    Args:
        call: The call.
        function_call: Modal's id of this function call.
        register: Records which function call does the work and whether it should stop.
        work: Runs the stage until it is done or the event is set.
    """
    if not register.register(call.name, function_call):
        logger.warning("run %s: another function call works on %s", call.run, call.key)
        return "in other hands"
    running = _Work(work, f"stage {call.key}")
    try:
        running.start()
        _wait(running, call, register)
    finally:
        # Preempted or cancelled: give the work the time that Modal leaves to end cleanly.
        running.stopping.set()
        if running.is_worth_waiting:
            running.over.wait(GRACE_SECONDS)
    return running.result()


class _Work:
    """The work of a call, in a separate thread.

    `over` is an event because in Python 3.11 a thread counts as ended once a `join` of it has been
    interrupted.

    Attributes:
        stopping: Asks the work to save its state and end.
        over: The work has ended.
        is_worth_waiting: Whether the work may still end cleanly.
    """

    def __init__(self, work: Callable[[threading.Event], StageStatus | None], name: str) -> None:
        self.stopping, self.over = threading.Event(), threading.Event()
        self.is_worth_waiting = False
        self._work = work
        self._outcome: StageStatus | BaseException | None = None
        # A daemon, so that work that does not end dies with its container.
        self._thread = threading.Thread(target=self._do, name=name, daemon=True)

    def start(self) -> None:
        """Start the work; if this is interrupted, the work is still waited for."""
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
        """Return how the work ended, or raise its error."""
        if not self.over.is_set():
            return "left behind"
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return str(self._outcome or "nothing to do")


def _wait(running: _Work, call: Call, register: CallRegister) -> None:
    """Wait for the work, ask it to stop when it must, and abandon it if it does not."""
    started = looked = time.monotonic()
    leaves_at = math.inf
    while not running.over.wait(_LOOK_SECONDS):
        now = time.monotonic()
        if now >= leaves_at:
            logger.error("run %s: %s did not stop and is abandoned", call.run, call.key)
            running.is_worth_waiting = False
            return
        if running.stopping.is_set():
            continue
        if now - started >= SOFT_DEADLINE_SECONDS:
            logger.warning("run %s: %s saves its state for another attempt", call.run, call.key)
            running.stopping.set()
        elif now - looked >= WATCH_SECONDS:
            looked = now
            if _is_asked_to_stop(call, register):
                running.stopping.set()
                leaves_at = now + STOP_SECONDS


def _is_asked_to_stop(call: Call, register: CallRegister) -> bool:
    try:
        is_asked = register.stop_requested(call.name)
    except OSError:
        # Ask again at the next look; the work goes on.
        logger.warning("run %s: %s could not ask whether to stop", call.run, call.key)
        return False
    if is_asked:
        logger.info("run %s: %s was asked to stop", call.run, call.key)
    return is_asked
