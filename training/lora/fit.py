"""Checks that a LoRA file fits a model, by its header and by its values.

The mapping of names is ComfyUI's: `model_lora_keys_unet` in comfy/lora.py maps both
`lora_unet_<module with _>` and `diffusion_model.<module>` to the module's weight, and
comfy/weight_adapter/lora.py takes lora_up/lora_down, lora_B/lora_A and alpha; it ignores any other
key with a warning. Source: github.com/Comfy-Org/ComfyUI, commit
ec93dcacb96b922f7cb1417b3ba22bccb082df32.
"""

import math

import numpy as np

from training.catalogue.models import MODELS, Expert, Model
from training.errors import AdapterError
from training.lora.contents import ALPHA, UP, Contents
from training.lora.modules import modules_of
from training.lora.origin import read_origin, require_same_origin
from training.vocabulary import Widths

_SHOWN = 3


def require_fit(
    contents: Contents,
    *,
    model: Model,
    expert: Expert,
    modules: Widths,
    rank: int | None = None,
) -> str:
    """Check by the header that the whole file loads into a model; return a summary.

    Args:
        contents: The contents of the file.
        model: The model that it is meant for.
        expert: The expert that it is meant for.
        modules: The model's modules in the engine that is used.
        rank: The required rank, if known.

    Raises:
        AdapterError: A module is foreign or missing, a width or the rank differs, or the metadata
            names a different task, version or expert.
    """
    wanted = {name.replace(".", "_"): widths for name, widths in modules.items()}
    loads = [name for name in contents.modules if name in wanted]
    if len(loads) != len(wanted) or len(loads) != len(contents.modules):
        raise _wrong_modules(contents, model, wanted)
    for name, module in contents.modules.items():
        if (module.inputs, module.outputs) != wanted[name]:
            raise AdapterError(
                f"{contents.name} fits {_kind(contents)}, not {model.family}: {name} is "
                f"{module.inputs} wide where the model has {wanted[name][0]}.",
                "Use a LoRA of the same model, or name the model that this one is for.",
            )
    if rank is not None and contents.rank != rank:
        raise AdapterError(
            f"{contents.name} has rank {contents.rank} where {rank} is expected.",
            f"Give the rank of the file, {contents.rank}, or use a file of rank {rank}.",
        )
    require_same_origin(contents.name, read_origin(contents.header.metadata), model, expert)
    return f"{len(loads)}/{len(wanted)} modules load"


def require_values(contents: Contents) -> None:
    """Check that all values are finite and that the LoRA has an effect.

    Raises:
        AdapterError: A value is NaN or infinite, an alpha is not positive, or all up-weights are
            zero.
    """
    has_effect = False
    for name, module in contents.modules.items():
        for part, key in module.keys.items():
            values = contents.values(key)
            # The largest magnitude reveals both NaN and infinity.
            largest = float(np.abs(values).max()) if values.size else 0.0
            if not math.isfinite(largest):
                raise AdapterError(
                    f"{contents.name} holds values that are not numbers, first in {name}.",
                    "Its training failed; train again with a lower learning rate.",
                )
            if part == ALPHA and values.min() <= 0:
                raise AdapterError(
                    f"{contents.name} has an alpha of {values.min():g} in {name}, which leaves it "
                    "without its effect.",
                    "Use the file as its trainer saved it.",
                )
            has_effect = has_effect or (part == UP and largest > 0)
    if not has_effect:
        raise AdapterError(
            f"Every up-weight of {contents.name} is zero, so that it has no effect.",
            "Train again with a higher learning rate or more epochs.",
        )


def _wrong_modules(
    contents: Contents, model: Model, wanted: dict[str, tuple[int, int]]
) -> AdapterError:
    foreign = sorted(set(contents.modules) - set(wanted))
    missing = sorted(set(wanted) - set(contents.modules))
    details = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}"
        for what, names in (("foreign", foreign), ("missing", missing))
        if names
    ]
    return AdapterError(
        f"{contents.name} adapts {len(contents.modules)} modules where {model.family} has "
        f"{len(wanted)} ({'; '.join(details)}): it fits {_kind(contents)}.",
        "Use a LoRA of the same model, or name the model that this one is for.",
    )


def _kind(contents: Contents) -> str:
    """Name the models whose modules and widths match the file."""
    found = {name: (module.inputs, module.outputs) for name, module in contents.modules.items()}
    kinds = [
        model.family
        for model in MODELS
        if {n.replace(".", "_"): w for n, w in modules_of(model).items()} == found
    ]
    return " or ".join(dict.fromkeys(kinds)) or "no model of the list"
