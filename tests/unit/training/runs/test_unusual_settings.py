"""Which settings look like mistakes, and which merely differ from the guide's."""

from typing import Any

import pytest

from tests.specs import spec
from training.catalogue.models import find_model
from training.runs.unusual_settings import differing, doubts

PAIR = find_model("wan22-t2v-vanilla")
RATES = {expert.name: expert.learning_rate for expert in PAIR.experts}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": f"high={5.1 * RATES['high']}"}, ["high expert", "5.1 times", "diverge"]),
        ({"learning_rate": f"low={RATES['low'] / 5.1}"}, ["low expert", "hardly learn"]),
        ({"rank": "8", "alpha": "17"}, ["Alpha", "rank 8"]),
        ({"epochs": "201"}, ["201 epochs", "usual 50"]),
    ],
)
def test_settings_far_from_the_catalogue_are_doubted(
    settings: dict[str, Any], words: list[str]
) -> None:
    found = " ".join(doubts(spec(PAIR.name, **settings), PAIR))

    assert all(word in found for word in words)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"learning_rate": f"high={5 * RATES['high']} low={RATES['low'] / 5}"},
        {"rank": "8", "alpha": "16"},
        {"rank": "128"},
        {"epochs": "200"},
        {"epochs": "1"},
    ],
)
def test_usual_settings_are_not(settings: dict[str, Any]) -> None:
    assert doubts(spec(PAIR.name, **settings), PAIR) == ()


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, set[str]()),
        ({"rank": "8"}, set[str]()),  # high's own
        ({"rank": "16"}, {"rank"}),  # alpha follows
        ({"rank": "16", "alpha": "8"}, {"rank", "alpha"}),
        ({"alpha": "4"}, {"alpha"}),
        ({"epochs": "50", "seed": "1"}, {"seed"}),
        ({"preset": "reference"}, {"rank", "flow_shift", "force_v2_1_time_embedding"}),
    ],
)
def test_settings_are_compared_with_the_guides(settings: dict[str, Any], names: set[str]) -> None:
    high = spec(PAIR.name, **settings).expert("high").settings

    assert differing(high, PAIR) == names
