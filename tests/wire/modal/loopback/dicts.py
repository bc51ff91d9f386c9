"""Dicts: keys and values as the client serialized them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.names import Names
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.settings import Clock
from tests.wire.modal.loopback.state import State

ENTRY_SECONDS = 7 * 24 * 60 * 60


@dataclass
class Entry:
    """One value and when it was last written or read."""

    value: bytes
    touched: float


class Dicts:
    """All dicts by id; an entry goes a week after its last use."""

    def __init__(self, state: State, names: Names, clock: Clock) -> None:
        self._state, self._names, self._clock = state, names, clock
        self._dicts: dict[str, dict[bytes, Entry]] = {}
        for dict_id in names.of_kind("Dict").values():
            kept = state.items(f"dict {dict_id}")
            self._dicts[dict_id] = {key: Entry(value, clock.now()) for key, value in kept.items()}

    def last_uses(self, *parts: bytes) -> list[float]:
        """Return when each entry was last written or read whose key contains all these bytes."""
        entries = (item for entries in list(self._dicts.values()) for item in list(entries.items()))
        return [entry.touched for key, entry in entries if all(part in key for part in parts)]

    def count(self) -> int:
        """Return how many entries all dicts have."""
        return sum(len(self._entries(dict_id)) for dict_id in self._dicts)

    def expire(self, unused_seconds: float) -> None:
        """Forget every entry that nobody has used for this long, as if that were a week."""
        for dict_id in self._dicts:
            self._forget(dict_id, self._clock.now() - unused_seconds)

    @rpc
    async def dict_get_or_create(
        self, request: api_pb2.DictGetOrCreateRequest, caller: Caller
    ) -> api_pb2.DictGetOrCreateResponse:
        dict_id, is_new = self._names.resolve("Dict", "di", request)
        if is_new:
            self._dicts[dict_id] = {}
            for entry in request.data:
                self._put(dict_id, entry.key, entry.value)
        return api_pb2.DictGetOrCreateResponse(
            dict_id=dict_id, metadata=api_pb2.DictMetadata(name=request.deployment_name)
        )

    @rpc
    async def dict_delete(self, request: api_pb2.DictDeleteRequest, caller: Caller) -> Empty:
        self._entries(request.dict_id)
        del self._dicts[request.dict_id]
        self._names.release("Dict", self._names.name_of(request.dict_id))
        self._state.clear(f"dict {request.dict_id}")
        return Empty()

    @rpc
    async def dict_update(
        self, request: api_pb2.DictUpdateRequest, caller: Caller
    ) -> api_pb2.DictUpdateResponse:
        entries = self._entries(request.dict_id)
        if request.if_not_exists and any(update.key in entries for update in request.updates):
            return api_pb2.DictUpdateResponse(created=False)
        for update in request.updates:
            self._put(request.dict_id, update.key, update.value)
        return api_pb2.DictUpdateResponse(created=True)

    @rpc
    async def dict_get(
        self, request: api_pb2.DictGetRequest, caller: Caller
    ) -> api_pb2.DictGetResponse:
        entry = self._entries(request.dict_id).get(request.key)
        if entry is None:
            return api_pb2.DictGetResponse(found=False)
        entry.touched = self._clock.now()
        return api_pb2.DictGetResponse(found=True, value=entry.value)

    @rpc
    async def dict_pop(
        self, request: api_pb2.DictPopRequest, caller: Caller
    ) -> api_pb2.DictPopResponse:
        entry = self._entries(request.dict_id).pop(request.key, None)
        self._state.delete(f"dict {request.dict_id}", request.key)
        if entry is None:
            return api_pb2.DictPopResponse(found=False)
        return api_pb2.DictPopResponse(found=True, value=entry.value)

    @rpc
    async def dict_contains(
        self, request: api_pb2.DictContainsRequest, caller: Caller
    ) -> api_pb2.DictContainsResponse:
        found = request.key in self._entries(request.dict_id)
        return api_pb2.DictContainsResponse(found=found)

    @rpc
    async def dict_len(
        self, request: api_pb2.DictLenRequest, caller: Caller
    ) -> api_pb2.DictLenResponse:
        return api_pb2.DictLenResponse(len=len(self._entries(request.dict_id)))

    @rpc
    async def dict_clear(self, request: api_pb2.DictClearRequest, caller: Caller) -> Empty:
        self._entries(request.dict_id).clear()
        self._state.clear(f"dict {request.dict_id}")
        return Empty()

    @rpc
    async def dict_contents(
        self, request: api_pb2.DictContentsRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.DictEntry]:
        for key, entry in list(self._entries(request.dict_id).items()):
            yield api_pb2.DictEntry(
                key=key if request.keys else b"", value=entry.value if request.values else b""
            )

    def _entries(self, dict_id: str) -> dict[bytes, Entry]:
        if dict_id not in self._dicts:
            raise GRPCError(Status.NOT_FOUND, f"Dict {dict_id} not found")
        self._forget(dict_id, self._clock.now() - ENTRY_SECONDS)
        return self._dicts[dict_id]

    def _forget(self, dict_id: str, oldest: float) -> None:
        """Forget the entries that nobody has used since `oldest`."""
        entries = self._dicts[dict_id]
        for key in [key for key, entry in entries.items() if entry.touched < oldest]:
            del entries[key]
            self._state.delete(f"dict {dict_id}", key)

    def _put(self, dict_id: str, key: bytes, value: bytes) -> None:
        self._dicts[dict_id][key] = Entry(value, self._clock.now())
        self._state.put(f"dict {dict_id}", key, value)
