"""Finds the module of a base model that a LoRA key names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from training.errors import MergeError
from training.lora.keys import flat_name, strip_prefix

_ENDINGS = (".weight", ".bias")


@dataclass(frozen=True, slots=True)
class ModuleNames:
    """Finds the modules of a base model by the flat names that LoRA keys contain.

    A parameter outside a module, such as `blocks.0.modulation`, counts as a module.

    Attributes:
        known: Maps a module's name without prefix to its name in the base:
            `blocks.0.ffn.0` to `model.diffusion_model.blocks.0.ffn.0`.
        flat: Maps a flat name (`blocks_0_ffn_0`) to all modules that it may stand for.
    """

    known: Mapping[str, str]
    flat: Mapping[str, tuple[str, ...]] = field(repr=False)

    @classmethod
    def of(cls, tensor_names: Iterable[str]) -> "ModuleNames":
        """Collect the modules of a base model from its tensors' names.

        Raises:
            MergeError: Two modules differ only in their prefix, so a LoRA key could mean either.
        """
        known: dict[str, str] = {}
        for name in tensor_names:
            ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
            stored = name.removesuffix(ending)
            if known.setdefault(strip_prefix(stored), stored) != stored:
                raise MergeError(
                    f"The base model has {strip_prefix(stored)} under two prefixes.",
                    "Use a file that contains the diffusion model only once.",
                )
        flat: dict[str, tuple[str, ...]] = {}
        for module in known:
            name = flat_name(module)
            flat[name] = (*flat.get(name, ()), module)
        return cls(known, flat)

    def find(self, flat: str) -> str | None:
        """Return the module that a flat name stands for; None if no module fits, or several do."""
        fitting = self.flat.get(flat, ())
        return fitting[0] if len(fitting) == 1 else None
