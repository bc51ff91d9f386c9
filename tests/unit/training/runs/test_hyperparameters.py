"""The grammar of settings: one value for all experts, or one for each."""

from dataclasses import fields

import pytest

from bot.cli.runs.options import RunSettings
from training.catalogue.models import MODELS, Model, find_model
from training.catalogue.presets import REFERENCE
from training.catalogue.weights import COMMITS
from training.errors import RequestError
from training.runs.hyperparameters import (
    CONFIG_TEXTS,
    ITEM_NAMES,
    LIGHTNING_NAMES,
    PRESET_NAME,
    SETTING_NAMES,
    ExpertSettings,
    ItemSettings,
    SpeedLoraSettings,
)
from training.runs.spec import ExpertSpec, TrainRequest, requested_items, resolve_experts

LIGHTNING = "wan22-i2v-lightning"


def experts(model: str = LIGHTNING, **settings: str) -> dict[str, ExpertSpec]:
    request = TrainRequest(model=model, dataset="annika", settings=settings)
    return {expert.name: expert for expert in resolve_experts(request, find_model(model))}


@pytest.mark.parametrize("given", [{}, {"fast": "off"}, {"fast": "16bit"}, {"fast": "fp8"}])
def test_files_name_compiled_steps_only_if_they_are_on(given: dict[str, str]) -> None:
    settings = experts(**given)["low"].settings

    written = settings.model_dump_json()

    assert ("fast" in written) == (settings.fast != "off")
    assert ExpertSettings.model_validate_json(written) == settings


def test_missing_settings_come_from_the_catalogue() -> None:
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


def test_one_value_applies_to_all_experts() -> None:
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
        ("blocks_to_swap", "40", "0 to 39"),
        ("blocks_to_swap", "-1", "from 0"),
        ("fp8", "perhaps", "yes or no"),
        ("lightning_strength", "9", "up to 4"),
        ("lightning_file", "../../etc/passwd", "owner/repo:path/file.safetensors"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(
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
        ({"scheduler": "rex", "scheduler_power": "3"}, "use scheduler polynomial"),
        ({"min_lr_ratio": "1"}, "scheduler constant"),
    ],
)
def test_a_setting_that_the_schedule_ignores_is_refused(
    given: dict[str, str], expected: str
) -> None:
    with pytest.raises(RequestError, match=r"min-lr-ratio|scheduler-power") as caught:
        experts(**given)

    assert expected in caught.value.fix


def test_a_schedule_accepts_its_own_settings() -> None:
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

    found = resolve_experts(request, find_model(LIGHTNING))

    assert [expert.name for expert in found] == ["low"]


def test_a_model_with_a_single_expert_has_no_choice() -> None:
    request = TrainRequest(model="wan21-t2v-14b", dataset="annika", expert="high")

    with pytest.raises(RequestError, match="single expert"):
        resolve_experts(request, find_model(request.model))


def test_the_command_line_has_the_settings_of_the_domain() -> None:
    others = {"name", "expert", "gpu", "resume_from", "media"}
    named = {field.name for field in fields(RunSettings)} - others

    assert named == {PRESET_NAME, *SETTING_NAMES, *ITEM_NAMES, *LIGHTNING_NAMES, *CONFIG_TEXTS}
    assert set(SETTING_NAMES) == set(ExpertSettings.model_fields) - {"expert"}


def reference(model: str, **given: str) -> dict[str, ExpertSettings]:
    request = TrainRequest(model=model, dataset="annika", settings={"preset": "reference", **given})
    return {e.name: e.settings for e in resolve_experts(request, find_model(model))}


def test_the_guides_preset_is_the_default() -> None:
    for model in MODELS:
        plain = TrainRequest(model=model.name, dataset="annika")
        guide = TrainRequest(model=model.name, dataset="annika", settings={"preset": "guide"})

        assert resolve_experts(plain, model) == resolve_experts(guide, model)
        assert requested_items(plain, model) == requested_items(guide, model) == ItemSettings()


def test_the_reference_preset_sets_the_listed_values() -> None:
    t2v = reference("wan22-t2v-vanilla")
    high, low = t2v["high"], t2v["low"]

    assert (high.flow_shift, low.flow_shift) == (12, 3)
    assert (high.rank, high.alpha, low.rank) == (32, 32, 42)
    assert high.force_v2_1_time_embedding
    assert low.force_v2_1_time_embedding
    assert high.fp8
    assert reference("wan22-i2v-lightning")["high"].flow_shift == 5
    assert reference("wan21-i2v-480p")["main"].flow_shift == 3
    assert reference("wan21-i2v-720p")["main"].flow_shift == 5
    assert not reference("wan21-t2v-14b")["main"].fp8
    assert not reference("wan21-t2v-1-3b")["main"].force_v2_1_time_embedding


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_reference_preset_differs_from_the_guide_in_listed_values_only(model: Model) -> None:
    guide = resolve_experts(TrainRequest(model=model.name, dataset="annika"), model)
    found = reference(model.name)

    for expert in guide:
        ours, theirs = found[expert.name].model_dump(), expert.settings.model_dump()
        changed = {name for name in ours if ours[name] != theirs[name]}
        listed = {v.setting for v in REFERENCE if v.applies(model, expert.name)} - {"items"}
        assert changed == (listed | {"alpha"} if "rank" in listed else listed)


def test_a_given_value_overrides_the_preset() -> None:
    found = reference("wan22-t2v-vanilla", flow_shift="high=5", rank="16", fp8="no")

    assert (found["high"].flow_shift, found["low"].flow_shift) == (5, 3)
    assert (found["high"].rank, found["low"].rank) == (16, 16)
    assert not found["high"].fp8


def test_the_reference_preset_trains_i2v_on_clips() -> None:
    def items(model: str, **given: str) -> str | None:
        settings = {"preset": "reference", **given}
        request = TrainRequest(model=model, dataset="annika", settings=settings)
        return requested_items(request, find_model(model)).items

    assert items("wan22-i2v-vanilla") == "clips"
    assert items("wan22-i2v-vanilla", items="all") == "all"
    assert items("wan22-t2v-vanilla") is None


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("wan22-t2v-vanilla", {"preset": "best"}, "preset cannot be 'best'"),
        ("wan22-t2v-vanilla", {"preset": "high=reference"}, "one of guide, reference, for all"),
        ("wan22-t2v-vanilla", {"loraplus_lr_ratio": "0.5"}, "a number from 1 up to 64"),
        ("wan21-t2v-14b", {"force_v2_1_time_embedding": "yes"}, "no effect on wan21-t2v-14b"),
    ],
)
def test_an_impossible_quality_option_is_refused(
    model: str, given: dict[str, str], said: str
) -> None:
    request = TrainRequest(model=model, dataset="annika", settings=given)

    with pytest.raises(RequestError) as refused:
        resolve_experts(request, find_model(model))

    assert said in str(refused.value)
