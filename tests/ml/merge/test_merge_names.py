import subprocess
import sys

import pytest

from training.errors import MergeError
from training.merge.planning.names import (
    LoraKeyPart,
    ModuleNames,
    refused_kind,
    split_key,
    strip_prefix,
)

MODULES = ModuleNames.of(
    ["blocks.0.self_attn.q.weight", "blocks.0.self_attn.q.bias", "patch_embedding.weight"]
)


@pytest.mark.parametrize(
    "written",
    [
        "diffusion_model.blocks.0.self_attn.q",
        "model.diffusion_model.blocks.0.self_attn.q",
        "transformer.blocks.0.self_attn.q",
        "lora_unet_blocks_0_self_attn_q",
        "blocks.0.self_attn.q",
    ],
)
def test_every_prefix_leads_to_the_same_module(written: str) -> None:
    assert MODULES.find(written) == "blocks.0.self_attn.q"


@pytest.mark.parametrize(
    "written",
    [
        "blocks.1.self_attn.q",
        "blocks_0_self_attn_q",
        "lora_unet_blocks.0.self_attn.q",
        "lora_te_blocks_0_self_attn_q",
        "base_model.model.blocks.0.self_attn.q",
        "diffusion_model.diffusion_model.blocks.0.self_attn.q",
    ],
)
def test_another_name_leads_nowhere(written: str) -> None:
    assert MODULES.find(written) is None


def test_a_flat_name_of_two_modules_leads_nowhere() -> None:
    modules = ModuleNames.of(["blocks.0.attn.k_img.weight", "blocks.0.attn_k.img.weight"])

    assert modules.find("lora_unet_blocks_0_attn_k_img") is None


def test_a_base_that_holds_a_module_twice_is_refused() -> None:
    with pytest.raises(MergeError, match="under two prefixes"):
        ModuleNames.of(["blocks.0.q.weight", "model.diffusion_model.blocks.0.q.weight"])


def test_the_name_under_which_the_base_stores_a_module_is_kept() -> None:
    modules = ModuleNames.of(["model.diffusion_model.blocks.0.q.weight"])

    assert modules.known == {"blocks.0.q": "model.diffusion_model.blocks.0.q"}
    assert strip_prefix("model.diffusion_model.blocks.0.q") == "blocks.0.q"


@pytest.mark.parametrize("part", list(LoraKeyPart))
def test_every_ending_is_told_from_the_layer(part: LoraKeyPart) -> None:
    assert split_key(f"diffusion_model.blocks.0.ffn.2{part}") == (
        "diffusion_model.blocks.0.ffn.2",
        part,
    )


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("dora_scale", "DoRA"),
        ("lora_magnitude_vector", "DoRA"),
        ("hada_w1_a", "LoHa"),
        ("lokr_w2", "LoKr"),
        ("diff_m", "diff_m"),
        ("lora_mid.weight", "Tucker"),
    ],
)
def test_unsupported_kinds_are_known_by_name(ending: str, kind: str) -> None:
    found = refused_kind(f"diffusion_model.blocks.0.self_attn.q.{ending}")

    assert found is not None
    assert kind in found


def test_an_unknown_ending_is_not_guessed() -> None:
    assert split_key("diffusion_model.blocks.0.self_attn.q.lora_up.bias") is None


def test_planning_and_verifying_need_no_torch() -> None:
    code = "import training.merge.merge, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
