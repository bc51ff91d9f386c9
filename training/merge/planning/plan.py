"""Plans a merge from the files' headers; refuses incomplete or ambiguous files."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.lora.keys import (
    IMAGES,
    KeyPart,
    LoraKey,
    is_for_images,
    kind_of,
    other_adapter,
    other_model,
    split_key,
)
from training.lora.origin import named_expert
from training.lora.peft import declared_alpha, is_from_peft
from training.merge.inputs.files import BaseFiles, FileLayout, read_base, read_layout
from training.merge.planning.changes import Change, ModuleParts, build_changes
from training.merge.planning.names import ModuleNames
from training.merge.request import MergeRequest
from training.wording import agreeing, count, listed

_BLOCK_MODULE = re.compile(r"(?P<blocks>(?:\w+_)?blocks)\.\d+\.(?P<kind>.+)")
_PLAIN_LORA = (
    "Use a plain LoRA from the same training; adapters of other kinds can only be merged by the "
    "tool that made them."
)


@dataclass(frozen=True, slots=True)
class MergePlan:
    """Every change that the merge will make.

    Attributes:
        base: The base model's files.
        lora: The LoRA's file.
        changes: The change of each affected base tensor, keyed by the tensor's name.
        expected: Modules whose weight matrices must change; the plan changes them all.
        extra: Other modules whose weight matrices change.
        skipped: Keys of the LoRA that the merge leaves out, each with the reason.
        decisions: For each kind of key, the number of keys and what the merge does with them.
    """

    base: BaseFiles
    lora: FileLayout
    changes: Mapping[str, Change]
    expected: frozenset[str]
    extra: frozenset[str]
    skipped: Mapping[str, str]
    decisions: Mapping[str, str]

    @property
    def layers(self) -> int:
        """The number of weight matrices that change."""
        return len(self.expected) + len(self.extra)


def plan_merge(request: MergeRequest) -> MergePlan:
    """Return the plan for `request`.

    Raises:
        MergeError: A file is damaged, or the LoRA does not fit the base.
    """
    if not math.isfinite(request.strength) or request.strength == 0:
        raise MergeError(
            f"A strength of {request.strength} would not give a usable model.",
            "Use a strength other than 0, usually 1.0.",
        )
    base, lora = read_base(request.base), read_layout(request.lora)
    _refuse_quantised(base)
    specs = {spec.name: spec for _, spec in base.tensors}
    modules = ModuleNames.of(specs)
    keys = _sort_keys(lora)
    skipped = _images_without_modules(keys, modules)
    used = {key: split for key, split in keys.items() if key not in skipped}
    entries = _group(used, lora, modules, specs)
    changes = build_changes(entries, lora, request.strength, _declared_alpha(lora, used))
    matrices = _matrices(modules, specs)
    changed = frozenset(module for module, spec in matrices.items() if spec.name in changes)
    expected = _expected(request, matrices, changed)
    decisions = _decisions(base, lora, used, skipped)
    return MergePlan(base, lora, changes, expected, changed - expected, skipped, decisions)


def _refuse_quantised(base: BaseFiles) -> None:
    names = [spec.name for _, spec in base.tensors if spec.dtype.startswith(("F8", "F4", "F6"))]
    if names:
        raise MergeError(
            f"{base.path.name} has {count(len(names), 'tensor')} in fp8 or smaller: "
            f"{listed(sorted(names))}. Their values are already rounded and may have scales that "
            "a merge would ignore.",
            "Merge into the fp16 or bf16 file of the same model.",
        )


def _sort_keys(lora: FileLayout) -> dict[str, LoraKey]:
    """Parse each key of the LoRA; refuse unknown keys and those of other kinds of adapters."""
    found = {spec.name: split_key(spec.name) for spec in lora.tensors}
    known = {key: split for key, split in found.items() if split is not None}
    refused: defaultdict[str, list[str]] = defaultdict(list)
    for key in found.keys() - known.keys():
        refused[other_adapter(key) or "of an unknown kind"].append(key)
    if not known and not any(map(other_adapter, found)):
        raise MergeError(
            f"{lora.path.name} is not a LoRA: none of its {len(found)} keys is a LoRA key.",
            "Check the two files: the LoRA and the base model may be swapped.",
        )
    for kind, keys in refused.items():
        raise MergeError(
            f"This merge cannot apply {len(keys)} of {count(len(found), 'key')} of "
            f"{lora.path.name} ({kind}): {listed(sorted(keys))}.",
            _PLAIN_LORA,
        )
    return known


def _images_without_modules(keys: Mapping[str, LoraKey], modules: ModuleNames) -> dict[str, str]:
    """Map each of the LoRA's keys for image modules to the reason why it is skipped.

    Return {} if the base has image modules, because then no key is skipped.
    """
    if any(map(is_for_images, modules.flat)):
        return {}
    return {key: IMAGES.decision for key, split in keys.items() if is_for_images(split.module)}


def _declared_alpha(lora: FileLayout, used: Mapping[str, LoraKey]) -> float | None:
    """Return the alpha that PEFT's configuration declares; None if there is none.

    A stored alpha takes precedence: if the LoRA has any alpha key, the result is also None.
    """
    if any(split.part is KeyPart.ALPHA for split in used.values()):
        return None
    ranks = {
        spec.shape[0]
        for spec in lora.tensors
        if spec.name in used and used[spec.name].part is KeyPart.DOWN and spec.shape
    }
    if not ranks:
        return None
    alpha = declared_alpha(lora.path, lora.metadata, used, max(ranks))
    if alpha is not None and len(ranks) > 1:
        raise MergeError(
            f"The modules of {lora.path.name} have different ranks, but its metadata has one alpha "
            f"({alpha:g}) for all.",
            "Use the original LoRA file.",
        )
    return alpha


def _decisions(
    base: BaseFiles, lora: FileLayout, used: Mapping[str, LoraKey], skipped: Mapping[str, str]
) -> dict[str, str]:
    """Return the receipt's entries for the kinds of keys, and warnings about expert and alpha."""
    counts = Counter(kind_of(split) for split in used.values())
    found = {kind.name: f"{count} keys: {kind.decision}" for kind, count in counts.items()}
    if skipped:
        found[IMAGES.name] = f"{len(skipped)} keys: {IMAGES.decision}"
    names = named_expert(lora.path.name), named_expert(base.path.name)
    if None not in names and names[0] != names[1]:
        found["expert"] = f"the LoRA's name says {names[0]} noise, the base's {names[1]} noise"
    has_alpha = any(split.part is KeyPart.ALPHA for split in used.values())
    if is_from_peft(used) and not has_alpha and _declared_alpha(lora, used) is None:
        found["alpha"] = "none: scale 1; PEFT keeps alpha in adapter_config.json beside the file"
    return found


