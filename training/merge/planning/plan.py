"""Planning a merge from the files' headers; whatever is incomplete or ambiguous is refused."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.merge.inputs.files import BaseFiles, FileLayout, read_base, read_layout
from training.merge.planning.changes import Change, ModuleParts, build_changes
from training.merge.planning.names import LoraKeyPart, ModuleNames, refused_kind, split_key
from training.merge.request import MergeRequest
from training.wording import listed

_BLOCK_MODULE = re.compile(r"(?P<blocks>(?:\w+_)?blocks)\.\d+\.(?P<kind>.+)")
_TARGETS = ("weight", "bias")
_UNKNOWN = "of an unknown kind"
_OTHER_LORA = "Use another LoRA, or list the keys as known-unused if the model does not need them."


@dataclass(frozen=True, slots=True)
class MergePlan:
    """Every change that the merge will make.

    Attributes:
        base: The base model's files.
        lora: The LoRA's file.
        changes: The change of each base tensor that changes, by the tensor's name.
        expected: Modules whose weight matrices must change, and will.
        extra: Other modules whose weight matrices change.
        skipped: Unused keys of the LoRA, with the reason.
    """

    base: BaseFiles
    lora: FileLayout
    changes: Mapping[str, Change]
    expected: frozenset[str]
    extra: frozenset[str]
    skipped: Mapping[str, str]

    @property
    def layers(self) -> int:
        """Number of weight matrices that change."""
        return len(self.expected) + len(self.extra)


def plan_merge(request: MergeRequest) -> MergePlan:
    """Return the plan for `request`.

    Raises:
        MergeError: A file is damaged, or LoRA and base may not belong together.
    """
    if not math.isfinite(request.strength) or request.strength == 0:
        raise MergeError(
            f"A strength of {request.strength} would not give a usable model.",
            "Give a strength other than 0, usually 1.0.",
        )
    base, lora = read_base(request.base), read_layout(request.lora)
    _refuse_quantised(base)
    specs = {spec.name: spec for _, spec in base.tensors}
    modules = ModuleNames.of(specs)
    used, skipped = _sort_keys(lora, request.known_unused)
    entries = _group(used, lora, modules, specs)
    changes = build_changes(entries, lora, request.strength)
    matrices = _matrices(modules, specs)
    changed = frozenset(module for module, spec in matrices.items() if spec.name in changes)
    expected = _expected(request, matrices, changed)
    return MergePlan(base, lora, changes, expected, changed - expected, skipped)


def _refuse_quantised(base: BaseFiles) -> None:
    names = [spec.name for _, spec in base.tensors if spec.dtype.startswith(("F8", "F4", "F6"))]
    if names:
        raise MergeError(
            f"{len(names)} tensors of {base.path.name} are fp8 or smaller: "
            f"{listed(sorted(names))}. Their values are already rounded and may have scales that "
            "a merge would ignore.",
            "Merge into the fp16 or bf16 file of the same model.",
        )


def _sort_keys(
    lora: FileLayout, known_unused: tuple[str, ...]
) -> tuple[dict[str, tuple[str, LoraKeyPart]], dict[str, str]]:
    used: dict[str, tuple[str, LoraKeyPart]] = {}
    skipped: dict[str, str] = {}
    refused: defaultdict[str, list[str]] = defaultdict(list)
    for spec in lora.tensors:
        if any(fnmatchcase(spec.name, pattern) for pattern in known_unused):
            skipped[spec.name] = "listed as unused by this model"
        elif kind := refused_kind(spec.name):
            refused[kind].append(spec.name)
        elif split := split_key(spec.name):
            used[spec.name] = split
        else:
            refused[_UNKNOWN].append(spec.name)
    if len(refused.get(_UNKNOWN, ())) == len(lora.tensors):
        raise MergeError(
            f"{lora.path.name} is not a LoRA: none of its {len(lora.tensors)} keys belongs to one.",
            "Name the LoRA with --lora and the model with --base.",
        )
    for kind, keys in refused.items():
        raise MergeError(
            f"{len(keys)} of {len(lora.tensors)} keys of {lora.path.name} are {kind}, which this "
            f"merge cannot apply: {listed(sorted(keys))}.",
            _OTHER_LORA,
        )
    return used, skipped


def _group(
    used: Mapping[str, tuple[str, LoraKeyPart]],
    lora: FileLayout,
    modules: ModuleNames,
    specs: Mapping[str, TensorEntry],
) -> list[ModuleParts]:
    found = {name: modules.find(name) for name, _ in used.values()}
    lost = [name for name, module in found.items() if module is None]
    if lost:
        raise MergeError(
            f"{len(lost)} of {len(found)} layers of {lora.path.name} are not in the base: "
            f"{listed(sorted(lost))}.",
            "Use the LoRA that was made for this model (T2V or I2V, Wan 2.1 or 2.2).",
        )
    writers = Counter(module for module in found.values() if module is not None)
    if repeated := [module for module, count in writers.items() if count > 1]:
        raise MergeError(
            f"{lora.path.name} names {len(repeated)} layers twice: {listed(sorted(repeated))}.",
            "Use the original LoRA file.",
        )
    stored = {spec.name: spec for spec in lora.tensors}
    parts: defaultdict[str, dict[LoraKeyPart, TensorEntry]] = defaultdict(dict)
    for key, (name, part) in used.items():
        parts[name][part] = stored[key]
    return [
        ModuleParts(
            module, parts[name], *(specs.get(f"{modules.known[module]}.{end}") for end in _TARGETS)
        )
        for name, module in found.items()
        if module is not None
    ]


def _matrices(modules: ModuleNames, specs: Mapping[str, TensorEntry]) -> dict[str, TensorEntry]:
    weights = {module: specs.get(f"{name}.weight") for module, name in modules.known.items()}
    return {m: spec for m, spec in weights.items() if spec is not None and len(spec.shape) >= 2}


def _expected(
    request: MergeRequest, matrices: Mapping[str, TensorEntry], changed: frozenset[str]
) -> frozenset[str]:
    expected = request.expected
    if expected is None:
        expected = _covered(matrices, changed)
    elif absent := expected - matrices.keys():
        raise MergeError(
            f"{len(absent)} of the {len(expected)} layers that this model must have are not in "
            f"{request.base.name}: {listed(sorted(absent))}.",
            "Use the base file that the catalogue names for this model.",
        )
    if missing := expected - changed:
        raise MergeError(
            f"{request.lora.name} leaves {len(missing)} of {len(expected)} layers as they are: "
            f"{listed(sorted(missing))}.",
            "Use a complete LoRA that was made for this model.",
        )
    wanted = len(expected) if request.expected_count is None else request.expected_count
    if len(expected) != wanted or not expected:
        raise MergeError(
            f"{request.lora.name} changes {len(expected)} layers of {request.base.name}; "
            f"{wanted or 'at least 1'} must change.",
            "Use a complete LoRA that was made for this model, or correct the expected number.",
        )
    return expected


def _covered(matrices: Mapping[str, TensorEntry], changed: frozenset[str]) -> frozenset[str]:
    """Return the changed modules and those of the same kinds in all other blocks."""
    kinds = {_kind(module) for module in changed} - {None}
    alike = {m for m, spec in matrices.items() if len(spec.shape) == 2 and _kind(m) in kinds}
    return changed | alike


def _kind(module: str) -> tuple[str, str] | None:
    match = _BLOCK_MODULE.fullmatch(module)
    return (match["blocks"], match["kind"]) if match else None
