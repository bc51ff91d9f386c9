"""The composition root of operator commands that work on Modal."""

from dataclasses import replace

from bot.deploy.account import labels, workspace
from bot.hosting.modal import ModalInstallation
from bot.settings import Settings
from storage.modal.runtime import open_runtime
from storage.modal.source_volume import SourceVolume
from training.deployment.code_version import engine_of
from training.deployment.names import Deployment
from training.errors import NotFoundError
from training.pipeline.runtime import Runtime


def open_deployment(settings: Settings) -> ModalInstallation:
    """Open the deployment that the settings name, with the engine it was deployed with.

    Creates nothing on Modal.

    Raises:
        NotFoundError: Nothing is deployed under that name.
        RequestError: This machine has no token.
        BackendError: Modal does not answer.
    """
    deployment = settings.deployment
    found = labels(deployment.stages_app)
    if found is None:
        raise NotFoundError(
            f"There is no Modal deployment called {deployment.name}.",
            f"Run lorabot deploy --app {deployment.name}, or choose another one with --app.",
        )
    own = engine_of(found) or deployment.engine
    known = settings.model_copy(update={"engine": own})
    return ModalInstallation(known, replace(deployment, engine=own))


def house_to_deploy(name: str) -> Runtime:
    """Return the runtime of a deployment, creating Volumes that are missing."""
    return open_runtime(Deployment(name=name)).runtime


def open_source(name: str) -> SourceVolume:
    """Return a read-only view of a Volume. Reading fails if the Volume does not exist.

    Raises:
        RequestError: This machine has no token.
        BackendError: Modal does not answer.
    """
    workspace()
    return SourceVolume(name)
