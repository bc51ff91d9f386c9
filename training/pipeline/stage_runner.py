"""Runs one attempt of a stage: lease, heartbeat, events, failures."""

import logging
import threading
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from training.errors import TrainingError
from training.pipeline.advance import lease_name, request_advance
from training.pipeline.leases import heartbeat, hold_lease
from training.pipeline.log_tail import end_of
from training.pipeline.plan import Planner
from training.pipeline.runtime import Runtime
from training.ports import Board, Call, Grant
from training.runs import events as ev
from training.runs.event_log import RunLog, Writer
from training.runs.events import StageBody, StageEvent
from training.runs.spec import RunSpec
from training.runs.state import Run, StageStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey


class ProgressReporter:
    """Updates one value on a board; updates that come too fast are dropped."""

    def __init__(self, board: Board, key: str) -> None:
        self._board, self._key = board, key
        self._told_at = float("-inf")

    def tell(self, data: bytes, *, is_last: bool = False) -> None:
        """Update the value; the last one of a stage is never dropped."""
        if is_last or monotonic() - self._told_at >= self._board.pause_seconds:
            self._told_at = monotonic()
            self._board.show(self._key, data)


logger = logging.getLogger(__name__)


class StageInterruptedError(Exception):
    """The attempt cannot continue for external reasons; the next attempt may."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome of a successful stage."""

    reused: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """The context of one attempt of a stage."""

    runtime: Runtime
    spec: RunSpec
    planner: Planner
    key: StageKey
    attempt: int
    grant: Grant
    stopping: threading.Event
    _log: RunLog
    _reporter: ProgressReporter
    _write_lock: threading.Lock = field(default_factory=threading.Lock)

    def path(self, key: str) -> Path:
        """Return the local path of what is stored at `key`."""
        return self.runtime.store.path(key)

    def staging_path(self, key: str) -> Path:
        """Return a staging path for `key`; its parent directory exists."""
        place = self.runtime.store.staging_path(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def keep(self, *keys: str) -> None:
        """Store the staged files of these keys, unless another attempt took over.

        Raises:
            StageInterruptedError: This attempt no longer holds the stage's lease.
        """
        self._require_grant()
        self.runtime.store.keep(*keys)

    def emit(self, body: StageBody) -> None:
        """Write an event, unless a newer attempt has taken over.

        Raises:
            StageInterruptedError: This attempt no longer holds the stage's lease.
        """
        with self._write_lock:
            self._require_grant()
            _append(self._log, self.runtime, self.key, self.attempt, body)

    def report_progress(self, data: bytes, *, is_last: bool = False) -> None:
        """Publish the latest progress; all but the last update may be dropped."""
        self._reporter.tell(data, is_last=is_last)

    def show_log(self, log: Path) -> None:
        """Publish the log tail of this attempt."""
        key = self.spec.keys.log_tail(self.key)
        self.runtime.board.show(key, end_of(log))

    def _require_grant(self) -> None:
        if not self.runtime.leases.renew(self.grant):
            self.stopping.set()
            raise StageInterruptedError("another attempt has taken over")

    def check_stopping(self) -> None:
        """Raise if the attempt was told to stop.

        Raises:
            StageInterruptedError: A signal arrived or the lease was lost.
        """
        if self.stopping.is_set():
            raise StageInterruptedError("stopped on request")

    @contextmanager
    def shared(self, name: str, key: str) -> Generator[None]:
        """Hold a lease on shared work at or below `key`; wait while another run holds it."""
        leases, holder = self.runtime.leases, self.grant.holder
        with hold_lease(leases, name, holder=holder, wait=self._wait, on_lost=self.stopping.set):
            self.runtime.store.refresh(key)
            yield

    def _wait(self) -> None:
        self.check_stopping()
        self.stopping.wait(0.5)


StageFunction = Callable[[StageContext], StageResult]


def run_stage(
    runtime: Runtime, call: Call, function: StageFunction, stopping: threading.Event
) -> StageStatus | None:
    """Run one attempt of a stage and advance the run; None if another attempt is alive.

    Expected failures become `StageFailed`, interruptions `StageStopped`; anything else is recorded
    and re-raised.
    """
    log = runtime.log(call.guild, call.run)
    if _is_over(log.load(), call):
        # Without taking the lease, which the next attempt may need.
        request_advance(runtime, call.guild, call.run)
        return None
    name = lease_name(call.guild, call.run, call.key)
    # Containers can share host names and process ids.
    holder = f"{call.name}/{uuid.uuid4().hex}"
    grant = runtime.leases.acquire(name, holder=holder, attempt=call.attempt)
    if grant is None:
        logger.warning("run %s: another attempt holds %s", call.run, call.key)
        return None
    run = log.load()
    if _is_over(run, call) or _was_cut_off(runtime, log, run, call):
        runtime.leases.release(grant)
        request_advance(runtime, call.guild, call.run)
        return None
    context = StageContext(
        runtime=runtime,
        spec=run.spec,
        planner=runtime.planner(run.spec),
        key=call.key,
        attempt=call.attempt,
        grant=grant,
        stopping=stopping,
        _log=log,
        _reporter=ProgressReporter(runtime.board, RunKeys(call.guild, call.run).progress(call.key)),
    )
    with heartbeat(runtime.leases, grant, stopping.set):
        status = _attempt(context, function)
    runtime.leases.release(grant)
    request_advance(runtime, call.guild, call.run)
    return status


def _append(log: RunLog, runtime: Runtime, key: StageKey, attempt: int, body: StageBody) -> None:
    """Append to the event file of one attempt of a stage."""
    event = StageEvent(at=runtime.clock(), key=key, attempt=attempt, body=body)
    log.append(Writer(name=str(key), attempt=attempt), event)


def _was_cut_off(runtime: Runtime, log: RunLog, run: Run, call: Call) -> bool:
    """Record, and return, whether this attempt already ran in a container that is gone.

    Continuing under the same number would overwrite its files, such as metrics.
    """
    stage = run.stage(call.key)
    if stage.attempt != call.attempt or stage.status is not StageStatus.RUNNING:
        return False
    logger.warning("run %s: %s attempt %d was cut off", call.run, call.key, call.attempt)
    stopped = ev.StageStopped(reason="its machine was taken away")
    _append(log, runtime, call.key, call.attempt, stopped)
    return True


def _is_over(run: Run, call: Call) -> bool:
    """Return whether the attempt has ended or the run needs no more work.

    A platform may restart a call that it interrupted.
    """
    if run.status.is_final or run.cancel_requested:
        return True
    stage = run.stage(call.key)
    over = (StageStatus.INTERRUPTED, StageStatus.FAILED, StageStatus.SUCCEEDED)
    return stage.attempt > call.attempt or (stage.attempt == call.attempt and stage.status in over)


def _attempt(context: StageContext, function: StageFunction) -> StageStatus:
    key, name = context.key, context.spec.name
    try:
        context.emit(ev.StageStarted())
        result = function(context)
        context.emit(ev.StageSucceeded(reused=result.reused, note=result.note))
    except StageInterruptedError as error:
        logger.warning("run %s: %s stopped: %s", name, key, error)
        return _end(context, ev.StageStopped(reason=str(error)))
    except ConnectionError as error:
        logger.exception("run %s: %s lost its connection", name, key)
        return _end(context, ev.StageStopped(reason=str(error)))
    except TrainingError as error:
        logger.warning("run %s: %s failed: %s", name, key, error)
        failed = ev.StageFailed(cause=error.cause, fix=error.fix, remedy=error.remedy)
        return _end(context, failed)
    except OSError as error:
        logger.exception("run %s: %s failed", name, key)
        cause = f"The machine reported: {_refusal(error)}."
        fix = "Free disk space or repair what it names, then start the run again."
        return _end(context, ev.StageFailed(cause=cause, fix=fix))
    except Exception as error:
        cause = f"An unexpected error stopped {key}: {type(error).__name__}: {error}."
        fix = "This is a bug; the operator finds the traceback in the stage's log."
        _end(context, ev.StageFailed(cause=cause, fix=fix))
        raise
    return StageStatus.SUCCEEDED


def _refusal(error: OSError) -> str:
    """Return the operating system's message and the file's name."""
    reason = error.strerror or str(error)
    return f"{Path(error.filename).name}: {reason}" if error.filename else reason


def _end(context: StageContext, end: ev.StageStopped | ev.StageFailed) -> StageStatus:
    try:
        context.emit(end)
    except StageInterruptedError:
        logger.warning("run %s: %s was taken over", context.spec.name, context.key)
    stopped = isinstance(end, ev.StageStopped)
    return StageStatus.INTERRUPTED if stopped else StageStatus.FAILED
