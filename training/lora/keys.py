"""Parses the keys of LoRA files, which every trainer spells in its own way.

A key names a module and a kind of tensor, such as lora_down or alpha. Here a module has Wan's own
name with `_` for each dot (`blocks_0_self_attn_q`); in files, dots and underscores may be mixed and
the prefix, such as `diffusion_model.`, may be missing. Sources:
- module names of Diffusers: `TRANSFORMER_KEYS_RENAME_DICT` in scripts/convert_wan_to_diffusers.py
  of huggingface/diffusers, commit 58eb52c0803ea9af3abec60841c2a093bdf1f951;
- adapter names in keys (`lora_A.default`) and `pipe.dit.`: diffsynth/utils/lora/general.py of
  modelscope/DiffSynth-Studio, commit fed7b18fac2ed4cb802796eec91970e7659bccde;
- `lora_unet__`: `LoRANetwork` in videox_fun/utils/lora_utils.py of aigc-apps/VideoX-Fun, commit
  804a4258e2608f855ccaec8fffa279e75a3b89c6;
- `lora_unet_`: networks/lora.py of kohya-ss/musubi-tuner, commit
  30c658c4f4b0bf05038b3346eff9670259b10fc7;
- spellings of the down and up tensors, `diff`, `diff_b`, `diff_m`: lightx2v/utils/lora_loader.py
  of ModelTC/LightX2V, commit f8aee98b5462cca8d7288888146ebd95592bf266.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

MUSUBI_PREFIX = "lora_unet_"


class KeyPart(StrEnum):
    """A kind of tensor that a LoRA stores for a module.

    The value is the suffix of the tensor's key in musubi's files. A LoRA adds either
    `ALPHA / rank * UP @ DOWN` or `DIFF` to the weight, and either `ALPHA / rank * UP_BIAS` (PEFT's
    `lora_bias`) or `BIAS_DIFF` to the bias.
    """

    DOWN = "lora_down.weight"
    UP = "lora_up.weight"
    ALPHA = "alpha"
    DIFF = "diff"
    BIAS_DIFF = "diff_b"
    UP_BIAS = "lora_up.bias"


@dataclass(frozen=True, slots=True)
class LoraKey:
    """A parsed key: the module that it changes, and the kind of tensor that it holds."""

    module: str
    part: KeyPart

    @property
    def is_of_blocks(self) -> bool:
        """Whether the module is inside a transformer block."""
        return _BLOCK.match(self.module) is not None

    @property
    def is_for_images(self) -> bool:
        """Whether the module reads CLIP image tokens, as only Wan 2.1 I2V does."""
        return is_for_images(self.module)


_BLOCK = re.compile(r"blocks_\d+_")
_IMAGES = re.compile(r"img_emb_.+|blocks_\d+_cross_attn_(?:[kv]|norm_k)_img")
_PREFIX = re.compile(
    r"(?:base_model\.model\.)?(?:pipe\.)?(?:model\.)?"
    r"(?:(?:diffusion_model|transformer|dit|unet)\."
    r"|(?:lora_unet|lora_transformer|lycoris)[._]{1,2}(?:diffusion_model_|transformer_)?)?"
)
# Names that wrappers add around a module: torch.compile, FSDP, checkpointing and DDP.
_WRAPPERS = re.compile(
    r"_(?:orig_mod|fsdp_wrapped_module|checkpoint_wrapped_module)[._]|(?:^|(?<=\.))module\."
)
# The key of a down or up matrix may contain the name that PEFT gave the adapter
# (`lora_A.default.weight`), and may lack `.weight`.
_LORA = r"[._]lora(?:_linear_layer)?[._](?:{})(?:\.(?!weight|bias)[\w-]+)?"
_ENDINGS: tuple[tuple[re.Pattern[str], KeyPart], ...] = tuple(
    (re.compile(f"{pattern}$"), part)
    for pattern, part in (
        (_LORA.format("down|A") + r"(?:\.weight)?", KeyPart.DOWN),
        (_LORA.format("up|B") + r"(?:\.weight)?", KeyPart.UP),
        (_LORA.format("up|B") + r"\.bias", KeyPart.UP_BIAS),
        (r"\.alpha", KeyPart.ALPHA),
        (r"\.(?:diff|w_norm)", KeyPart.DIFF),
        (r"\.(?:diff_b|b_norm)", KeyPart.BIAS_DIFF),
    )
)
_MODULATION = ".diff_m"
# Diffusers' names, with `_` for each dot, and Wan's names for them, applied in this order.
_DIFFUSERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^(blocks_\d+)_attn1_", r"\1_self_attn_"),
        (r"^(blocks_\d+)_attn2_", r"\1_cross_attn_"),
        (r"_attn_to_out(?:_0)?$", "_attn_o"),
        (r"_attn_to_([qkv])$", r"_attn_\1"),
        (r"_attn_add_([kv])_proj$", r"_attn_\1_img"),
        (r"_attn_norm_added_k$", "_attn_norm_k_img"),
        (r"_ffn_net_0_proj$", "_ffn_0"),
        (r"_ffn_net_2$", "_ffn_2"),
        # Wan's norm1 and norm2 have no weights, so norm2 can only mean Wan's norm3.
        (r"^(blocks_\d+)_norm2$", r"\1_norm3"),
        (r"^(blocks_\d+)_scale_shift_table$", r"\1_modulation"),
        (r"^scale_shift_table$", "head_modulation"),
        (r"^proj_out$", "head_head"),
        (r"^condition_embedder_(time|text)_embedder_linear_1$", r"\1_embedding_0"),
        (r"^condition_embedder_(time|text)_embedder_linear_2$", r"\1_embedding_2"),
        (r"^condition_embedder_time_proj$", "time_projection_1"),
        (r"^condition_embedder_image_embedder_norm1$", "img_emb_proj_0"),
        (r"^condition_embedder_image_embedder_ff_net_0_proj$", "img_emb_proj_1"),
        (r"^condition_embedder_image_embedder_ff_net_2$", "img_emb_proj_3"),
        (r"^condition_embedder_image_embedder_norm2$", "img_emb_proj_4"),
        (r"^condition_embedder_image_embedder_pos_embed$", "img_emb_emb_pos"),
    )
)
# Kinds of weights that a plain LoRA does not have, each with the pattern of its keys.
_OTHER_ADAPTERS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "DoRA scales": re.compile(r"\.(?:dora_scale|lora_magnitude_vector)\b"),
        "LoHa factors": re.compile(r"[._]hada_"),
        "LoKr factors": re.compile(r"[._]lokr_"),
        "Tucker factors (lora_mid)": re.compile(r"[._]lora_mid\b"),
        "OFT factors": re.compile(r"[._](?:b?oft)_"),
        "GLoRA factors": re.compile(r"\.[ab][12]\.weight$"),
        "VeRA factors": re.compile(r"[._]vera_"),
        "(IA)3 factors": re.compile(r"[._]ia3_l|\.on_input$"),
        "LoRA weights of a text encoder": re.compile(r"^(?:lora_te\d?_|text_encoders?\.)"),
        "LoRA weights of fused projections (to_qkv, to_kv)": re.compile(
            r"(?:attn[12]|self_attn|cross_attn)[._](?:to_)?q?kv[._]"
        ),
        # Diffusers calls the second expert transformer_2, DiffSynth dit2, and Wan's own code
        # high_noise_model or low_noise_model.
        "weights of a second expert (transformer_2)": re.compile(
            r"^(?:transformer_2|(?:pipe\.)?dit2|(?:high|low)_noise_model)\."
        ),
    }
)
# Module names in LoRAs for other models, so that an error can say which model a file is for.
_OTHER_MODELS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "HunyuanVideo or FLUX": re.compile(r"(?:double|single)_blocks"),
        "Stable Diffusion": re.compile(r"(?:down|up|mid|input|output|middle)_blocks?_"),
        "Stable Diffusion 3": re.compile(r"joint_blocks"),
        "Wan VACE": re.compile(r"vace_"),
        "Wan Animate": re.compile(r"face_(?:adapter|encoder)|pose_patch"),
        "Wan S2V": re.compile(r"audio_injector|casual_audio"),
        "LTX-Video, CogVideoX, Qwen-Image or FLUX": re.compile(r"transformer_blocks"),
        "Z-Image, Lumina or a language model": re.compile(r"layers_\d+_"),
    }
)


@dataclass(frozen=True, slots=True)
class KeyKind:
    """A kind of key, what a merge does with it, and the published files that have such keys."""

    name: str
    decision: str
    published: str


_LIGHTX2V_21 = "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64"
PAIRS = KeyKind(
    "lora_down and lora_up, lora_A and lora_B",
    "their product is added to the weight, times alpha / rank (1 without an alpha)",
    "all of them",
)
DIFFS = KeyKind(
    "diff",
    "added to the weight",
    f"{_LIGHTX2V_21}, CausVid and AccVideo (norms)",
)
BIASES = KeyKind(
    "diff_b, lora_B.bias",
    "added to the bias",
    f"{_LIGHTX2V_21}, CausVid, AccVideo",
)
MODULATIONS = KeyKind(
    "diff_m",
    "added to the modulation, as in LightX2V; ComfyUI ignores it when it loads the LoRA",
    f"{_LIGHTX2V_21} (ComfyUI #8922)",
)
IMAGES = KeyKind(
    "k_img, v_img, norm_k_img, img_emb",
    "left out: the base has no image modules, as in Wan 2.2 and in all T2V models",
    "wan2.2_i2v_A14b_{high,low}_noise_lora_rank64_lightx2v_4step_1022 (LightX2V #1246), "
    f"{_LIGHTX2V_21} and other Wan 2.1 I2V LoRAs",
)
KINDS = (PAIRS, DIFFS, BIASES, MODULATIONS, IMAGES)


def split_key(key: str) -> LoraKey | None:
    """Parse a key; return None if its ending is unknown or belongs to another kind of adapter."""
    if other_adapter(key) is not None:
        return None
    if key.endswith(_MODULATION):
        return LoraKey(flat_name(f"{key.removesuffix(_MODULATION)}.modulation"), KeyPart.DIFF)
    for ending, part in _ENDINGS:
        if match := ending.search(key):
            return LoraKey(flat_name(key[: match.start()]), part)
    return None


def flat_name(name: str) -> str:
    """Return Wan's name for a module, with `_` for each dot: `blocks_0_self_attn_q`."""
    flat = strip_prefix(name).replace(".", "_")
    for pattern, wans in _DIFFUSERS:
        flat = pattern.sub(wans, flat)
    return flat


