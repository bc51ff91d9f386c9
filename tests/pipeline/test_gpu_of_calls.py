"""A run's chosen GPU is passed to the backend, only in calls of stages that need a GPU."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pytest

from storage.local.run_index import SqliteRunIndex
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.operations.run_drafts import Requester
from training.operations.runs import Runs
from training.ports import Backend, Call, CallState
from training.runs.spec import TrainRequest
from training.runs.state import StageStatus
from training.vocabulary import StageKey


@dataclass
class Watched:
    """A backend that records its calls."""

    backend: Backend
    calls: list[Call] = field(default_factory=list[Call])

    def submit(self, call: Call, *, since: datetime | None = None) -> str:
        self.calls.append(call)
        return self.backend.submit(call, since=since)

    def state(self, handle: str) -> CallState:
        return self.backend.state(handle)

    def cancel(self, name: str) -> None:
        self.backend.cancel(name)


@pytest.mark.parametrize(("asked", "given"), [("h200", "H200"), (None, None)])
def test_a_call_carries_the_gpu_if_its_stage_holds_one(
    tmp_path: Path, asked: str | None, given: str | None
) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=1, clips=0))
    watched = Watched(stages.local.backend)
    stages.local.runtime = replace(stages.local.runtime, backend=watched)
    runs = Runs(stages.local.runtime, SqliteRunIndex(tmp_path / "index.sqlite"))
    request = TrainRequest(
        model="wan21-t2v-1-3b", dataset="annika", gpu=asked, settings={"epochs": "1"}
    )

    spec = runs.start(request, Requester(guild=GUILD, by="7"), "rehearsal")
    for key in (StageKey("prepare"), StageKey("fetch"), StageKey("cache")):
        assert stages.run(spec, key) is StageStatus.SUCCEEDED

    assert {str(call.key): call.gpu for call in watched.calls} == {
        "prepare": None, "fetch": None, "cache": given, "train-main": given,
    }  # fmt: skip
