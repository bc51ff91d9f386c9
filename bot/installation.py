"""What the bot and the command line work on, wherever its runs execute."""

import secrets

from bot.settings import Settings
from training.operations.runs import Runs
from training.pipeline.runtime import House
from training.ports import Claims, Engine, RunIndex
from training.registry.datasets import Datasets
from training.registry.loras import Checkpoints
from training.store_keys import GUILDS
from training.vocabulary import EngineName

_LINK_SECRET = "bot/link-secret"


class Installation:
    """One home folder of a machine, or one deployment on Modal.

    Attributes:
        settings: What its operator has set.
        house: The adapters that its runs work with.
        claims: Who of several copies of the bot does what.
        runs, datasets, checkpoints: What people have on it.
    """

    def __init__(self, settings: Settings, house: House, claims: Claims, index: RunIndex) -> None:
        self.settings, self.house, self.claims = settings, house, claims
        self.runs = Runs(house, index)
        self.datasets = Datasets(house.store, settings.limits)
        self.checkpoints = Checkpoints(house.store)

    def engine(self, name: EngineName) -> Engine:
        """Return the engine called `name`.

        Raises:
            RequestError: It cannot be used here.
        """
        return self.house.engine(name)

    def ensure_worker(self) -> None:
        """See that somebody works on what waits; elsewhere that is seen to already."""

    def guilds(self) -> list[str]:
        """Return the guilds that have anything stored."""
        return self.house.store.names(GUILDS)

    def link_secret(self) -> bytes:
        """Return the secret that signs links; made once, kept in the store."""
        store = self.house.store
        store.create(_LINK_SECRET, secrets.token_bytes(32))
        return store.read(_LINK_SECRET)
