"""Writes tiny VAE, T5 and CLIP weights; run by musubi-tuner's interpreter behind the shim."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file  # type: ignore[reportUnknownVariableType]


def tensors(model: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    found: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        drawn = torch.randn(tensor.shape) * 0.05 if tensor.is_floating_point() else tensor
        found[name] = drawn.to(dtype) if tensor.is_floating_point() else drawn
    return found


def main(folder: Path) -> None:
    modules = [import_module(f"musubi_tuner.wan.modules.{name}") for name in ("clip", "t5", "vae")]
    clip, t5, vae = modules
    encoder = t5.umt5_xxl(encoder_only=True, return_tokenizer=False)
    torch.save(tensors(encoder, torch.bfloat16), folder / "t5.pth")
    eyes = clip.clip_xlm_roberta_vit_h_14(
        pretrained=False, return_transforms=False, return_tokenizer=False, dtype=torch.float16
    )
    torch.save(tensors(eyes, torch.float16), folder / "clip.pth")
    blank = vae.WanVAE_(
        dim=8, z_dim=16, attn_scales=[], temperal_downsample=[False, True, True], dropout=0.0
    )
    save_file(tensors(blank, torch.bfloat16), folder / "vae.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
