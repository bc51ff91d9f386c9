"""Where a call runs on Modal: the Function of its stage, on the GPU that the run asked for."""

import json

import pytest

from storage.modal.runtime import placement_of
from training.backends.modal.call_records import Placement, from_plain, to_plain
from training.catalogue.models import find_model
from training.ports import Call
from training.vocabulary import StageKey


def call(key: StageKey, gpu: str | None) -> Call:
    device = "gpu" if key.stage in ("cache", "train") else "cpu"
    return Call(guild="1", run="annika", key=key, attempt=2, device=device, gpu=gpu)


@pytest.mark.parametrize(
    ("model", "key", "gpu", "expected"),
    [
        ("wan22-i2v-vanilla", StageKey("train", "high"), "H200", Placement("train", "H200")),
        ("wan21-t2v-1-3b", StageKey("train", "main"), "H100", Placement("train_small", "H100")),
        ("wan22-i2v-vanilla", StageKey("cache"), "B200", Placement("cache", "B200")),
        ("wan22-i2v-vanilla", StageKey("train", "low"), None, Placement("train")),
        ("wan22-i2v-vanilla", StageKey("publish", "low"), None, Placement("publish")),
    ],
)
def test_a_call_is_placed_on_the_gpu_that_was_asked_for(
    model: str, key: StageKey, gpu: str | None, expected: Placement
) -> None:
    assert placement_of(call(key, gpu), find_model(model)) == expected


@pytest.mark.parametrize("gpu", ["H200", None])
def test_a_call_comes_back_whole_from_what_its_function_is_given(gpu: str | None) -> None:
    handed = call(StageKey("train", "high"), gpu)

    assert from_plain(json.loads(json.dumps(to_plain(handed)))) == handed


def test_a_call_that_was_noted_before_gpus_could_be_asked_for_is_read() -> None:
    noted = to_plain(call(StageKey("cache"), None))
    del noted["gpu"]

    assert from_plain(noted).gpu is None
