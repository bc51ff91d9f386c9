"""Reads what exists on Modal, with the operator's own token; changes nothing."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, cast

import modal
import modal.config
from modal.exception import InvalidError, NotFoundError

from training.backends.modal.errors import as_operator_errors

SecretState = Literal["there", "missing", "lacks keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFunction:
    """The settings of a deployed Function."""

    gpu: tuple[str, ...]
    cpu: float | None
    memory_mib: float | None
    timeout_seconds: int
    retries: int
    mounts: frozenset[str]


class ModalAccount:
    """Looks up what exists on Modal; a lookup of something that does not exist returns None.

    Every method may raise:
        RequestError: This machine has no valid token, or the token lacks the permission.
        BackendError: Modal does not answer.
    """

    @as_operator_errors()
    def workspace(self) -> str:
        """Return the token's workspace, and the Modal environment if one is set."""
        name = str(modal.Workspace.from_context().hydrate().name)
        environment = modal.config.config.get("environment")
        return f"{name} (environment {environment})" if environment else name

    @as_operator_errors()
    def secret_state(self, name: str, keys: tuple[str, ...]) -> SecretState:
        """Return whether a secret exists and has these keys; its values cannot be read."""
        try:
            modal.Secret.from_name(name).hydrate()
        except NotFoundError:
            return "missing"
        # The client cannot list a secret's keys, so let Modal's servers check them.
        try:
            modal.Secret.from_name(name, required_keys=list(keys)).hydrate()
        except (InvalidError, NotFoundError):
            return "lacks keys"
        return "there"

    @as_operator_errors()
    def labels(self, app: str) -> Mapping[str, str] | None:
        with suppress(NotFoundError):
            return modal.App.lookup(app).get_tags()
        return None

    @as_operator_errors()
    def volume_version(self, name: str) -> Literal[1, 2] | None:
        try:
            modal.Volume.from_name(name).hydrate()
        except NotFoundError:
            return None
        try:
            modal.Volume.from_name(name, version=1).hydrate()
        except InvalidError:
            return 2
        return 1

    @as_operator_errors()
    def has_dictionary(self, name: str) -> bool:
        with suppress(NotFoundError):
            modal.Dict.from_name(name).hydrate()
            return True
        return False

    @as_operator_errors()
    def entry(self, dictionary: str, key: str) -> object | None:
        with suppress(NotFoundError):
            return modal.Dict.from_name(dictionary).get(key)
        return None

    @as_operator_errors()
    def deployed_function(self, app: str, name: str) -> DeployedFunction | None:
        function = cast("modal.Function[..., object, object]", modal.Function.from_name(app, name))
        try:
            info = function.info()
        except NotFoundError:
            return None
        return DeployedFunction(
            gpu=tuple(kind for kind, _count in info.gpus),
            cpu=_request(info.cpu),
            memory_mib=_request(info.memory_mib),
            timeout_seconds=info.timeout,
            retries=info.max_retries or 0,
            mounts=frozenset(info.volumes),
        )

    @as_operator_errors()
    def server_url(self, app: str, name: str) -> str | None:
        """Return the public URL of a deployed server."""
        with suppress(NotFoundError):
            return modal.Server.from_name(app, name).get_url()
        return None

    @as_operator_errors()
    def rates(self) -> Mapping[str, float]:
        """Return this workspace's prices in dollars, by Modal's own names."""
        found = modal.Workspace.from_context().billing.rates()
        return {name: float(price) for name, price in found.items()}


def _request(value: "float | tuple[float, float] | None") -> float | None:
    """Return the requested amount, which Modal reports either alone or as a pair with the limit."""
    return value[0] if isinstance(value, tuple) else value
