"""Where a call runs on Modal: the Function of its stage, on the GPU that the run chose."""

import json

import pytest

from storage.modal.runtime import placement_of
from tests.specs import spec
from training.backends.modal.call_records import Placement, from_plain, to_plain
from training.ports import Call
from training.vocabulary import StageKey


def call(key: StageKey, gpu: str | None) -> Call:
    device = "gpu" if key.stage in ("cache", "train") else "cpu"
    return Call(guild="1", run="annika", key=key, attempt=2, device=device, gpu=gpu)


@pytest.mark.parametrize(
    ("model", "key", "gpu", "expected"),
    [
        ("wan22-i2v-vanilla", StageKey("train", "high"), "H200", Placement("train_chosen", "H200")),
        ("wan21-t2v-1-3b", StageKey("train", "main"), "H100", Placement("train_chosen", "H100!")),
        ("wan22-i2v-vanilla", StageKey("cache"), "B200", Placement("cache_chosen", "B200")),
        ("wan22-i2v-vanilla", StageKey("train", "low"), None, Placement("train")),
        ("wan22-i2v-vanilla", StageKey("publish", "low"), None, Placement("publish")),
    ],
)
def test_a_call_is_placed_on_the_requested_gpu(
    model: str, key: StageKey, gpu: str | None, expected: Placement
) -> None:
    assert placement_of(call(key, gpu), spec(model)) == expected


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (None, Placement("train_chosen", "H100!", 23)),
        ("H200", Placement("train_chosen", "H200", 23)),
    ],
)
def test_a_training_that_swaps_blocks_requests_their_memory(
    gpu: str | None, expected: Placement
) -> None:
    swapping = spec("wan22-i2v-vanilla", blocks_to_swap="20")

    assert placement_of(call(StageKey("train", "high"), gpu), swapping) == expected
    assert placement_of(call(StageKey("cache"), None), swapping) == Placement("cache")


@pytest.mark.parametrize("gpu", ["H200", None])
def test_a_call_survives_being_passed_to_its_function(gpu: str | None) -> None:
    handed = call(StageKey("train", "high"), gpu)

    assert from_plain(json.loads(json.dumps(to_plain(handed)))) == handed


def test_a_call_recorded_before_gpus_could_be_chosen_is_read() -> None:
    noted = to_plain(call(StageKey("cache"), None))
    del noted["gpu"]

    assert from_plain(noted).gpu is None
