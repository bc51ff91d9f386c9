"""Advances a run: reads its events, starts the stages that can start, and ends a finished run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from training import store_keys
from training.errors import BackendError, RequestError, StartDelayedError
from training.files.parallel import each
from training.pipeline.leases import OvertakenError, RunLease, acquire_run_lease
from training.pipeline.plan import PlannedStage
from training.pipeline.run_requests import publish_requests
from training.pipeline.run_view import view_of
from training.pipeline.runtime import Runtime
from training.pipeline.stage_costs import cost_of_lost
from training.ports import Call, CallState, CallStatus, StoreChanges, call_name
from training.remedies import ResumeRun, StartRun, suggested
from training.runs import events as ev
from training.runs.event_log import ADVANCE, RunLog, Writer
from training.runs.events import Event, StageBody, StageEvent
from training.runs.state import Run, StageState, StageStatus, apply
from training.store_keys import RunKeys
from training.vocabulary import StageKey, StageName, device_of

logger = logging.getLogger(__name__)

# A run gives up on a stage after this many attempts in a row without progress.
FRUITLESS_ATTEMPTS = 4
# Longer than a lease lives, so a dead holder's lease expires within this time.
_PATIENCE_SECONDS = 30.0
_ALIVE = (StageStatus.SUBMITTED, StageStatus.RUNNING)


def lease_name(guild: str, run: str, key: StageKey) -> str:
    """Return the name of the lease that every attempt of this stage must hold while it works."""
    return f"{guild}/{run}/{key}"


def stop_stages(runtime: Runtime, run: Run) -> None:
    """Ask every live stage of a run to stop. Call this again until no stage is alive."""
    for key, stage in run.stages.items():
        if stage.status in _ALIVE:
            name = call_name(run.spec.guild, run.spec.name, key, stage.attempt)
            runtime.backend.cancel(name)


def request_advance(runtime: Runtime, guild: str, name: str) -> None:
    """Advance the run, in another process if the runtime has `remote_advance`."""
    if runtime.remote_advance is not None:
        runtime.remote_advance(guild, name)
    else:
        advance(runtime, guild, name)


def advance(runtime: Runtime, guild: str, name: str, *, waits: bool = False) -> Run:
    """Advance a run as far as it can go now and return it.

    Concurrent calls are safe: a call that finds the run's lease taken returns the run as it stands.
    But the lease's holder may have read the log before this caller wrote to it. So a caller that
    has written events must pass `waits=True`, unless another call follows soon.
    """
    log = runtime.log(guild, name)
    run = log.load()
    if run.status.is_final:
        # The process that wrote the final event may have crashed before it deleted the marker.
        runtime.store.delete(log.keys.open)
        return run
    patience_seconds = _PATIENCE_SECONDS if waits else 0.0
    lease = acquire_run_lease(runtime.leases, f"{guild}/{name}", patience_seconds)
    if lease is None:
        return run
    try:
        with lease.kept():
            return _Advance(runtime, log, lease).go(log.load())
    except OvertakenError:
        logger.warning("run %s: another process took over advancing it", name)
        return log.load()
    finally:
        runtime.leases.release(lease.grant)


@dataclass(slots=True)
class _Advance:
    runtime: Runtime
    log: RunLog
    lease: RunLease
    writer: Writer | None = None
    events: list[Event] = field(default_factory=list[Event])
    summary: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    def go(self, run: Run) -> Run:
        """Advance the run and store its new events, in one write unless an attempt was lost.

        If the write fails after an attempt was submitted, the next call submits that attempt again.
        The backend then starts nothing; it only returns the same handle.
        """
        if run.status.is_final:
            return run
        try:
            return self._go(run)
        finally:
            self._store()

    def _go(self, run: Run) -> Run:
        run = self._find_lost(self._record_handles(run))
        if run.is_cancelling:
            return self._stop(run, ev.RunCancelled(at=self.runtime.clock()))
        if run.damaged:
            return self._stop(run, _record_damaged(self.runtime, run))
        try:
            self.runtime.require_engine(run.spec)
            stages = self.runtime.planner(run.spec).stages()
        except RequestError as error:
            ended = ev.RunFailed(
                at=self.runtime.clock(), cause=error.cause, fix=error.fix, remedy=error.remedy
            )
            return self._stop(run, ended)
        except (FileNotFoundError, ValidationError) as error:
            return self._end(run, _damaged(self.runtime, error))
        run = self._give_up_fruitless(run)
        if run.is_finishing:
            # Publish the requests again, because an earlier value may have been lost.
            publish_requests(self.runtime, run)
        for stage in stages:
            if _can_start(run, stage):
                run = self._submit(run, stage)
        return self._finish(run, stages)

    def _record_handles(self, run: Run) -> Run:
        """Record the handles of live attempts whose submitter died before it recorded them."""
        for key, stage in run.stages.items():
            if stage.status in _ALIVE and not stage.handle:
                # Submitting a call again starts nothing; it returns the original handle.
                handle = self.runtime.backend.submit(self._call(run, key, stage.attempt))
                submitted = ev.StageSubmitted(handle=handle)
                run = self._append(run, self._stage_event(key, stage.attempt, submitted))
        return run

    def _find_lost(self, run: Run) -> Run:
        """Record a `StageLost` for each attempt that is gone but reported no end.

        Return the run, loaded again if any of its attempts is gone or has ended.
        """
        found = False
        for key, stage in run.stages.items():
            if stage.status not in _ALIVE:
                continue
            state = self.runtime.backend.state(stage.handle)
            if state.status is CallStatus.GONE and stage.status is StageStatus.SUBMITTED:
                state = self._find_forgotten(run, key, stage)
            if state.status not in (CallStatus.ENDED, CallStatus.GONE):
                continue
            found = True
            # Read the stage again, because its last events may have been written after the first
            # look.
            fresh = self.log.load().stage(key)
            if fresh.status not in _ALIVE or fresh.attempt != stage.attempt:
                continue
            name = lease_name(self.log.guild, self.log.run_name, key)
            self.runtime.leases.revoke(name, attempt=stage.attempt)
            logger.warning("run %s: %s attempt %d is gone", run.spec.name, key, stage.attempt)
            cost = cost_of_lost(self.runtime, run.spec, key, fresh)
            for body in filter(None, (cost, ev.StageLost())):
                self._write(self._stage_event(key, stage.attempt, body))
        if not found:
            return run
        self._store()
        return self.log.load()

    def _find_forgotten(self, run: Run, key: StageKey, stage: StageState) -> CallState:
        """Resubmit an attempt that the backend forgot before starting it; return the call's state.

        A backend may forget a call that has waited for days; the run's log still records it.
        """
        call = self._call(run, key, stage.attempt)
        if run.is_cancelling:
            return CallState(CallStatus.GONE)
        try:
            handle = self.runtime.backend.submit(call, since=stage.submitted_at)
        except StartDelayedError:
            return CallState(CallStatus.QUEUED)
        except BackendError:
            return CallState(CallStatus.GONE)  # the next attempt will fail with the same error
        logger.warning("run %s: %s attempt %d was forgotten", call.run, key, call.attempt)
        if handle != stage.handle:
            self._write(self._stage_event(key, call.attempt, ev.StageSubmitted(handle=handle)))
        return self.runtime.backend.state(handle)

    def _stop(self, run: Run, end: Event) -> Run:
        """Ask every stage of a run to stop; once no stage is alive, end the run with `end`."""
        stop_stages(self.runtime, run)
        run = self._find_lost(run)
        if any(stage.status in _ALIVE for stage in run.stages.values()):
            return run
        self._cancel_unrecorded(run)
        return self._end(run, end)

    def _cancel_unrecorded(self, run: Run) -> None:
        """Cancel calls that a process may have submitted without recording them before it died."""
        try:
            stages = self.runtime.planner(run.spec).stages()
        except (FileNotFoundError, ValidationError):
            return  # without these files no stage can have been submitted
        for stage in stages:
            if _can_start(run, stage):
                self.runtime.backend.cancel(self._next_call(run, stage).name)

    def _give_up_fruitless(self, run: Run) -> Run:
        for key, stage in run.stages.items():
            fruitless = stage.attempt - stage.progressed_attempt
            if stage.status is StageStatus.INTERRUPTED and fruitless >= FRUITLESS_ATTEMPTS:
                failed = ev.StageFailed(
                    cause=f"{key} was interrupted {fruitless} times without making progress.",
                    fix="Find the reason in the stage's log, then start the run again.",
                )
                run = self._append(run, self._stage_event(key, stage.attempt, failed))
        return run

    def _next_call(self, run: Run, stage: PlannedStage) -> Call:
        return self._call(run, stage.key, run.stage(stage.key).attempt + 1)

    def _call(self, run: Run, key: StageKey, attempt: int) -> Call:
        spec, device = run.spec, device_of(key.stage)
        gpu = spec.gpu if device == "gpu" else None
        return Call(
            guild=spec.guild, run=spec.name, key=key, attempt=attempt, device=device, gpu=gpu
        )

    def _submit(self, run: Run, stage: PlannedStage) -> Run:
        call = self._next_call(run, stage)
        body: StageBody
        try:
            body = ev.StageSubmitted(handle=self.runtime.backend.submit(call))
        except StartDelayedError as error:
            logger.warning("run %s: %s waits: %s", call.run, call.key, error)
            return run
        except BackendError as error:
            logger.exception("run %s: %s cannot be started", call.run, call.key)
            body = ev.StageFailed(cause=error.cause, fix=error.fix, remedy=error.remedy)
        else:
            logger.info("run %s: %s attempt %d submitted", call.run, call.key, call.attempt)
        return self._append(run, self._stage_event(call.key, call.attempt, body))

    def _finish(self, run: Run, stages: tuple[PlannedStage, ...]) -> Run:
        """End the run if none of its stages is alive or can start."""
        states = {stage.key: run.stage(stage.key) for stage in stages}
        if any(state.status in _ALIVE for state in states.values()):
            return run
        if all(state.status is StageStatus.SUCCEEDED for state in states.values()):
            return self._end(run, ev.RunSucceeded(at=self.runtime.clock()))
        failed = [(key, s) for key, s in states.items() if s.status is StageStatus.FAILED]
        if not failed:
            return run
        causes = " ".join(f"{_what_failed(key)}: {state.cause}" for key, state in failed)
        good = [key.expert for key, s in states.items() if key.stage == "publish" and _is_done(s)]
        kept = f" The {' and '.join(str(e) for e in good)} expert's files are kept." if good else ""
        first = failed[0][1]
        suggestions = (suggested(state.remedy) for _, state in failed)
        end = ev.RunFailed(
            at=self.runtime.clock(),
            cause=f"{causes}{kept}",
            fix=first.fix,
            remedy=next(filter(None, suggestions), first.remedy),
        )
        return self._end(run, end)

    def _end(self, run: Run, event: Event) -> Run:
        run = self._append(run, event)
        # Lists of runs read this one file of a finished run instead of all its events.
        summary = view_of(self.runtime, run).summary(event.at).model_dump_json().encode()
        self.summary = {run.spec.keys.ended: summary}
        logger.info("run %s: %s", run.spec.name, run.status)
        return run

    def _stage_event(self, key: StageKey, attempt: int, body: StageBody) -> StageEvent:
        return StageEvent(at=self.runtime.clock(), key=key, attempt=attempt, body=body)

    def _append(self, run: Run, event: Event) -> Run:
        self._write(event)
        return apply(run, event)

    def _write(self, event: Event) -> None:
        self.lease.require()
        self.events.append(event)

    def _store(self) -> None:
        if not self.events:
            return
        self.lease.require()
        if self.writer is None:
            # Each call of `advance` writes to a new file, so that no two write to the same file.
            self.writer = Writer(name=ADVANCE, attempt=self.log.next_attempt(ADVANCE))
        changes = StoreChanges(
            appended=self.log.lines(self.writer, self.events),
            written=self.summary,
            deleted=[self.log.keys.open] if self.summary else [],
        )
        self.runtime.store.change(changes)
        self.events, self.summary = [], {}


def _damaged(runtime: Runtime, error: Exception) -> ev.RunFailed:
    logger.error("a run's own files are damaged", exc_info=error)
    return ev.RunFailed(
        at=runtime.clock(),
        cause="The run's files were removed or damaged, so it cannot continue.",
        fix="Start another run; this run's remaining checkpoints are kept.",
        remedy=StartRun(),
    )


def _record_damaged(runtime: Runtime, run: Run) -> ev.RunFailed:
    return ev.RunFailed(
        at=runtime.clock(),
        cause=f"Part of the run's record is damaged ({', '.join(run.damaged)}), so the run was "
        "stopped: its progress is uncertain.",
        fix="Resume the run; it continues from its newest training state.",
        remedy=ResumeRun(),
    )


def _can_start(run: Run, stage: PlannedStage) -> bool:
    if run.stage(stage.key).status not in (StageStatus.PENDING, StageStatus.INTERRUPTED):
        return False
    return all(_is_done(run.stage(need)) for need in stage.needs)


def _is_done(state: StageState) -> bool:
    return state.status is StageStatus.SUCCEEDED


_DOING: Mapping[StageName, str] = {
    "prepare": "Preparing the dataset",
    "fetch": "Fetching the weights",
    "cache": "Caching the dataset",
    "merge": "Merging Lightning into the base",
    "train": "Training",
    "publish": "Checking the files",
}


def _what_failed(key: StageKey) -> str:
    of_expert = f" of the {key.expert} expert" if key.expert not in (None, "main") else ""
    return f"{_DOING[key.stage]}{of_expert} failed"


def open_runs(runtime: Runtime, guild: str | None = None) -> list[tuple[str, str]]:
    """Return (guild, name) for every stored run that has not ended, in one guild or in all."""
    keys = map(RunKeys.of_marker, runtime.store.names(store_keys.OPEN_RUNS))
    marked = [found for found in keys if guild in (None, found.guild)]
    # A run's marker is created before the run. If a request was cut off in between, there is only a
    # marker.
    are_stored = each(lambda found: runtime.store.exists(found.spec), marked)
    return [
        (found.guild, found.name)
        for found, is_stored in zip(marked, are_stored, strict=True)
        if is_stored
    ]
