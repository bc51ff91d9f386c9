"""The `Backend` on Modal: one spawned function per call, and a queue for GPU calls.

A call's handle is its name. The first spawned function to be registered works on it, so it does not
matter if a process dies in between, or if several submit or start the same call.
"""

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import modal
import modal.exception
from grpclib.exceptions import StreamTerminatedError

from training.backends.modal.call_records import (
    NEVER,
    CallRecords,
    InLine,
    PlacedCall,
    Placement,
    to_plain,
)
from training.backends.modal.errors import as_connection_errors
from training.errors import BackendError
from training.ports import Call, CallState, CallStatus, Grant, Leases
from training.remedies import Deploy

logger = logging.getLogger(__name__)

GPU_LIMIT = 4
# A stage checks for a stop request every 2 s, and gives up on its work 22 s after that.
STOP_SECONDS = 24.0
_PUMP = "pump"
# What `FunctionCall.get` raises when a function ended without returning or raising.
_ENDS = (
    modal.exception.DeserializationError,
    modal.exception.ExecutionError,
    modal.exception.FunctionTimeoutError,
    modal.exception.InternalFailure,
    modal.exception.RemoteError,
)


class ModalBackend:
    """Starts deployed functions of one app; each calls `CallRecords.register` before it works.

    Args:
        app: The name of the deployed app.
        records: The records of all calls.
        leases: Let only one process at a time start queued calls.
        place: Chooses the function and GPU of a call.
        gpu_limit: How many GPU calls may run at once, over all functions.
        clock: Roughly the same for everyone who shares the records.
    """

    def __init__(
        self,
        app: str,
        records: CallRecords,
        leases: Leases,
        place: Callable[[Call], Placement],
        *,
        gpu_limit: int = GPU_LIMIT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._records, self._leases = app, records, leases
        self._place, self._gpu_limit, self._clock = place, gpu_limit, clock

    def submit(self, call: Call) -> str:
        """Start a CPU call, or queue a GPU call and start what fits; return the handle.

        Raises:
            BackendError: The deployed app has no function for it, or Modal refuses to start it.
        """
        self._records.add(call, self._place(call))
        if self._records.spawned(call.name) is not None:
            return call.name
        if call.device == "gpu":
            self._records.enter(call.name, self._clock())
            if failure := self.pump().get(call.name):
                raise failure
        else:
            self._start(call.name)
        return call.name

    def state(self, handle: str) -> CallState:
        """Return the state of a call; one that waits for a container at Modal counts as running."""
        call_id = self._records.spawned(handle)
        if call_id is None:
            if (waiting := self._state_in_line(handle)) is not None:
                return waiting
            # If it left the queue between the two looks, it was registered before that.
            call_id = self._records.spawned(handle)
        return CallState(CallStatus.GONE if call_id is None else _status(call_id))

    def cancel(self, name: str) -> None:
        """Dequeue a call, or ask its function to stop.

        Call this again while the call is alive: it is killed once it has had `STOP_SECONDS`.
        """
        if self._records.find(name) is None:
            return
        if self._records.register(name, NEVER):
            self._records.leave(name)
            self.pump()
            return
        asked_at = self._records.ask_to_stop(name, self._clock())
        call_id = self._records.spawned(name)
        if call_id is not None and self._clock() - asked_at >= STOP_SECONDS:
            _kill(call_id)

    def pump(self) -> dict[str, BackendError]:
        """Start the queued GPU calls that fit; return the errors of those that cannot be started.

        Only one process pumps at a time. A process that comes meanwhile makes it pump once more.
        """
        failures: dict[str, BackendError] = {}
        if all(entry.is_started for entry in self._records.line()):
            return failures  # the usual case
        self._records.want_pump()
        while grant := self._leases.acquire(_PUMP, holder=uuid.uuid4().hex):
            wanted = self._records.wanted()
            try:
                self._start_what_fits(grant, failures)
            finally:
                self._leases.release(grant)
            if self._records.wanted() == wanted:
                break
        return failures

    def _start_what_fits(self, grant: Grant, failures: dict[str, BackendError]) -> None:
        line = self._records.line()
        busy = sum(self._is_busy(entry) for entry in line if entry.is_started)
        for entry in line:
            if entry.is_started:
                continue
            if busy >= self._gpu_limit or not self._leases.renew(grant):
                return
            try:
                busy += self._start_in_line(entry)
            except BackendError as error:
                logger.error("%s cannot be started: %s", entry.name, error)  # noqa: TRY400
                failures[entry.name] = error
                self._records.leave(entry.name)

    def _start_in_line(self, entry: InLine) -> bool:
        """Start a queued call that has not been spawned yet; return whether it is running."""
        is_new = self._records.spawned(entry.name) is None
        if is_new and not self._start(entry.name):
            self._records.leave(entry.name)
            return False
        self._records.mark_started(entry)
        return is_new or self._is_busy(entry)

    def _is_busy(self, entry: InLine) -> bool:
        """Return whether a started call is still running; remove it from the queue if not."""
        call_id = self._records.spawned(entry.name)
        if call_id is not None and _status(call_id) is CallStatus.RUNNING:
            return True
        self._records.leave(entry.name)
        return False

    def _start(self, name: str) -> bool:
        """Spawn the function of a call; return False if the call is no longer known."""
        placed = self._records.find(name)
        if placed is None:
            return False
        spawned = self._spawn(placed)
        if self._records.register(name, spawned.object_id):
            logger.info("run %s: %s was spawned", placed.call.run, placed.call.key)
        else:
            # The function would end by itself, but this saves starting a container.
            logger.info("run %s: %s is already running", placed.call.run, placed.call.key)
            with as_connection_errors():
                spawned.cancel()
        return True

    def _spawn(self, placed: PlacedCall) -> modal.FunctionCall[object]:
        call, placement = placed.call, placed.placement
        # Looked up each time, because a new deployment replaces the function.
        function = _deployed(self._app, placement.function)
        with as_connection_errors():
            try:
                if placement.gpu is not None:
                    function = function.with_options(gpu=placement.gpu)
                return function.spawn(to_plain(call))
            except modal.exception.NotFoundError as error:
                raise BackendError(
                    f"What is deployed on Modal as {self._app} has no function"
                    f" {placement.function}, which {call.key} needs.",
                    "The operator deploys the version that this bot has.",
                    Deploy(),
                ) from error
            except modal.exception.InvalidError as error:
                raise BackendError(
                    f"Modal refuses to start {call.key}"
                    f" on {placement.gpu or 'its own hardware'}: {error}",
                    "Ask for another GPU, or fix what Modal names and deploy again.",
                ) from error

    def _state_in_line(self, handle: str) -> CallState | None:
        waiting = [entry.name for entry in self._records.line() if not entry.is_started]
        if handle not in waiting:
            return None
        return CallState(CallStatus.QUEUED, position=waiting.index(handle) + 1)


def _status(call_id: str) -> CallStatus:
    """Return the status of a spawned function, whatever it returned or raised."""
    if call_id == NEVER:
        return CallStatus.ENDED
    with as_connection_errors():
        try:
            _found(call_id).get(timeout=0)
        except BaseException as error:
            status = _told_by(error)
            if status is None:
                raise
            return status
    return CallStatus.ENDED


def _told_by(error: BaseException) -> CallStatus | None:
    """Return the status that an exception of `FunctionCall.get` implies; None if none."""
    # The client sets this on exceptions that the function itself raised, whatever their type.
    if hasattr(error, "__line_cache__"):
        return CallStatus.ENDED
    match error:
        case TimeoutError():
            return CallStatus.RUNNING
        case modal.exception.NotFoundError() | modal.exception.OutputExpiredError():
            return CallStatus.GONE
        case _ if isinstance(error, _ENDS):
            return CallStatus.ENDED
        case modal.exception.Error() | StreamTerminatedError():
            return None
        case Exception():  # the function could not be imported
            return CallStatus.ENDED
        case _:
            return None


def _deployed(app: str, function: str) -> modal.Function[..., object, object]:
    # The client leaves this type open.
    return cast("modal.Function[..., object, object]", modal.Function.from_name(app, function))


def _kill(call_id: str) -> None:
    if _status(call_id) is CallStatus.RUNNING:
        logger.warning("%s did not stop and is killed", call_id)
        with as_connection_errors(), suppress(modal.exception.NotFoundError):
            _found(call_id).cancel(terminate_containers=True)


def _found(call_id: str) -> modal.FunctionCall[object]:
    return modal.FunctionCall.from_id(call_id)
