"""The same adapter in the spelling of every trainer gives the same merge, bit by bit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from tests.adapters import SPELLINGS, respelled
from tests.ml.merge.merge_models import (
    Style,
    Tensors,
    adapter,
    base_model,
    in_fp32,
    load,
    request_in,
    write_inputs,
)
from training.errors import AdapterError, MergeError
from training.lora.keys import KINDS
from training.merge.merge import merge
from training.merge.planning.plan import plan_merge
from training.merge.receipt import Receipt

LORA = adapter().keys(Style("lora_unet_", alpha=torch.float32))
ROOT = Path(__file__).parents[3]


def merged(folder: Path, lora: Tensors, base: Tensors | None = None) -> tuple[Tensors, Receipt]:
    write_inputs(folder, base, lora)
    receipt = merge(request_in(folder))
    return load(request_in(folder).output), receipt


def spelled(name: str) -> Tensors:
    musubi = {key: values.numpy() for key, values in LORA.items()}
    found = respelled(musubi, SPELLINGS[name])
    return {key: torch.from_numpy(np.asarray(values)) for key, values in found.items()}


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_gives_the_same_bits(tmp_path: Path, name: str) -> None:
    found, receipt = merged(tmp_path, spelled(name))

    assert same(found, in_fp32(base_model(), adapter()))
    assert receipt.layers_merged == 8
    assert receipt.keys_skipped == {}


def test_an_alpha_of_shape_1_counts_like_a_scalar(tmp_path: Path) -> None:
    with_scalars = spelled("diffusers-with-alpha")
    listed = {
        key: tensor.reshape(1) if key.endswith(".alpha") else tensor
        for key, tensor in with_scalars.items()
    }
    assert any(tensor.shape == (1,) for tensor in listed.values())
    (tmp_path / "scalars").mkdir()

    by_scalars, _ = merged(tmp_path / "scalars", with_scalars)
    by_lists, _ = merged(tmp_path, listed)

    assert same(by_scalars, by_lists)


def test_spellings_may_be_mixed_in_one_file(tmp_path: Path) -> None:
    diffusers, musubi = spelled("diffusers-with-alpha"), spelled("musubi")
    mixed = {key: t for key, t in diffusers.items() if "ffn" in key}
    mixed |= {key: t for key, t in musubi.items() if "ffn" not in key}

    found, _ = merged(tmp_path, mixed)

    assert same(found, in_fp32(base_model(), adapter()))


def test_a_module_in_two_spellings_is_refused(tmp_path: Path) -> None:
    twice = spelled("musubi") | {
        key: t.clone() for key, t in spelled("diffusers").items() if "blocks.0.ffn.net.2" in key
    }
    write_inputs(tmp_path, lora=twice)

    with pytest.raises(MergeError, match="names 1 layer twice: blocks_0_ffn_2"):
        plan_merge(request_in(tmp_path))


def test_a_base_with_diffusers_names_accepts_a_lora_with_wan_names(tmp_path: Path) -> None:
    base = {
        key.replace("self_attn.q", "attn1.to_q").replace("cross_attn.k", "attn2.to_k"): values
        for key, values in base_model().items()
    }

    found, receipt = merged(tmp_path, LORA, base)

    expected = in_fp32(base_model(), adapter())
    assert torch.equal(found["blocks.0.attn1.to_q.weight"], expected["blocks.0.self_attn.q.weight"])
    assert receipt.layers_merged == 8


def test_modules_may_have_different_ranks(tmp_path: Path) -> None:
    small, large = adapter(rank=2), adapter(rank=6)
    mixed = replace(
        small, pairs={m: (large if "ffn" in m else small).pairs[m] for m in small.pairs}
    )

    found, _ = merged(tmp_path, mixed.keys(Style()))

    assert same(found, in_fp32(base_model(), mixed))


def change_modulation(lora: Tensors) -> str:
    lora["diffusion_model.blocks.1.diff_m"] = torch.full((1, 6, 24), 0.25)
    return "blocks.1.modulation"


def change_modulation_by_its_name(lora: Tensors) -> str:
    lora["diffusion_model.blocks.1.modulation.diff"] = torch.full((1, 6, 24), 0.25)
    return "blocks.1.modulation"


def change_norm(lora: Tensors) -> str:
    lora["diffusion_model.blocks.0.norm3.diff"] = torch.full((24,), 0.25)
    return "blocks.0.norm3.weight"


def change_norm_by_diffusers_name(lora: Tensors) -> str:
    lora["transformer.blocks.0.norm2.diff"] = torch.full((24,), 0.25)
    return "blocks.0.norm3.weight"


def change_bias(lora: Tensors) -> str:
    lora["diffusion_model.blocks.0.ffn.0.diff_b"] = torch.full((56,), 0.25)
    return "blocks.0.ffn.0.bias"


def change_bias_as_peft_does(lora: Tensors) -> str:
    lora["transformer.blocks.0.ffn.net.0.proj.lora_B.bias"] = torch.full((56,), 0.25)
    return "blocks.0.ffn.0.bias"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (change_modulation, "diff_m"),
        (change_modulation_by_its_name, "diff_m"),
        (change_norm, "diff"),
        (change_norm_by_diffusers_name, "diff"),
        (change_bias, "diff_b, lora_B.bias"),
        (change_bias_as_peft_does, "diff_b, lora_B.bias"),
    ],
)
def test_a_difference_is_added_to_its_tensor_and_the_decision_is_shown(
    tmp_path: Path, change: Callable[[Tensors], str], kind: str
) -> None:
    lora = dict(LORA)
    target = change(lora)

    found, receipt = merged(tmp_path, lora)

    base = base_model()
    assert torch.equal(found[target], (base[target].float() + 0.25).half())
    assert receipt.decisions[kind].startswith("1 keys: added to the ")


def test_the_decision_says_that_comfyui_ignores_diff_m(tmp_path: Path) -> None:
    lora = dict(LORA)
    change_modulation(lora)

    _, receipt = merged(tmp_path, lora)

    assert "ComfyUI ignores it" in receipt.decisions["diff_m"]


def test_a_base_without_modulation_is_named_as_the_reason(tmp_path: Path) -> None:
    lora = dict(LORA)
    change_modulation(lora)
    base = {key: t for key, t in base_model().items() if "modulation" not in key}
    write_inputs(tmp_path, base, lora)

    with pytest.raises(MergeError, match=r"1 of 9 layers .*blocks_1_modulation") as refused:
        plan_merge(request_in(tmp_path))
    assert "complete base file" in refused.value.fix


def image_keys() -> Tensors:
    found: Tensors = {
        "diffusion_model.blocks.0.cross_attn.norm_k_img.diff": torch.ones(24),
        "transformer.condition_embedder.image_embedder.norm1.diff": torch.ones(24),
        "diffusion_model.img_emb.proj.1.diff_b": torch.ones(24),
    }
    for stem in ("diffusion_model.blocks.0.cross_attn.k_img", "blocks.1.attn2.add_v_proj"):
        found[f"{stem}.lora_A.weight"] = torch.ones(4, 24)
        found[f"{stem}.lora_B.weight"] = torch.ones(24, 4)
        found[f"{stem}.alpha"] = torch.tensor(4.0)
    return found


def test_image_keys_are_left_out_of_a_base_without_images_and_that_is_shown(
    tmp_path: Path,
) -> None:
    found, receipt = merged(tmp_path, LORA | image_keys())

    assert same(found, in_fp32(base_model(), adapter()))
    assert receipt.keys_skipped.keys() == image_keys().keys()
    assert receipt.decisions["k_img, v_img, norm_k_img, img_emb"].startswith("9 keys: left out")


def test_image_keys_are_merged_into_a_base_with_images(tmp_path: Path) -> None:
    pair = {key: t for key, t in image_keys().items() if "k_img." in key and "norm" not in key}
    base = base_model() | {"blocks.0.cross_attn.k_img.weight": torch.zeros(24, 24).half()}

    found, receipt = merged(tmp_path, LORA | pair, base)

    assert torch.equal(found["blocks.0.cross_attn.k_img.weight"], torch.full((24, 24), 4.0).half())
    assert receipt.keys_skipped == {}


@pytest.mark.parametrize("rank_first", [(3, 4, 1, 2, 2), (3, 16)])
def test_the_pair_of_a_convolution_may_be_stored_flat(
    tmp_path: Path, rank_first: tuple[int, ...]
) -> None:
    down, up = torch.randn(3, 16) * 0.1, torch.randn(24, 3) * 0.1
    conv = {
        "patch_embedding.lora_down.weight": down.reshape(rank_first),
        "patch_embedding.lora_up.weight": up if len(rank_first) == 2 else up[..., None, None, None],
        "patch_embedding.alpha": torch.tensor(3.0),
    }

    found, _ = merged(tmp_path, LORA | conv)

    base = base_model()["patch_embedding.weight"]
    expected = torch.addmm(base.float().flatten(1), up, down).half().view_as(base)
    assert torch.equal(found["patch_embedding.weight"], expected)


def test_alpha_that_diffusers_declares_in_the_metadata_scales_the_merge(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    config = {"transformer.lora_alpha": 8, "transformer.r": 4}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(config)}
    save_file(spelled("diffusers"), tmp_path / "lora.safetensors", metadata)

    merge(request_in(tmp_path))

    assert same(load(request_in(tmp_path).output), in_fp32(base_model(), adapter(factor=2.0)))


def test_alpha_that_peft_stores_beside_the_file_scales_the_merge(tmp_path: Path) -> None:
    write_inputs(tmp_path, lora=spelled("peft"))
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 2, "r": 4}')

    receipt = merge(request_in(tmp_path))

    assert same(load(request_in(tmp_path).output), in_fp32(base_model(), adapter(factor=0.5)))
    assert "alpha" not in receipt.decisions


def test_a_peft_file_without_its_config_is_merged_at_scale_1_and_that_is_shown(
    tmp_path: Path,
) -> None:
    _, receipt = merged(tmp_path, spelled("peft"))

    assert receipt.decisions["alpha"].startswith("none: scale 1")


def test_alphas_that_differ_between_modules_by_the_metadata_are_refused(tmp_path: Path) -> None:
    write_inputs(tmp_path, lora=spelled("peft"))
    config = {"lora_alpha": 2, "alpha_pattern": {"ffn.0": 8}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))

    with pytest.raises(AdapterError, match="different alphas or ranks"):
        plan_merge(request_in(tmp_path))


def test_a_lora_named_for_the_other_expert_is_remarked_on(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    base = (tmp_path / "base.safetensors").rename(tmp_path / "wan_low_noise.safetensors")
    lora = (tmp_path / "lora.safetensors").rename(tmp_path / "high_noise_model.safetensors")

    plan = plan_merge(replace(request_in(tmp_path), base=base, lora=lora))

    assert plan.decisions["expert"] == ("the LoRA's name says high noise, the base's low noise")


def test_a_lora_of_another_model_is_named(tmp_path: Path) -> None:
    foreign = {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.ones(4, 24)}
    write_inputs(tmp_path, lora=LORA | foreign)

    with pytest.raises(MergeError, match="belong to HunyuanVideo or FLUX"):
        plan_merge(request_in(tmp_path))


def test_the_readme_lists_every_kind_of_key() -> None:
    text = (ROOT / "training/merge/README.md").read_text("utf-8")

    for kind in KINDS:
        row = f"| {kind.name} | {kind.decision} | {kind.published} |"
        assert row in text, row
