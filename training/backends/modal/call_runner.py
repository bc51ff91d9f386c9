"""One call of a stage in a container of Modal: who may end it, and how it ends in time."""

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
# Modal kills a container 30 s after it has asked it to end.
GRACE_SECONDS = 27.0
# Of a call that was asked to stop: its GPU is free within 30 s of the request, come what may.
STOP_SECONDS = 22.0
_LOOK_SECONDS = 0.2


class CallRegister(Protocol):
    """What the backend knows of a call that has started."""

    def register(self, name: str, call_id: str) -> bool:
        """Return whether this function call is the one that does the call's work."""
        ...

    def stop_requested(self, name: str) -> bool:
        """Return whether the call was asked to end."""
        ...


def run_call(
    call: Call,
    function_call: str,
    register: CallRegister,
    work: Callable[[threading.Event], StageStatus | None],
) -> str:
    """Do a call's work unless another function call does it, and return how it ended.

    The work runs in a thread of its own: what Modal raises in the main thread to preempt or cancel
    it then interrupts nothing in the middle, but asks the work to save its state and end.

    Args:
        call: What is to be done.
        function_call: Modal's own id of this call of the Function.
        register: Tells which function call does the work, and whether it is to end.
        work: Runs the stage until it is done, or until the event is set.
    """
    if not register.register(call.name, function_call):
        logger.warning("run %s: %s is done by another call", call.run, call.key)
        return "in other hands"
    running = _Work(work, f"stage {call.key}")
    try:
        running.start()
        _wait(running, call, register)
    finally:
        # Preempted, cancelled or over: the work gets the time that Modal leaves to end well.
        running.stopping.set()
        if running.is_worth_waiting:
            running.over.wait(GRACE_SECONDS)
    return running.result()


class _Work:
    """The work of a call, in a thread of its own.

    Whether it is over is told by an event. A thread that is joined while the main thread is
    interrupted counts as ended from then on, in Python 3.11.

    Attributes:
        stopping: Asks it to save its state and end.
        over: It has ended.
        is_worth_waiting: Whether it may still end well.
    """

    def __init__(self, work: Callable[[threading.Event], StageStatus | None], name: str) -> None:
        self.stopping, self.over = threading.Event(), threading.Event()
        self.is_worth_waiting = False
        self._work = work
        self._outcome: StageStatus | BaseException | None = None
        # Not waited for by the interpreter: a work that does not end dies with its container.
        self._thread = threading.Thread(target=self._do, name=name, daemon=True)

    def start(self) -> None:
        """Begin; being interrupted in the middle of this leaves the work to be waited for."""
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
        """Return how it ended, or raise what it raised."""
        if not self.over.is_set():
            return "left behind"
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return str(self._outcome or "nothing to do")


def _wait(running: _Work, call: Call, register: CallRegister) -> None:
    """Wait for the end of the work; ask it to end when it must, and leave it when it does not."""
    started = looked = time.monotonic()
    leaves_at = math.inf
    while not running.over.wait(_LOOK_SECONDS):
        now = time.monotonic()
        if now >= leaves_at:
            logger.error("run %s: %s does not stop and is left behind", call.run, call.key)
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
        # What cannot be learned now is learned at one of the next looks; the work goes on.
        logger.warning("run %s: %s could not ask whether to stop", call.run, call.key)
        return False
    if is_asked:
        logger.info("run %s: %s was asked to stop", call.run, call.key)
    return is_asked
