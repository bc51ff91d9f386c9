"""LoRA files as several trainers save them, for tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import (
    save_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from training.catalogue.models import find_model
from training.lora.modules import modules_of
from training.rehearsal.model.shape import adapter_widths
from training.vocabulary import Widths

Tensors = dict[str, npt.NDArray[np.generic]]
# Listed here again, so that a wrong entry in the product's own table is found.
DIFFUSERS_NAMES = {
    "self_attn.q": "attn1.to_q",
    "self_attn.k": "attn1.to_k",
    "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.q": "attn2.to_q",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.v": "attn2.to_v",
    "cross_attn.o": "attn2.to_out.0",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}


@dataclass(frozen=True)
class Spelling:
    """How a trainer or tool writes the keys of a LoRA."""

    prefix: str
    down: str = "lora_down.weight"
    up: str = "lora_up.weight"
    alpha: bool = True
    diffusers: bool = False
    flat: bool = False

    def stem(self, module: str) -> str:
        block, number, layer = module.split(".", 2)
        name = f"{block}.{number}.{DIFFUSERS_NAMES[layer] if self.diffusers else layer}"
        return self.prefix + (name.replace(".", "_") if self.flat else name)


_A, _B = "lora_A.weight", "lora_B.weight"
SPELLINGS = {
    "musubi": Spelling("lora_unet_", flat=True),
    "lightning": Spelling("diffusion_model."),
    "ai-toolkit": Spelling("diffusion_model.", _A, _B, alpha=False),
    "diffusers": Spelling("transformer.", _A, _B, alpha=False, diffusers=True),
    "diffusers-with-alpha": Spelling("transformer.", _A, _B, diffusers=True),
    "diffusers-without-prefix": Spelling("", _A, _B, alpha=False, diffusers=True),
    "old-diffusers": Spelling(
        "transformer.", "lora.down.weight", "lora.up.weight", alpha=False, diffusers=True
    ),
    "kohya-diffusers": Spelling("lora_transformer_", flat=True, diffusers=True),
    "diffsynth": Spelling("", "lora_A.default.weight", "lora_B.default.weight", alpha=False),
    "diffsynth-pipe": Spelling(
        "pipe.dit.", "lora_A.default.weight", "lora_B.default.weight", alpha=False
    ),
    "videox-fun": Spelling("lora_unet__", flat=True),
    "hybrid": Spelling("lora_unet_"),
    "lycoris": Spelling("lycoris_", flat=True, diffusers=True),
    "peft": Spelling("base_model.model.", _A, _B, alpha=False),
    "peft-adapter": Spelling(
        "base_model.model.diffusion_model.",
        "lora_A.person.weight",
        "lora_B.person.weight",
        alpha=False,
    ),
    "peft-diffusers": Spelling("base_model.model.", _A, _B, alpha=False, diffusers=True),
    "peft-dashed-adapter": Spelling(
        "base_model.model.", "lora_A.my-style.weight", "lora_B.my-style.weight", alpha=False
    ),
    "compiled": Spelling("base_model.model._orig_mod.", _A, _B, alpha=False),
    "compiled-musubi": Spelling("lora_unet__orig_mod_", flat=True),
    "ddp": Spelling("transformer.module.", _A, _B, alpha=False, diffusers=True),
    "comfyui": Spelling("model.diffusion_model."),
    "mochi": Spelling("diffusion_model.", "lora_A", "lora_B", alpha=False),
}


def respelled(musubi: Mapping[str, npt.NDArray[np.generic]], spelling: Spelling) -> Tensors:
    """Return the tensors of a musubi file, spelled as another tool writes the same adapter."""
    modules = {module: name for name, module in _dotted(musubi).items()}
    found: Tensors = {}
    for module, name in modules.items():
        stem = spelling.stem(module)
        found[f"{stem}.{spelling.down}"] = musubi[f"{name}.lora_down.weight"]
        found[f"{stem}.{spelling.up}"] = musubi[f"{name}.lora_up.weight"]
        if spelling.alpha:
            found[f"{stem}.alpha"] = musubi[f"{name}.alpha"]
    return found


def _dotted(musubi: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, str]:
    """Return the module of each name in a musubi file."""
    layers = {name.replace(".", "_"): name for name in DIFFUSERS_NAMES}
    names = {key.partition(".")[0] for key in musubi}
    found: dict[str, str] = {}
    for name in sorted(names):
        _, number, layer = name.removeprefix("lora_unet_").split("_", 2)
        found[name] = f"blocks.{number}.{layers[layer]}"
    return found


def widths(model: str, engine: str = "rehearsal") -> Widths:
    """Return the modules of a model, either of its published weights or of its rehearsal."""
    found = find_model(model)
    return modules_of(found) if engine == "musubi" else adapter_widths(clip=found.clip)


def tensors(
    modules: Widths,
    *,
    rank: int = 4,
    alpha: float | None = None,
    up: float = 0.5,
) -> Tensors:
    """Return an adapter's tensors with random down-weights and up-weights that are all `up`."""
    random = np.random.default_rng(1)
    found: Tensors = {}
    for module, (inputs, outputs) in modules.items():
        down = random.standard_normal((rank, inputs)).astype(np.float16)
        up_matrix = np.full((outputs, rank), up, np.float16)
        value = rank if alpha is None else alpha
        name = f"lora_unet_{module.replace('.', '_')}"
        found[f"{name}.lora_down.weight"], found[f"{name}.lora_up.weight"] = down, up_matrix
        found[f"{name}.alpha"] = np.array(value, np.float16)
    return found


def write_adapter(path: Path, found: Tensors, metadata: Mapping[str, str] | None = None) -> Path:
    """Write tensors with the safetensors library."""
    save_file(dict(found), path, dict(metadata) if metadata else None)
    return path


def write_header(
    path: Path, modules: Widths, *, rank: int = 4, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a file with the header of a real adapter; its tensors are zeros that take no space."""
    head: dict[str, object] = {"__metadata__": dict(metadata or {})}
    offset = 0
    for module, (inputs, outputs) in modules.items():
        name = f"lora_unet_{module.replace('.', '_')}"
        shapes = {"lora_down.weight": [rank, inputs], "lora_up.weight": [outputs, rank]}
        for part, shape in {**shapes, "alpha": list[int]()}.items():
            end = offset + 2 * int(np.prod(shape, dtype=int))
            entry = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
            head[f"{name}.{part}"] = entry
            offset = end
    text = json.dumps(head).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    return path
