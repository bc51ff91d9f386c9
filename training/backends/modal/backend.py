"""The `Backend` on Modal: one spawned function per call, and a queue for GPU calls.

A call's handle is its name. If several functions are spawned for one call, only the first that
registers does the work. So several processes can safely submit or start the same call, and any of
them may die at any point.
"""

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import cast

import modal
import modal.exception
from grpclib.exceptions import StreamTerminatedError

from training.backends.modal.call_records import (
    NEVER,
    CallRecords,
    PlacedCall,
    Placement,
    QueueEntry,
    to_plain,
)
from training.backends.modal.errors import as_connection_errors, as_start_errors
from training.errors import BackendError, StartDelayedError
from training.ports import Call, CallState, CallStatus, GpuLine, Grant, Leases

logger = logging.getLogger(__name__)

GPU_LIMIT = 4
# A stage notices a stop request within 2 s, and abandons its work 22 s later.
STOP_SECONDS = 24.0
_PUMP = "pump"
# The errors that `FunctionCall.get` raises for a function that ended without a result or an
# exception.
_ENDS = (
    modal.exception.DeserializationError,
    modal.exception.ExecutionError,
    modal.exception.FunctionTimeoutError,
    modal.exception.InternalFailure,
    modal.exception.RemoteError,
)


class ModalBackend:
    """Starts an app's deployed functions, each of which first calls `CallRecords.register`.

    `place` chooses the function and GPU for a call. `gpu_limit` is how many GPU calls may run at
    once. The clocks of all processes that share the records must roughly agree.
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

    def submit(self, call: Call, *, since: datetime | None = None) -> str:
        """Start a CPU call, or queue a GPU call and pump the queue; return the handle.

        The records forget a call that has waited for over 7 days. The caller then submits it again
        with its old `since`, so that it gets its old place in the queue.

        Raises:
            StartDelayedError: Nothing can be started now; a GPU call is queued nevertheless.
            BackendError: The deployed app has no function for the call, or Modal refuses to start
                the call.
        """
        self._records.add(call, self._place(call))
        if self._records.spawned(call.name) is not None:
            return call.name
        if call.device == "gpu":
            self._records.enter(call.name, since.timestamp() if since else self._clock())
            failure = self.pump().get(call.name)
            if failure is not None:
                raise failure
        else:
            self._start(call.name)
        return call.name

    def state(self, handle: str) -> CallState:
        """Return a call's state; waiting for a container at Modal counts as running."""
        call_id = self._records.spawned(handle)
        if call_id is None:
            if (waiting := self._queued_state(handle)) is not None:
                return waiting
            # Look up the registration again: if the call has left the queue since the first lookup,
            # it was registered before it left.
            call_id = self._records.spawned(handle)
        return CallState(CallStatus.GONE if call_id is None else _status(call_id))

    def gpu_line(self) -> GpuLine:
        """Count the running and the waiting GPU calls.

        Until the next pump, a call that has ended may count as running.
        """
        queue = self._records.queue()
        running = sum(entry.is_started for entry in queue)
        return GpuLine(running, len(queue) - running, self._gpu_limit)

    def obstacle(self) -> str | None:
        return self._records.obstacle()

    def cancel(self, name: str) -> None:
        """Dequeue a call, or ask its function to stop.

        If this is called again once `STOP_SECONDS` have passed, it kills the function.
        """
        # Cancel even without a record: the call's record may have expired while the call waited.
        if self._records.register(name, NEVER):
            self._records.leave(name)
            self.pump()
            return
        asked_at = self._records.ask_to_stop(name, self._clock())
        call_id = self._records.spawned(name)
        # Use `abs`: if the clock was set back, even an old request has a time in the future.
        if call_id is not None and abs(self._clock() - asked_at) >= STOP_SECONDS:
            _kill(call_id)

    def pump(self) -> dict[str, BackendError]:
        """Start queued GPU calls up to the limit; return the errors of calls that cannot start.

        Only one process does this at a time. If another process calls this method meanwhile, it
        returns at once, and the first process goes through the queue again.
        """
        failures: dict[str, BackendError] = {}
        if all(entry.is_started for entry in self._records.queue()):
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
        queue = self._records.queue()
        busy = sum(self._is_busy(entry) for entry in queue if entry.is_started)
        for entry in queue:
            if entry.is_started:
                continue
            if busy >= self._gpu_limit or not self._leases.renew(grant):
                return
            try:
                busy += self._start_queued(entry)
            except StartDelayedError as error:
                logger.warning("nothing can be started: %s", error)
                return  # all calls stay in the queue
            except BackendError as error:
                logger.error("%s cannot be started: %s", entry.name, error)  # noqa: TRY400
                failures[entry.name] = error
                self._records.leave(entry.name)

    def _start_queued(self, entry: QueueEntry) -> bool:
        """Start a queued call that has not been spawned yet; return whether it is running."""
        is_new = self._records.spawned(entry.name) is None
        if is_new and not self._start(entry.name):
            self._records.leave(entry.name)
            return False
        self._records.mark_started(entry)
        return is_new or self._is_busy(entry)

    def _is_busy(self, entry: QueueEntry) -> bool:
        """Return whether a started call is still running; if not, remove it from the queue."""
        call_id = self._records.spawned(entry.name)
        if call_id is not None and _status(call_id) is CallStatus.RUNNING:
            self._records.keep(entry.name)
            return True
        self._records.leave(entry.name)
        return False

    def _start(self, name: str) -> bool:
        """Spawn the function of a call; return False if the call's record is gone."""
        placed = self._records.find(name)
        if placed is None:
            return False
        try:
            spawned = self._spawn(placed)
        except StartDelayedError as error:
            self._records.set_obstacle(str(error))
            raise
        self._records.clear_obstacle()
        if self._records.register(name, spawned.object_id):
            logger.info("run %s: %s was spawned", placed.call.run, placed.call.key)
        else:
            # The spawned function would end when it finds that it is not registered, but cancelling
            # it now avoids starting a container.
            logger.info("run %s: %s is already running", placed.call.run, placed.call.key)
            with as_connection_errors():
                spawned.cancel()
        return True

    def _spawn(self, placed: PlacedCall) -> modal.FunctionCall[object]:
        call, placement = placed.call, placed.placement
        # Look the function up each time, because a new deployment replaces it.
        function = _deployed(self._app, placement.function)
        refused = as_start_errors(str(call.key), self._app, placement.function)
        with as_connection_errors(), refused:
            try:
                if placement.gpu is not None:
                    memory = placement.memory_gib and placement.memory_gib * 1024
                    function = function.with_options(gpu=placement.gpu, memory=memory)
                return function.spawn(to_plain(call))
            except modal.exception.InvalidError as error:
                raise BackendError(
                    f"Modal refuses to start {call.key}"
                    f" on {placement.gpu or 'its own hardware'}: {error}",
                    "Choose another GPU, or fix the problem that Modal reports and deploy again.",
                ) from error

    def _queued_state(self, handle: str) -> CallState | None:
        waiting = [entry.name for entry in self._records.queue() if not entry.is_started]
        if handle not in waiting:
            return None
        return CallState(CallStatus.QUEUED, position=waiting.index(handle) + 1)


def _status(call_id: str) -> CallStatus:
    """Return the status of a spawned function; a function that raised an exception has ended."""
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
    """Return the status that an exception of `FunctionCall.get` implies.

    None means that the exception, such as a lost connection, says nothing about the function.
    """
    # The client sets this attribute on all exceptions that the function itself raised.
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
    # The client declares no type for the arguments and the result.
    return cast("modal.Function[..., object, object]", modal.Function.from_name(app, function))


def _kill(call_id: str) -> None:
    if _status(call_id) is CallStatus.RUNNING:
        logger.warning("%s did not stop; killing it", call_id)
        with as_connection_errors(), suppress(modal.exception.NotFoundError):
            _found(call_id).cancel(terminate_containers=True)


def _found(call_id: str) -> modal.FunctionCall[object]:
    return modal.FunctionCall.from_id(call_id)
