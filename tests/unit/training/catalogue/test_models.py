"""The catalogue: eight models, each value with a source."""

from dataclasses import fields

import pytest

from training.catalogue.models import MODELS, SOURCES, Expert, Model, find_model
from training.errors import NotFoundError

ALL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def test_the_catalogue_has_the_eight_models_of_the_guide() -> None:
    assert [model.name for model in MODELS] == [
        "wan21-t2v-14b",
        "wan21-t2v-1-3b",
        "wan21-i2v-480p",
        "wan21-i2v-720p",
        "wan22-t2v-vanilla",
        "wan22-t2v-lightning",
        "wan22-i2v-vanilla",
        "wan22-i2v-lightning",
    ]


def test_every_kind_of_value_names_its_source() -> None:
    named = {field.name for field in (*fields(Model), *fields(Expert))}

    assert named <= set(SOURCES)


@ALL
def test_weights_fit_the_model_that_names_them(model: Model) -> None:
    kind = "i2v" if model.i2v else "t2v"
    version = "wan2.2" if model.name.startswith("wan22") else "wan2.1"

    for expert in model.experts:
        file = expert.dit.file.rsplit("/", 1)[-1]
        assert file.startswith(f"{version}_{kind}_")
        assert file.endswith(f"_{model.dtype}.safetensors")
        if expert.name != "main":
            assert f"_{expert.name}_noise_" in file


@ALL
def test_task_is_that_of_the_weights_version(model: Model) -> None:
    is_22 = model.name.startswith("wan22")

    assert model.task.endswith("A14B") == is_22
    assert model.clip == (model.i2v and not is_22)
    assert (model.clip_weights is not None) == model.clip


@ALL
def test_the_number_of_modules_is_that_of_its_blocks(model: Model) -> None:
    blocks = 30 if "1.3B" in model.task else 40
    a_block = 12 if model.clip else 10

    assert model.modules == blocks * a_block


@ALL
def test_experts_share_the_noise_levels_without_gap_or_overlap(model: Model) -> None:
    if len(model.experts) == 1:
        assert model.experts[0].timesteps is None
        return
    high, low = (model.expert(name).timesteps for name in ("high", "low"))

    assert high is not None
    assert low is not None
    assert (low[0], high[1]) == (0, 1000)
    assert low[1] == high[0] == (900 if model.i2v else 875)


def test_lightning_is_of_the_same_kind_as_its_model() -> None:
    for model in MODELS:
        if model.speed_lora is None:
            assert "lightning" not in model.name
            continue
        kind = "I2V" if model.i2v else "T2V"
        for name, file in model.speed_lora.files.items():
            assert f"-{kind}-" in file.file
            assert file.file.endswith(f"{name}_noise_model.safetensors")


def test_an_unknown_model_is_refused_with_all_names() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_model("wan23")

    assert "wan23" in caught.value.cause
    assert all(model.name in caught.value.fix for model in MODELS)


def test_a_model_is_found_in_capital_letters_and_a_wrong_name_names_the_nearest() -> None:
    assert find_model(" WAN21-T2V-14B ").name == "wan21-t2v-14b"
    with pytest.raises(NotFoundError) as refused:
        find_model("Wan21-t2v-1.3b")
    assert refused.value.fix.startswith("Did you mean wan21-t2v-1-3b")
