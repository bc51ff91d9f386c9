"""The change that a LoRA makes to each base tensor, checked for kind, shape, dtype and scale."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.merge.inputs.files import FileLayout, read_scalar
from training.merge.planning.names import LoraKeyPart
from training.wording import listed

_FLOATS = frozenset({"BF16", "F16", "F32", "F64"})
_MERGEABLE = frozenset({"BF16", "F16", "F32"})
_PAIR_STYLES = ((LoraKeyPart.DOWN, LoraKeyPart.UP), (LoraKeyPart.A, LoraKeyPart.B))

Parts = Mapping[LoraKeyPart, TensorEntry]


@dataclass(frozen=True, slots=True)
class PairChange:
    """Adds `scale * up @ down`; down is [r, in, ...], up is [out, r, ...], r the rank."""

    down: TensorEntry
    up: TensorEntry
    scale: float

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        """The LoRA's tensors for this change."""
        return self.down, self.up


@dataclass(frozen=True, slots=True)
class DiffChange:
    """Adds `scale * diff`, a difference of the tensor's own shape."""

    diff: TensorEntry
    scale: float

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        """The LoRA's tensors for this change."""
        return (self.diff,)


Change = PairChange | DiffChange


class _UnfitError(Exception):
    """A layer of the LoRA cannot be used; layers with the same `reason` are reported together."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class ModuleParts:
    """One module of the base and its parts in the LoRA."""

    module: str
    parts: Parts
    weight: TensorEntry | None
    bias: TensorEntry | None


def build_changes(
    modules: list[ModuleParts], lora: FileLayout, strength: float
) -> dict[str, Change]:
    """Return the change of each base tensor, by the tensor's name.

    Raises:
        MergeError: Some layers do not fit; names all layers that fail for one reason.
    """
    _refuse_lost_alphas(modules)
    changes: dict[str, Change] = {}
    unfit: defaultdict[str, list[str]] = defaultdict(list)
    for entry in modules:
        try:
            changes |= {spec.name: change for spec, change in _changes(entry, lora, strength)}
        except _UnfitError as error:
            unfit[error.reason].append(error.detail)
    for reason, details in unfit.items():
        raise MergeError(
            f"{len(details)} of {len(modules)} layers {reason}: {listed(sorted(details))}.",
            "Use the original LoRA file, with the model it was made for.",
        )
    return changes


def _refuse_lost_alphas(modules: list[ModuleParts]) -> None:
    """Refuse a mix of pairs with and without alpha: missing ones would default to the rank."""
    pairs = [entry for entry in modules if _styles(entry.parts)]
    lacking = [entry.module for entry in pairs if LoraKeyPart.ALPHA not in entry.parts]
    if 0 < len(lacking) < len(pairs):
        raise MergeError(
            f"{len(lacking)} of {len(pairs)} layers have no alpha, while the others have one: "
            f"{listed(sorted(lacking))}.",
            "Use the original LoRA file.",
        )


def _styles(parts: Parts) -> list[tuple[LoraKeyPart, LoraKeyPart]]:
    return [style for style in _PAIR_STYLES if any(part in parts for part in style)]


def _changes(
    entry: ModuleParts, lora: FileLayout, strength: float
) -> Iterator[tuple[TensorEntry, Change]]:
    parts = entry.parts
    styles = _styles(parts)
    if len(styles) + (LoraKeyPart.DIFF in parts) > 1:
        raise _UnfitError("are changed in two ways at once", entry.module)
    if LoraKeyPart.ALPHA in parts and not styles:
        raise _UnfitError("have an alpha without a LoRA pair", entry.module)
    if styles:
        weight = _target(entry, entry.weight, "weight")
        yield weight, _pair(entry, styles[0], weight, lora, strength)
    if LoraKeyPart.DIFF in parts:
        weight = _target(entry, entry.weight, "weight")
        yield weight, _diff(parts[LoraKeyPart.DIFF], weight, strength)
    if LoraKeyPart.DIFF_BIAS in parts:
        bias = _target(entry, entry.bias, "bias")
        yield bias, _diff(parts[LoraKeyPart.DIFF_BIAS], bias, strength)


def _pair(
    entry: ModuleParts,
    style: tuple[LoraKeyPart, LoraKeyPart],
    weight: TensorEntry,
    lora: FileLayout,
    strength: float,
) -> PairChange:
    down, up = (entry.parts.get(part) for part in style)
    if down is None or up is None:
        raise _UnfitError("have only half of their LoRA pair", entry.module)
    _check_dtypes(down, up)
    rank = next(iter(down.shape), 0)
    ones = (1,) * (len(weight.shape) - 2)
    has_fitting_down = len(weight.shape) >= 2 and down.shape == (rank, *weight.shape[1:])
    if rank == 0 or not has_fitting_down or up.shape != (*weight.shape[:1], rank, *ones):
        shapes = f"{list(down.shape)} and {list(up.shape)} for {list(weight.shape)}"
        raise _UnfitError("have a LoRA pair of the wrong shape", f"{entry.module} ({shapes})")
    alpha = entry.parts.get(LoraKeyPart.ALPHA)
    own = rank if alpha is None else read_scalar(lora, alpha)
    if not math.isfinite(own) or own <= 0:
        raise _UnfitError("have an unusable alpha", f"{entry.module} ({own})")
    return PairChange(down, up, strength * own / rank)


def _diff(diff: TensorEntry, target: TensorEntry, strength: float) -> DiffChange:
    _check_dtypes(diff)
    if diff.shape != target.shape:
        shapes = f"{list(diff.shape)} for {list(target.shape)}"
        raise _UnfitError("have a difference of the wrong shape", f"{diff.name} ({shapes})")
    return DiffChange(diff, strength)


def _target(entry: ModuleParts, spec: TensorEntry | None, kind: str) -> TensorEntry:
    if spec is None:
        raise _UnfitError(f"have no {kind} in the base", entry.module)
    if spec.dtype not in _MERGEABLE:
        detail = f"{spec.name} ({spec.dtype})"
        raise _UnfitError("are stored in the base as neither bf16, fp16 nor fp32", detail)
    return spec


def _check_dtypes(*specs: TensorEntry) -> None:
    for spec in specs:
        if spec.dtype not in _FLOATS:
            raise _UnfitError("have LoRA tensors that are not floats of 16 bits or more", spec.name)
