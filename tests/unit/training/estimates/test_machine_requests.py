"""Cores and memory that stages request: a base, plus what they keep in main memory."""

import pytest

from tests.specs import spec
from training.catalogue.models import MODELS, Model, find_model
from training.estimates.machine_requests import (
    CACHE_REQUEST,
    TRAIN_REQUEST,
    MachineRequest,
    training_request,
)

MEASURED_GIB = 4.0  # of training without swapped blocks


def requested(model: str, **settings: str) -> MachineRequest:
    """Return the request for training the first expert."""
    return training_request(
        find_model(model), spec(model, expert="both", **settings).experts[0].settings
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_no_request_is_below_the_measured_use(model: Model) -> None:
    assert requested(model.name) == TRAIN_REQUEST == MachineRequest(2.0, 16)
    assert min(TRAIN_REQUEST.memory_gib, CACHE_REQUEST.memory_gib) >= 2 * MEASURED_GIB


def test_caching_has_room_for_the_text_encoder() -> None:
    assert MachineRequest(2.0, 16 + 11) == CACHE_REQUEST


@pytest.mark.parametrize(
    ("model", "settings", "gib"),
    [
        ("wan22-i2v-vanilla", {"blocks_to_swap": "20"}, 16 + 7),  # 0.33 GiB a block in fp8
        ("wan22-i2v-vanilla", {"blocks_to_swap": "20", "fp8": "no"}, 16 + 14),
        ("wan21-i2v-720p", {"blocks_to_swap": "39"}, 16 + 15),  # more layers: it reads CLIP
        ("wan21-t2v-1-3b", {"blocks_to_swap": "29"}, 16 + 3),
    ],
)
def test_swapped_blocks_add_their_bytes(model: str, settings: dict[str, str], gib: int) -> None:
    assert requested(model, **settings) == MachineRequest(2.0, gib)
