"""The composition root of an operator's commands on Modal."""

from dataclasses import replace
from typing import get_args

from bot.modal_account import labels, workspace
from bot.modal_wiring import ModalHouse
from bot.settings import Settings
from storage.modal_source import SourceVolume
from training.code_version import ENGINE_LABEL
from training.errors import NotFoundError
from training.request import EngineName


def open_deployment(settings: Settings) -> ModalHouse:
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
            "Run lorabot deploy, or name another deployment with --app.",
        )
    engine = found.get(ENGINE_LABEL)
    own = next((name for name in get_args(EngineName) if name == engine), deployment.engine)
    known = settings.model_copy(update={"engine": own})
    return ModalHouse(known, replace(deployment, engine=own))


def open_source(name: str) -> SourceVolume:
    """Return a Volume of the workspace, to be read only; whether there is one shows in reading.

    Raises:
        RequestError: This machine has no token.
        BackendError: Modal does not answer.
    """
    workspace()
    return SourceVolume(name)
