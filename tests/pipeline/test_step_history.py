"""A run's measured step times are recorded, and the next plan here is made from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from bot.messages.options import on_terminal
from bot.messages.runs.plan_costs import cost_lines
from storage.local.run_index import SqliteRunIndex
from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.catalogue.models import find_model
from training.dataset.config.group import tokens
from training.operations.run_drafts import Requester
from training.operations.run_plans import RunPlan
from training.operations.runs import Runs
from training.operations.step_history import seen_in
from training.pipeline.run_view import ExpertView, RunSummary, StepTime
from training.ports import EndedRun
from training.runs.events import StageEvent, StepsTimed
from training.runs.spec import RunSpec, TrainRequest
from training.runs.state import StageStatus
from training.vocabulary import EngineName, StageKey

MODEL, TRAIN = "wan21-t2v-1-3b", StageKey("train", "main")
EPOCHS = 12
REQUEST = TrainRequest(model=MODEL, dataset="annika", gpu="L4", settings={"epochs": f"{EPOCHS}"})
ANYONE = Requester(guild=GUILD, by="7")


def an_l4(_engine: EngineName) -> str:
    return "L4"


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    found = Stages(tmp_path)
    found.upload(guide_files(images=2, clips=2))
    found.local.runtime = replace(found.local.runtime, found_gpu=an_l4, is_billed=True)
    return found


def runs(stages: Stages, tmp_path: Path) -> Runs:
    return Runs(stages.local.runtime, index(tmp_path))


def index(tmp_path: Path) -> SqliteRunIndex:
    return SqliteRunIndex(tmp_path / "index.sqlite")


def trained(stages: Stages) -> RunSpec:
    spec = stages.make_ready(stages.local.runs.start(REQUEST, ANYONE, "rehearsal"))
    for key in (StageKey("cache"), TRAIN):
        assert stages.run(spec, key) is StageStatus.SUCCEEDED
    return spec


def test_an_attempt_records_the_time_of_each_size_with_its_gpu_and_mode(stages: Stages) -> None:
    spec = trained(stages)

    events = stages.local.runtime.log(GUILD, spec.name).events()
    found = [e.body for e in events if isinstance(e, StageEvent) and isinstance(e.body, StepsTimed)]
    groups = stages.local.runtime.planner(spec).groups
    per_epoch = {size: steps for (_, size), steps in groups.step_sizes.items()}
    assert len(per_epoch) > 1
    assert (found[-1].gpu, found[-1].fast) == ("L4", "off")
    # The first step of a size is not timed.
    assert {one.tokens: one.steps for one in found[-1].times} == {
        size: steps * EPOCHS - 1 for size, steps in per_epoch.items()
    }
    assert all(one.seconds > 0 for one in found[-1].times)
    view = stages.local.runs.view(GUILD, spec.name)
    assert view.progress[TRAIN].seconds_left == 0
    assert [one.tokens for one in view.expert("main").step_times] == sorted(per_epoch)


def ended(
    *times: tuple[int, float], gpu: str = "L4", engine: EngineName = "musubi", name: str = "secret"
) -> RunSummary:
    """Return a finished run whose steps took so many seconds, by number of tokens."""
    its = [
        StepTime(
            gpu=gpu, fast="off", is_fp8=False, is_swapping=False, tokens=at, seconds=s, steps=20
        )
        for at, s in times
    ]
    expert = ExpertView(
        name="main",
        epoch=1,
        step=1,
        total_steps=1,
        loss=None,
        checkpoints=(),
        step_times=tuple(its),
    )
    return RunSummary(
        name=name, model=MODEL, dataset="d@1", state="succeeded", experts=(expert,), engine=engine
    )


def put(tmp_path: Path, guild: str, *found: RunSummary) -> None:
    entries = [
        EndedRun(one.name, "2026", one.model_dump_json().encode(), one.model, one.state)
        for one in found
    ]
    index(tmp_path).put(guild, entries)


def plan(stages: Stages, tmp_path: Path, gpu: str | None = "L4") -> RunPlan:
    request = REQUEST.model_copy(update={"gpu": gpu})
    return runs(stages, tmp_path).plan(request, ANYONE, "musubi")


def test_the_next_plan_is_made_from_the_steps_of_earlier_runs_of_any_server(
    stages: Stages, tmp_path: Path
) -> None:
    before = plan(stages, tmp_path)
    sizes = sorted({tokens(item) for item in before.groups.items})
    put(tmp_path, "another server", ended(*((size, size / 100) for size in sizes)))

    after, other = plan(stages, tmp_path), plan(stages, tmp_path, gpu="A10")

    assert not before.estimate.is_measured
    assert "(unmeasured, rough; " in cost_lines(before, on_terminal)[0]
    assert after.estimate.is_measured
    assert "(measured steps of earlier runs here; " in cost_lines(after, on_terminal)[0]
    total = sum(tokens(item) / 100 for item in after.groups.items) * EPOCHS
    assert total < after.estimate.seconds < total + 1_000
    assert not other.estimate.is_measured
    assert other.estimate.seconds == plan(stages, tmp_path, gpu="A10").estimate.seconds


def test_nothing_of_another_servers_run_but_its_times_is_in_a_plan(
    stages: Stages, tmp_path: Path
) -> None:
    put(tmp_path, "another server", ended((3_600, 4.0), name="secret-project"))

    assert "secret-project" not in repr(plan(stages, tmp_path))


def test_a_rehearsal_teaches_plans_nothing(stages: Stages, tmp_path: Path) -> None:
    trained(stages)
    put(tmp_path, GUILD, ended((3_600, 0.001), engine="rehearsal"))

    assert not plan(stages, tmp_path).estimate.is_from_here


def test_the_median_of_several_attempts_counts_and_nonsense_does_not() -> None:
    found = [ended((3_600, s)) for s in (4.0, 5.0, 90.0)] + [ended((3_600, 0.0), (0, 1.0))]
    found += [ended((3_600, 1.0), gpu="H100")]

    seen = seen_in(find_model(MODEL), found)

    assert {kind.gpu: dict(points) for kind, points in seen.items()} == {
        "L4": {3_600: 5.0},
        "H100": {3_600: 1.0},
    }
