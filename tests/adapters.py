"""LoRA files as several trainers save them, for tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from safetensors.numpy import (
    save_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from training.catalogue.models import find_model
from training.lora.modules import modules_of
from training.rehearsal.model.shape import adapter_widths
from training.vocabulary import Widths

Style = Literal["musubi", "lightning", "peft"]
Tensors = dict[str, npt.NDArray[np.generic]]


def widths(model: str, engine: str = "rehearsal") -> Widths:
    """Return the modules of a model, of its published weights or as a rehearsal has it."""
    found = find_model(model)
    return modules_of(found) if engine == "musubi" else adapter_widths(clip=found.clip)


def tensors(
    modules: Widths,
    *,
    rank: int = 4,
    alpha: float | None = None,
    style: Style = "musubi",
    up: float = 0.5,
) -> Tensors:
    """Return an adapter's tensors with random down-weights and up-weights that are all `up`."""
    random = np.random.default_rng(1)
    found: Tensors = {}
    for module, (inputs, outputs) in modules.items():
        down = random.standard_normal((rank, inputs)).astype(np.float16)
        up_matrix = np.full((outputs, rank), up, np.float16)
        value = rank if alpha is None else alpha
        if style == "musubi":
            name = f"lora_unet_{module.replace('.', '_')}"
            found[f"{name}.lora_down.weight"], found[f"{name}.lora_up.weight"] = down, up_matrix
            found[f"{name}.alpha"] = np.array(value, np.float16)
        elif style == "lightning":
            name = f"diffusion_model.{module}"
            found[f"{name}.lora_down.weight"], found[f"{name}.lora_up.weight"] = down, up_matrix
            found[f"{name}.alpha"] = np.array(value, np.int64)
        else:
            name = f"diffusion_model.{module}"
            found[f"{name}.lora_A.weight"], found[f"{name}.lora_B.weight"] = down, up_matrix
    return found


def write_adapter(path: Path, found: Tensors, metadata: Mapping[str, str] | None = None) -> Path:
    """Write tensors as the safetensors library does."""
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


def change(found: Mapping[str, npt.NDArray[np.generic]], module: str) -> npt.NDArray[np.float64]:
    """Return what an adapter adds to one weight: alpha / rank * up @ down, in any style."""
    by_name = {
        key.replace(".", "_"): value.astype(np.float64)
        for key, value in found.items()
        if module.replace(".", "_") in key.replace(".", "_")
    }
    up = next(v for k, v in by_name.items() if k.endswith(("lora_up_weight", "lora_B_weight")))
    down = next(v for k, v in by_name.items() if k.endswith(("lora_down_weight", "lora_A_weight")))
    alpha = next((v.item() for k, v in by_name.items() if k.endswith("alpha")), down.shape[0])
    return alpha / down.shape[0] * (up @ down)