def strip_prefix(name: str) -> str:
    """Return `name` without prefix (`diffusion_model.`) and without wrappers (`_orig_mod.`)."""
    bare = _WRAPPERS.sub("", name)
    match = _PREFIX.match(bare)
    return bare[match.end() :] if match else bare


def kind_of(key: LoraKey) -> KeyKind:
    """Return a key's kind, but not `IMAGES`, because that depends on the base model."""
    if key.part is KeyPart.DIFF:
        return MODULATIONS if key.module.endswith("modulation") else DIFFS
    return BIASES if key.part in (KeyPart.BIAS_DIFF, KeyPart.UP_BIAS) else PAIRS


def is_for_images(module: str) -> bool:
    """Return whether a module, such as `blocks_0_cross_attn_k_img`, reads CLIP image tokens."""
    return _IMAGES.fullmatch(module) is not None


def other_adapter(key: str) -> str | None:
    """Return what a key of another adapter kind holds, such as "LoHa factors"; None for LoRA."""
    return next((what for what, mark in _OTHER_ADAPTERS.items() if mark.search(key)), None)


def other_model(modules: Iterable[str]) -> str | None:
    """Return the unsupported model, like "Wan VACE", whose LoRAs have these modules; else None."""
    names = [name for name in modules if _BLOCK.match(name) is None]
    found = (
        model for model, mark in _OTHER_MODELS.items() if any(mark.search(name) for name in names)
    )
    return next(found, None)
