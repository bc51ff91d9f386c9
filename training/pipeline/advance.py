"""`advance`: read a run's folder, start what can start, end what is over. Short and idempotent."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from training import store_keys
from training.errors import BackendError, RequestError
from training.files.parallel import each
from training.pipeline.leases import OvertakenError, RunLease, acquire_run_lease
from training.pipeline.plan import PlannedStage
from training.pipeline.run_view import view_of
from training.pipeline.runtime import Runtime
from training.ports import Call, CallStatus, call_name
from training.remedies import StartRun, suggested
from training.runs import events as ev
from training.runs.event_log import ADVANCE, RunLog, Writer
from training.runs.events import Event, StageBody, StageEvent
from training.runs.state import Run, StageState, StageStatus, apply
from training.store_keys import RunKeys
from training.vocabulary import StageKey, StageName

logger = logging.getLogger(__name__)

# Attempts in a row without progress after which a stage is given up.
FRUITLESS_ATTEMPTS = 4
# Longer than a dead holder's lease lives.
_PATIENCE_SECONDS = 30.0
_ALIVE = (StageStatus.SUBMITTED, StageStatus.RUNNING)


def lease_name(guild: str, run: str, key: StageKey) -> str:
    """Return the name of the lease that an attempt of a stage holds while it works."""
    return f"{guild}/{run}/{key}"


def stop_stages(runtime: Runtime, run: Run) -> None:
    """Ask every live stage of a run to stop; repeat while any is alive."""
    for key, stage in run.stages.items():
        if stage.status in _ALIVE:
            name = call_name(run.spec.guild, run.spec.name, key, stage.attempt)
            runtime.backend.cancel(name)


def request_advance(runtime: Runtime, guild: str, name: str) -> None:
    """Advance the run, remotely if the runtime has a remote advancer."""
    if runtime.remote_advance is not None:
        runtime.remote_advance(guild, name)
    else:
        advance(runtime, guild, name)


def advance(runtime: Runtime, guild: str, name: str, *, waits: bool = False) -> Run:
    """Advance a run as far as it can go now and return it.

    Concurrent calls are safe: the second finds the run's lease taken and returns what it reads.
    The first may have read the log too early to see the second's news, so a caller that no other
    call will follow soon must wait for the lease.
    """
    log = runtime.log(guild, name)
    run = log.load()
    if run.status.is_final:
        # A crash may have come between the final event and this deletion.
        runtime.store.delete(log.keys.open)
        return run
    patience_seconds = _PATIENCE_SECONDS if waits else 0.0
    lease = acquire_run_lease(runtime.leases, f"{guild}/{name}", patience_seconds)
    if lease is None:
        return run
    try:
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

    def go(self, run: Run) -> Run:
        if run.status.is_final:
            return run
        run = self._find_lost(run)
        if run.cancel_requested:
            return self._stop(run, ev.RunCancelled(at=self.runtime.clock()))
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
        for stage in stages:
            if _can_start(run, stage):
                run = self._submit(run, stage)
        return self._finish(run, stages)

    def _find_lost(self, run: Run) -> Run:
        """Mark attempts that ended without reporting it."""
        found = False
        for key, stage in run.stages.items():
            if stage.status not in _ALIVE:
                continue
            state = self.runtime.backend.state(stage.handle)
            if state.status not in (CallStatus.ENDED, CallStatus.GONE):
                continue
            found = True
            # Read again: its last events may have been written after the first look.
            fresh = self.log.load().stage(key)
            if fresh.status not in _ALIVE or fresh.attempt != stage.attempt:
                continue
            name = lease_name(self.log.guild, self.log.run_name, key)
            self.runtime.leases.revoke(name, attempt=stage.attempt)
            logger.warning("run %s: %s attempt %d is gone", run.spec.name, key, stage.attempt)
            self._write(self._stage_event(key, stage.attempt, ev.StageLost()))
        return self.log.load() if found else run

    def _stop(self, run: Run, end: Event) -> Run:
        """Stop every stage of a run, and end the run once none is alive."""
        stop_stages(self.runtime, run)
        run = self._find_lost(run)
        if any(stage.status in _ALIVE for stage in run.stages.values()):
            return run
        self._cancel_unrecorded(run)
        return self._end(run, end)

    def _cancel_unrecorded(self, run: Run) -> None:
        """Cancel calls whose submitter died before recording them."""
        try:
            stages = self.runtime.planner(run.spec).stages()
        except (FileNotFoundError, ValidationError):
            return  # without its files nothing of this run can have been submitted
        for stage in stages:
            if _can_start(run, stage):
                self.runtime.backend.cancel(self._next_call(run, stage).name)

    def _give_up_fruitless(self, run: Run) -> Run:
        for key, stage in run.stages.items():
            fruitless = stage.attempt - stage.progressed_attempt
            if stage.status is StageStatus.INTERRUPTED and fruitless >= FRUITLESS_ATTEMPTS:
                failed = ev.StageFailed(
                    cause=f"{key} was interrupted {fruitless} times without making progress.",
                    fix="Find the reason in its log, then start the run again.",
                )
                run = self._append(run, self._stage_event(key, stage.attempt, failed))
        return run

    def _next_call(self, run: Run, stage: PlannedStage) -> Call:
        spec = run.spec
        return Call(
            guild=spec.guild,
            run=spec.name,
            key=stage.key,
            attempt=run.stage(stage.key).attempt + 1,
            device=stage.device,
            gpu=spec.gpu if stage.device == "gpu" else None,
        )

    def _submit(self, run: Run, stage: PlannedStage) -> Run:
        call = self._next_call(run, stage)
        body: StageBody
        try:
            body = ev.StageSubmitted(handle=self.runtime.backend.submit(call))
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
        # For lists: they read this one file of an ended run instead of all its events.
        summary = view_of(self.runtime, run).summary().model_dump_json().encode()
        self.runtime.store.write(run.spec.keys.ended, summary)
        self.runtime.store.delete(run.spec.keys.open)
        logger.info("run %s: %s", run.spec.name, run.status)
        return run

    def _stage_event(self, key: StageKey, attempt: int, body: StageBody) -> StageEvent:
        return StageEvent(at=self.runtime.clock(), key=key, attempt=attempt, body=body)

    def _append(self, run: Run, event: Event) -> Run:
        self._write(event)
        return apply(run, event)

    def _write(self, event: Event) -> None:
        self.lease.require()
        if self.writer is None:
            # A new file for every call that writes, so that each file has one writer.
            self.writer = Writer(name=ADVANCE, attempt=self.log.next_attempt(ADVANCE))
        self.log.append(self.writer, event)


def _damaged(runtime: Runtime, error: Exception) -> ev.RunFailed:
    logger.error("a run's own files are damaged", exc_info=error)
    return ev.RunFailed(
        at=runtime.clock(),
        cause="The run's files were removed or damaged, so it cannot continue.",
        fix="Start another run; remaining checkpoints are kept.",
        remedy=StartRun(),
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
    """Return (guild, run) of every stored run that has not ended, of one guild or all."""
    parts = (marker.partition("~") for marker in runtime.store.names(store_keys.OPEN_RUNS))
    marked = [(owner, name) for owner, _, name in parts if guild in (None, owner)]
    # The marker comes before the run; a request cut off in between left no run.
    are_stored = each(lambda run: runtime.store.exists(RunKeys(*run).spec), marked)
    return [run for run, is_stored in zip(marked, are_stored, strict=True) if is_stored]
