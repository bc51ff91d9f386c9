"""Runs one attempt of a stage: holds its lease, writes its events, records its failure."""

import errno
import json
import logging
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from training.errors import TrainingError
from training.files.atomic import make_directory
from training.files.disk_space import is_full, when_room
from training.pipeline.advance import lease_name, request_advance
from training.pipeline.leases import heartbeat, hold_lease
from training.pipeline.log_tail import end_of
from training.pipeline.plan import Planner
from training.pipeline.runtime import Runtime
from training.pipeline.stage_costs import StageMeter, cost_of_lost
from training.pipeline.stage_writes import Made, StageInterruptedError, StageWrites, stage_lines
from training.ports import BusyError, Call, Grant, LiveValues, StoreChanges
from training.runs import events as ev
from training.runs.event_log import RunLog
from training.runs.events import StageEvent
from training.runs.spec import RunSpec
from training.runs.state import Run, StageStatus
from training.vocabulary import ExpertName, StageKey, device_of


class ProgressReporter:
    """Publishes a stage's progress, and drops updates that come too soon after the last one."""

    def __init__(self, live: LiveValues, key: str) -> None:
        self._live, self._key = live, key
        self._told_at = float("-inf")

    def tell(self, data: bytes, *, is_last: bool = False) -> None:
        """Publish `data`, unless the previous update is too recent and `is_last` is false."""
        if is_last or monotonic() - self._told_at >= self._live.pause_seconds:
            self._told_at = monotonic()
            self._live.publish(self._key, data)


