"""The RPCs that containers speak."""

import asyncio

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.scheduler import Scheduler

HEARTBEAT_SECONDS = 4.0  # the client gives up on a heartbeat after 5.1 s
CANCEL_SECONDS = 1.0


class Containers:
    """Answers the containers' side of the API."""

    def __init__(self, scheduler: Scheduler, changes: Changes) -> None:
        self._scheduler, self._changes = scheduler, changes

    @rpc
    async def container_hello(self, request: Empty, caller: Caller) -> Empty:
        self._container(caller)
        return Empty()

    @rpc
    async def container_heartbeat(
        self, request: api_pb2.ContainerHeartbeatRequest, caller: Caller
    ) -> api_pb2.ContainerHeartbeatResponse:
        container = self._container(caller)
        await self._changes.wait_for(lambda: container.cancels, HEARTBEAT_SECONDS)
        if not container.cancels:
            return api_pb2.ContainerHeartbeatResponse()
        event = api_pb2.CancelInputEvent(input_ids=container.cancels)
        # The client drops what comes before it has begun with the input, and acts but once.
        told, container.cancels = container.cancels, []
        asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._cancel_again, container, told)
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=event)

    def _cancel_again(self, container: Container, told: list[str]) -> None:
        running = {work.id for work in container.inputs}
        container.cancels += [input_id for input_id in told if input_id in running]
        self._changes.notify()

    @rpc
    async def function_get_inputs(
        self, request: api_pb2.FunctionGetInputsRequest, caller: Caller
    ) -> api_pb2.FunctionGetInputsResponse:
        work = await self._scheduler.take(self._container(caller))
        if work is None:
            end = api_pb2.FunctionGetInputsItem(kill_switch=True)
            return api_pb2.FunctionGetInputsResponse(inputs=[end])
        item = api_pb2.FunctionGetInputsItem(
            input_id=work.id,
            input=work.message,
            function_call_id=work.call.id,
            retry_count=work.retries,
            function_map_idx=work.index,
        )
        return api_pb2.FunctionGetInputsResponse(inputs=[item])

    @rpc
    async def function_put_outputs(
        self, request: api_pb2.FunctionPutOutputsRequest, caller: Caller
    ) -> Empty:
        container = self._container(caller)
        for item in request.outputs:
            self._scheduler.put(container, item)
        return Empty()

    @rpc
    async def task_result(self, request: api_pb2.TaskResultRequest, caller: Caller) -> Empty:
        self._container(caller).failure = request.result
        return Empty()

    @rpc
    async def container_stop(
        self, request: api_pb2.ContainerStopRequest, caller: Caller
    ) -> api_pb2.ContainerStopResponse:
        container = self._scheduler.containers.get(request.task_id)
        if container is None:
            raise GRPCError(Status.NOT_FOUND, f"Container {request.task_id} not found")
        if request.graceful:
            self._scheduler.drain(container)
        else:
            self._scheduler.stop(container)
        return api_pb2.ContainerStopResponse()

    def _container(self, caller: Caller) -> Container:
        if caller.container_id is None:
            raise GRPCError(Status.PERMISSION_DENIED, "Only containers may call this")
        return self._scheduler.containers[caller.container_id]
