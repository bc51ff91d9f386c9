"""Checks that a LoRA file fits a model, by its header and by its values.

Names are mapped as in ComfyUI: `model_lora_keys_unet` in comfy/lora.py maps both
`lora_unet_<module with _>` and `diffusion_model.<module>` to the module's weight, and
comfy/weight_adapter/lora.py takes lora_up/lora_down, lora_B/lora_A and alpha. ComfyUI ignores other
keys with a warning. Source: github.com/Comfy-Org/ComfyUI, commit
ec93dcacb96b922f7cb1417b3ba22bccb082df32.
"""

import math

import numpy as np

from training.catalogue.models import MODELS, Expert, Model
from training.errors import AdapterError
from training.lora.contents import Contents
from training.lora.keys import KeyPart
from training.lora.modules import modules_of
from training.lora.origin import read_origin, require_same_origin
from training.vocabulary import Widths
from training.wording import count, listed

_SHOWN = 3
_FEED_FORWARD = frozenset({"ffn_0", "ffn_2"})
_GROUPS = {
    "self-attention": frozenset(f"self_attn_{name}" for name in "qkvo"),
    "cross-attention": frozenset(f"cross_attn_{name}" for name in "qkvo"),
    "image attention": frozenset({"cross_attn_k_img", "cross_attn_v_img"}),
    "feed-forward": _FEED_FORWARD,
}
_OF_5B, _WIDTH_5B = ("blocks_0_self_attn_q", "blocks_0_ffn_0"), 3072
_NO_MODEL = "no supported model"
_OTHER_MODEL = "Use a LoRA for this model, or choose the model that this LoRA is for."


def require_fit(
    contents: Contents,
    *,
    model: Model,
    expert: Expert,
    modules: Widths,
    rank: int | None = None,
) -> str:
    """Check from the header that the whole file loads into a model; return a summary.

    The summary is shown to users, for example "400/400 modules load".

    Args:
        contents: The contents of the file.
        model: The intended model.
        expert: The intended expert.
        modules: The model's modules; the rehearsal engine has fewer than the real model.
        rank: The required rank; None accepts any.

    Raises:
        AdapterError: A module is unknown or missing, a width or the rank differs, or the metadata
            names a different task, expert, timestep range or base.
    """
    wanted = {name.replace(".", "_"): widths for name, widths in modules.items()}
    loads = [name for name in contents.modules if name in wanted]
    if len(loads) != len(wanted) or len(loads) != len(contents.modules):
        raise _wrong_modules(contents, model, wanted)
    for name, module in contents.modules.items():
        if (module.inputs, module.outputs) != wanted[name]:
            raise AdapterError(
                f"{contents.name} fits {_kind(contents) or _NO_MODEL}, not {model.family}: "
                f"{name} has width {module.inputs}, but the model has {wanted[name][0]}.",
                _OTHER_MODEL,
            )
    if rank is not None and contents.rank != rank:
        raise AdapterError(
            f"{contents.name} has rank {contents.rank}, but {rank} is expected.",
            f"Set the rank to {contents.rank}, or use a file of rank {rank}.",
        )
    require_same_origin(contents.name, read_origin(contents.header.metadata), model, expert)
    return f"{len(loads)}/{len(wanted)} modules load"


def require_values(contents: Contents) -> None:
    """Check that all values are finite and that the LoRA has an effect.

    Raises:
        AdapterError: A value is NaN or infinite, an alpha is not positive, or all lora_up matrices
            are zero.
    """
    has_effect = False
    for name, module in contents.modules.items():
        for part, key in module.keys.items():
            values = contents.values(key)
            # If any value is NaN or infinite, so is the largest magnitude.
            largest = float(np.abs(values).max()) if values.size else 0.0
            if not math.isfinite(largest):
                raise AdapterError(
                    f"{contents.name} contains NaN or infinite values, first in {name}.",
                    "The LoRA's training failed; train again with a lower learning rate.",
                )
            if part is KeyPart.ALPHA and values.min() <= 0:
                raise AdapterError(
                    f"{contents.name} has an alpha of {values.min():g} in {name}, but "
                    "alpha must be above 0.",
                    "Use the original file from the trainer.",
                )
            has_effect = has_effect or (part is KeyPart.UP and largest > 0)
    if not has_effect:
        raise AdapterError(
            f"All lora_up matrices of {contents.name} are zero, so the LoRA has no effect.",
            "Train again with a higher learning rate or more epochs.",
        )


def _wrong_modules(
    contents: Contents, model: Model, wanted: dict[str, tuple[int, int]]
) -> AdapterError:
    unknown = sorted(set(contents.modules) - set(wanted))
    missing = sorted(set(wanted) - set(contents.modules))
    of_them = {name: (module.inputs, module.outputs) for name, module in contents.modules.items()}
    kind = _kind(contents)
    is_part = not unknown and all(wanted[name] == widths for name, widths in of_them.items())
    if kind is None and is_part:
        return AdapterError(
            f"{contents.name} has {len(of_them)} of {len(wanted)} modules of {model.family}: "
            f"{_coverage(set(of_them), set(wanted))}.",
            "Training needs all modules: use a LoRA that adapts every attention and "
            "feed-forward layer.",
        )
    details = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}"
        for what, names in (("unknown", unknown), ("missing", missing))
        if names
    ]
    return AdapterError(
        f"{contents.name} adapts {len(contents.modules)} modules, but {model.family} has "
        f"{len(wanted)} ({'; '.join(details)}); it fits {kind or _NO_MODEL}.",
        _OTHER_MODEL,
    )


def _coverage(present: set[str], wanted: set[str]) -> str:
    """Describe which modules are present, such as "attention only" or "1 block missing: 3"."""
    layers, all_layers = {_layer(name) for name in present}, {_layer(name) for name in wanted}
    if present == {name for name in wanted if _layer(name) in layers}:
        if layers == all_layers - _FEED_FORWARD:
            return "attention only"
        if layers == all_layers - _GROUPS["image attention"]:
            return "no image attention, as in T2V"
        groups = [name for name, group in _GROUPS.items() if group & layers]
        is_whole = all(_GROUPS[name] & all_layers <= layers for name in groups)
        return f"{' and '.join(groups) if is_whole else ', '.join(sorted(layers))} only"
    blocks = {_block(name) for name in present}
    if present == {name for name in wanted if _block(name) in blocks}:
        absent = sorted({_block(name) for name in wanted} - blocks)
        return f"{count(len(absent), 'block')} missing: {listed(list(map(str, absent)))}"
    return f"it lacks {listed(sorted(wanted - present), _SHOWN)}"


def _block(module: str) -> int:
    return int(module.split("_", 2)[1])


def _layer(module: str) -> str:
    return module.split("_", 2)[2]


def _kind(contents: Contents) -> str | None:
    """Return the model families whose modules the file has, joined by "or"; None if none match."""
    found = {name: (module.inputs, module.outputs) for name, module in contents.modules.items()}
    if all(name in found and found[name][0] == _WIDTH_5B for name in _OF_5B):
        return "Wan 2.2 TI2V 5B, which cannot be trained here"
    kinds = [
        model.family
        for model in MODELS
        if {n.replace(".", "_"): w for n, w in modules_of(model).items()} == found
    ]
    return " or ".join(dict.fromkeys(kinds)) or None
