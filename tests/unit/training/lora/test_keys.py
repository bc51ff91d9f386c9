"""The table of LoRA keys: an adapter reads the same in the spellings of all trainers."""

import pytest

from tests.adapters import SPELLINGS, Spelling, respelled, tensors, widths
from training.lora.keys import (
    BIASES,
    DIFFS,
    KINDS,
    MODULATIONS,
    PAIRS,
    KeyPart,
    LoraKey,
    is_for_images,
    kind_of,
    other_adapter,
    other_model,
    split_key,
)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("model", ["wan21-t2v-1-3b", "wan21-i2v-480p"])
def test_every_spelling_names_the_same_modules_and_parts(spelling: Spelling, model: str) -> None:
    musubi = tensors(widths(model))

    split = [split_key(key) for key in respelled(musubi, spelling)]

    expected = {
        (module.replace(".", "_"), part)
        for module in widths(model)
        for part in (KeyPart.DOWN, KeyPart.UP, *([KeyPart.ALPHA] if spelling.alpha else []))
    }
    assert {(key.module, key.part) for key in split if key is not None} == expected
    assert len(split) == len(expected)


@pytest.mark.parametrize(
    ("key", "module", "part"),
    [
        # Wan's own names and Diffusers' names for parts other than the linear layers of blocks.
        ("diffusion_model.blocks.0.diff_m", "blocks_0_modulation", KeyPart.DIFF),
        ("diffusion_model.head.diff_m", "head_modulation", KeyPart.DIFF),
        ("diffusion_model.blocks.3.modulation.diff", "blocks_3_modulation", KeyPart.DIFF),
        ("blocks.3.scale_shift_table.diff", "blocks_3_modulation", KeyPart.DIFF),
        ("transformer.scale_shift_table.diff", "head_modulation", KeyPart.DIFF),
        ("diffusion_model.blocks.0.norm3.diff_b", "blocks_0_norm3", KeyPart.BIAS_DIFF),
        ("transformer.blocks.0.norm2.diff", "blocks_0_norm3", KeyPart.DIFF),
        ("lora_unet_blocks_0_norm3.w_norm", "blocks_0_norm3", KeyPart.DIFF),
        ("lora_unet_blocks_0_norm3.b_norm", "blocks_0_norm3", KeyPart.BIAS_DIFF),
        ("blocks.0.cross_attn.norm_k_img.diff", "blocks_0_cross_attn_norm_k_img", KeyPart.DIFF),
        ("blocks.0.attn2.norm_added_k.diff", "blocks_0_cross_attn_norm_k_img", KeyPart.DIFF),
        ("transformer.blocks.0.attn1.to_q.lora_B.bias", "blocks_0_self_attn_q", KeyPart.UP_BIAS),
        ("condition_embedder.time_embedder.linear_1.lora_A.weight", "time_embedding_0", "down"),
        ("condition_embedder.time_embedder.linear_2.lora_A.weight", "time_embedding_2", "down"),
        ("condition_embedder.text_embedder.linear_1.lora_A.weight", "text_embedding_0", "down"),
        ("condition_embedder.text_embedder.linear_2.lora_A.weight", "text_embedding_2", "down"),
        ("condition_embedder.time_proj.lora_A.weight", "time_projection_1", "down"),
        ("condition_embedder.image_embedder.norm1.diff", "img_emb_proj_0", KeyPart.DIFF),
        ("condition_embedder.image_embedder.ff.net.0.proj.lora_A.weight", "img_emb_proj_1", "down"),
        ("condition_embedder.image_embedder.ff.net.2.lora_A.weight", "img_emb_proj_3", "down"),
        ("condition_embedder.image_embedder.norm2.diff", "img_emb_proj_4", KeyPart.DIFF),
        ("transformer.proj_out.lora_A.weight", "head_head", "down"),
        ("lora_unet__img_emb_proj_1.lora_down.weight", "img_emb_proj_1", "down"),
        ("blocks.0._orig_mod.self_attn.q.lora_A.weight", "blocks_0_self_attn_q", "down"),
        (
            "_fsdp_wrapped_module.blocks.0._checkpoint_wrapped_module.ffn.0.lora_A.weight",
            "blocks_0_ffn_0",
            "down",
        ),
        ("blocks.0.attn1.to_q_lora.down.weight", "blocks_0_self_attn_q", "down"),
        ("blocks.0.attn1.to_q.lora_linear_layer.down.weight", "blocks_0_self_attn_q", "down"),
    ],
)
def test_every_other_key_means_what_its_makers_intended(key: str, module: str, part: str) -> None:
    expected = KeyPart.DOWN if part == "down" else KeyPart(part)
    assert split_key(key) == LoraKey(module, expected)


