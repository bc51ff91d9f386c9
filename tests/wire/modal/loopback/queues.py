"""Queues: values as the client serialized them, in partitions."""

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.names import Names
from tests.wire.modal.loopback.rpc import Caller, rpc

MAX_ITEM_BYTES = 1024 * 1024
MAX_ITEMS = 5_000


class Queues:
    """All queues by id. They live as long as the control plane."""

    def __init__(self, names: Names, changes: Changes) -> None:
        self._names, self._changes = names, changes
        kept = names.of_kind("Queue").values()
        self._queues: dict[str, dict[bytes, list[bytes]]] = {queue_id: {} for queue_id in kept}

    @rpc
    async def queue_get_or_create(
        self, request: api_pb2.QueueGetOrCreateRequest, caller: Caller
    ) -> api_pb2.QueueGetOrCreateResponse:
        queue_id, is_new = self._names.resolve("Queue", "qu", request)
        if is_new:
            self._queues[queue_id] = {}
        return api_pb2.QueueGetOrCreateResponse(
            queue_id=queue_id, metadata=api_pb2.QueueMetadata(name=request.deployment_name)
        )

    @rpc
    async def queue_put(self, request: api_pb2.QueuePutRequest, caller: Caller) -> Empty:
        items = self._partition(request.queue_id, request.partition_key)
        if any(len(value) > MAX_ITEM_BYTES for value in request.values):
            raise GRPCError(Status.INVALID_ARGUMENT, f"An item has {MAX_ITEM_BYTES} B at most")
        if len(items) + len(request.values) > MAX_ITEMS:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "Queue is full")
        items.extend(request.values)
        self._changes.notify()
        return Empty()

    @rpc
    async def queue_get(
        self, request: api_pb2.QueueGetRequest, caller: Caller
    ) -> api_pb2.QueueGetResponse:
        items = self._partition(request.queue_id, request.partition_key)
        await self._changes.wait_for(lambda: items, request.timeout)
        taken = items[: max(1, request.n_values)]
        del items[: len(taken)]
        return api_pb2.QueueGetResponse(values=taken)

    @rpc
    async def queue_len(
        self, request: api_pb2.QueueLenRequest, caller: Caller
    ) -> api_pb2.QueueLenResponse:
        items = self._partition(request.queue_id, request.partition_key)
        if request.total:
            every = self._queues[request.queue_id].values()
            return api_pb2.QueueLenResponse(len=sum(len(its) for its in every))
        return api_pb2.QueueLenResponse(len=len(items))

    @rpc
    async def queue_clear(self, request: api_pb2.QueueClearRequest, caller: Caller) -> Empty:
        self._partition(request.queue_id, request.partition_key).clear()
        if request.all_partitions:
            self._queues[request.queue_id].clear()
        return Empty()

    def _partition(self, queue_id: str, key: bytes) -> list[bytes]:
        if queue_id not in self._queues:
            raise GRPCError(Status.NOT_FOUND, f"Queue {queue_id} not found")
        return self._queues[queue_id].setdefault(key, [])
