"""The contents of a LoRA file according to its header: modules, widths and rank."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import AdapterError
from training.files.safetensors_header import TensorHeader, read_header
from training.lora.keys import (
    MUSUBI_PREFIX,
    KeyKind,
    KeyPart,
    LoraKey,
    kind_of,
    other_adapter,
    other_model,
    split_key,
)
from training.lora.peft import declared_alpha, is_from_peft
from training.wording import agreeing, count, listed

# fp8 is left out: its values are rounded too coarsely to continue training from them.
_READABLE = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32"})
_SHOWN = 3
_TRAINABLE = frozenset({KeyPart.DOWN, KeyPart.UP, KeyPart.ALPHA})
_PLAIN_LORA = (
    "Training continues from plain LoRAs of the blocks' linear layers: lora_down and lora_up (or "
    "lora_A and lora_B), with or without alpha."
)


@dataclass(frozen=True, slots=True)
class Module:
    """One adapted module: its widths, its rank, and the file's key for each of its parts."""

    inputs: int
    outputs: int
    rank: int
    keys: Mapping[KeyPart, str]


@dataclass(frozen=True, slots=True)
class Contents:
    """All adapted modules of a file, keyed by names such as `blocks_0_self_attn_q`.

    `declared_alpha` is the alpha that PEFT's configuration declares, in the metadata or beside the
    file. It applies to modules that store no alpha.
    """

    header: TensorHeader
    modules: Mapping[str, Module]
    declared_alpha: float | None = None

    @property
    def name(self) -> str:
        return self.header.path.name

    @property
    def rank(self) -> int:
        """The rank, which is the same for all modules."""
        return next(iter(self.modules.values())).rank

    @property
    def is_musubi(self) -> bool:
        """Whether every key is spelled as musubi spells it and every module has an alpha."""
        return all(
            module.keys == {part: f"{MUSUBI_PREFIX}{name}.{part}" for part in _TRAINABLE}
            for name, module in self.modules.items()
        )

    @property
    def is_alpha_assumed(self) -> bool:
        """Whether no alpha is known, so that a scale of 1 is a guess.

        PEFT stores alpha in `adapter_config.json` beside the LoRA, and that file may be missing.
        """
        has_alpha = any(KeyPart.ALPHA in module.keys for module in self.modules.values())
        return not has_alpha and self.declared_alpha is None and is_from_peft(self.header.tensors)

    def alpha_of(self, module: Module) -> float:
        """Return a module's alpha: stored, declared, or else equal to the rank (a scale of 1)."""
        if KeyPart.ALPHA in module.keys:
            return float(self.values(module.keys[KeyPart.ALPHA]).item())
        return float(module.rank if self.declared_alpha is None else self.declared_alpha)

    def alpha(self) -> float:
        """Return the alpha that all modules share.

        Raises:
            AdapterError: The modules have different alphas.
        """
        found = {self.alpha_of(module) for module in self.modules.values()}
        if len(found) > 1:
            raise AdapterError(
                f"The modules of {self.name} have different alphas: "
                f"{', '.join(f'{alpha:g}' for alpha in sorted(found)[:_SHOWN])}.",
                "Use a LoRA trained with a single alpha.",
            )
        return next(iter(found))

    def values(self, key: str) -> npt.NDArray[np.floating[Any] | np.integer[Any]]:
        """Return the values of the tensor that is stored under `key`.

        Raises:
            AdapterError: The dtype is unsupported.
        """
        dtype = self.header.tensors[key].dtype
        if dtype not in _READABLE:
            raise AdapterError(
                f"{self.name} stores {key} as {dtype}, which is not supported.",
                "Save the LoRA in bf16, fp16 or fp32.",
            )
        return self.header.read(key)


def read_contents(path: Path) -> Contents:
    """Return the contents of a LoRA file.

    Raises:
        AdapterError: The file is unreadable, or is not a plain LoRA with a single rank.
    """
    try:
        header = read_header(path)
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{path.name} cannot be read: {error}.",
            "Use a complete .safetensors file; if it was copied, copy it again.",
        ) from error
    keys = _sort_keys(path.name, header.tensors)
    modules = {name: _module(header, name, parts) for name, parts in keys.items()}
    rank = _one_rank(path.name, modules)
    return Contents(header, modules, declared_alpha(path, header.metadata, header.tensors, rank))


