"""The modules of Wan's denoisers that a LoRA adapts, with their widths."""

from collections.abc import Mapping
from types import MappingProxyType

from training.catalogue.models import Model, ModelSize
from training.vocabulary import Widths

_ATTENTION = ("q", "k", "v", "o")
# Blocks, width and feed-forward width. Source: num_layers, dim and ffn_dim in Wan-Video/Wan2.1 and
# Wan2.2, wan/configs; both experts of Wan 2.2 A14B have the sizes of Wan 2.1 14B.
_DIMENSIONS: Mapping[ModelSize, tuple[int, int, int]] = MappingProxyType(
    {"1.3B": (30, 1536, 8960), "14B": (40, 5120, 13824)}
)


def wan_modules(*, blocks: int, width: int, ffn_width: int, clip: bool) -> Widths:
    """Return the modules that a LoRA adapts and their widths, in the model's order.

    These are all linear layers of the blocks, as in musubi's `networks.lora_wan`.

    Args:
        blocks: Number of transformer blocks.
        width: Width of the residual stream.
        ffn_width: Width inside the feed-forward layers.
        clip: Whether the model reads CLIP image tokens, as Wan 2.1 image to video does.
    """
    cross = (*_ATTENTION, "k_img", "v_img") if clip else _ATTENTION
    inside: dict[str, tuple[int, int]] = {
        **{f"self_attn.{name}": (width, width) for name in _ATTENTION},
        **{f"cross_attn.{name}": (width, width) for name in cross},
        "ffn.0": (width, ffn_width),
        "ffn.2": (ffn_width, width),
    }
    return MappingProxyType(
        {f"blocks.{n}.{name}": widths for n in range(blocks) for name, widths in inside.items()}
    )


def modules_of(model: Model) -> Widths:
    """Return the modules that a LoRA adapts in the published weights of `model`."""
    blocks, width, ffn_width = _DIMENSIONS[model.size]
    return wan_modules(blocks=blocks, width=width, ffn_width=ffn_width, clip=model.clip)


def file_name(module: str) -> str:
    """Return the module's name in musubi's files, such as `lora_unet_blocks_0_self_attn_q`."""
    return f"lora_unet_{module.replace('.', '_')}"
