"""Runs that are gone on with: by one run at a time, and with the engine they were started with."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.local.run_index import SqliteRunIndex
from tests.at_once import at_once
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.errors import RequestError
from training.operations.run_drafts import Requester
from training.operations.runs import Runs
from training.pipeline.advance import advance
from training.runs.spec import RunSpec
from training.runs.state import RunStatus

REQUESTER = Requester(guild=GUILD, by="7")


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Stages, RunSpec]:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    return stages, stages.begin()


def test_a_run_that_is_gone_on_with_is_not_gone_on_with_again(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    runs = stages.local.runs
    runs.cancel(GUILD, spec.name, by="7")
    second = runs.resume(spec.name, REQUESTER)

    with pytest.raises(RequestError, match=f"{second.name} continues {spec.name} already"):
        runs.resume(spec.name, REQUESTER)
    runs.cancel(GUILD, second.name, by="7")
    third = runs.resume(spec.name, REQUESTER)

    assert third.continues == spec.name


def test_of_many_who_resume_at_once_one_does(begun: tuple[Stages, RunSpec]) -> None:
    stages, spec = begun
    stages.local.runs.cancel(GUILD, spec.name, by="7")
    done: list[str] = []

    def resume() -> None:
        try:
            done.append(stages.local.runs.resume(spec.name, REQUESTER).name)
        except RequestError as error:
            assert "already" in error.cause  # noqa: PT017  # in a thread of its own

    at_once([resume] * 4)

    assert len(done) == 1


def test_a_run_of_an_engine_that_is_not_there_any_more_ends_and_is_not_resumed(
    begun: tuple[Stages, RunSpec], tmp_path: Path
) -> None:
    stages, spec = begun
    runtime = replace(stages.local.runtime, only_engine="musubi")

    run = advance(runtime, spec.guild, spec.name)

    assert run.status is RunStatus.FAILED
    assert run.cause == (
        f"{spec.name} was started with rehearsal, but this installation now trains with musubi."
    )
    assert stages.local.backend.is_idle()
    with pytest.raises(RequestError, match="was started with rehearsal"):
        Runs(runtime, SqliteRunIndex(tmp_path / "index.sqlite")).resume(spec.name, REQUESTER)
