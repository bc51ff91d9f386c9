"""The production engine: musubi-tuner's scripts and the published weights."""

import subprocess
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from training.catalogue.models import Model, WeightFile
from training.errors import StageError
from training.lora.modules import modules_of
from training.musubi.launcher.hooks import MUSUBI_COMMIT
from training.musubi.launcher.program import BENCH, DEFAULT_STATE_SECONDS, STATE_SECONDS_VARIABLE
from training.ports import Extent, Obtained
from training.vocabulary import Widths

if TYPE_CHECKING:
    from training.musubi.hub import Hub

_LAUNCHER = Path(__file__).with_name("launcher")


class MusubiEngine:
    """Runs the scripts of a musubi-tuner checkout through the launcher, in their own environment.

    Args:
        checkout: The folder of the checkout.
        python: The interpreter of musubi-tuner's environment.
        state_seconds: The seconds after which the trainer saves the next training state.
        hub: Where weights are downloaded from; None means the Hugging Face Hub.
    """

    name = "musubi"
    version = MUSUBI_COMMIT

    def __init__(
        self,
        checkout: Path,
        python: Path,
        state_seconds: float = DEFAULT_STATE_SECONDS,
        hub: "Hub | None" = None,
    ) -> None:
        self._checkout, self._python = checkout, python
        self._state_seconds = state_seconds
        self._given_hub = hub

    @cached_property
    def _hub(self) -> "Hub":
        # Import this on first use: only one stage downloads, and importing the Hub's client takes
        # longer than all other imports.
        from training.musubi.hub import Hub  # noqa: PLC0415

        return self._given_hub or Hub()

    def command(self, script: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        program = self._checkout / "src/musubi_tuner" / script
        paths = (self._python, _LAUNCHER, program)
        return (*(path.as_posix() for path in paths), *arguments)

    def bench_command(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command that measures the GPU and prints the results as JSON lines."""
        return (str(self._python), str(_LAUNCHER), BENCH, str(self._checkout), *arguments)

    def environment(self) -> Mapping[str, str]:
        return {
            # Unbuffered, so that stopping the trainer loses none of its last lines.
            "PYTHONUNBUFFERED": "1",
            STATE_SECONDS_VARIABLE: f"{self._state_seconds:g}",
        }

    def clip_reader(self) -> str:
        """Return the version of PyAV in musubi-tuner's environment.

        Raises:
            StageError: PyAV is not installed in that environment.
        """
        asked = "import importlib.metadata as m; print(m.version('av'))"
        try:
            told = subprocess.run(
                [str(self._python), "-c", asked], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise StageError(
                f"{self._python} has no PyAV, which musubi-tuner needs to read clips.",
                "Install musubi-tuner's requirements in that environment.",
            ) from error
        return f"PyAV {told.stdout.strip()}"

    def modules(self, model: Model) -> Widths:
        return modules_of(model)

    def module_count(self, model: Model) -> int:
        return model.modules

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        return self._hub.extent(weight, target)

    def obtain(
        self,
        model: Model,  # noqa: ARG002
        weight: WeightFile,
        target: Path,
        watch: Callable[[int], None],
    ) -> Obtained:
        return self._hub.obtain(weight, target, watch)
