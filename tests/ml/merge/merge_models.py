"""Small Wan-shaped models, LoRAs in every style of naming, and the expected merges."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from training.merge.merge import merge
from training.merge.request import MergeProgress, MergeRequest

Tensors = dict[str, Tensor]
SHAPES = {
    "self_attn.q": (24, 24),
    "cross_attn.k": (24, 40),
    "ffn.0": (56, 24),
    "ffn.2": (24, 56),
}


@dataclass(frozen=True)
class Style:
    """How a tool writes the keys of a LoRA."""

    prefix: str = "diffusion_model."
    down: str = "lora_down"
    up: str = "lora_up"
    alpha: torch.dtype | None = torch.int64

    def stem(self, module: str) -> str:
        flat = self.prefix.endswith("_")
        return self.prefix + (module.replace(".", "_") if flat else module)


@dataclass(frozen=True)
class Adapter:
    """A LoRA by module: up and down, and the factor `alpha / rank`."""

    pairs: Mapping[str, tuple[Tensor, Tensor]]
    factor: float = 1.0

    def keys(self, style: Style) -> Tensors:
        found: Tensors = {}
        for module, (up, down) in self.pairs.items():
            stem = style.stem(module)
            found[f"{stem}.{style.down}.weight"] = down
            found[f"{stem}.{style.up}.weight"] = up
            if style.alpha is not None:
                found[f"{stem}.alpha"] = torch.tensor(self.factor * len(down)).to(style.alpha)
        return found


def base_model(
    blocks: int = 2, dtype: torch.dtype = torch.float16, seed: int = 0, prefix: str = ""
) -> Tensors:
    """Return blocks of the layers in `SHAPES`, a patch embedding, biases, norms and a head."""
    random = torch.Generator().manual_seed(seed)
    model = {"patch_embedding.weight": torch.randn(24, 4, 1, 2, 2, generator=random)}
    for block in range(blocks):
        for name, shape in SHAPES.items():
            model[f"blocks.{block}.{name}.weight"] = torch.randn(shape, generator=random)
            model[f"blocks.{block}.{name}.bias"] = torch.randn(shape[0], generator=random)
        model[f"blocks.{block}.norm3.weight"] = torch.randn(24, generator=random)
        model[f"blocks.{block}.modulation"] = torch.randn(1, 6, 24, generator=random)
    model["head.head.weight"] = torch.randn(16, 24, generator=random)
    return {f"{prefix}{name}": (values * 0.05).to(dtype) for name, values in model.items()}


def adapter(
    blocks: int = 2, rank: int = 4, dtype: torch.dtype = torch.float32, factor: float = 1.0
) -> Adapter:
    """Return a LoRA of every layer in `SHAPES`, with changes of a tenth of the weights."""
    random = torch.Generator().manual_seed(rank)

    def matrix(out: int, into: int) -> Tensor:
        return (torch.randn(out, into, generator=random) * 0.05).to(dtype)

    return Adapter(
        {
            f"blocks.{block}.{name}": (matrix(out, rank), matrix(rank, into))
            for block in range(blocks)
            for name, (out, into) in SHAPES.items()
        },
        factor,
    )


def save_sharded(tensors: Tensors, folder: Path, shards: int) -> Path:
    """Save the model in several files; return the path of the index."""
    placed: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {key: tensors[key] for key in list(tensors)[shard::shards]}
        save_file(part, folder / name)
        placed |= dict.fromkeys(part, name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return index


def load(path: Path) -> Tensors:
    """Return all tensors of a file, or of all files of a folder."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return {name: values for file in files for name, values in load_file(file).items()}


def in_fp32(base: Tensors, lora: Adapter, strength: float = 1.0, prefix: str = "") -> Tensors:
    """Return the merge computed as one fp32 operation on each whole matrix."""
    merged = dict(base)
    for module, (up, down) in lora.pairs.items():
        name = f"{prefix}{module}.weight"
        scale = strength * lora.factor
        whole = torch.addmm(base[name].float(), up.float() * scale, down.float())
        merged[name] = whole.to(base[name].dtype)
    return merged


def in_fp64(base: Tensors, lora: Adapter, strength: float = 1.0, prefix: str = "") -> Tensors:
    """Return the merged matrices in fp64, not rounded."""
    return {
        f"{prefix}{module}.weight": base[f"{prefix}{module}.weight"].double()
        + strength * lora.factor * (up.double() @ down.double())
        for module, (up, down) in lora.pairs.items()
    }


def write_inputs(folder: Path, base: Tensors | None = None, lora: Tensors | None = None) -> None:
    """Save a base and a LoRA where `request_in` expects them."""
    save_file(base or base_model(), folder / "base.safetensors", metadata={"format": "pt"})
    save_file(lora or adapter().keys(Style()), folder / "lora.safetensors")


def request_in(folder: Path) -> MergeRequest:
    """Return a request to merge the files of `write_inputs`."""
    return MergeRequest(
        base=folder / "base.safetensors",
        lora=folder / "lora.safetensors",
        output=folder / "out" / "merged.safetensors",
    )


def merge_and_die(folder: Path, after_tensors: int) -> None:
    """Merge, and kill this process after this many tensors are written."""
    written = 0

    def die(progress: MergeProgress) -> None:
        nonlocal written
        written += 1
        if written > after_tensors:
            os.kill(os.getpid(), signal.SIGKILL)

    merge(request_in(folder), on_progress=die, workers=2)


def merge_in_process(folder: Path) -> str:
    """Merge; return the stored receipt."""
    return merge(request_in(folder), workers=1).to_json()