@pytest.mark.parametrize(
    "key",
    [
        "blocks.0.self_attn.q.weight",
        "diffusion_model.blocks.0.ffn.0.bias",
        "blocks.0.ffn.0.lora_A.bias",
        "blocks.0.ffn.0.lora_sideways.weight",
    ],
)
def test_an_unknown_ending_is_not_guessed(key: str) -> None:
    assert split_key(key) is None


def test_a_prefix_of_something_else_stays_in_the_name() -> None:
    twice = split_key("diffusion_model.diffusion_model.blocks.0.ffn.0.alpha")

    assert twice == LoraKey("diffusion_model_blocks_0_ffn_0", KeyPart.ALPHA)
    assert not LoraKey("diffusion_model_blocks_0_ffn_0", KeyPart.ALPHA).is_of_blocks


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("dora_scale", "DoRA"),
        ("lora_magnitude_vector", "DoRA"),
        ("lora_magnitude_vector.default.weight", "DoRA"),
        ("hada_w1_a", "LoHa"),
        ("lokr_w2", "LoKr"),
        ("lora_mid.weight", "Tucker"),
        ("oft_blocks", "OFT"),
        ("a1.weight", "GLoRA"),
        ("vera_lambda_b", "VeRA"),
        ("on_input", "(IA)3"),
    ],
)
@pytest.mark.parametrize("stem", ["diffusion_model.blocks.0.ffn.0", "lycoris_blocks_0_ffn_0"])
def test_adapters_of_other_kinds_are_known_by_name(stem: str, ending: str, kind: str) -> None:
    key = f"{stem}.{ending}"

    assert kind in (other_adapter(key) or "")
    assert split_key(key) is None


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("transformer_2.blocks.0.attn1.to_q.lora_A.weight", "second expert"),
        ("pipe.dit2.blocks.0.self_attn.q.lora_A.weight", "second expert"),
        ("high_noise_model.blocks.0.ffn.0.lora_A.weight", "second expert"),
        ("transformer.blocks.0.attn1.to_qkv.lora_A.weight", "fused projections"),
        ("lora_unet_blocks_0_cross_attn_kv.lora_down.weight", "fused projections"),
    ],
)
def test_every_kind_that_cannot_be_mapped_has_a_name(key: str, what: str) -> None:
    assert what in (other_adapter(key) or "")
    assert split_key(key) is None


def test_a_file_of_another_model_is_known_by_its_modules() -> None:
    assert other_model(["double_blocks_0_img_attn_qkv"]) == "HunyuanVideo or FLUX"
    assert other_model(["down_blocks_0_attentions_0"]) == "Stable Diffusion"
    assert other_model(["blocks_0_self_attn_q", "vace_blocks_0_ffn_0"]) == "Wan VACE"
    assert other_model(["blocks_0_self_attn_q", "time_embedding_0"]) is None


def test_every_kind_of_key_has_a_decision_and_published_files() -> None:
    assert kind_of(LoraKey("blocks_0_ffn_0", KeyPart.ALPHA)) is PAIRS
    assert kind_of(LoraKey("blocks_0_norm3", KeyPart.DIFF)) is DIFFS
    assert kind_of(LoraKey("blocks_0_modulation", KeyPart.DIFF)) is MODULATIONS
    assert kind_of(LoraKey("blocks_0_ffn_0", KeyPart.UP_BIAS)) is BIASES
    assert all(kind.decision and kind.published for kind in KINDS)


def test_image_modules_are_recognized() -> None:
    assert is_for_images("blocks_0_cross_attn_k_img")
    assert is_for_images("blocks_0_cross_attn_norm_k_img")
    assert is_for_images("img_emb_proj_1")
    assert not is_for_images("blocks_0_cross_attn_k")