logger = logging.getLogger(__name__)
# The start of a stage is stored after this fraction of the usual wait, because users watch for it.
_SHARE_OF_START = 0.25
# Errors of network drives, and of Modal's Volumes, which are mounted like network drives.
_FAULTS_OF_DRIVES = (
    *(errno.EIO, errno.ESTALE, errno.ENOTCONN),
    *(errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH),
)
# How many times to try to store the final event. Each time, the store itself retries for a while.
_TRIES_TO_END = 3


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome of a successful stage.

    Attributes:
        reused: Whether all results existed already, so that the stage made nothing.
        note: A remark for the card, such as `3 of 9 files fetched`.
        made: Files and records to store in the same write as the stage's final event.
    """

    reused: bool = False
    note: str = ""
    made: Made = field(default_factory=Made)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """The input of a stage's function for one attempt: the run, its plan, and access to the store.

    `gpu` is the GPU that the attempt actually got; None if unknown or a CPU.

    Once another attempt holds the stage's lease, `writes` raises `StageInterruptedError`.
    """

    runtime: Runtime
    spec: RunSpec
    planner: Planner
    key: StageKey
    attempt: int
    gpu: str | None
    grant: Grant
    stopping: threading.Event
    writes: StageWrites
    _reporter: ProgressReporter

    @property
    def expert(self) -> ExpertName:
        if self.key.expert is None:
            raise ValueError(f"{self.key} is not a stage of one expert")
        return self.key.expert

    def path(self, key: str) -> Path:
        return self.runtime.store.path(key)

    def staging_path(self, key: str) -> Path:
        """Return a staging path for `key`; its parent directory exists."""
        place = self.runtime.store.staging_path(key)
        make_directory(place.parent)
        return place

    def report_progress(self, progress: Mapping[str, object], *, is_last: bool = False) -> None:
        """Publish the latest progress; all but the last update may be dropped."""
        now = self.runtime.clock().isoformat()
        told = {**progress, "attempt": self.attempt, "at": now}
        self._reporter.tell(json.dumps(told).encode(), is_last=is_last)

    def show_log(self, log: Path) -> None:
        key = self.spec.keys.log_tail(self.key)
        self.runtime.live.publish(key, end_of(log))

    def check_stopping(self) -> None:
        """Raise `StageInterruptedError` if a stop was requested or the lease is lost."""
        if self.stopping.is_set():
            raise StageInterruptedError("stopped on request")

    @contextmanager
    def shared(self, key: str, *names: str) -> Generator[None]:
        """Hold the leases `names` while the body makes files that several runs share.

        First wait until other runs release these leases, then refresh `key` to see the files that
        they stored there.
        """
        leases, holder = self.runtime.leases, self.grant.holder
        with ExitStack() as stack:
            # All attempts take leases in sorted order, so that no two attempts block each other.
            for name in sorted(names):
                held = hold_lease(
                    leases, name, holder=holder, wait=self._wait, on_lost=self.stopping.set
                )
                stack.enter_context(held)
            self.runtime.store.refresh(key)
            yield

    def _wait(self) -> None:
        self.check_stopping()
        self.stopping.wait(0.5)


StageFunction = Callable[[StageContext], StageResult]


def run_stage(
    runtime: Runtime, call: Call, function: StageFunction, stopping: threading.Event
) -> StageStatus | None:
    """Run one attempt of a stage, then advance the run; return None if the attempt must not run.

    A known error is recorded as `StageFailed`, and an interruption as `StageStopped`. An unexpected
    exception is recorded as `StageFailed` and raised again.
    """
    log = runtime.log(call.guild, call.run)
    if _is_over(log.load(), call):
        # Check without taking the lease, because the next attempt may need it right now.
        request_advance(runtime, call.guild, call.run)
        return None
    name = lease_name(call.guild, call.run, call.key)
    # The holder's name is random, because containers can share host names and process ids.
    holder = f"{call.name}/{uuid.uuid4().hex}"
    grant = when_room(
        lambda: runtime.leases.acquire(name, holder=holder, attempt=call.attempt),
        patience_seconds=runtime.room_seconds,
        pause=stopping.wait,
    )
    if grant is None:
        logger.warning("run %s: another attempt holds %s", call.run, call.key)
        return None
    run = log.load()
    if _is_over(run, call) or _was_cut_off(runtime, log, run, call):
        runtime.leases.release(grant)
        request_advance(runtime, call.guild, call.run)
        return None
    with heartbeat(runtime.leases, grant, stopping.set):
        context = StageContext(
            runtime=runtime,
            spec=run.spec,
            planner=runtime.planner(run.spec),
            key=call.key,
            attempt=call.attempt,
            gpu=_gpu(runtime, run.spec, call.key),
            grant=grant,
            stopping=stopping,
            writes=StageWrites(runtime, log, call, grant, stopping),
            _reporter=ProgressReporter(runtime.live, run.spec.keys.progress(call.key)),
        )
        try:
            status = _attempt(context, function)
        finally:
            context.writes.forget()
    runtime.leases.release(grant)
    request_advance(runtime, call.guild, call.run)
    return status


def _was_cut_off(runtime: Runtime, log: RunLog, run: Run, call: Call) -> bool:
    """Return whether this attempt started in a container that is gone now; if so, record its end.

    Such an attempt must not run again, because it would overwrite the files that carry its number,
    such as its metrics.
    """
    stage = run.stage(call.key)
    if stage.attempt != call.attempt or stage.status is not StageStatus.RUNNING:
        return False
    logger.warning("run %s: %s attempt %d was cut off", call.run, call.key, call.attempt)
    at, key, attempt = runtime.clock(), call.key, call.attempt
    stopped = ev.StageStopped(reason="the stage's machine was taken away")
    events = [
        StageEvent(at=at, key=key, attempt=attempt, body=body)
        for body in (cost_of_lost(runtime, run.spec, key, stage), stopped)
        if body is not None
    ]
    runtime.store.change(StoreChanges(appended=stage_lines(log, events)))
    return True


def _is_over(run: Run, call: Call) -> bool:
    """Return whether the attempt has ended or the run needs no more work.

    Modal may start such an attempt once more, because it restarts the calls that it interrupts.
    """
    if run.status.is_final or run.is_cancelling:
        return True
    stage = run.stage(call.key)
    over = (StageStatus.INTERRUPTED, StageStatus.FAILED, StageStatus.SUCCEEDED)
    return stage.attempt > call.attempt or (stage.attempt == call.attempt and stage.status in over)


def _attempt(context: StageContext, function: StageFunction) -> StageStatus:
    key, name = context.key, context.spec.name
    began_at = context.runtime.clock()
    meter = StageMeter(context.runtime, context.spec, key, context.gpu, began_at)
    try:
        context.writes.later(Made(events=[ev.StageStarted(gpu=context.gpu)]), _SHARE_OF_START)
        result = function(context)
        succeeded = ev.StageSucceeded(reused=result.reused, note=result.note)
        context.writes.store(result.made.then(_ending(meter, succeeded)))
    except StageInterruptedError as error:
        logger.warning("run %s: %s stopped: %s", name, key, error)
        return _end(context, meter, ev.StageStopped(reason=str(error)))
    except BusyError as error:
        logger.warning("run %s: %s waits for a service: %s", name, key, error)
        return _end(context, meter, ev.StageStopped(reason=str(error), is_passing=True))
    except ConnectionError as error:
        logger.exception("run %s: %s lost its connection", name, key)
        return _end(context, meter, ev.StageStopped(reason=str(error)))
    except TrainingError as error:
        logger.warning("run %s: %s failed: %s", name, key, error)
        failed = ev.StageFailed(cause=error.cause, fix=error.fix, remedy=error.remedy)
        return _end(context, meter, failed)
    except OSError as error:
        logger.exception("run %s: %s failed", name, key)
        return _end(context, meter, _end_by(error))
    except Exception as error:
        cause = f"An unexpected error stopped {key}: {type(error).__name__}: {error}."
        fix = "This is a bug; its traceback is in the stage's log."
        _end(context, meter, ev.StageFailed(cause=cause, fix=fix))
        raise
    return StageStatus.SUCCEEDED


def _ending(meter: StageMeter, end: ev.StageSucceeded | ev.StageStopped | ev.StageFailed) -> Made:
    """Return the event that ends an attempt, after the attempt's cost."""
    return Made(events=[meter.cost(meter.runtime.clock()), end])


