"""What must hold at the end of every run on Modal, whatever was killed during it."""

import json
import pickle
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import psutil
from modal_proto import api_pb2

from tests.wire.modal.installation import GUILD, Installation
from tests.wire.modal.loopback.work import Attempt, Input
from training.backends.modal.call_records import from_plain
from training.files.hashing import file_sha256
from training.pipeline.run_view import metrics
from training.ports import Call
from training.runs.events import (
    StageEvent,
    StageFailed,
    StageStarted,
    StageStopped,
    StageSucceeded,
)
from training.runs.state import Run, RunStatus, StageStatus
from training.runs.training_events import CheckpointSaved, StateSaved
from training.store_keys import RunKeys
from training.vocabulary import ExpertName, StageKey

WITH_GPU = (
    *("cache", "cache_small", "cache_chosen"),
    *("train", "train_small", "train_chosen"),
)
ENDS: Mapping[type, str] = {
    StageSucceeded: StageStatus.SUCCEEDED,
    StageFailed: StageStatus.FAILED,
    StageStopped: StageStatus.INTERRUPTED,
}
# The result of a function that found that another one does the work.
IDLE = ("taken by another", "nothing to do")


@dataclass(frozen=True)
class Execution:
    """One execution of a stage's Function in one container, by the platform's own record.

    Attributes:
        worked: Whether it did anything beyond finding nothing to do.
    """

    call: Call
    attempt: Attempt
    returned: object
    worked: bool

    @property
    def stage(self) -> tuple[str, StageKey]:
        """The run and the stage."""
        return self.call.run, self.call.key


def check(installation: Installation, *names: str) -> None:
    """Check all invariants of these ended runs.

    Raises:
        AssertionError: Naming what does not.
    """
    installation.settle()
    for name in names:
        run = installation.run(name)
        assert run.status.is_final, f"{name} is {run.status}"
        check_nothing_is_lost(installation, run)
        for expert in run.spec.experts:
            check_every_step_counts_once(installation, run, expert.name)
    found = executions(installation)
    check_one_at_a_time(installation, found)
    check_every_end_is_told(installation, [its for its in found if its.call.run in names])
    check_gpus(installation)
    check_nothing_is_left(installation)
    installation.loopback.check()


def check_nothing_is_lost(installation: Installation, run: Run) -> None:
    """Check that written files exist, checkpoints are complete, and the bot sees all of them."""
    for path, data in installation.seen.items():
        assert path.read_bytes().startswith(data), f"{path.name} lost events"
    folder = installation.committed("runs") / RunKeys(GUILD, run.spec.name).folder
    for event in _stage_events(installation, run.spec.name):
        if isinstance(event.body, CheckpointSaved):
            assert (folder / event.body.path).is_file(), f"{event.body.path} is gone"
    for expert in run.spec.experts:
        state = run.expert(expert.name)
        for checkpoint in state.checkpoints:
            size_bytes = (folder / checkpoint.file).stat().st_size
            assert size_bytes == checkpoint.size_bytes, f"{checkpoint.file} is of another size"
        if run.stage(StageKey("publish", expert.name)).status is StageStatus.SUCCEEDED:
            _check_published(installation, run, expert.name)
    assert installation.view(run.spec.name).run == run


def check_every_step_counts_once(installation: Installation, run: Run, expert: ExpertName) -> None:
    """Check that every optimizer step exists and no attempt took one twice."""
    key = StageKey("train", expert)
    for attempt in range(1, run.stage(key).attempt + 1):
        file = RunKeys(GUILD, run.spec.name).metrics(key, attempt)
        path = installation.committed("runs") / file
        lines = path.read_text().splitlines() if path.exists() else []
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps)), f"{key} attempt {attempt} took a step twice: {steps}"
    if run.status is RunStatus.SUCCEEDED and run.spec.continues is None:
        total = run.spec.steps_per_epoch * run.spec.expert(expert).settings.epochs
        found = metrics(installation.parts.runtime, run.spec, expert)
        assert [its.step for its in found] == list(range(1, total + 1))


def executions(installation: Installation) -> list[Execution]:
    """Return every execution of a stage in the order in which they started."""
    loopback = installation.loopback
    inputs = {
        its.id: its
        for call in loopback.plane.calls.calls.values()
        for its in call.inputs
        if call.function.name not in ("advance", "tick", "clean_up")
    }
    return [
        _execution(installation, inputs[its.input_id], its)
        for its in loopback.journal
        if its.input_id in inputs
    ]


def check_one_at_a_time(installation: Installation, found: Iterable[Execution]) -> None:
    """Check that no two executions worked on one stage and expert at the same time."""
    by_stage: Mapping[tuple[str, StageKey], list[Execution]] = defaultdict(list)
    for execution in found:
        if execution.worked:
            by_stage[execution.stage].append(execution)
    for stage, its in by_stage.items():
        for earlier, later in pairwise(its):
            ended = _ended(installation, earlier)
            assert ended <= later.attempt.started, f"two worked on {stage}: {earlier}, {later}"


def most_on_gpus(found: Iterable[Execution]) -> int:
    """Return how many executions worked with a GPU at the same time.

    A container that has ended its work and is about to exit holds its GPU for a moment still.
    """
    spans = [
        (its.attempt.started, its.attempt.ended)
        for its in found
        if its.call.device == "gpu" and its.worked and its.attempt.ended is not None
    ]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


