"""The grammar of settings: one value for all experts, or one for each."""

from dataclasses import fields

import pytest

from bot.cli.runs.options import RunSettings
from training.catalogue.weights import COMMITS
from training.errors import RequestError
from training.runs.hyperparameters import (
    CONFIG_TEXTS,
    ITEM_NAMES,
    LIGHTNING_NAMES,
    SETTING_NAMES,
    ExpertSettings,
    SpeedLoraSettings,
)
from training.runs.spec import ExpertSpec, TrainRequest, resolve_experts

LIGHTNING = "wan22-i2v-lightning"


def experts(model: str = LIGHTNING, **settings: str) -> dict[str, ExpertSpec]:
    request = TrainRequest(model=model, dataset="annika", settings=settings)
    return {expert.name: expert for expert in resolve_experts(request)[1]}


def test_what_is_not_given_comes_from_the_catalogue() -> None:
    found = experts()

    high, low = found["high"].settings, found["low"].settings
    assert (high.rank, high.alpha, high.learning_rate) == (8, 8, 1e-4)
    assert (low.rank, low.alpha, low.learning_rate) == (42, 42, 8e-5)
    assert (high.epochs, high.save_every, high.seed, high.flow_shift) == (50, 5, 42, 5.0)
    assert found["high"].speed_lora == SpeedLoraSettings(
        repo="lightx2v/Wan2.2-Lightning",
        file="Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1/high_noise_model.safetensors",
        revision=COMMITS["lightx2v/Wan2.2-Lightning"],
        strength=1.0,
    )


def test_one_value_stands_for_all_experts() -> None:
    assert [expert.settings.epochs for expert in experts(epochs="7").values()] == [7, 7]


@pytest.mark.parametrize(
    "text", ["high=4 low=16", "high:4,low:16", "low=16; high=4", "high = 4  low = 16"]
)
def test_each_expert_can_have_its_own_value(text: str) -> None:
    found = experts(rank=text)

    assert (found["high"].settings.rank, found["low"].settings.rank) == (4, 16)


def test_an_expert_left_out_keeps_its_default() -> None:
    found = experts(learning_rate="high=2e-4")

    assert found["high"].settings.learning_rate == 2e-4
    assert found["low"].settings.learning_rate == 8e-5


def test_alpha_follows_the_rank_unless_given() -> None:
    assert experts(rank="16")["low"].settings.alpha == 16
    assert experts(rank="16", alpha="8")["low"].settings.alpha == 8


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("epochs", "0", "from 1 up to 1000"),
        ("epochs", "many", "a whole number"),
        ("epochs", "2.5", "a whole number"),
        ("learning_rate", "-1", "above 0"),
        ("learning_rate", "nan", "a number above 0"),
        ("rank", "high=8 low=x", "a whole number"),
        ("scheduler", "magic", "polynomial"),
        ("optimizer", "sgd", "adamw8bit"),
        ("blocks_to_swap", "40", "0 up to 39"),
        ("blocks_to_swap", "-1", "from 0"),
        ("fp8", "perhaps", "yes or no"),
        ("lightning_strength", "9", "up to 4"),
        ("lightning_file", "../../etc/passwd", "owner/repo:path/file.safetensors"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_possible(
    setting: str, value: str, expected: str
) -> None:
    with pytest.raises(RequestError) as caught:
        experts(**{setting: value})

    assert setting.replace("_", "-") in caught.value.cause
    assert expected in caught.value.fix


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"scheduler": "cosine", "min_lr_ratio": "0.1"}, "scheduler polynomial or"),
        ({"scheduler": "rex", "scheduler_power": "3"}, "give scheduler polynomial"),
        ({"min_lr_ratio": "1"}, "scheduler constant"),
    ],
)
def test_what_a_schedule_cannot_take_is_refused_instead_of_passed_over(
    given: dict[str, str], expected: str
) -> None:
    with pytest.raises(RequestError, match=r"min-lr-ratio|scheduler-power") as caught:
        experts(**given)

    assert expected in caught.value.fix


def test_a_schedule_takes_what_is_its_own() -> None:
    found = experts(scheduler="cosine_with_min_lr", min_lr_ratio="high=0.2 low=1")

    assert [expert.settings.min_lr_ratio for expert in found.values()] == [0.2, 1]
    assert experts(scheduler="constant")["low"].settings.scheduler == "constant"


@pytest.mark.parametrize("text", ["high=4 16", "high=4 high=5", "main=3"])
def test_a_mixed_or_repeated_value_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        experts(rank=text)


def test_a_model_without_speed_lora_refuses_lightning_settings() -> None:
    with pytest.raises(RequestError, match="without a speed LoRA"):
        experts("wan22-i2v-vanilla", lightning_strength="0.8")


def test_one_expert_can_be_trained_alone() -> None:
    request = TrainRequest(model=LIGHTNING, dataset="annika", expert="low")

    _model, found = resolve_experts(request)

    assert [expert.name for expert in found] == ["low"]


def test_a_model_with_a_single_expert_has_no_choice() -> None:
    with pytest.raises(RequestError, match="single expert"):
        resolve_experts(TrainRequest(model="wan21-t2v-14b", dataset="annika", expert="high"))


def test_settings_of_the_command_line_are_those_of_the_domain() -> None:
    others = {"name", "expert", "gpu", "resume_from", "media"}
    named = {field.name for field in fields(RunSettings)} - others

    assert named == {*SETTING_NAMES, *ITEM_NAMES, *LIGHTNING_NAMES, *CONFIG_TEXTS}
    assert set(SETTING_NAMES) == set(ExpertSettings.model_fields) - {"expert"}
