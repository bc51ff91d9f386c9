"""Keys of LoRA files: the layer that a key names and the part of the change that it holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from training.errors import MergeError

# Longest first: "model.diffusion_model." also contains "diffusion_model.".
_DOTTED_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
_UNDERSCORED_PREFIX = "lora_unet_"


class LoraKeyPart(StrEnum):
    """The part of a layer's change that a key holds; the value is the key's ending."""

    DOWN = ".lora_down.weight"
    UP = ".lora_up.weight"
    A = ".lora_A.weight"
    B = ".lora_B.weight"
    ALPHA = ".alpha"
    DIFF = ".diff"
    DIFF_BIAS = ".diff_b"


# Kinds that are recognised only to be refused by name; matched anywhere in a key.
_REFUSED_KINDS = {
    ".dora_scale": "DoRA scales",
    ".lora_magnitude_vector": "DoRA scales",
    ".hada_": "LoHa factors",
    ".lokr_": "LoKr factors",
    ".diff_m": "modulation differences (diff_m)",
    ".lora_mid.": "Tucker factors (lora_mid)",
    ".oft_": "OFT factors",
}


def split_key(key: str) -> tuple[str, LoraKeyPart] | None:
    """Return the layer's name as written in the LoRA, and the part; None for an unknown ending."""
    for part in LoraKeyPart:
        if key.endswith(part):
            return key.removesuffix(part), part
    return None


def refused_kind(key: str) -> str | None:
    """Return the kind of `key` if it is one that cannot be merged."""
    return next((kind for mark, kind in _REFUSED_KINDS.items() if mark in key), None)


def strip_prefix(name: str) -> str:
    """Return `name` without the prefix that some tools put before the denoiser's modules."""
    prefix = next((p for p in _DOTTED_PREFIXES if name.startswith(p)), "")
    return name.removeprefix(prefix)


@dataclass(frozen=True, slots=True)
class ModuleNames:
    """The modules of a base model, found by any name that a LoRA may use for them.

    Attributes:
        known: Module name without prefix, to its name in the base.
        underscored: Module name with every dot replaced, to the module names it may stand for.
    """

    known: Mapping[str, str]
    underscored: Mapping[str, tuple[str, ...]] = field(repr=False)

    @classmethod
    def of(cls, tensor_names: Iterable[str]) -> "ModuleNames":
        """Return the modules of the tensors, in the tensors' order.

        Raises:
            MergeError: Two modules differ only in their prefix, so LoRA keys are ambiguous.
        """
        known: dict[str, str] = {}
        for name in tensor_names:
            stored, dot, _ = name.rpartition(".")
            if dot and known.setdefault(strip_prefix(stored), stored) != stored:
                raise MergeError(
                    f"The base model has {strip_prefix(stored)} under two prefixes.",
                    "Use a file that contains the diffusion model once.",
                )
        underscored: dict[str, tuple[str, ...]] = {}
        for module in known:
            flat = module.replace(".", "_")
            underscored[flat] = (*underscored.get(flat, ()), module)
        return cls(known, underscored)

    def find(self, lora_name: str) -> str | None:
        """Return the module that the LoRA calls `lora_name`; None if no module or several match."""
        if lora_name.startswith(_UNDERSCORED_PREFIX):
            fitting = self.underscored.get(lora_name.removeprefix(_UNDERSCORED_PREFIX), ())
            return fitting[0] if len(fitting) == 1 else None
        module = strip_prefix(lora_name)
        return module if module in self.known else None