def check_every_end_is_told(installation: Installation, found: Iterable[Execution]) -> None:
    """Check that the run's log records how each execution ended."""
    for execution in found:
        if not execution.worked or execution.returned is None:
            continue
        call = execution.call
        ends = {
            ENDS[type(its.body)]
            for its in _stage_events(installation, call.run)
            if isinstance(its.body, StageSucceeded | StageFailed | StageStopped)
            and (its.key, its.attempt) == (call.key, call.attempt)
        }
        assert execution.returned in ends, f"{call.name} returned {execution.returned}: {ends}"


def check_gpus(installation: Installation) -> None:
    """Check that only caching and training held GPUs, and that all GPUs are free."""
    holds = installation.loopback.gpu_log
    assert {hold.function for hold in holds} <= set(WITH_GPU)
    # A container that has ended its work takes a moment to exit.
    installation.loopback.wait_for(lambda: all(hold.released is not None for hold in holds))


def check_nothing_is_left(installation: Installation) -> None:
    """Check that no process of a stage is left."""
    root = str(installation.loopback.plane.launcher.folder)
    found = [_line(process) for process in psutil.process_iter()]
    assert [line for line in found if root in line and "training.rehearsal" in line] == []


def started_attempts(installation: Installation, name: str, key: StageKey) -> list[int]:
    """Return the attempts of a stage that started to work, in that order."""
    found = [
        its
        for its in _stage_events(installation, name)
        if isinstance(its.body, StageStarted) and its.key == key and its.body.resumed_step is None
    ]
    return [its.attempt for its in sorted(found, key=lambda its: its.at)]


def resumed_step(installation: Installation, run: str, attempt: int) -> int:
    """Return the step that an attempt continued from; 0 if it started from the beginning."""
    found = (its for its in _stage_events(installation, run) if its.key.stage == "train")
    started = (its.body for its in found if its.attempt == attempt)
    return max(its.resumed_step or 0 for its in started if isinstance(its, StageStarted))


def saved_steps(installation: Installation, run: str, attempt: int) -> list[int]:
    """Return the steps of the training states that an attempt saved."""
    found = (its.body for its in _stage_events(installation, run) if its.attempt == attempt)
    return [its.step for its in found if isinstance(its, StateSaved)]


def _stage_events(installation: Installation, run: str) -> list[StageEvent]:
    return [its for its in installation.events(run) if isinstance(its, StageEvent)]


def _check_published(installation: Installation, run: Run, expert: ExpertName) -> None:
    folder = installation.committed("runs") / RunKeys(GUILD, run.spec.name).folder
    receipt = installation.committed("runs") / RunKeys(GUILD, run.spec.name).receipt(
        StageKey("publish", expert)
    )
    files = json.loads(receipt.read_text())["files"]
    state = run.expert(expert)
    assert set(files) == {its.file for its in state.checkpoints}
    assert any(its.is_final for its in state.checkpoints)
    for name, facts in files.items():
        assert file_sha256(folder / name) == facts["sha256"], f"{name} is not what was published"


def call_of(work: Input) -> Call:
    """Return the call that a stage's Function was given."""
    assert work.message.data_format == api_pb2.DATA_FORMAT_PICKLE
    (facts,), _ = pickle.loads(work.message.args)
    return from_plain(facts)


def _execution(installation: Installation, work: Input, attempt: Attempt) -> Execution:
    call, returned = call_of(work), _returned(work, attempt)
    worked = returned not in IDLE
    if returned is None:  # it was killed, perhaps before it had found anything
        worked = _began(installation, call, attempt)
    return Execution(call, attempt, returned, worked)


def _began(installation: Installation, call: Call, attempt: Attempt) -> bool:
    """Return whether an execution was registered for its call and reported its start."""
    if installation.parts.records.spawned(call.name) != attempt.call_id:
        return False
    told = [
        _monotonic(event)
        for event in _stage_events(installation, call.run)
        if isinstance(event.body, StageStarted)
        and (event.key, event.attempt) == (call.key, call.attempt)
    ]
    return any(attempt.started <= at <= (attempt.ended or float("inf")) for at in told)


def _monotonic(event: StageEvent) -> float:
    """Return the time of an event, by the clock of the platform's record."""
    return event.at.timestamp() - (time.time() - time.monotonic())


def _returned(work: Input, attempt: Attempt) -> object:
    """Return what an execution returned; None when it did not, or another one of the input did."""
    if attempt.outcome != "success" or work.output is None:
        return None
    return pickle.loads(work.output.result.data)


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _ended(installation: Installation, execution: Execution) -> float:
    """Return when an execution's work was over: its last word, or the end of its container.

    A container takes a moment to exit; the next attempt may begin with the last word.
    """
    ends = [execution.attempt.ended or float("inf")]
    for event in _stage_events(installation, execution.call.run):
        if not isinstance(event.body, StageSucceeded | StageFailed | StageStopped):
            continue
        if (event.key, event.attempt) == (execution.call.key, execution.call.attempt):
            told = _monotonic(event)
            ends += [told] if told >= execution.attempt.started else []
    return min(ends)
