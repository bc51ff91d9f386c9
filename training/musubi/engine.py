"""The production engine: musubi-tuner's own scripts and the published weights."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import (
    hf_hub_download,  # type: ignore[reportUnknownVariableType]  # its progress bar is untyped
)
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from training.adapter.modules import Widths, modules_of
from training.catalogue import Model, WeightFile
from training.errors import StageError
from training.musubi.commands import MUSUBI_COMMIT


class MusubiEngine:
    """Runs the scripts of a musubi-tuner checkout with the interpreter that it is installed in."""

    name = "musubi"
    version = MUSUBI_COMMIT

    def __init__(self, checkout: Path, python: Path | None = None) -> None:
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

    def obtain(self, model: Model, weight: WeightFile, target: Path) -> str:  # noqa: ARG002
        """Download the weight file from the Hugging Face Hub and return its revision.

        Raises:
            StageError: The Hub cannot be reached or refuses the file.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
            try:
                found = hf_hub_download(
                    weight.repo, weight.file, revision=weight.revision, local_dir=folder
                )
            except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
                raise StageError(
                    f"{weight.file} could not be fetched from huggingface.co/{weight.repo}: "
                    f"{error}.",
                    "Check the network and the HF_TOKEN, then start the run again.",
                ) from error
            Path(found).replace(target)
        return weight.revision
