"""Whether a LoRA loads into a model is decided by its header; what cannot work is refused."""

from pathlib import Path

import numpy as np
import pytest

from tests.adapters import tensors, widths, write_adapter, write_header
from training.catalogue.models import MODELS, Model, find_model
from training.errors import AdapterError
from training.lora.contents import read_contents
from training.lora.fit import require_fit, require_values
from training.lora.modules import modules_of
from training.lora.origin import Origin, read_origin

ALL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def fit(path: Path, model: str, expert: str = "main", rank: int | None = None) -> str:
    found = find_model(model)
    trained = next(e for e in found.experts if e.name == expert)
    contents = read_contents(path)
    return require_fit(contents, model=found, expert=trained, modules=modules_of(found), rank=rank)


@ALL
def test_a_models_modules_are_as_many_as_the_catalogue_says(model: Model) -> None:
    assert len(modules_of(model)) == model.modules


@ALL
def test_every_key_of_a_real_adapter_loads(model: Model, tmp_path: Path) -> None:
    path = write_header(tmp_path / "a.safetensors", modules_of(model), rank=8)

    for expert in model.experts:
        loads = fit(path, model.name, expert.name, rank=8)
        assert loads == f"{model.modules}/{model.modules} modules load"


@pytest.mark.parametrize(
    ("of", "model", "said"),
    [
        # T2V into I2V of Wan 2.1 and the reverse: the image keys tell.
        ("wan21-t2v-14b", "wan21-i2v-720p", "480 .80 missing: .*k_img.*Wan 2.1 T2V 14B"),
        ("wan21-i2v-720p", "wan21-t2v-14b", "480 modules .* 400 .80 foreign: .*k_img"),
        # Wan 2.1 I2V into Wan 2.2: the commonest mix, of which ComfyUI only warns.
        ("wan21-i2v-480p", "wan22-i2v-vanilla", "it fits Wan 2.1 I2V 14B"),
        ("wan21-t2v-1-3b", "wan21-t2v-14b", "300 modules .* 400 .*it fits Wan 2.1 T2V 1.3B"),
        ("wan21-t2v-14b", "wan21-t2v-1-3b", "400 modules .* 300"),
    ],
)
def test_an_adapter_of_another_kind_is_named_by_its_modules(
    of: str, model: str, said: str, tmp_path: Path
) -> None:
    path = write_header(tmp_path / "a.safetensors", widths(of, "musubi"))
    expert = find_model(model).experts[0].name

    with pytest.raises(AdapterError, match=said):
        fit(path, model, expert)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"ss_training_comment": '{"task":"t2v-14B"}'}, "the task t2v-14B"),
        ({"lorabot.task": "i2v-A14B"}, "the task i2v-A14B"),
        ({"lorabot.task": "t2v-A14B", "lorabot.expert": "low"}, "the expert low"),
        ({"modelspec.timestep_range": "0,875"}, "timesteps 0 to 875"),
        ({"modelspec.timestep_range": "900,1000"}, "timesteps 900 to 1000"),
        ({"ss_sd_model_name": "wan2.1_t2v_14B_bf16.safetensors"}, "the base wan2.1_t2v_14B_bf16"),
        ({"ss_sd_model_name": "wan2.2_t2v_low_noise_14B_fp16.safetensors"}, "wan2.2_t2v_low"),
        ({"ss_sd_model_name": "wan2.2_i2v_high_noise_14B_fp16.safetensors"}, "wan2.2_i2v_high"),
    ],
)
def test_a_mix_that_the_modules_do_not_show_is_found_in_the_metadata(
    metadata: dict[str, str], said: str, tmp_path: Path
) -> None:
    modules = widths("wan22-t2v-vanilla", "musubi")
    path = write_header(tmp_path / "a.safetensors", modules, metadata=metadata)

    with pytest.raises(AdapterError, match=said):
        fit(path, "wan22-t2v-vanilla", "high")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"ss_training_comment": "None"},
        {"ss_training_comment": '["odd"]', "modelspec.timestep_range": "odd"},
        {"lorabot.task": "t2v-A14B", "lorabot.expert": "high"},
        {"modelspec.timestep_range": "875,1000"},
        {"ss_sd_model_name": "wan2.2_t2v_high_noise_14B_fp16-lightning.safetensors"},
        {"ss_sd_model_name": "my-own-merge.safetensors"},
    ],
)
def test_metadata_that_says_nothing_else_is_accepted(
    metadata: dict[str, str], tmp_path: Path
) -> None:
    modules = widths("wan22-t2v-vanilla", "musubi")
    path = write_header(tmp_path / "a.safetensors", modules, metadata=metadata)

    assert fit(path, "wan22-t2v-lightning", "high") == "400/400 modules load"


def test_timesteps_of_an_expert_do_not_fit_wan21(tmp_path: Path) -> None:
    modules = widths("wan21-t2v-14b", "musubi")
    metadata = {"modelspec.timestep_range": "875,1000"}
    path = write_header(tmp_path / "a.safetensors", modules, metadata=metadata)

    with pytest.raises(AdapterError, match="875 to 1000"):
        fit(path, "wan21-t2v-14b")


