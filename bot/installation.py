"""An installation: everything the bot and the command line work on."""

import secrets
from functools import cached_property
from typing import TYPE_CHECKING

from bot.settings import Settings
from training.operations.run_list import RunList
from training.pipeline.runtime import Runtime
from training.ports import Claims, Engine, RunIndex
from training.store_keys import GUILDS
from training.vocabulary import EngineName

if TYPE_CHECKING:
    from training.operations.runs import Runs
    from training.registry.datasets import Datasets
    from training.registry.loras import Loras

_LINK_SECRET = "bot/link-secret"


class Installation:
    """One home folder of a machine, or one deployment on Modal.

    Attributes:
        settings: Its configuration.
        runtime: The adapters that its runs use.
        claims: Decides which copy of the bot handles an interaction.
        run_list, runs, datasets, loras: What people have stored on it.
    """

    def __init__(
        self, settings: Settings, runtime: Runtime, claims: Claims, index: RunIndex
    ) -> None:
        self.settings, self.runtime, self.claims = settings, runtime, claims
        self.run_list = RunList(runtime, index)
        self._index = index

    @cached_property
    def runs(self) -> "Runs":
        """The runs of all guilds."""
        from training.operations.runs import Runs

        return Runs(self.runtime, self._index)

    @cached_property
    def datasets(self) -> "Datasets":
        """The datasets of all guilds."""
        from training.registry.datasets import Datasets

        return Datasets(self.runtime.store, self.settings.limits)

    @cached_property
    def loras(self) -> "Loras":
        """The uploaded LoRA files."""
        from training.registry.loras import Loras

        return Loras(self.runtime.store)

    def load(self) -> None:
        """Import what commands use, so that the first command does not wait for it."""
        for name in ("runs", "datasets", "loras"):
            getattr(self, name)

    def engine(self, name: EngineName) -> Engine:
        """Return the engine called `name`.

        Raises:
            RequestError: It is not available here.
        """
        return self.runtime.engine(name)

    def ensure_worker(self) -> None:
        """Start the worker service where stages need one; Modal needs none."""

    def guilds(self) -> list[str]:
        """Return the guilds that have anything stored."""
        return self.runtime.store.names(GUILDS)

    def link_secret(self) -> bytes:
        """Return the secret that signs links, creating it the first time."""
        store = self.runtime.store
        store.create(_LINK_SECRET, secrets.token_bytes(32))
        return store.read(_LINK_SECRET)
