"""A base of Wan's widths in bf16 and a LoRA of all its layers, with random values."""

from pathlib import Path

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

RANK = 64
_WIDTH, _INNER = 5_120, 13_824
_BLOCK = {
    **{f"{kind}.{m}": (_WIDTH, _WIDTH) for kind in ("self_attn", "cross_attn") for m in "qkvo"},
    "ffn.0": (_INNER, _WIDTH),
    "ffn.2": (_WIDTH, _INNER),
}
BLOCK_GIGABYTES = sum(out * into for out, into in _BLOCK.values()) * 2 / 1e9


def write_model(base: Path, lora: Path, *, blocks: int) -> None:
    """Write the base, and a LoRA in fp32 as the Lightning files are."""
    names = [(f"blocks.{b}.{name}", shape) for b in range(blocks) for name, shape in _BLOCK.items()]
    # Random bits would include NaN. Rolling one random matrix is as good and much faster.
    source = torch.randn(_INNER * _WIDTH, generator=torch.Generator().manual_seed(0)) * 0.02
    weights = {
        f"{name}.weight": source[: out * into].reshape(out, into).roll(i).bfloat16()
        for i, (name, (out, into)) in enumerate(names)
    }
    save_file(weights, base)
    del weights
    pairs: dict[str, torch.Tensor] = {}
    for i, (name, (out, into)) in enumerate(names):
        stem = f"diffusion_model.{name}"
        pairs[f"{stem}.lora_down.weight"] = source[: RANK * into].roll(i).reshape(RANK, into)
        pairs[f"{stem}.lora_up.weight"] = source[: RANK * out].roll(-i).reshape(out, RANK)
        pairs[f"{stem}.alpha"] = torch.tensor(RANK)
    save_file(pairs, lora)
