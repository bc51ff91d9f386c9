"""The table of the Functions' resources, compared with Modal's limits and the catalogue."""

import pytest

from training.catalogue.gpus import GPUS
from training.catalogue.models import MODELS, Model
from training.deployment.resources import (
    FUNCTIONS,
    LONGEST_TIMEOUT,
    SOFT_DEADLINE_SECONDS,
    FunctionName,
    Resources,
    exactly,
    function_of,
)
from training.vocabulary import StageName

HOURS_LEFT_TO_SAVE = 0.25
# Modal's limits according to its guides as of 2026.
MOST_RETRIES, MOST_CORES, MOST_MEMORY_GIB = 10, 64.0, 336
EACH = pytest.mark.parametrize(("name", "resources"), FUNCTIONS.items())


@EACH
def test_every_figure_is_within_what_modal_takes(name: FunctionName, resources: Resources) -> None:
    assert 1 <= resources.timeout_seconds <= LONGEST_TIMEOUT
    assert 0 <= resources.retries <= MOST_RETRIES
    assert 0.125 <= resources.cpu <= MOST_CORES
    assert 0.125 <= resources.memory_gib <= MOST_MEMORY_GIB
    assert {gpu.rstrip("!") for gpu in resources.gpu} <= set(GPUS)


@EACH
def test_only_caching_and_training_hold_a_gpu_in_the_table(
    name: FunctionName, resources: Resources
) -> None:
    assert bool(resources.gpu) == name.startswith(("cache", "train"))


@EACH
def test_modal_does_not_repeat_a_failed_stage(name: FunctionName, resources: Resources) -> None:
    assert resources.retries == 0


def test_a_training_saves_its_state_before_modal_ends_it() -> None:
    trainings = [FUNCTIONS["train"], FUNCTIONS["train_small"], FUNCTIONS["train_chosen"]]

    for resources in trainings:
        spare = resources.timeout_seconds - SOFT_DEADLINE_SECONDS
        assert spare >= HOURS_LEFT_TO_SAVE * 3600


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_models_own_gpu_is_tried_first(model: Model) -> None:
    stages: tuple[StageName, ...] = ("cache", "train")
    for stage in stages:
        assert FUNCTIONS[function_of(stage, model)].gpu[0] == model.gpu


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_chosen_gpu_has_a_function_without_a_list_and_no_fallback(model: Model, gpu: str) -> None:
    stages: tuple[StageName, ...] = ("cache", "train")
    for stage in stages:
        assert len(FUNCTIONS[function_of(stage, model, is_chosen=True)].gpu) == 1
    assert exactly(gpu) == ("H100!" if gpu == "H100" else gpu)


def test_functions_mount_only_the_volumes_whose_files_they_use() -> None:
    mounted = {name: resources.areas for name, resources in FUNCTIONS.items()}

    for name in ("advance", "tick", "watch", "publish"):
        assert mounted[name] == ()
    assert mounted["prepare"] == ("datasets",)
    assert mounted["fetch"] == mounted["merge"] == ("models",)
    for name in ("cache", "cache_small", "cache_chosen"):
        assert mounted[name] == ("models", "datasets")
    for name in ("train", "train_small", "train_chosen", "clean_up"):
        assert mounted[name] == ("models", "datasets", "runs")
