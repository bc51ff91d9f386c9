"""The production engine: musubi-tuner's scripts and the published weights."""

from collections.abc import Callable, Mapping
from pathlib import Path

from training.catalogue.models import Model, WeightFile
from training.lora.modules import modules_of
from training.musubi.hub import Hub
from training.musubi.launcher.hooks import MUSUBI_COMMIT
from training.musubi.launcher.program import DEFAULT_STATE_SECONDS, STATE_SECONDS_VARIABLE
from training.ports import Extent, Obtained
from training.vocabulary import Widths

_LAUNCHER = Path(__file__).with_name("launcher")


class MusubiEngine:
    """Runs the scripts of a musubi-tuner checkout through the launcher, in their own environment.

    Args:
        checkout: The folder of the checkout.
        python: The interpreter of musubi-tuner's environment.
        state_seconds: Time between training states saved between checkpoints.
    """

    name = "musubi"
    version = MUSUBI_COMMIT

    def __init__(
        self,
        checkout: Path,
        python: Path,
        state_seconds: float = DEFAULT_STATE_SECONDS,
        hub: Hub | None = None,
    ) -> None:
        self._checkout, self._python = checkout, python
        self._state_seconds = state_seconds
        self._hub = hub or Hub()

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the complete command line that runs one of musubi's scripts."""
        path = self._checkout / "src/musubi_tuner" / script
        return (str(self._python), str(_LAUNCHER), str(path), *arguments)

    def environment(self) -> Mapping[str, str]:
        """Return the extra environment variables of the command."""
        return {
            # Unbuffered, or "saving checkpoint" lines are lost when the trainer is stopped.
            "PYTHONUNBUFFERED": "1",
            STATE_SECONDS_VARIABLE: f"{self._state_seconds:g}",
        }

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
