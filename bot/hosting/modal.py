"""The composition root of a Modal deployment, for the bot and for operators."""

from collections.abc import Mapping

from bot.installation import Installation
from bot.settings import Settings
from bot.web.health import why_unwell
from storage.local.run_index import SqliteRunIndex
from storage.modal.runtime import open_runtime, scratch_folder
from training.deployment.names import SERVER_PORT_VARIABLE, Deployment
from training.deployment.resources import BOT
from training.errors import BackendError


class ModalInstallation(Installation):
    """A Modal deployment; its stages run on Modal."""

    def __init__(self, settings: Settings, deployment: Deployment) -> None:
        self.deployment = deployment
        parts = open_runtime(deployment, settings=settings)
        # Local to this process and rebuilt from the runs; never on a Volume.
        index = SqliteRunIndex(scratch_folder() / "index.sqlite")
        super().__init__(settings, parts.runtime, parts.claims, index)


def open_hosted(
    deployment: Deployment, environment: Mapping[str, str], url: str | None
) -> ModalInstallation:
    """Open the deployment from inside a bot container; `url` is the bot's address."""
    port = environment.get(SERVER_PORT_VARIABLE, BOT.port)
    read = Settings.read(scratch_folder())
    hosted = {"web_host": "0.0.0.0", "web_port": int(port), "web_url": read.web_url or url}
    installation = ModalInstallation(read.model_copy(update=hosted), deployment)
    installation.load()
    return installation


def require_health(url: str | None) -> None:
    """Raise if the bot's web side does not answer or the bot is not connected to Discord.

    Raises:
        BackendError: The bot does not serve.
    """
    fix = "Modal restarts it automatically. If this persists, run `lorabot doctor`."
    if url is None:
        raise BackendError("The bot has no address: it is not deployed.", "Run `lorabot deploy`.")
    if why := why_unwell(url):
        raise BackendError(f"The bot {why}.", fix)
