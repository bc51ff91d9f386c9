"""Assembles an installation on Modal from its adapters, for the bot and for operators."""

from collections.abc import Collection, Mapping

from bot.installation import Installation
from bot.settings import Settings
from bot.web.health import why_unwell
from storage.local.run_index import SqliteRunIndex
from storage.modal.runtime import open_runtime, scratch_folder
from training.deployment.names import SERVER_PORT_VARIABLE, Deployment
from training.deployment.resources import BOT
from training.errors import BackendError
from training.store_keys import Area


class ModalInstallation(Installation):
    """An installation that is deployed on Modal."""

    def __init__(
        self, settings: Settings, deployment: Deployment, *, mounted: Collection[Area] = ()
    ) -> None:
        """Open a deployment; `mounted` lists the areas that are mounted here, read-only."""
        self.deployment = deployment
        parts = open_runtime(deployment, read_only=mounted, settings=settings)
        # Each process has its own index, on its own disk, and rebuilds it from the runs.
        index = SqliteRunIndex(scratch_folder() / "index.sqlite")
        super().__init__(settings, parts.runtime, lambda: parts.claims, index)


def open_hosted(
    deployment: Deployment, environment: Mapping[str, str], url: str | None
) -> ModalInstallation:
    """Open the deployment from inside the bot's container; `url` is the bot's public URL."""
    port = environment.get(SERVER_PORT_VARIABLE, BOT.port)
    read = Settings.read(scratch_folder())
    hosted = {"web_host": "0.0.0.0", "web_port": int(port), "web_url": read.web_url or url}
    settings = read.model_copy(update=hosted)
    installation = ModalInstallation(settings, deployment, mounted=BOT.areas)
    installation.load()
    return installation


def require_health(url: str | None) -> None:
    """Require that the bot's web server answers and the bot is connected to Discord.

    Raises:
        BackendError: The bot is not healthy.
    """
    fix = "Modal restarts it automatically. If this persists, run `lorabot doctor`."
    if url is None:
        raise BackendError("The bot has no URL: it is not deployed.", "Run `lorabot deploy`.")
    if why := why_unwell(url):
        raise BackendError(f"The bot {why}.", fix)