def _sort_keys(file: str, keys: Iterable[str]) -> dict[str, dict[KeyPart, str]]:
    """Return, for each module, the keys that hold its down matrix, up matrix and alpha."""
    found = {key: split_key(key) for key in keys}
    if not found:
        raise AdapterError(f"{file} contains no tensors.", "Use a trained LoRA.")
    if unknown := [key for key, split in found.items() if split is None]:
        raise _unknown_keys(file, unknown, len(found))
    known = {key: split for key, split in found.items() if split is not None}
    if model := other_model(split.module for split in known.values()):
        raise AdapterError(
            f"{file} is a LoRA for {model}: it adapts {listed(_modules(known.values()), _SHOWN)}.",
            "Use a LoRA for Wan.",
        )
    _require_trainable(file, known)
    modules: defaultdict[str, dict[KeyPart, str]] = defaultdict(dict)
    for key, split in known.items():
        if (other := modules[split.module].setdefault(split.part, key)) != key:
            raise AdapterError(
                f"{file} contains {split.part} of {split.module} twice, as {other} and {key}.",
                "Use the original file from the trainer.",
            )
    return modules


def _unknown_keys(file: str, unknown: list[str], total: int) -> AdapterError:
    adapters = Counter(filter(None, map(other_adapter, unknown)))
    if adapters:
        what, keys = adapters.most_common(1)[0]
        return AdapterError(
            f"{file} is not a plain LoRA: {keys} of its {count(total, 'key')} "
            f"{agreeing(keys, f'holds {what}')}.",
            _PLAIN_LORA,
        )
    shown = listed([key[:120] for key in unknown], _SHOWN)
    if len(unknown) == total:
        return AdapterError(
            f"{file} is not a LoRA: none of its {total} keys is a LoRA key (such as {shown}).",
            "Use a LoRA file, not a whole model.",
        )
    return AdapterError(
        f"{file} contains {count(len(unknown), 'unknown key')}: {shown}.", _PLAIN_LORA
    )


def _require_trainable(file: str, known: Mapping[str, LoraKey]) -> None:
    """Refuse a file with changes that training would lose: musubi trains only plain LoRAs."""
    lost: defaultdict[KeyKind, list[str]] = defaultdict(list)
    for key, split in known.items():
        if split.part not in _TRAINABLE:
            lost[kind_of(split)].append(key)
    for kind, keys in lost.items():
        raise AdapterError(
            f"{file} has {count(len(keys), 'key')} of the kind {kind.name}, which training "
            f"would lose: {listed(sorted(keys), _SHOWN)}. Some published speed LoRAs have such "
            f"keys, for example {kind.published}.",
            f"{_PLAIN_LORA} A speed LoRA is merged into the base model instead.",
        )
    outside = _modules(split for split in known.values() if not split.is_of_blocks)
    if outside:
        raise AdapterError(
            f"{file} also adapts {count(len(outside), 'module')} outside the blocks, which "
            f"training would lose: {listed(outside, _SHOWN)}.",
            _PLAIN_LORA,
        )


def _modules(keys: Iterable[LoraKey]) -> list[str]:
    return sorted({key.module for key in keys})


def _module(header: TensorHeader, name: str, keys: Mapping[KeyPart, str]) -> Module:
    file = header.path.name
    for part in (KeyPart.DOWN, KeyPart.UP):
        if part not in keys:
            raise AdapterError(
                f"{file} lacks {part} of {name}.", "The file is incomplete; use another copy."
            )
    down, up = header.tensors[keys[KeyPart.DOWN]].shape, header.tensors[keys[KeyPart.UP]].shape
    if len(down) != 2 or len(up) != 2 or down[0] != up[1] or 0 in (*down, *up):
        raise AdapterError(
            f"{file}: the matrices of {name} have mismatched shapes, {list(down)} and {list(up)}.",
            "The file is damaged or is not a LoRA; use another file.",
        )
    if KeyPart.ALPHA in keys and header.tensors[keys[KeyPart.ALPHA]].shape not in ((), (1,)):
        raise AdapterError(f"{file}: the alpha of {name} is not a number.", "Use another copy.")
    return Module(inputs=down[1], outputs=up[0], rank=down[0], keys=dict(keys))


def _one_rank(file: str, modules: Mapping[str, Module]) -> int:
    ranks = sorted({module.rank for module in modules.values()})
    if len(ranks) > 1:
        shown = ", ".join(str(rank) for rank in ranks[:_SHOWN])
        raise AdapterError(
            f"The modules of {file} have different ranks: {shown}.",
            "The trainer has one rank for all modules: use a LoRA trained with a single rank.",
        )
    return ranks[0]
