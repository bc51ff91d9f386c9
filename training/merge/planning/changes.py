"""The changes that a LoRA makes to base tensors, checked for kind, shape, dtype and scale."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.lora.keys import KeyPart
from training.merge.inputs.files import FileLayout, read_scalar
from training.wording import agreeing, count, listed

_FLOATS = frozenset({"BF16", "F16", "F32", "F64"})
_MERGEABLE = frozenset({"BF16", "F16", "F32"})
_PAIR = frozenset({KeyPart.DOWN, KeyPart.UP})

Parts = Mapping[KeyPart, TensorEntry]


@dataclass(frozen=True, slots=True)
class PairChange:
    """Adds `scale * up @ down`; down is [r, in, ...] and up is [out, r, ...], with rank r."""

    down: TensorEntry
    up: TensorEntry
    scale: float

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return self.down, self.up


@dataclass(frozen=True, slots=True)
class DiffChange:
    """Adds `scale * diff`; diff has the shape of the tensor that it changes."""

    diff: TensorEntry
    scale: float

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return (self.diff,)


Change = PairChange | DiffChange


class _UnfitError(Exception):
    """A layer of the LoRA cannot be merged; layers with the same `reason` are reported together."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class ModuleParts:
    """A module of the base model, and the LoRA's tensors that change it."""

    module: str
    parts: Parts
    weight: TensorEntry | None
    bias: TensorEntry | None


def build_changes(
    modules: list[ModuleParts],
    lora: FileLayout,
    strength: float,
    declared_alpha: float | None = None,
) -> dict[str, Change]:
    """Return the change of each affected base tensor, keyed by the tensor's name.

    Args:
        modules: The modules that the LoRA changes.
        lora: The LoRA's file.
        strength: Factor on every change.
        declared_alpha: The alpha of modules that store none; None means a scale of 1.

    Raises:
        MergeError: Some layers do not fit. The error lists all layers with the same problem.
    """
    _refuse_lost_alphas(modules)
    changes: dict[str, Change] = {}
    unfit: defaultdict[str, list[str]] = defaultdict(list)
    for entry in modules:
        try:
            changes |= {
                spec.name: change
                for spec, change in _changes(entry, lora, strength, declared_alpha)
            }
        except _UnfitError as error:
            unfit[error.reason].append(error.detail)
    for reason, details in unfit.items():
        raise MergeError(
            f"{len(details)} of {count(len(modules), 'layer')} {agreeing(len(details), reason)}: "
            f"{listed(sorted(details))}.",
            "Use the original LoRA file and the model that it was made for.",
        )
    return changes


def _refuse_lost_alphas(modules: list[ModuleParts]) -> None:
    """Refuse a LoRA in which only some layers have an alpha: the others have probably lost it."""
    pairs = [entry for entry in modules if _PAIR & entry.parts.keys()]
    lacking = [entry.module for entry in pairs if KeyPart.ALPHA not in entry.parts]
    if 0 < len(lacking) < len(pairs):
        raise MergeError(
            f"{len(lacking)} of {count(len(pairs), 'layer')} "
            f"{agreeing(len(lacking), 'has no alpha')}, unlike the others: "
            f"{listed(sorted(lacking))}.",
            "Use the original LoRA file.",
        )


def _changes(
    entry: ModuleParts, lora: FileLayout, strength: float, declared_alpha: float | None
) -> Iterator[tuple[TensorEntry, Change]]:
    parts = entry.parts
    has_pair = not _PAIR.isdisjoint(parts)
    if (has_pair and KeyPart.DIFF in parts) or {KeyPart.UP_BIAS, KeyPart.BIAS_DIFF} <= parts.keys():
        raise _UnfitError("is changed in two ways", entry.module)
    if not has_pair and not parts.keys().isdisjoint({KeyPart.ALPHA, KeyPart.UP_BIAS}):
        raise _UnfitError("has an alpha or a bias without a LoRA pair", entry.module)
    if has_pair:
        weight = _target(entry, entry.weight, "weight")
        scale = _scale(entry, lora, declared_alpha) * strength
        yield weight, _pair(entry, weight, scale)
        if KeyPart.UP_BIAS in parts:
            bias = _target(entry, entry.bias, "bias")
            yield bias, _diff(parts[KeyPart.UP_BIAS], bias, scale)
    if KeyPart.DIFF in parts:
        weight = _target(entry, entry.weight, "weight")
        yield weight, _diff(parts[KeyPart.DIFF], weight, strength)
    if KeyPart.BIAS_DIFF in parts:
        bias = _target(entry, entry.bias, "bias")
        yield bias, _diff(parts[KeyPart.BIAS_DIFF], bias, strength)


def _scale(entry: ModuleParts, lora: FileLayout, declared_alpha: float | None) -> float:
    """Return `alpha / rank`; 1 if the module has neither a stored nor a declared alpha."""
    down = entry.parts.get(KeyPart.DOWN)
    rank = next(iter(down.shape), 0) if down is not None else 0
    stored = entry.parts.get(KeyPart.ALPHA)
    alpha = declared_alpha if stored is None else read_scalar(lora, stored)
    if alpha is None or rank == 0:
        return 1.0
    if not math.isfinite(alpha) or alpha <= 0:
        raise _UnfitError("has an unusable alpha", f"{entry.module} ({alpha})")
    return alpha / rank


def _pair(entry: ModuleParts, weight: TensorEntry, scale: float) -> PairChange:
    down, up = entry.parts.get(KeyPart.DOWN), entry.parts.get(KeyPart.UP)
    if down is None or up is None:
        raise _UnfitError("has only half of its LoRA pair", entry.module)
    _check_dtypes(down, up)
    rank = next(iter(down.shape), 0)
    # A convolution's down and up may be stored as plain matrices: their product has the same
    # elements in the same order.
    downs = ((rank, *weight.shape[1:]), (rank, math.prod(weight.shape[1:])))
    ups = ((*weight.shape[:1], rank, *(1,) * (len(weight.shape) - 2)), (*weight.shape[:1], rank))
    if rank == 0 or len(weight.shape) < 2 or down.shape not in downs or up.shape not in ups:
        shapes = f"{list(down.shape)} and {list(up.shape)} for {list(weight.shape)}"
        raise _UnfitError("has a LoRA pair of the wrong shape", f"{entry.module} ({shapes})")
    return PairChange(down, up, scale)


def _diff(diff: TensorEntry, target: TensorEntry, strength: float) -> DiffChange:
    _check_dtypes(diff)
    if diff.shape != target.shape:
        shapes = f"{list(diff.shape)} for {list(target.shape)}"
        raise _UnfitError("has a diff tensor of the wrong shape", f"{diff.name} ({shapes})")
    return DiffChange(diff, strength)


def _target(entry: ModuleParts, spec: TensorEntry | None, kind: str) -> TensorEntry:
    if spec is None:
        raise _UnfitError(f"has no {kind} in the base", entry.module)
    if spec.dtype not in _MERGEABLE:
        detail = f"{spec.name} ({spec.dtype})"
        raise _UnfitError("is stored in the base as neither bf16, fp16 nor fp32", detail)
    return spec


def _check_dtypes(*specs: TensorEntry) -> None:
    for spec in specs:
        if spec.dtype not in _FLOATS:
            raise _UnfitError("has LoRA tensors that are not floats of 16 bits or more", spec.name)
