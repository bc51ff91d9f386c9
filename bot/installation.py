"""An installation: everything the bot and the command line work on."""

import hashlib
import logging
import secrets
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from bot.settings import Settings
from training.errors import RequestError
from training.operations.run_list import RunList
from training.pipeline.runtime import Runtime
from training.ports import Claims, RunIndex
from training.store_keys import GUILDS
from training.vocabulary import EngineName

if TYPE_CHECKING:
    from training.captioning.captioner import Captioner
    from training.operations.runs import Runs
    from training.operations.storage import Storage
    from training.operations.trash.dataset_removal import DatasetRemovals
    from training.operations.trash.lora_removal import LoraRemovals
    from training.operations.trash.restoring import Restores
    from training.operations.trash.run_removal import RunRemovals
    from training.registry.datasets import Datasets
    from training.registry.loras import Loras
    from training.registry.proposals import Proposals

_REMOVING = ("dataset_removals", "lora_removals", "run_removals", "restores", "storage")
_LINK_SECRET, _SECRET_BYTES = "bot/link-secret", 32
_WEB_PORT = "bot/web-port"
# Below the ports that Linux gives to outgoing connections.
_FIRST_PORT, _PORTS = 20_000, 10_000
logger = logging.getLogger(__name__)


class Installation:
    """One home folder of a machine, or one deployment on Modal.

    Attributes:
        settings: The installation's settings.
        runtime: The adapters (store, leases, backend, ...) that its runs use.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        claims: Callable[[], Claims],
        index: RunIndex,
    ) -> None:
        self.settings, self.runtime = settings, runtime
        self.run_list = RunList(runtime, index)
        self._claims, self._index = claims, index

    @cached_property
    def claims(self) -> Claims:
        """Return the claims, which decide which copy of the bot handles an interaction."""
        return self._claims()

    @cached_property
    def runs(self) -> "Runs":
        from training.operations.runs import Runs

        return Runs(self.runtime, self._index)

    @cached_property
    def datasets(self) -> "Datasets":
        from training.registry.datasets import Datasets

        return Datasets(self.runtime.store, self.settings.limits)

    @cached_property
    def proposals(self) -> "Proposals":
        from training.registry.proposals import Proposals

        return Proposals(self.runtime.store, self.runtime.leases)

    def captioner(self, engine: EngineName) -> "Captioner":
        """Return what proposes captions: the endpoint in the settings, or else a stand-in.

        Raises:
            RequestError: The settings name no endpoint, and runs are no rehearsals.
        """
        settings = self.settings
        if settings.caption_url is not None and settings.caption_model is not None:
            from training.captioning.endpoint import EndpointCaptioner

            return EndpointCaptioner(
                settings.caption_url, settings.caption_model, settings.caption_key
            )
        if engine == "rehearsal":
            from training.captioning.measured import MeasuringCaptioner

            return MeasuringCaptioner()
        raise RequestError(
            "The bot has nothing that could propose captions.",
            "Ask its operator to set LORABOT_CAPTION_URL and LORABOT_CAPTION_MODEL, such as those "
            "of an Ollama or vLLM server.",
        )

    @cached_property
    def loras(self) -> "Loras":
        from training.registry.loras import Loras

        return Loras(self.runtime.store)

    @cached_property
    def dataset_removals(self) -> "DatasetRemovals":
        from training.operations.trash.dataset_removal import DatasetRemovals

        return DatasetRemovals(self.runtime, self.datasets, self.runs)

    @cached_property
    def lora_removals(self) -> "LoraRemovals":
        from training.operations.trash.lora_removal import LoraRemovals

        return LoraRemovals(self.runtime, self.loras)

    @cached_property
    def run_removals(self) -> "RunRemovals":
        from training.operations.trash.run_removal import RunRemovals

        return RunRemovals(self.runtime, self.runs)

    @cached_property
    def restores(self) -> "Restores":
        from training.operations.trash.restoring import Restores

        return Restores(self.runtime, self.datasets, self.loras)

    @cached_property
    def storage(self) -> "Storage":
        from training.operations.storage import Storage

        removals = (self.dataset_removals, self.lora_removals, self.run_removals)
        return Storage(self.runtime, self.datasets, removals)

    def load(self) -> None:
        """Import the modules that commands use, so that the first command starts at once."""
        for name in ("runs", "datasets", "proposals", "loras", *_REMOVING):
            getattr(self, name)

    def require_training(self) -> None:
        """Raise an error if stages shall run on this machine, but its system does not support that.

        Raises:
            RequestError: Stages run on this machine, which does not run Linux.
        """

    def ensure_worker(self) -> None:
        """Start the worker service if stages need one. On Modal, they do not."""

    def rebuild(self) -> None:
        """Discard the index of runs; the next listing rebuilds it from the run folders."""
        self.run_list.rebuild_index()

    def clean_up_daily(self) -> None:
        """Delete old trash and unused files, once a day. On Modal, a schedule does this instead."""

    def guilds(self) -> list[str]:
        """Return the guilds for which something is stored."""
        return self.runtime.store.names(GUILDS)

    def link_secret(self) -> bytes:
        """Return the secret that signs links. It is created on the first call."""
        store = self.runtime.store
        store.create(_LINK_SECRET, secrets.token_bytes(_SECRET_BYTES))
        secret = store.read(_LINK_SECRET)
        if len(secret) != _SECRET_BYTES:  # a shorter secret could be guessed
            logger.warning("the link secret was damaged; all links made so far no longer work")
            store.write(_LINK_SECRET, secrets.token_bytes(_SECRET_BYTES))
            secret = store.read(_LINK_SECRET)
        return secret

    def wanted_web_port(self) -> int:
        """Return the port that links point to: the last one used, or the first one to try.

        The first one follows from the secret of the links. If the record of the last one is lost,
        links therefore still work.
        """
        digest = hashlib.sha256(b"web port of " + self.link_secret()).digest()
        return self._last_web_port() or _FIRST_PORT + int.from_bytes(digest[:4], "big") % _PORTS

    def remember_web_port(self, port: int) -> None:
        """Store the web server's port, so that the next process reuses it and links stay valid."""
        if port != self._last_web_port():
            self.runtime.store.write(_WEB_PORT, str(port).encode())

    def _last_web_port(self) -> int | None:
        try:
            port = int(self.runtime.store.read(_WEB_PORT))
        except (FileNotFoundError, ValueError):
            return None
        return port if 0 < port < 65_536 else None
