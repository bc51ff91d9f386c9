"""The contents of a LoRA file by its header: modules, widths and rank."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import AdapterError
from training.files.safetensors_header import TensorHeader, read_header

DOWN, UP, ALPHA = "lora_down.weight", "lora_up.weight", "alpha"
MUSUBI_PREFIX = "lora_unet_"
# The names under which other trainers store the same two matrices.
_PARTS = {DOWN: DOWN, UP: UP, ALPHA: ALPHA, "lora_A.weight": DOWN, "lora_B.weight": UP}
_DOTTED = re.compile(r"(?:diffusion_model|transformer)\.(?P<module>blocks\.\d+\..+)")
_FLAT = re.compile(rf"{MUSUBI_PREFIX}(?P<module>blocks_\d+_.+)")
# fp8 is too coarse to continue training from.
_READABLE = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32"})
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Module:
    """One adapted module: widths, rank, and the key of each part in the file."""

    inputs: int
    outputs: int
    rank: int
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Contents:
    """All adapted modules of a file, by name with `_` for every dot."""

    header: TensorHeader
    modules: Mapping[str, Module]

    @property
    def name(self) -> str:
        return self.header.path.name

    @property
    def rank(self) -> int:
        """The rank, which is the same for all modules."""
        return next(iter(self.modules.values())).rank

    @property
    def is_musubi(self) -> bool:
        """Whether keys and parts are those that musubi reads."""
        return all(
            module.keys == {part: f"{MUSUBI_PREFIX}{name}.{part}" for part in (DOWN, UP, ALPHA)}
            for name, module in self.modules.items()
        )

    def alpha(self) -> float:
        """Return alpha; the rank if the file has none, which makes the scale 1.

        Raises:
            AdapterError: The modules have different alphas.
        """
        found = {
            float(self.values(module.keys[ALPHA]).item()) if ALPHA in module.keys else module.rank
            for module in self.modules.values()
        }
        if len(found) > 1:
            raise AdapterError(
                f"{self.name} has a different alpha in different modules: "
                f"{', '.join(f'{alpha:g}' for alpha in sorted(found)[:_SHOWN])}.",
                "A training has one alpha; use a LoRA that was trained with one.",
            )
        return float(next(iter(found)))

    def values(self, key: str) -> npt.NDArray[np.floating[Any] | np.integer[Any]]:
        """Return the values of one tensor.

        Raises:
            AdapterError: Their dtype cannot be read.
        """
        dtype = self.header.tensors[key].dtype
        if dtype not in _READABLE:
            raise AdapterError(
                f"{self.name} stores {key} as {dtype}, which is not read here.",
                "Save the LoRA in bf16, fp16 or fp32.",
            )
        return self.header.read(key)


def read_contents(path: Path) -> Contents:
    """Return the contents of a LoRA file.

    Raises:
        AdapterError: It is unreadable, or not a LoRA of plain down and up matrices.
    """
    try:
        header = read_header(path)
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{path.name} cannot be read: {error}.",
            "Use a complete .safetensors file; if it was copied, copy it again.",
        ) from error
    keys: dict[str, dict[str, str]] = {}
    for key in header.tensors:
        module, part = _split(path.name, key)
        if keys.setdefault(module, {}).setdefault(part, key) != key:
            raise AdapterError(
                f"{path.name} holds {part} of {module} twice.",
                "Use the file as its trainer saved it.",
            )
    if not keys:
        raise AdapterError(f"{path.name} holds no tensors.", "Use a LoRA that was trained.")
    modules = {name: _module(header, name, parts) for name, parts in keys.items()}
    _require_one_rank(path.name, modules)
    return Contents(header, modules)


def _split(file: str, key: str) -> tuple[str, str]:
    """Return the module (with `_` for dots) and the part that a key names."""
    for ending, part in _PARTS.items():
        module = key.removesuffix(f".{ending}")
        if module == key:
            continue
        if match := _FLAT.fullmatch(module):
            return match["module"], part
        if match := _DOTTED.fullmatch(module):
            return match["module"].replace(".", "_"), part
    raise AdapterError(
        f"{file} holds the foreign key {key[:120]}.",
        "Only a LoRA of Wan's blocks fits, with lora_down and lora_up (or lora_A and lora_B) "
        "and alpha; LoHa, LoKr, DoRA and differences do not.",
    )


def _module(header: TensorHeader, name: str, keys: Mapping[str, str]) -> Module:
    file = header.path.name
    for part in (DOWN, UP):
        if part not in keys:
            raise AdapterError(
                f"{file} lacks {part} of {name}.", "The file is not complete; use another copy."
            )
    down, up = header.tensors[keys[DOWN]].shape, header.tensors[keys[UP]].shape
    if len(down) != 2 or len(up) != 2 or down[0] != up[1] or 0 in (*down, *up):
        raise AdapterError(
            f"{file}: the matrices of {name} do not fit each other: {list(down)} and {list(up)}.",
            "The file is damaged or of another kind; use another copy.",
        )
    if ALPHA in keys and header.tensors[keys[ALPHA]].shape not in ((), (1,)):
        raise AdapterError(f"{file}: the alpha of {name} is no number.", "Use another copy.")
    return Module(inputs=down[1], outputs=up[0], rank=down[0], keys=dict(keys))


def _require_one_rank(file: str, modules: Mapping[str, Module]) -> None:
    ranks = sorted({module.rank for module in modules.values()})
    if len(ranks) > 1:
        shown = ", ".join(str(rank) for rank in ranks[:_SHOWN])
        raise AdapterError(
            f"{file} has modules of different ranks: {shown}.",
            "A training has one rank; use a LoRA that was trained with one.",
        )
