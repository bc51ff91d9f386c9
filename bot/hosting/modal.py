"""The composition root of a deployment on Modal, seen from the bot or an operator's machine."""

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
    """Everything that works on one deployment; its stages and their order are Modal's to run."""

    def __init__(self, settings: Settings, deployment: Deployment) -> None:
        self.deployment = deployment
        parts = open_runtime(deployment, settings=settings)
        # Of this process alone: it is filled again from the runs, and never lies on a Volume.
        index = SqliteRunIndex(scratch_folder() / "index.sqlite")
        super().__init__(settings, parts.runtime, parts.claims, index)


def open_hosted(
    deployment: Deployment, environment: Mapping[str, str], url: str | None
) -> ModalInstallation:
    """Return what a bot in a container of the deployment works on; `url` is its address."""
    port = environment.get(SERVER_PORT_VARIABLE, BOT.port)
    read = Settings.read(scratch_folder())
    hosted = {"web_host": "0.0.0.0", "web_port": int(port), "web_url": read.web_url or url}
    installation = ModalInstallation(read.model_copy(update=hosted), deployment)
    installation.load()
    return installation


def require_health(url: str | None) -> None:
    """Raise when the bot's web side does not answer, or the bot is not connected.

    Raises:
        BackendError: It does not serve.
    """
    fix = "Modal replaces it by itself; if this goes on, see what `lorabot doctor` says."
    if url is None:
        raise BackendError("The bot has no address: it is not deployed.", "Run `lorabot deploy`.")
    if why := why_unwell(url):
        raise BackendError(f"The bot {why}.", fix)
