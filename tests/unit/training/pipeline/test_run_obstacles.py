"""When a run says why it waits: while one of its stages waits, whatever its others do."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from bot.settings import Settings
from tests.pipeline.stages import IdleRuntime
from tests.unit.bot.messages.run_examples import PREPARE, a_spec, ended, started, submitted
from training.pipeline.run_view import view_of
from training.ports import Call, CallState, CallStatus, GpuLine
from training.runs.events import Event
from training.runs.state import fold
from training.vocabulary import StageKey

HIGH, LOW = StageKey("train", "high"), StageKey("train", "low")
REACHED = "The spend limit of the workspace on Modal is reached."


@dataclass
class Limited:
    """A backend that can start nothing; the calls with these handles wait in its queue."""

    queue: tuple[str, ...] = ()

    def submit(self, call: Call, *, since: datetime | None = None) -> str:
        raise AssertionError("looking at a run starts nothing")

    def state(self, handle: str) -> CallState:
        if handle in self.queue:
            return CallState(CallStatus.QUEUED, position=self.queue.index(handle) + 1)
        return CallState(CallStatus.RUNNING)

    def cancel(self, name: str) -> None:
        raise AssertionError("looking at a run cancels nothing")

    def gpu_line(self) -> GpuLine:
        return GpuLine(running=1, waiting=len(self.queue), slots=1)

    def obstacle(self) -> str:
        return REACHED


@pytest.mark.parametrize(
    ("events", "queue", "told"),
    [
        ([], (), REACHED),
        ([started(HIGH)], (), None),
        ([started(HIGH), submitted(LOW)], (), None),
        ([started(HIGH), submitted(LOW)], ("train-low-1",), REACHED),
        ([started(PREPARE), ended()], (), None),
    ],
    ids=["nothing-started", "all-work", "all-started", "one-queued", "ended"],
)
def test_a_run_says_what_keeps_a_waiting_stage_from_starting(
    events: list[Event], queue: tuple[str, ...], told: str | None, tmp_path: Path
) -> None:
    runtime = replace(IdleRuntime(Settings(home=tmp_path)).runtime, backend=Limited(queue))

    view = view_of(runtime, fold(a_spec(), events))

    assert view.obstacle == told
    assert view.summary(view.spec.created_at).error == told
