"""The rehearsal engine: musubi's command lines with a tiny model, on CPU, in seconds."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from training.catalogue.models import Model, WeightFile
from training.files.code_path import python_path
from training.files.hashing import file_sha256
from training.ports import Extent, Obtained
from training.rehearsal.model.shape import adapter_widths
from training.rehearsal.model.weights import Role, write_weights
from training.vocabulary import Widths

# Fixed dates, so that equal seeds give equal bytes; any constant would do.
_EPOCH_SECONDS = "1767225600"  # 2026-01-01


class RehearsalEngine:
    """Runs `training.rehearsal` with this interpreter and generates its weights."""

    name = "rehearsal"
    version = "1"

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the complete command line that runs one of musubi's scripts."""
        return (sys.executable, "-m", "training.rehearsal", script, *arguments)

    def environment(self) -> Mapping[str, str]:
        """Return what the command's environment needs beyond the stage's own."""
        return {
            "SOURCE_DATE_EPOCH": _EPOCH_SECONDS,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": python_path(),
        }

    def modules(self, model: Model) -> Widths:
        """Return the modules of the tiny model that carry an adapter."""
        return adapter_widths(clip=model.clip)

    def module_count(self, model: Model) -> int:
        """Return how many modules of the tiny model carry an adapter."""
        return len(self.modules(model))

    def extent(self, weight: WeightFile, target: Path) -> Extent:  # noqa: ARG002
        """Return a size of 0: stand-ins are generated, not fetched."""
        return Extent(0)

    def obtain(
        self,
        model: Model,
        weight: WeightFile,
        target: Path,
        watch: Callable[[int], None],  # noqa: ARG002
    ) -> Obtained:
        """Write a deterministic stand-in for the weight file, with the real tensor names."""
        if weight in model.tokenizers:
            target.write_text("{}\n", "utf-8")  # the rehearsal splits captions at spaces
        else:
            write_weights(
                target,
                role=_role(model, weight),
                in_channels=36 if model.i2v else 16,
                clip=model.clip,
                dtype=model.dtype,
                seed=str(weight),
            )
        return Obtained("rehearsal", file_sha256(target))


def _role(model: Model, weight: WeightFile) -> Role:
    if any(weight == expert.dit for expert in model.experts):
        return "dit"
    roles: dict[WeightFile | None, Role] = {
        model.vae: "vae",
        model.t5: "t5",
        model.clip_weights: "clip",
    }
    return roles.get(weight, "speed_lora")