def _group(
    used: Mapping[str, LoraKey],
    lora: FileLayout,
    modules: ModuleNames,
    specs: Mapping[str, TensorEntry],
) -> list[ModuleParts]:
    found = {split.module: modules.find(split.module) for split in used.values()}
    if lost := [key for key, split in used.items() if found[split.module] is None]:
        raise _not_in_base(lora, found, lost)
    stored = {spec.name: spec for spec in lora.tensors}
    parts: defaultdict[str, dict[KeyPart, TensorEntry]] = defaultdict(dict)
    repeated: set[str] = set()
    for key, split in used.items():
        if parts[split.module].setdefault(split.part, stored[key]) != stored[key]:
            repeated.add(split.module)
    if repeated:
        raise MergeError(
            f"{lora.path.name} names {count(len(repeated), 'layer')} twice: "
            f"{listed(sorted(repeated))}.",
            "Use the original LoRA file.",
        )
    return [
        ModuleParts(module, parts[name], *_targets(modules.known[module], specs))
        for name, module in found.items()
        if module is not None
    ]


def _not_in_base(lora: FileLayout, found: Mapping[str, str | None], lost: list[str]) -> MergeError:
    absent = [name for name, module in found.items() if module is None]
    model = other_model(absent)
    return MergeError(
        f"{len(absent)} of {count(len(found), 'layer')} of {lora.path.name} "
        f"{agreeing(len(absent), 'is not in the base')}: "
        f"{listed(sorted(absent))} (from keys such as {min(lost)})."
        + (f" Layers with these names belong to {model}." if model else ""),
        "Use a complete base file: in Wan, each block and the head have a modulation."
        if all(name.endswith("_modulation") for name in absent)
        else "Use the LoRA that was made for this model (T2V or I2V, Wan 2.1 or 2.2).",
    )


def _targets(
    module: str, specs: Mapping[str, TensorEntry]
) -> tuple[TensorEntry | None, TensorEntry | None]:
    """Return a module's weight and bias; for a bare parameter, the parameter itself and None."""
    return specs.get(f"{module}.weight", specs.get(module)), specs.get(f"{module}.bias")


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
            f"{request.base.name} lacks {len(absent)} of the {count(len(expected), 'layer')} that "
            f"this model must have: {listed(sorted(absent))}.",
            "Use the base file listed for this model in the catalogue.",
        )
    if missing := expected - changed:
        raise MergeError(
            f"{request.lora.name} does not change {len(missing)} of "
            f"{count(len(expected), 'layer')}: "
            f"{listed(sorted(missing))}.",
            "Use a complete LoRA that was made for this model.",
        )
    wanted = len(expected) if request.expected_count is None else request.expected_count
    if len(expected) != wanted or not expected:
        raise MergeError(
            f"{request.lora.name} changes {count(len(expected), 'layer')} of {request.base.name}; "
            f"{wanted or 'at least 1'} must change.",
            "Use a complete LoRA that was made for this model, or correct the expected number.",
        )
    return expected


def _covered(matrices: Mapping[str, TensorEntry], changed: frozenset[str]) -> frozenset[str]:
    """Return the changed modules, and the same modules (such as `ffn.0`) in all other blocks."""
    kinds = {_kind(module) for module in changed} - {None}
    alike = {m for m, spec in matrices.items() if len(spec.shape) == 2 and _kind(m) in kinds}
    return changed | alike


def _kind(module: str) -> tuple[str, str] | None:
    match = _BLOCK_MODULE.fullmatch(module)
    return (match["blocks"], match["kind"]) if match else None
