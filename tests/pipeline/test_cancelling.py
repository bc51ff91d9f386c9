"""A cancelled run leaves nothing behind, even if a process dies or others cancel meanwhile."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from bot.messages.runs.answers import ended_ping
from storage.local.run_index import SqliteRunIndex
from tests.at_once import at_once
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.errors import RequestError
from training.operations.runs import Runs
from training.pipeline.advance import advance
from training.ports import Call, CallState, CallStatus
from training.runs.event_log import REQUEST
from training.runs.events import CancelRequested
from training.runs.spec import RunSpec
from training.runs.state import RunStatus, StageStatus
from training.vocabulary import StageKey

PREPARE, FETCH = StageKey("prepare"), StageKey("fetch")


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Stages, RunSpec]:
    """A run whose first stages are queued."""
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    return stages, stages.begin()


@pytest.fixture
def trained(begun: tuple[Stages, RunSpec]) -> tuple[Stages, RunSpec]:
    """A run whose expert is trained; its files wait to be checked."""
    stages, spec = begun
    stages.make_ready(spec)
    stages.cache(spec)
    assert stages.run(spec, StageKey("train", "main")) is StageStatus.SUCCEEDED
    return begun


def index_in(folder: Path) -> SqliteRunIndex:
    return SqliteRunIndex(folder / "index.sqlite")


def test_a_submitted_but_unrecorded_call_does_not_stay_queued(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    log = stages.local.runtime.log(spec.guild, spec.name)
    stages.run(spec, PREPARE)
    stages.run(spec, FETCH)
    noted = log.load().stage(StageKey("cache"))
    # This is the state if the submitter dies before it records the call.
    for path in stages.local.home.glob(f"guilds/*/runs/{spec.name}/events/advance-*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if b'"cache"' not in line))
    assert log.load().stage(StageKey("cache")).handle == ""

    run = stages.local.runs.cancel(GUILD, spec.name, by="7")

    assert run.status is RunStatus.CANCELLED
    assert stages.local.backend.state(noted.handle).status is CallStatus.ENDED
    assert stages.local.backend.is_idle()


def test_stages_are_asked_to_stop_before_the_next_advance(
    begun: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = begun
    called: list[str] = []

    def is_called(_guild: str, run: str) -> None:
        assert stages.local.backend.is_idle()
        called.append(run)

    runtime = replace(stages.local.runtime, remote_advance=is_called)
    run = Runs(runtime, index_in(tmp_path)).cancel(GUILD, spec.name, by="7")

    assert (run.is_cancelling, run.status.is_final) == (True, False)
    assert called == [spec.name]


def test_an_unreachable_backend_does_not_prevent_storing_the_request(
    begun: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = begun
    advanced: list[str] = []

    def is_called(_guild: str, run: str) -> None:
        advanced.append(run)

    runtime = replace(stages.local.runtime, backend=_Unreachable(), remote_advance=is_called)

    run = Runs(runtime, index_in(tmp_path)).cancel(GUILD, spec.name, by="7")

    assert run.is_cancelling
    assert advanced == [spec.name]


def test_concurrent_cancellations_do_not_overwrite_each_other(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    log, at = stages.local.runtime.log(spec.guild, spec.name), stages.local.runtime.clock()

    at_once(
        [
            lambda by=by: log.append_alone(REQUEST, CancelRequested(at=at, by=by))
            for by in "12345678"
        ]
    )

    asked = [event.by for event in log.events() if isinstance(event, CancelRequested)]
    assert sorted(asked) == list("12345678")


def test_cancelling_a_cancelled_run_is_refused(begun: tuple[Stages, RunSpec]) -> None:
    stages, spec = begun
    stages.local.runs.cancel(GUILD, spec.name, by="7")

    with pytest.raises(RequestError, match="has already ended"):
        stages.local.runs.cancel(GUILD, spec.name, by="8")


def test_a_run_cancelled_in_its_last_step_succeeds_because_all_is_saved(
    trained: tuple[Stages, RunSpec],
) -> None:
    stages, spec = trained
    runtime = stages.local.runtime
    log = runtime.log(GUILD, spec.name)
    # The request came while the trainer was ending, so its stage still succeeded.
    log.append_alone(REQUEST, CancelRequested(at=runtime.clock(), by="7"))

    run = advance(runtime, GUILD, spec.name)
    assert run.status is RunStatus.RUNNING
    stages.run(spec, StageKey("publish", "main"))

    view = stages.local.runs.view(GUILD, spec.name)
    assert view.run.status is RunStatus.SUCCEEDED
    assert [checkpoint.is_published for checkpoint in view.run.expert("main").checkpoints] == [True]
    assert "succeeded" in ended_ping(view)


def test_a_trained_run_is_not_cancelled(trained: tuple[Stages, RunSpec]) -> None:
    stages, spec = trained

    with pytest.raises(RequestError, match="trained to the end, so there is nothing left to stop"):
        stages.local.runs.cancel(GUILD, spec.name, by="7")

    assert not stages.local.backend.is_idle()


class _Unreachable:
    def submit(self, call: Call, *, since: datetime | None = None) -> str:
        raise ConnectionError(call.name)

    def state(self, handle: str) -> CallState:
        raise ConnectionError(handle)

    def cancel(self, name: str) -> None:
        raise ConnectionError(name)
