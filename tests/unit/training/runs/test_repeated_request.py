"""The request that "Train again" makes from an ended run's spec."""

import pytest

from tests.specs import spec as a_spec
from training.catalogue.models import MODELS, find_model
from training.runs.hyperparameters import ItemSettings
from training.runs.repeated_request import repeated_request
from training.runs.spec import (
    ExpertChoice,
    RunSpec,
    StartingPoint,
    TrainRequest,
    requested_items,
    requested_preset,
    resolve_experts,
)

PAIR, ONE = "wan22-i2v-lightning", "wan21-t2v-14b"


def with_starts(spec: RunSpec, **sources: str) -> RunSpec:
    """Return the spec with a LoRA to start from for each named expert."""
    starts = {
        name: StartingPoint(source=source, sha256="0" * 64) for name, source in sources.items()
    }
    experts = [one.model_copy(update={"start": starts.get(one.name)}) for one in spec.experts]
    return spec.model_copy(update={"experts": tuple(experts)})


@pytest.mark.parametrize("model", [model.name for model in MODELS])
def test_a_run_with_the_defaults_gives_a_request_without_settings(model: str) -> None:
    request = repeated_request(a_spec(model))

    assert (request.model, request.dataset, request.name) == (model, "annika@1", None)
    assert request.settings == {}
    assert request.expert == "both"


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (ONE, {"rank": "16", "alpha": "4.5", "fp8": "no", "fast": "16bit"}),
        (ONE, {"preset": "reference", "seed": "7"}),
        (PAIR, {"rank": "high=16", "learning_rate": "high=3e-5 low=2e-5"}),
        (PAIR, {"scheduler": "constant", "loraplus_lr_ratio": "4", "save_every": "low=2"}),
        (PAIR, {"lightning_file": "low=a/b:c-d.safetensors", "lightning_strength": "0.7"}),
        (PAIR, {"preset": "reference", "rank": "16"}),
    ],
)
def test_the_request_resolves_to_the_same_settings(model: str, given: dict[str, str]) -> None:
    found, preset = find_model(model), given.get("preset", "guide")
    asked = TrainRequest(model=model, dataset="annika", settings=given)
    changes = {"experts": resolve_experts(asked, found), "preset": preset}
    spec = a_spec(model).model_copy(update=changes)

    request = repeated_request(spec)

    assert resolve_experts(request, found) == spec.experts
    assert requested_preset(request) == preset
    assert set(request.settings) <= set(given)


@pytest.mark.parametrize("expert", ["high", "low"])
def test_one_expert_stays_alone(expert: ExpertChoice) -> None:
    assert repeated_request(a_spec(PAIR, expert=expert)).expert == expert


def test_limits_gpu_toml_and_left_out_samples_are_kept() -> None:
    items = ItemSettings(max_frames=21, items="clips")
    changes = {"items": items, "gpu": "H200", "left_out": ("videos/001.mp4",)}
    request = repeated_request(a_spec(PAIR).model_copy(update=changes))

    assert requested_items(request, find_model(PAIR)) == items
    assert (request.gpu, request.left_out) == ("H200", ("videos/001.mp4",))
    own = a_spec(ONE).model_copy(update={"dataset_toml": "x = 1", "preset": "reference"})
    assert repeated_request(own).dataset_toml == "x = 1"


def test_starting_points_are_named_once_or_for_each_expert() -> None:
    same = with_starts(a_spec(PAIR), high="old/e20", low="old/e20")
    one = with_starts(a_spec(PAIR), low="annika")

    assert repeated_request(same).resume_from == "old/e20"
    assert repeated_request(one).resume_from == "low=annika"
    assert repeated_request(a_spec(PAIR)).resume_from is None
