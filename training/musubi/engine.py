"""The production engine: musubi-tuner's own scripts and the published weights."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from training.adapter.modules import Widths, modules_of
from training.catalogue import Model, WeightFile
from training.musubi.commands import MUSUBI_COMMIT
from training.musubi.hub import Hub
from training.ports import Extent, Obtained


class MusubiEngine:
    """Runs the scripts of a musubi-tuner checkout with the interpreter that it is installed in."""

    name = "musubi"
    version = MUSUBI_COMMIT

    def __init__(self, checkout: Path, python: Path | None = None, hub: Hub | None = None) -> None:
        self._hub = hub or Hub()
        self._checkout = checkout
        self._python = str(python or sys.executable)

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the complete command line that runs one of musubi's scripts."""
        return (self._python, str(self._checkout / "src/musubi_tuner" / script), *arguments)

    def environment(self) -> Mapping[str, str]:
        """Return what the command's environment needs beyond the stage's own."""
        # Unbuffered, or "saving checkpoint" lines are lost when the trainer is stopped.
        return {"PYTHONUNBUFFERED": "1"}

    def modules(self, model: Model) -> Widths:
        """Return the modules of the published weights that carry an adapter."""
        return modules_of(model)

    def module_count(self, model: Model) -> int:
        """Return how many modules of the model carry an adapter."""
        return model.modules

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        """Return the size of a weight file on the Hugging Face Hub."""
        return self._hub.extent(weight, target)

    def obtain(
        self,
        model: Model,  # noqa: ARG002
        weight: WeightFile,
        target: Path,
        watch: Callable[[int], None],
    ) -> Obtained:
        """Download the weight file from the Hugging Face Hub."""
        return self._hub.obtain(weight, target, watch)
