"""What a suggestion changes in a new run: the setting, and where the run continues from."""

from pathlib import Path

import pytest

from tests.specs import Rooted, groups, report, spec
from training.catalogue.models import find_model
from training.dataset.config.guide_groups import plan_groups
from training.errors import RequestError
from training.musubi.engine import MusubiEngine
from training.operations.retry import on_clips, rest_of, with_suggestion
from training.pipeline.plan import Planner, steps_per_epoch
from training.remedies import (
    CacheAgain,
    FewerFrames,
    LowerResolution,
    Suggestion,
    SwapBlocks,
    UseFp8,
)
from training.runs.spec import RunSpec, TrainRequest, requested_items
from training.runs.state import Run

HIGH_LOW = "wan22-t2v-vanilla"


def changed(suggestion: Suggestion, model: str = HIGH_LOW) -> RunSpec:
    rest = spec(model).model_copy(update={"continues": "annika-1"})
    return with_suggestion(rest, suggestion, report(), find_model(model))


def planner(of: RunSpec) -> Planner:
    return Planner(
        of,
        find_model(of.model),
        groups(),
        MusubiEngine(Path("/musubi"), Path("/python")),
        Rooted(Path("/home")),
    )


def test_fewer_frames_change_the_items_and_start_again() -> None:
    found = changed(FewerFrames(max_frames=13))

    assert found.items.max_frames == 13
    assert found.continues is None
    assert found.steps_per_epoch == steps_per_epoch(plan_groups(report(), max_frames=13))


def test_a_run_on_clips_keeps_all_settings_and_starts_from_the_beginning() -> None:
    old = spec("wan22-i2v-vanilla", epochs="7")

    found = on_clips(Run(old), report(), find_model(old.model))

    assert found.items.items == "clips"
    assert found.experts == old.experts
    assert found.continues is None
    clips = plan_groups(report(), has_single_frames=False)
    assert found.steps_per_epoch == steps_per_epoch(clips) == 6


def test_a_second_limit_keeps_the_first() -> None:
    first = changed(FewerFrames(max_frames=13))

    found = with_suggestion(
        first, LowerResolution(resolution="480p"), report(), find_model(HIGH_LOW)
    )

    assert (found.items.max_frames, found.items.resolution) == (13, "480p")


def test_swapped_blocks_continue_from_the_old_states_of_every_expert() -> None:
    found = changed(SwapBlocks(blocks=20))

    assert found.continues == "annika-1"
    for expert in found.experts:
        command = planner(found).train_command(expert.name)
        assert command[command.index("--blocks_to_swap") + 1] == "20"
        assert planner(found).memory_use(expert.name).swapped == 20


def test_8_bit_weights_are_requested_if_the_model_has_none() -> None:
    before, found = spec("wan21-t2v-1-3b"), changed(UseFp8(), "wan21-t2v-1-3b")

    assert "--fp8_base" not in planner(before).train_command("main")
    assert planner(found).train_command("main").count("--fp8_base") == 1
    assert not planner(before).memory_use("main").fp8
    assert planner(found).memory_use("main").fp8


def test_new_caches_are_separate_from_the_damaged_ones() -> None:
    found = changed(CacheAgain())

    assert found.continues == "annika-1"
    assert found.caches_after == "annika-1"  # enters the key of every cache file


def test_the_gpu_stays_that_of_the_old_run() -> None:
    old = Run(spec(HIGH_LOW).model_copy(update={"gpu": "H200"}))

    resumed = rest_of(old)
    again = with_suggestion(resumed, FewerFrames(max_frames=13), report(), find_model(HIGH_LOW))

    assert resumed.gpu == again.gpu == "H200"


def test_a_model_swaps_all_blocks_but_one() -> None:
    small, large = spec("wan21-t2v-1-3b"), spec("wan21-i2v-720p")

    assert planner(small).memory_use("main").swappable == 29
    assert planner(large).memory_use("main").swappable == 39
    assert planner(large).memory_use().swappable == 0  # caching loads no such model


def test_limits_can_be_given_with_the_request() -> None:
    request = TrainRequest(
        model=HIGH_LOW, dataset="annika", settings={"max_frames": "20", "resolution": "480p"}
    )

    items = requested_items(request, find_model(HIGH_LOW))

    assert (items.max_frames, items.resolution) == (20, "480p")
    # 17 is the most that is a whole number of latent frames.
    found = plan_groups(report(), max_frames=items.max_frames, resolution="480p")
    assert max(item.frames for item in found.items) == 17


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [("max_frames", "0", "from 1 up to 129"), ("resolution", "4k", "480p, 720p")],
)
def test_an_impossible_limit_is_refused(setting: str, value: str, expected: str) -> None:
    request = TrainRequest(model=HIGH_LOW, dataset="annika", settings={setting: value})

    with pytest.raises(RequestError) as caught:
        requested_items(request, find_model(HIGH_LOW))

    assert setting.replace("_", "-") in caught.value.cause
    assert expected in caught.value.fix
