"""A run that people cancel: nothing of it is left behind, whoever died or asked in between."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.local.run_index import SqliteRunIndex
from tests.at_once import at_once
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.errors import RequestError
from training.operations.runs import Runs
from training.ports import Call, CallState, CallStatus
from training.runs.event_log import REQUEST
from training.runs.events import CancelRequested
from training.runs.spec import RunSpec
from training.runs.state import RunStatus
from training.vocabulary import StageKey

PREPARE, FETCH = StageKey("prepare"), StageKey("fetch")


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Stages, RunSpec]:
    """A run whose first stages stand in line."""
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    return stages, stages.begin()


def index_in(folder: Path) -> SqliteRunIndex:
    return SqliteRunIndex(folder / "index.sqlite")


def test_a_call_that_was_submitted_but_not_noted_does_not_stay_in_line(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    log = stages.local.runtime.log(spec.guild, spec.name)
    stages.run(spec, PREPARE)
    stages.run(spec, FETCH)
    noted = log.load().stage(StageKey("cache"))
    # As if whoever submitted it had died before it noted that.
    for path in stages.local.home.glob(f"guilds/*/runs/{spec.name}/events/advance-*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if b'"cache"' not in line))
    assert log.load().stage(StageKey("cache")).handle == ""

    run = stages.local.runs.cancel(GUILD, spec.name, by="7")

    assert run.status is RunStatus.CANCELLED
    assert stages.local.backend.state(noted.handle).status is CallStatus.ENDED
    assert stages.local.backend.is_idle()


def test_stages_are_asked_to_stop_before_anybody_advances_the_run(
    begun: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = begun
    called: list[str] = []

    def is_called(_guild: str, run: str) -> None:
        assert stages.local.backend.is_idle()
        called.append(run)

    runtime = replace(stages.local.runtime, remote_advance=is_called)
    run = Runs(runtime, index_in(tmp_path)).cancel(GUILD, spec.name, by="7")

    assert (run.cancel_requested, run.status.is_final) == (True, False)
    assert called == [spec.name]


def test_a_backend_that_cannot_be_asked_does_not_keep_the_request_from_being_stored(
    begun: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = begun
    advanced: list[str] = []

    def is_called(_guild: str, run: str) -> None:
        advanced.append(run)

    runtime = replace(stages.local.runtime, backend=_Unreachable(), remote_advance=is_called)

    run = Runs(runtime, index_in(tmp_path)).cancel(GUILD, spec.name, by="7")

    assert run.cancel_requested
    assert advanced == [spec.name]


def test_of_many_who_cancel_at_once_none_replaces_what_another_wrote(
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


def test_who_cancels_what_another_has_cancelled_is_told_so(begun: tuple[Stages, RunSpec]) -> None:
    stages, spec = begun
    stages.local.runs.cancel(GUILD, spec.name, by="7")

    with pytest.raises(RequestError, match="has ended already"):
        stages.local.runs.cancel(GUILD, spec.name, by="8")


class _Unreachable:
    def submit(self, call: Call) -> str:
        raise ConnectionError(call.name)

    def state(self, handle: str) -> CallState:
        raise ConnectionError(handle)

    def cancel(self, name: str) -> None:
        raise ConnectionError(name)
