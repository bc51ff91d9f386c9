"""A run is resumed by one run at a time, with the engine that it was started with."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.local.run_index import SqliteRunIndex
from tests.at_once import at_once
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training import store_keys
from training.errors import RequestError
from training.operations.run_drafts import Requester
from training.operations.runs import Runs
from training.pipeline.advance import advance
from training.remedies import ResumeRun, ShowRuns
from training.runs.spec import RunSpec
from training.runs.state import RunStatus
from training.vocabulary import StageKey

REQUESTER = Requester(guild=GUILD, by="7")


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Stages, RunSpec]:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    return stages, stages.begin()


def test_a_run_that_is_being_resumed_cannot_be_resumed_again(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    runs = stages.local.runs
    runs.cancel(GUILD, spec.name, by="7")
    second = runs.resume(spec.name, REQUESTER)

    with pytest.raises(
        RequestError, match=f"{second.name} already continues {spec.name}"
    ) as caught:
        runs.resume(spec.name, REQUESTER)
    assert caught.value.remedy == ShowRuns(run=second.name)


def test_a_run_that_was_resumed_leads_to_the_newest_of_its_successors(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    runs = stages.local.runs
    second, third = resumed_twice(stages, spec)

    for name in (spec.name, second.name):
        with pytest.raises(RequestError) as caught:
            runs.resume(name, REQUESTER)
        assert f"{third.name} already continues {name} and was cancelled." == caught.value.cause
        assert caught.value.remedy == ResumeRun(run=third.name)
    assert runs.resume(third.name, REQUESTER).continues == third.name


def test_a_run_whose_successors_were_removed_is_resumed_again(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    runs = stages.local.runs
    second, third = resumed_twice(stages, spec)

    stages.local.run_removals.remove(GUILD, second.name, by="7")
    with pytest.raises(RequestError, match=f"{third.name} already continues {spec.name}"):
        runs.resume(spec.name, REQUESTER)
    stages.local.run_removals.remove(GUILD, third.name, by="7")
    again = cancelled_resume(stages, spec)

    assert again.continues == spec.name
    with pytest.raises(RequestError, match=f"{again.name} already continues {spec.name}"):
        runs.resume(spec.name, REQUESTER)


def test_a_resume_from_the_last_step_lists_all_steps_as_done(
    begun: tuple[Stages, RunSpec],
) -> None:
    stages, spec = begun
    train, publish = StageKey("train", "main"), StageKey("publish", "main")
    stages.make_ready(spec)
    stages.cache(spec)
    stages.run(spec, train)
    final = stages.local.runtime.store.path(
        f"{spec.keys.checkpoints('main')}/{spec.name}.safetensors"
    )
    final.write_bytes(final.read_bytes()[:-1])
    stages.run(spec, publish)
    resumed = stages.local.runs.resume(spec.name, REQUESTER)
    stages.make_ready(resumed)
    stages.cache(resumed)
    stages.run(resumed, train)
    stages.run(resumed, publish)

    newest, old = stages.local.runs.summaries(GUILD)

    assert (old.state, newest.state) == ("failed", "succeeded")
    (expert,) = newest.experts
    assert expert.step == expert.total_steps == spec.steps_per_epoch
    assert expert.epoch == 1


def test_a_record_without_its_run_leads_nowhere(begun: tuple[Stages, RunSpec]) -> None:
    stages, spec = begun
    other = stages.begin()
    stages.local.runs.cancel(GUILD, spec.name, by="7")
    # Another run took the name after the record was stored.
    key = store_keys.successor(GUILD, spec.name)
    stages.local.runtime.store.write(key, other.name.encode())

    assert stages.local.runs.resume(spec.name, REQUESTER).continues == spec.name


def cancelled_resume(stages: Stages, spec: RunSpec) -> RunSpec:
    """Resume a run, cancel the new one and return it."""
    resumed = stages.local.runs.resume(spec.name, REQUESTER)
    stages.local.runs.cancel(GUILD, resumed.name, by="7")
    return resumed


def resumed_twice(stages: Stages, spec: RunSpec) -> tuple[RunSpec, RunSpec]:
    """Cancel a run and two runs that continue it, one after the other; return those two."""
    stages.local.runs.cancel(GUILD, spec.name, by="7")
    second = cancelled_resume(stages, spec)
    return second, cancelled_resume(stages, second)


def test_of_many_concurrent_resumes_one_succeeds(begun: tuple[Stages, RunSpec]) -> None:
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


def test_a_run_of_an_engine_no_longer_available_ends_and_is_not_resumed(
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
