"""The production engine: musubi-tuner's own scripts and the published weights."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import (
    hf_hub_download,  # type: ignore[reportUnknownVariableType]  # its progress bar is untyped
)
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from training.catalogue import Model, WeightFile
from training.errors import StageError
from training.musubi.launcher.hooks import MUSUBI_COMMIT
from training.musubi.launcher.program import DEFAULT_STATE_SECONDS, STATE_SECONDS_VARIABLE

_LAUNCHER = Path(__file__).with_name("launcher")


class MusubiEngine:
    """Runs the scripts of a musubi-tuner checkout through the launcher, in their own environment.

    Args:
        checkout: The folder of the checkout.
        python: The interpreter that musubi-tuner is installed in.
        state_seconds: Time between the training states that are saved beside the checkpoints'.
    """

    name = "musubi"
    version = MUSUBI_COMMIT

    def __init__(
        self, checkout: Path, python: Path, state_seconds: float = DEFAULT_STATE_SECONDS
    ) -> None:
        self._checkout, self._python = checkout, python
        self._state_seconds = state_seconds

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the complete command line that runs one of musubi's scripts."""
        path = self._checkout / "src/musubi_tuner" / script
        return (str(self._python), str(_LAUNCHER), str(path), *arguments)

    def environment(self) -> Mapping[str, str]:
        """Return what the command's environment needs beyond the stage's own."""
        return {
            # Unbuffered, or "saving checkpoint" lines are lost when the trainer is stopped.
            "PYTHONUNBUFFERED": "1",
            STATE_SECONDS_VARIABLE: f"{self._state_seconds:g}",
        }

    def modules(self, model: Model) -> None:  # noqa: ARG002
        """Return None: only the number of a real model's modules is in the catalogue."""
        return

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
