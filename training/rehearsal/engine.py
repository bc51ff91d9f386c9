"""The rehearsal engine: runs musubi's command lines with a tiny model, on a CPU, in seconds."""

import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from training.catalogue.models import Model, WeightFile, is_in_catalogue
from training.files.atomic import atomic_write
from training.files.code_path import python_path
from training.files.hashing import file_sha256
from training.ports import Extent, Obtained
from training.rehearsal.model.shape import adapter_widths
from training.vocabulary import Widths

if TYPE_CHECKING:
    from training.musubi.hub import Hub
    from training.rehearsal.model.weights import Role

# A fixed date, so that equal seeds give equal bytes; any constant would do.
_EPOCH_SECONDS = "1767225600"  # 2026-01-01


class RehearsalEngine:
    """Runs `training.rehearsal` with this interpreter, on generated weights.

    Args:
        hub: Used only to check that files outside the catalogue exist; nothing is downloaded.
    """

    name = "rehearsal"
    version = "1"

    def __init__(self, hub: "Hub | None" = None) -> None:
        self._given_hub = hub

    @cached_property
    def _hub(self) -> "Hub":
        # Import this on first use: few runs need the Hub's client, and its import takes longer than
        # everything else.
        from training.musubi.hub import Hub  # noqa: PLC0415

        return self._given_hub or Hub(is_patient=False)

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        return (sys.executable, "-m", "training.rehearsal", script, *arguments)

    def environment(self) -> Mapping[str, str]:
        return {
            "SOURCE_DATE_EPOCH": _EPOCH_SECONDS,
            "PYTHONUNBUFFERED": "1",
            # More threads do not speed up such small matrices, and waiting threads use up cores.
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": python_path(),
        }

    def clip_reader(self) -> str:
        """Return the version of this interpreter's PyAV."""
        return f"PyAV {version('av')}"

    def modules(self, model: Model) -> Widths:
        return adapter_widths(clip=model.clip)

    def module_count(self, model: Model) -> int:
        return len(self.modules(model))

    def extent(self, weight: WeightFile, target: Path) -> Extent:  # noqa: ARG002
        """Return an extent of 0, because a rehearsal generates the file instead of downloading it.

        Raises:
            StageError: The file does not exist on the Hub, so a real run could not download it.
        """
        if not is_in_catalogue(weight):
            self._hub.find(weight)
        return Extent(0)

    def obtain(
        self,
        model: Model,
        weight: WeightFile,
        target: Path,
        watch: Callable[[int], None],  # noqa: ARG002
    ) -> Obtained:
        """Write a deterministic substitute for the weight file, with the real tensor names."""
        from training.rehearsal.model.weights import write_weights  # noqa: PLC0415  # NumPy

        if weight in model.tokenizers:
            # A placeholder: the rehearsal splits captions without a tokenizer.
            atomic_write(target, b"{}\n")
        else:
            write_weights(
                target,
                role=_role(model, weight),
                in_channels=36 if model.i2v else 16,
                clip=model.clip,
                # Models share some files, such as the VAE, which must not depend on the model.
                dtype=model.dtype if _role(model, weight) == "dit" else "bf16",
                seed=str(weight),
            )
        return Obtained("rehearsal", file_sha256(target))


def _role(model: Model, weight: WeightFile) -> "Role":
    if any(weight == expert.dit for expert in model.experts):
        return "dit"
    roles: dict[WeightFile | None, Role] = {
        model.vae: "vae",
        model.t5: "t5",
        model.clip_weights: "clip",
    }
    return roles.get(weight, "speed_lora")
