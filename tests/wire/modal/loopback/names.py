"""Ids, and which named object of which kind has which id."""

import json
from typing import Protocol
from uuid import uuid4

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.state import State

ENVIRONMENT = "main"
_ANONYMOUS = (
    api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
    api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL,
)


class Named(Protocol):
    """What every request for a named object carries."""

    @property
    def deployment_name(self) -> str: ...
    @property
    def environment_name(self) -> str: ...
    @property
    def object_creation_type(self) -> api_pb2.ObjectCreationType.ValueType: ...


def new_id(prefix: str) -> str:
    """Return an id that was never given."""
    return f"{prefix}-{uuid4().hex[:16]}"


def check_environment(name: str) -> None:
    """Refuse an environment that does not exist.

    Raises:
        GRPCError: NOT_FOUND.
    """
    if name not in ("", ENVIRONMENT):
        raise GRPCError(Status.NOT_FOUND, f"Environment '{name}' not found")


class Names:
    """The named objects of the one environment."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._ids = {_pair(key): value.decode() for key, value in state.items("name").items()}

    def get(self, kind: str, name: str) -> str | None:
        """Return the id of a named object, None if there is none."""
        return self._ids.get((kind, name))

    def name_of(self, object_id: str) -> str:
        """Return the name of an object, empty if it has none."""
        return next((name for (_, name), found in self._ids.items() if found == object_id), "")

    def of_kind(self, kind: str) -> dict[str, str]:
        """Return the ids of a kind by name."""
        return {name: found for (its_kind, name), found in self._ids.items() if its_kind == kind}

    def bind(self, kind: str, name: str, object_id: str) -> None:
        """Give a name to an object."""
        self._ids[kind, name] = object_id
        self._state.put("name", json.dumps([kind, name]), object_id.encode())

    def release(self, kind: str, name: str) -> None:
        """Take a name away."""
        del self._ids[kind, name]
        self._state.delete("name", json.dumps([kind, name]))

    def resolve(self, kind: str, prefix: str, request: Named) -> tuple[str, bool]:
        """Return the id of what a request names and whether it was created just now.

        Raises:
            GRPCError: NOT_FOUND or ALREADY_EXISTS, as the request's creation type has it.
        """
        check_environment(request.environment_name)
        wanted = request.object_creation_type
        if wanted in _ANONYMOUS:
            return new_id(prefix), True
        name = request.deployment_name
        found = self.get(kind, name)
        if found is not None and wanted == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"{kind} '{name}' already exists")
        if found is not None:
            return found, False
        if wanted == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            missing = f"{kind} '{name}' not found in environment '{ENVIRONMENT}'"
            raise GRPCError(Status.NOT_FOUND, missing)
        created = new_id(prefix)
        self.bind(kind, name, created)
        return created, True


def _pair(key: bytes) -> tuple[str, str]:
    kind, name = json.loads(key)
    return kind, name