def test_another_rank_is_refused(tmp_path: Path) -> None:
    path = write_header(tmp_path / "a.safetensors", widths("wan21-t2v-14b", "musubi"), rank=8)

    with pytest.raises(AdapterError, match="rank 8 where 24 is expected"):
        fit(path, "wan21-t2v-14b", rank=24)


def test_a_module_of_another_width_is_refused(tmp_path: Path) -> None:
    modules = {**widths("wan21-t2v-14b", "musubi"), "blocks.3.ffn.0": (5120, 8960)}
    path = write_header(tmp_path / "a.safetensors", modules)

    with pytest.raises(AdapterError, match=r"blocks_3_ffn_0 is .* wide"):
        fit(path, "wan21-t2v-14b")


def test_one_missing_module_of_four_hundred_is_named(tmp_path: Path) -> None:
    modules = dict(widths("wan21-t2v-14b", "musubi"))
    del modules["blocks.7.cross_attn.o"]
    path = write_header(tmp_path / "a.safetensors", modules)

    with pytest.raises(AdapterError, match=r"399 modules .*\(1 missing: blocks_7_cross_attn_o"):
        fit(path, "wan21-t2v-14b")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora_unet_blocks_0_ffn_0.lora_up.weight": None}, "lacks lora_up"),
        ({"text_encoder.weight": np.ones(1)}, "foreign key text_encoder.weight"),
        ({"lora_unet_blocks_0_ffn_0.dora_scale": np.ones(1)}, "foreign key .*DoRA"),
        ({"lora_unet_blocks_0_ffn_0.hada_w1_a": np.ones(1)}, "foreign key"),
        ({"diffusion_model.blocks.0.ffn.0.diff_b": np.ones(1)}, "foreign key"),
        ({"diffusion_model.blocks.0.ffn.0.lora_A.weight": np.ones((4, 96))}, "twice"),
        ({"lora_unet_blocks_0_ffn_0.lora_down.weight": np.ones((5, 96))}, "do not fit each other"),
        ({"lora_unet_blocks_0_ffn_0.lora_down.weight": np.ones(4)}, "do not fit each other"),
        ({"lora_unet_blocks_0_ffn_0.alpha": np.ones(4)}, "is no number"),
    ],
)
def test_a_file_with_a_flaw_is_refused_with_the_reason(
    changes: dict[str, np.ndarray | None], said: str, tmp_path: Path
) -> None:
    found = tensors(widths("wan21-t2v-14b"))
    for name, value in changes.items():
        found.pop(name, None)
        if value is not None:
            found[name] = value

    with pytest.raises(AdapterError, match=said):
        read_contents(write_adapter(tmp_path / "a.safetensors", found))


def test_modules_of_different_ranks_are_refused(tmp_path: Path) -> None:
    found = tensors(widths("wan21-t2v-14b"))
    found["lora_unet_blocks_0_ffn_0.lora_down.weight"] = np.ones((2, 96))
    found["lora_unet_blocks_0_ffn_0.lora_up.weight"] = np.ones((192, 2))

    with pytest.raises(AdapterError, match="different ranks: 2, 4"):
        read_contents(write_adapter(tmp_path / "a.safetensors", found))


@pytest.mark.parametrize(
    ("up", "said"), [(0.0, "no effect"), (float("nan"), "not numbers"), (np.inf, "not numbers")]
)
def test_values_without_an_effect_or_that_are_no_numbers_are_refused(
    up: float, said: str, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths("wan21-t2v-14b"), up=up))

    with pytest.raises(AdapterError, match=said):
        require_values(read_contents(path))


@pytest.mark.parametrize("alpha", [0.0, -4.0])
def test_an_alpha_that_no_training_can_have_is_refused(alpha: float, tmp_path: Path) -> None:
    found = tensors(widths("wan21-t2v-14b"), alpha=alpha)

    with pytest.raises(AdapterError, match=f"alpha of {alpha:g}"):
        require_values(read_contents(write_adapter(tmp_path / "a.safetensors", found)))


@pytest.mark.parametrize("comment", ["[" * 100_000, '{"a":' * 100_000, "a person's words", "7"])
def test_a_comment_that_is_not_ours_says_nothing(comment: str) -> None:
    assert read_origin({"ss_training_comment": comment}) == Origin()


def test_one_value_that_is_no_number_is_found_in_a_down_weight(tmp_path: Path) -> None:
    found = tensors(widths("wan21-t2v-14b"))
    found["lora_unet_blocks_1_ffn_2.lora_down.weight"][3, 17] = np.nan

    with pytest.raises(AdapterError, match="first in blocks_1_ffn_2"):
        require_values(read_contents(write_adapter(tmp_path / "a.safetensors", found)))


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths("wan21-t2v-14b")))
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(AdapterError, match="cannot be read"):
        read_contents(path)
