"""`advance`: look at a run's folder, start what can start, end what is over. Short, idempotent."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from training import store_keys
from training.errors import BackendError, RequestError
from training.files.parallel import each
from training.pipeline.leases import OvertakenError, Turn, take_turn
from training.pipeline.plan import PlannedStage
from training.pipeline.run_view import view_of
from training.pipeline.runtime import Runtime
from training.ports import Call, CallStatus, call_name
from training.remedies import StartRun, suggested
from training.runs import events as ev
from training.runs.event_log import ADVANCE, RunLog, Writer
from training.runs.events import Event
from training.runs.state import Run, StageState, StageStatus, apply
from training.store_keys import RunKeys
from training.vocabulary import StageKey, StageName

logger = logging.getLogger(__name__)

# Attempts in a row that leave nothing to go on from before the stage is given up.
FRUITLESS_ATTEMPTS = 4
# Longer than the lease of a dead one keeps others out.
_PATIENCE_SECONDS = 30.0
_ALIVE = (StageStatus.SUBMITTED, StageStatus.RUNNING)


def lease_name(guild: str, run: str, key: StageKey) -> str:
    """Return the name of the lease that an attempt of a stage holds while it works."""
    return f"{guild}/{run}/{key}"


def stop_stages(runtime: Runtime, run: Run) -> None:
    """Ask all that works for a run to stop; to be repeated while something does."""
    for key, stage in run.stages.items():
        if stage.status in _ALIVE:
            name = call_name(run.spec.guild, run.spec.name, key, stage.attempt)
            runtime.backend.cancel(name)


def request_advance(runtime: Runtime, guild: str, name: str) -> None:
    """Have a run moved on: by whom the house names for it, or here and now."""
    if runtime.remote_advance is not None:
        runtime.remote_advance(guild, name)
    else:
        advance(runtime, guild, name)


def advance(runtime: Runtime, guild: str, name: str, *, waits: bool = False) -> Run:
    """Move a run as far as it can go now and return it.

    Two calls at once are safe: the second sees the run's lease taken and returns what it reads.
    What has just been written may have come too late for the first, so that a call which nothing
    else follows soon must wait for its turn.
    """
    log = runtime.log(guild, name)
    run = log.load()
    if run.status.is_final:
        # Its end may have been cut off between the last two writes.
        runtime.store.delete(log.keys.open)
        return run
    turn = take_turn(runtime.leases, f"{guild}/{name}", _PATIENCE_SECONDS if waits else 0.0)
    if turn is None:
        return run
    try:
        return _Advance(runtime, log, turn).go(log.load())
    except OvertakenError:
        logger.warning("run %s: somebody else took over advancing it", name)
        return log.load()
    finally:
        runtime.leases.release(turn.grant)


@dataclass(slots=True)
class _Advance:
    runtime: Runtime
    log: RunLog
    turn: Turn
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
        """Mark the attempts that ended without saying so."""
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
            self._write(ev.StageLost(at=self.runtime.clock(), key=key, attempt=stage.attempt))
        return self.log.load() if found else run

    def _stop(self, run: Run, end: Event) -> Run:
        """Stop all that works for a run, and end it when nothing does any more."""
        stop_stages(self.runtime, run)
        run = self._find_lost(run)
        if any(stage.status in _ALIVE for stage in run.stages.values()):
            return run
        self._withdraw_unnoted(run)
        return self._end(run, end)

    def _withdraw_unnoted(self, run: Run) -> None:
        """Cancel what was submitted by one who died before noting it."""
        try:
            stages = self.runtime.planner(run.spec).stages()
        except (FileNotFoundError, ValidationError):
            return  # a run that nobody could have submitted anything for
        for stage in stages:
            if _can_start(run, stage):
                self.runtime.backend.cancel(self._next_call(run, stage).name)

    def _give_up_fruitless(self, run: Run) -> Run:
        for key, stage in run.stages.items():
            fruitless = stage.attempt - stage.progressed_attempt
            if stage.status is StageStatus.INTERRUPTED and fruitless >= FRUITLESS_ATTEMPTS:
                run = self._append(
                    run,
                    ev.StageFailed(
                        at=self.runtime.clock(),
                        key=key,
                        attempt=stage.attempt,
                        cause=f"{key} was interrupted {fruitless} times without getting further.",
                        fix="Look at its log for what stops it, then start the run again.",
                    ),
                )
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
        spec, call, at = run.spec, self._next_call(run, stage), self.runtime.clock()
        attempt = call.attempt
        try:
            handle = self.runtime.backend.submit(call)
        except BackendError as error:
            logger.exception("run %s: %s cannot be started", spec.name, stage.key)
            failed = ev.StageFailed(
                at=at,
                key=stage.key,
                attempt=attempt,
                cause=error.cause,
                fix=error.fix,
                remedy=error.remedy,
            )
            return self._append(run, failed)
        logger.info("run %s: %s attempt %d submitted", spec.name, stage.key, attempt)
        return self._append(
            run, ev.StageSubmitted(at=at, key=stage.key, attempt=attempt, handle=handle)
        )

    def _finish(self, run: Run, stages: tuple[PlannedStage, ...]) -> Run:
        """End the run when nothing of it is alive or can start any more."""
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
        # What lists show: they read one file of an ended run, not all its events.
        summary = view_of(self.runtime, run).summary().model_dump_json().encode()
        self.runtime.store.write(run.spec.keys.ended, summary)
        self.runtime.store.delete(run.spec.keys.open)
        logger.info("run %s: %s", run.spec.name, run.status)
        return run

    def _append(self, run: Run, event: Event) -> Run:
        self._write(event)
        return apply(run, event)

    def _write(self, event: Event) -> None:
        self.turn.require()
        if self.writer is None:
            # A file of its own for every call that writes: one writer a file.
            self.writer = Writer(name=ADVANCE, attempt=self.log.next_attempt(ADVANCE))
        self.log.append(self.writer, event)


def _damaged(runtime: Runtime, error: Exception) -> ev.RunFailed:
    logger.error("a run's own files are damaged", exc_info=error)
    return ev.RunFailed(
        at=runtime.clock(),
        cause="The run's own files were removed or damaged, so that it cannot go on.",
        fix="Start another run; checkpoints that are still there are kept.",
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
    """Return (guild, run) of every stored run that has not ended, or of one guild's."""
    parts = (marker.partition("~") for marker in runtime.store.names(store_keys.OPEN_RUNS))
    marked = [(owner, name) for owner, _, name in parts if guild in (None, owner)]
    # Made before the run itself: one whose request was cut off in between is none.
    are_stored = each(lambda run: runtime.store.exists(RunKeys(*run).spec), marked)
    return [run for run, is_stored in zip(marked, are_stored, strict=True) if is_stored]