def _gpu(runtime: Runtime, spec: RunSpec, key: StageKey) -> str | None:
    """Return the GPU that an attempt actually got; None for a CPU or if it is unknown."""
    return None if device_of(key.stage) == "cpu" else runtime.found_gpu(spec.engine)


def _end_by(error: OSError) -> ev.StageStopped | ev.StageFailed:
    """Return the event with which a disk error ends a stage; a lost drive only interrupts it."""
    cause = f"The machine reported: {_refusal(error)}."
    if error.errno in _FAULTS_OF_DRIVES:
        return ev.StageStopped(reason=cause)
    fix = "Free up disk space or correct the reported problem, then start the run again."
    return ev.StageFailed(cause=cause, fix=fix)


def _refusal(error: OSError) -> str:
    """Return the file's name and the operating system's message: `a.toml: Permission denied`."""
    reason = error.strerror or str(error)
    return f"{Path(error.filename).name}: {reason}" if error.filename else reason


def _end(
    context: StageContext, meter: StageMeter, end: ev.StageStopped | ev.StageFailed
) -> StageStatus:
    made = _ending(meter, end)
    for tries_left in reversed(range(_TRIES_TO_END)):
        try:
            context.writes.store(made)
            break
        except StageInterruptedError:
            logger.warning("run %s: %s was taken over", context.spec.name, context.key)
            break
        except BusyError:  # try again: an attempt without a recorded end counts as lost
            if not tries_left:
                raise
        except OSError as error:
            if not is_full(error) or not tries_left:
                raise
            context.writes.forget()  # the final event is small and may fit without the rest
    stopped = isinstance(end, ev.StageStopped)
    return StageStatus.INTERRUPTED if stopped else StageStatus.FAILED
