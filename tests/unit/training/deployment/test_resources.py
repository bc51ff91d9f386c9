"""The table of what Functions take, against Modal's limits and the catalogue."""

import pytest

from training.catalogue.models import MODELS, Model
from training.deployment.resources import (
    FUNCTIONS,
    KNOWN_GPUS,
    LONGEST_TIMEOUT,
    MOST_CPU,
    MOST_MEMORY_GIB,
    MOST_RETRIES,
    SOFT_DEADLINE_SECONDS,
    FunctionName,
    Resources,
    function_of,
)
from training.vocabulary import StageName

HOURS_LEFT_TO_SAVE = 0.25
EACH = pytest.mark.parametrize(("name", "resources"), FUNCTIONS.items())


@EACH
def test_every_figure_is_within_what_modal_takes(name: FunctionName, resources: Resources) -> None:
    assert 1 <= resources.timeout_seconds <= LONGEST_TIMEOUT
    assert 0 <= resources.retries <= MOST_RETRIES
    assert 0.125 <= resources.cpu <= MOST_CPU
    assert 0.125 <= resources.memory_gib <= MOST_MEMORY_GIB
    assert set(resources.gpu) <= KNOWN_GPUS


@EACH
def test_nothing_but_caching_and_training_holds_a_gpu(
    name: FunctionName, resources: Resources
) -> None:
    assert bool(resources.gpu) == name.startswith(("cache", "train"))


@EACH
def test_a_failed_stage_is_not_repeated_by_modal(name: FunctionName, resources: Resources) -> None:
    assert resources.retries == 0


def test_a_training_saves_its_state_before_modal_ends_it() -> None:
    trainings = [FUNCTIONS["train"], FUNCTIONS["train_small"]]

    for resources in trainings:
        spare = resources.timeout_seconds - SOFT_DEADLINE_SECONDS
        assert spare >= HOURS_LEFT_TO_SAVE * 3600


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_models_own_gpu_is_the_first_that_is_tried(model: Model) -> None:
    stages: tuple[StageName, ...] = ("cache", "train")
    for stage in stages:
        assert FUNCTIONS[function_of(stage, model)].gpu[0] == model.gpu


def test_what_calculates_for_hours_has_its_volumes_and_what_decides_has_none() -> None:
    for name, resources in FUNCTIONS.items():
        assert bool(resources.areas) == (name not in ("advance", "tick", "clean_up", "watch"))
