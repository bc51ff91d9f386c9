"""A LoRA's header decides whether it loads into a model; others are refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.adapters import tensors, widths, write_adapter, write_header
from training.catalogue.models import MODELS, Model, find_model
from training.errors import AdapterError
from training.lora.contents import read_contents
from training.lora.fit import require_fit, require_values
from training.lora.modules import modules_of, wan_modules
from training.lora.origin import Origin, named_expert, read_origin, remarks
from training.vocabulary import ExpertName

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
        ("wan21-i2v-720p", "wan21-t2v-14b", "480 modules, .* 400 .80 unknown: .*k_img"),
        # Wan 2.1 I2V into Wan 2.2: the most common mix-up, about which ComfyUI only warns.
        ("wan21-i2v-480p", "wan22-i2v-vanilla", "it fits Wan 2.1 I2V 14B"),
        ("wan21-t2v-1-3b", "wan21-t2v-14b", "300 modules, .* 400 .*it fits Wan 2.1 T2V 1.3B"),
        ("wan21-t2v-14b", "wan21-t2v-1-3b", "400 modules, .* 300"),
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
def test_metadata_without_a_contradiction_is_accepted(
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

    with pytest.raises(AdapterError, match="rank 8, but 24 is expected"):
        fit(path, "wan21-t2v-14b", rank=24)


def test_a_module_of_another_width_is_refused(tmp_path: Path) -> None:
    modules = {**widths("wan21-t2v-14b", "musubi"), "blocks.3.ffn.0": (5120, 8960)}
    path = write_header(tmp_path / "a.safetensors", modules)

    with pytest.raises(AdapterError, match=r"blocks_3_ffn_0 has width"):
        fit(path, "wan21-t2v-14b")


def test_one_missing_module_of_four_hundred_is_named(tmp_path: Path) -> None:
    modules = dict(widths("wan21-t2v-14b", "musubi"))
    del modules["blocks.7.cross_attn.o"]
    path = write_header(tmp_path / "a.safetensors", modules)

    with pytest.raises(AdapterError, match=r"399 of 400 modules .*it lacks blocks_7_cross_attn_o"):
        fit(path, "wan21-t2v-14b")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora_unet_blocks_0_ffn_0.lora_up.weight": None}, "lacks lora_up"),
        ({"text_encoder.weight": np.ones(1)}, "1 of its 61 keys holds LoRA weights of a te"),
        ({"lora_te1_x.lora_up.weight": np.ones(1)}, "1 of its 61 keys holds LoRA weights of a te"),
        ({"lora_unet_blocks_0_ffn_0.dora_scale": np.ones(1)}, "not a plain LoRA: .*DoRA scales"),
        ({"lora_unet_blocks_0_ffn_0.hada_w1_a": np.ones(1)}, "not a plain LoRA: .*LoHa factors"),
        ({"lora_unet_blocks_0_ffn_0.lokr_w1": np.ones(1)}, "not a plain LoRA: .*LoKr factors"),
        ({"transformer_2.blocks.0.a": np.ones(1)}, "a second expert"),
        ({"diffusion_model.blocks.0.ffn.0.weight": np.ones(1)}, "contains 1 unknown key:"),
        ({"diffusion_model.blocks.0.ffn.0.diff_b": np.ones(1)}, "1 key of the kind diff_b"),
        ({"blocks.0.diff_m": np.ones(1)}, "the kind diff_m, .*Wan21_I2V_14B_lightx2v"),
        ({"blocks.0.norm3.diff": np.ones(1)}, "1 key of the kind diff,"),
        ({"patch_embedding.lora_A.weight": np.ones((4, 16, 1, 2, 2))}, "1 module outside the blo"),
        ({"proj_out.lora_A.weight": np.ones((4, 96))}, "1 module outside .*: head_head"),
        ({"lora_unet_double_blocks_0_x.alpha": np.ones(1)}, "a LoRA for HunyuanVideo or FLUX"),
        ({"vace_blocks.0.ffn.0.lora_A.weight": np.ones((4, 96))}, "a LoRA for Wan VACE"),
        ({"diffusion_model.blocks.0.ffn.0.lora_A.weight": np.ones((4, 96))}, "twice"),
        ({"lora_unet_blocks_0_ffn_0.lora_down.weight": np.ones((5, 96))}, "mismatched shapes"),
        ({"lora_unet_blocks_0_ffn_0.lora_down.weight": np.ones(4)}, "mismatched shapes"),
        ({"lora_unet_blocks_0_ffn_0.alpha": np.ones(4)}, "is not a number"),
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


def of_layers(model: str, *, layers: str, below: int = 99) -> dict[str, tuple[int, int]]:
    """Return the real modules whose names contain one of `layers`, of the blocks below `below`."""
    return {
        name: pair
        for name, pair in widths(model, "musubi").items()
        if any(layer in name for layer in layers.split()) and int(name.split(".")[1]) < below
    }


@pytest.mark.parametrize(
    ("model", "layers", "below", "said"),
    [
        ("wan21-t2v-1-3b", "attn", 99, "has 240 of 300 modules of .*: attention only"),
        ("wan21-t2v-14b", "attn", 99, "has 320 of 400 modules of .*: attention only"),
        ("wan21-i2v-480p", "attn", 99, "has 400 of 480 modules of .*: attention only"),
        ("wan21-t2v-1-3b", "self_attn", 99, "has 120 of 300 .*: self-attention only"),
        ("wan21-t2v-1-3b", "cross_attn", 99, "has 120 of 300 .*: cross-attention only"),
        ("wan21-t2v-1-3b", "ffn", 99, "has 60 of 300 .*: feed-forward only"),
        ("wan21-t2v-1-3b", "self_attn ffn", 99, "self-attention and feed-forward only"),
        ("wan21-t2v-1-3b", "attn.q attn.v", 99, "cross_attn_q, cross_attn_v, self_attn_q, self_at"),
        ("wan21-t2v-1-3b", "attn ffn", 20, "has 200 of 300 .*: 10 blocks missing: 20, 21, 22"),
    ],
)
def test_a_lora_of_some_modules_is_refused_with_its_coverage(
    model: str, layers: str, below: int, said: str, tmp_path: Path
) -> None:
    modules = of_layers(model, layers=layers, below=below)

    with pytest.raises(AdapterError, match=said):
        fit(write_header(tmp_path / "a.safetensors", modules), model)


def test_a_lora_of_the_5b_model_is_named(tmp_path: Path) -> None:
    modules = wan_modules(blocks=30, width=3072, ffn_width=14336, clip=False)

    with pytest.raises(AdapterError, match=r"fits Wan 2.2 TI2V 5B, which cannot be trained here"):
        fit(write_header(tmp_path / "a.safetensors", modules), "wan21-t2v-1-3b")


def test_a_file_of_a_whole_model_is_not_a_lora(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.safetensors", {"blocks.0.ffn.0.weight": np.ones((4, 4))})

    with pytest.raises(AdapterError, match="not a LoRA: none of its 1 keys"):
        read_contents(path)


HIGH_T2V, LOW_T2V = ("wan22-t2v-vanilla", "high"), ("wan22-t2v-vanilla", "low")


@pytest.mark.parametrize(
    ("file", "use", "metadata", "said"),
    [
        ("person_high_noise.safetensors", LOW_T2V, {}, "says high noise, but the low expert"),
        ("PersonLowNoise-000010.safetensors", HIGH_T2V, {}, "says low noise, but the high expert"),
        ("person-HN.safetensors", LOW_T2V, {}, "says high noise"),
        ("wan2.2_i2v_person_low.safetensors", LOW_T2V, {}, "says I2V, but the model is Wan 2.2"),
        ("Wan21_person_low.safetensors", LOW_T2V, {}, "says Wan 2.1, but the model is Wan 2.2"),
        ("person_lightning_low.safetensors", LOW_T2V, {}, "which suggests a speed LoRA"),
        ("a.safetensors", LOW_T2V, {"lorabot.variant": "lightning"}, "with a speed LoRA merged in"),
        (
            "a.safetensors",
            LOW_T2V,
            {"ss_sd_model_name": "wan2.2_t2v_low_noise_14B_fp16-lightning.safetensors"},
            "with a speed LoRA merged in; wan22-t2v-vanilla has none",
        ),
        (
            "a.safetensors",
            ("wan22-t2v-lightning", "low"),
            {"lorabot.variant": "vanilla"},
            "trained without a speed LoRA; wan22-t2v-lightning merges one in",
        ),
    ],
)
def test_contradicting_names_and_metadata_are_remarked_on(
    file: str, use: tuple[str, ExpertName], metadata: dict[str, str], said: str
) -> None:
    model = find_model(use[0])

    found = remarks(file, read_origin(metadata), model, model.expert(use[1]))

    assert len(found) == 1
    assert re.search(said, found[0])


@pytest.mark.parametrize(
    "file",
    [
        "person_low_noise.safetensors",
        "Wan2.2-T2V-person-LOW.safetensors",
        "person.safetensors",
        "lowpoly_style.safetensors",
        "highlander.safetensors",
        "person_high_and_low.safetensors",
        "i2v_t2v_person.safetensors",
    ],
)
def test_a_fitting_or_neutral_name_gives_no_remark(file: str) -> None:
    model = find_model("wan22-t2v-vanilla")

    assert remarks(file, Origin(variant="vanilla"), model, model.expert("low")) == ()


def test_modules_of_different_ranks_are_refused(tmp_path: Path) -> None:
    found = tensors(widths("wan21-t2v-14b"))
    found["lora_unet_blocks_0_ffn_0.lora_down.weight"] = np.ones((2, 96))
    found["lora_unet_blocks_0_ffn_0.lora_up.weight"] = np.ones((192, 2))

    with pytest.raises(AdapterError, match="different ranks: 2, 4"):
        read_contents(write_adapter(tmp_path / "a.safetensors", found))


@pytest.mark.parametrize(
    ("up", "said"), [(0.0, "no effect"), (float("nan"), "contains NaN"), (np.inf, "contains NaN")]
)
def test_values_that_are_not_finite_or_without_effect_are_refused(
    up: float, said: str, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths("wan21-t2v-14b"), up=up))

    with pytest.raises(AdapterError, match=said):
        require_values(read_contents(path))


@pytest.mark.parametrize("alpha", [0.0, -4.0])
def test_an_impossible_alpha_is_refused(alpha: float, tmp_path: Path) -> None:
    found = tensors(widths("wan21-t2v-14b"), alpha=alpha)

    with pytest.raises(AdapterError, match=f"alpha of {alpha:g}"):
        require_values(read_contents(write_adapter(tmp_path / "a.safetensors", found)))


@pytest.mark.parametrize("comment", ["[" * 100_000, '{"a":' * 100_000, "a person's words", "7"])
def test_a_comment_that_is_not_ours_says_nothing(comment: str) -> None:
    assert read_origin({"ss_training_comment": comment}) == Origin()


def test_a_single_nan_in_a_down_weight_is_found(tmp_path: Path) -> None:
    found = tensors(widths("wan21-t2v-14b"))
    found["lora_unet_blocks_1_ffn_2.lora_down.weight"][3, 17] = np.nan

    with pytest.raises(AdapterError, match="first in blocks_1_ffn_2"):
        require_values(read_contents(write_adapter(tmp_path / "a.safetensors", found)))


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths("wan21-t2v-14b")))
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(AdapterError, match="cannot be read"):
        read_contents(path)


@pytest.mark.parametrize(
    ("stem", "expert"),
    [
        ("person_HIGHv2", "high"),
        ("HIGH_lightning", "high"),
        ("w22_hi_noise", "high"),
        ("wan2.2_高噪声_人物", "high"),
        ("wan2.2_低噪_人物", "low"),
        ("low_poly_high_noise", "high"),
        ("high_res_low_noise_000010", "low"),
        ("high_noise_low_vram", "high"),
        ("high_heels_low", "low"),
        ("low_angle_shot", None),
        ("low-poly", None),
        ("high_quality_person", None),
        ("slow_motion", None),
        ("person_high_low", None),
    ],
)
def test_the_expert_in_a_name_is_told_from_other_uses_of_high_and_low(
    stem: str, expert: str | None
) -> None:
    assert named_expert(f"{stem}.safetensors") == expert
