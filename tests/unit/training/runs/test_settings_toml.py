"""Settings as TOML: what the dialog shows, and what comes back from it."""

from typing import Any

import pytest

from tests.specs import spec as a_spec
from training.catalogue.models import find_model
from training.errors import RequestError
from training.runs.settings_toml import read_settings, write_settings
from training.runs.spec import RunSpec, TrainRequest, requested_preset, resolve_experts

PAIR, ONE = "wan22-i2v-lightning", "wan21-t2v-14b"


def draft(model: str, **changes: Any) -> tuple[TrainRequest, RunSpec]:
    """Return a request and the run that it describes."""
    request = TrainRequest(model=model, dataset="annika", **changes)
    spec = a_spec(model).model_copy(
        update={
            "experts": resolve_experts(request, find_model(model)),
            "preset": requested_preset(request),
        }
    )
    return request, spec


def settings(text: str, model: str = PAIR, **given: str) -> dict[str, str]:
    """Return the settings of a request after its dialog came back with `text`."""
    return dict(read_settings(text, *draft(model, settings=given)).settings)


def test_it_shows_what_all_experts_share_then_a_table_for_each() -> None:
    lines = write_settings(*draft(PAIR)).splitlines()

    others = " ".join(line.removeprefix("#") for line in lines if line.startswith("#"))
    assert others.split()[:4] == ["also:", "name", "gpu", "preset"]
    assert {"alpha", "items", "lightning-strength"} <= set(others.split())
    assert max(map(len, lines)) <= 66
    assert [line for line in lines if not line.startswith("#")] == [
        *("epochs = 50", "save-every = 5", "seed = 42", ""),
        *("[high]", "learning-rate = 1e-4", "rank = 8", ""),
        *("[low]", "learning-rate = 8e-5", "rank = 42"),
    ]


def test_a_model_with_one_expert_needs_no_table() -> None:
    text = write_settings(*draft(ONE, name="mine", gpu="H200"))

    assert text.startswith('name = "mine"\ngpu = "H200"\nlearning-rate = 8e-5\nrank = 24\n')
    assert "[" not in text


@pytest.mark.parametrize("model", [PAIR, ONE])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"rank": "16", "fp8": "no", "items": "clips", "fast": "16bit"},
        {"alpha": "4.5", "learning_rate": "2e-5", "scheduler": "cosine", "max_frames": "21"},
        {"preset": "reference", "seed": "7"},
    ],
)
def test_what_it_shows_comes_back_as_the_same_request(model: str, given: dict[str, str]) -> None:
    request, spec = draft(model, settings=given, gpu="H200")

    again = read_settings(write_settings(request, spec), request, spec)

    assert again.gpu == "H200"
    assert set(again.settings) == set(given)
    experts = resolve_experts(again, find_model(model))
    assert experts == spec.experts


def test_values_of_one_expert_and_files_come_back_too() -> None:
    given = {
        "lightning_file": "low=some/lora:a.safetensors",
        "lightning_strength": "high=0.7 low=1",
        "rank": "high=16",
    }
    request, spec = draft(PAIR, settings=given)

    again = read_settings(write_settings(request, spec), request, spec)

    assert resolve_experts(again, find_model(PAIR)) == spec.experts


def test_an_expert_has_its_own_value_and_the_others_the_shared_one() -> None:
    assert settings("rank = 16\n[low]\nrank = 32\nLearning_Rate = 0.0002") == {
        "rank": "high=16 low=32",
        "learning_rate": "low=2e-4",
    }
    assert settings("alpha = 4", ONE) == {"alpha": "4"}
    assert settings("[main]\nalpha = 4", ONE) == {"alpha": "main=4"}
    assert settings('rank = "high=8 low=16"') == {"rank": "high=8 low=16"}


def test_a_line_that_is_removed_resets_its_setting() -> None:
    assert settings("", PAIR, rank="16", epochs="20") == {}
    request, spec = draft(PAIR, name="mine", gpu="H200")
    again = read_settings("epochs = 50", request, spec)
    assert (again.name, again.gpu) == (None, None)


def test_values_that_were_only_shown_do_not_override_a_preset() -> None:
    shown = write_settings(*draft(PAIR))

    assert settings(f'preset = "reference"\n{shown}') == {"preset": "reference"}


def test_a_preset_is_overridden_by_a_value_that_was_changed_to_the_usual_one() -> None:
    request, spec = draft(PAIR, settings={"preset": "reference"})
    shown = write_settings(request, spec)
    assert "rank = 32" in shown

    changed = read_settings(shown.replace("rank = 32", "rank = 8"), request, spec)

    assert changed.settings == {"preset": "reference", "rank": "high=8 low=42"}


@pytest.mark.parametrize(
    ("text", "cause", "fix"),
    [
        ("rank 16", "not valid TOML", "key = value"),
        ("fp8 = yes", "not valid TOML", "true or false"),
        ("rank = 8\nrank = 9", "not valid TOML", "key = value"),
        ("alfa = 8", "no setting called 'alfa'", "Did you mean alpha?"),
        ("[high]\nalfa = 8", "no setting called 'alfa'", "Did you mean alpha?"),
        ("[hihg]\nrank = 8", "no expert called 'hihg'", "Did you mean high?"),
        ("[other]\nrank = 8", "no expert called 'other'", "high, low"),
        ("rank = [8, 16]", "rank cannot be [8, 16]", "key = value"),
        ("high = 8", "no setting called 'high'", "Settings: "),
        ('[high]\nitems = "clips"', "items applies to all experts", "above the tables"),
        ('[high]\nscheduler = "a, b"', "scheduler cannot be 'a, b'", "Leave out the spaces"),
        ("rank = 1979-05-27", "rank cannot be 1979-05-27", "key = value"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused(text: str, cause: str, fix: str) -> None:
    with pytest.raises(RequestError) as raised:
        settings(text)

    assert cause in raised.value.cause
    assert fix in raised.value.fix


def test_an_expert_that_is_not_trained_is_refused_later_with_its_name() -> None:
    request, spec = draft(ONE)

    with pytest.raises(RequestError, match="high is not trained in this run"):
        resolve_experts(read_settings("[high]\nrank = 8", request, spec), find_model(ONE))
