"""Assembles the adapters for operator commands that work on Modal (a composition root)."""

from dataclasses import replace

from bot.deploy.account import ModalAccount
from bot.hosting.modal import ModalInstallation
from bot.settings import Settings
from storage.modal.runtime import open_runtime
from storage.modal.source_volume import SourceVolume
from training.deployment.code_version import engine_of
from training.deployment.names import Deployment
from training.errors import NotFoundError
from training.pipeline.runtime import Runtime
from training.remedies import Deploy


def open_deployment(settings: Settings) -> ModalInstallation:
    """Open the deployment that the settings name, with the engine it was deployed with.

    Nothing is created on Modal.

    Raises:
        NotFoundError: Nothing is deployed under that name.
        RequestError: This machine has no valid token.
        BackendError: Modal does not answer.
    """
    deployment = settings.deployment
    found = ModalAccount().labels(deployment.stages_app)
    if found is None:
        raise NotFoundError(
            f"There is no Modal deployment called {deployment.name}.",
            f"Run lorabot deploy --app {deployment.name}, or choose another deployment with --app.",
        )
    own = engine_of(found) or deployment.engine
    known = settings.model_copy(update={"engine": own})
    return ModalInstallation(known, replace(deployment, engine=own))


def bot_address(settings: Settings) -> str:
    """Return the URL of the bot's web server in the deployment that the settings name.

    Raises:
        NotFoundError: The bot is not deployed.
        RequestError: This machine has no valid token.
        BackendError: Modal does not answer.
    """
    app = settings.deployment.bot_app
    url = ModalAccount().server_url(app, "Bot")
    if url is None:
        raise NotFoundError(f"The bot of {settings.modal_app} is not deployed.", "", Deploy())
    return url


def runtime_to_deploy(name: str) -> Runtime:
    """Return the runtime of a deployment, creating missing Volumes."""
    return open_runtime(Deployment(name=name)).runtime


def open_source(name: str) -> SourceVolume:
    """Return a read-only view of a Volume. Reading fails if the Volume does not exist.

    Raises:
        RequestError: This machine has no valid token.
        BackendError: Modal does not answer.
    """
    ModalAccount().workspace()
    return SourceVolume(name)
