"""The reference preset: every value applies somewhere and has a reason."""

import pytest

from training.catalogue.models import MODELS, find_model
from training.catalogue.presets import REFERENCE, PresetValue, preset_values
from training.runs.hyperparameters import ITEM_NAMES, SETTING_NAMES


@pytest.mark.parametrize("value", REFERENCE, ids=lambda value: value.setting)
def test_every_value_is_of_a_setting_and_has_models_and_a_reason(value: PresetValue) -> None:
    assert value.setting in (*SETTING_NAMES, *ITEM_NAMES)
    assert value.models
    assert {model.name for model in MODELS} >= set(value.models)
    assert 40 < len(value.reason) <= 300


def test_no_two_values_set_the_same_thing() -> None:
    places = [(v.setting, v.expert, model) for v in REFERENCE for model in v.models]

    assert len(places) == len(set(places))


def test_the_guides_preset_changes_nothing() -> None:
    for model in MODELS:
        assert all(preset_values("guide", model, expert.name) == {} for expert in model.experts)


def test_a_value_for_one_expert_does_not_apply_to_the_other() -> None:
    model = find_model("wan22-t2v-vanilla")

    assert preset_values("reference", model, "high")["rank"] == "32"
    assert "rank" not in preset_values("reference", model, "low")
