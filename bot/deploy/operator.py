"""The composition root of an operator's commands on Modal."""

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
    """Return what works on the deployment that the settings name, with its own engine.

    Nothing is made on Modal for a name under which nothing is deployed.

    Raises:
        NotFoundError: Nothing is deployed under that name.
        RequestError: This machine has no token.
        BackendError: Modal does not answer.
    """
    deployment = settings.deployment
    found = labels(deployment.stages_app)
    if found is None:
        raise NotFoundError(
            f"Nothing is deployed on Modal as {deployment.name}.",
            f"Run lorabot deploy --app {deployment.name}, or name another deployment with --app.",
        )
    own = engine_of(found) or deployment.engine
    known = settings.model_copy(update={"engine": own})
    return ModalInstallation(known, replace(deployment, engine=own))


def house_to_deploy(name: str) -> Runtime:
    """Return what a deployment works with; its Volumes are made where they are not there yet."""
    return open_runtime(Deployment(name=name)).runtime


def open_source(name: str) -> SourceVolume:
    """Return a Volume of the workspace, to be read only; whether there is one shows in reading.

    Raises:
        RequestError: This machine has no token.
        BackendError: Modal does not answer.
    """
    workspace()
    return SourceVolume(name)
