"""What an operator's own token finds on Modal: looked up, never changed."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, cast

import modal
import modal.config
import modal.exception

from training.backends.modal.errors import ANY_FAILURE
from training.errors import BackendError, RequestError

SecretState = Literal["there", "missing", "lacks keys"]


@contextmanager
def asking() -> Generator[None]:
    """Turn what the client raises into what an operator can act on.

    Raises:
        RequestError: This machine has no token that Modal takes, or one that may not do that.
        BackendError: Modal does not answer, or refuses.
    """
    try:
        yield
    except modal.exception.PermissionDeniedError as error:
        raise RequestError(
            f"Modal does not allow that to this machine's token: {error}",
            "Ask the owner of the workspace, or use another token: `modal setup`.",
        ) from error
    except modal.exception.AuthError as error:
        said = str(error).split(". ")[0].rstrip(".")
        raise RequestError(
            f"Modal does not let this machine in: {said}.",
            "Run `modal setup`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET.",
        ) from error
    except modal.exception.InvalidError as error:
        raise RequestError(
            f"Modal cannot be asked: {error}", "Correct that; see `modal profile list`."
        ) from error
    except ANY_FAILURE as error:
        raise BackendError(
            f"Modal does not answer: {error}",
            "Look at status.modal.com and at this machine's network, then try again.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFunction:
    """What Modal says of one deployed Function."""

    gpu: tuple[str, ...]
    cpu: float | None
    memory_mib: float | None
    timeout_seconds: int
    retries: int
    mounts: frozenset[str]


def workspace() -> str:
    """Return the workspace that the token belongs to, and the environment in it if one is set."""
    with asking():
        name = str(modal.Workspace.from_context().hydrate().name)
    environment = modal.config.config.get("environment")
    return f"{name} (environment {environment})" if environment else name


def secret_state(name: str, keys: tuple[str, ...]) -> SecretState:
    """Return whether a secret exists and has these keys; its values cannot be read."""
    with asking():
        try:
            modal.Secret.from_name(name).hydrate()
        except modal.exception.NotFoundError:
            return "missing"
        # The service checks the keys; it names only those that are missing.
        try:
            modal.Secret.from_name(name, required_keys=list(keys)).hydrate()
        except (modal.exception.InvalidError, modal.exception.NotFoundError):
            return "lacks keys"
        return "there"


def labels(app: str) -> Mapping[str, str] | None:
    """Return what a deployed app says of itself, None when there is no such app."""
    with asking():
        try:
            return modal.App.lookup(app).get_tags()
        except modal.exception.NotFoundError:
            return None


def volume_version(name: str) -> Literal[1, 2] | None:
    """Return of which version a Volume is, None when there is none of that name."""
    with asking():
        try:
            modal.Volume.from_name(name).hydrate()
        except modal.exception.NotFoundError:
            return None
        try:
            modal.Volume.from_name(name, version=1).hydrate()
        except modal.exception.InvalidError:
            return 2
        return 1


def has_dictionary(name: str) -> bool:
    """Return whether there is a Dict of that name."""
    with asking(), suppress(modal.exception.NotFoundError):
        modal.Dict.from_name(name).hydrate()
        return True
    return False


def entry(name: str, key: str) -> object | None:
    """Return an entry of a Dict, None when there is none, or no such Dict."""
    with asking(), suppress(modal.exception.NotFoundError):
        return modal.Dict.from_name(name).get(key)
    return None


def deployed_function(app: str, name: str) -> DeployedFunction | None:
    """Return what is deployed under a Function's name, None when nothing is."""
    function = cast("modal.Function[..., object, object]", modal.Function.from_name(app, name))
    with asking():
        try:
            info = function.info()
        except modal.exception.NotFoundError:
            return None
    return DeployedFunction(
        gpu=tuple(kind for kind, _count in info.gpus),
        cpu=_least(info.cpu),
        memory_mib=_least(info.memory_mib),
        timeout_seconds=info.timeout,
        retries=info.max_retries or 0,
        mounts=frozenset(info.volumes),
    )


def server_url(app: str, name: str) -> str | None:
    """Return the public address of a deployed server, None when it is not deployed."""
    with asking(), suppress(modal.exception.NotFoundError):
        return modal.Server.from_name(app, name).get_url()
    return None


def rates() -> Mapping[str, float]:
    """Return what this workspace pays, in dollars, by the service's own names."""
    with asking():
        found = modal.Workspace.from_context().billing.rates()
        return {name: float(price) for name, price in found.items()}


def _least(value: "float | tuple[float, float] | None") -> float | None:
    return value[0] if isinstance(value, tuple) else value
