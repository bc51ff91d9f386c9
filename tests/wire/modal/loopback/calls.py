"""The RPCs of calls: start, poll, cancel, look at."""

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.functions import Functions
from tests.wire.modal.loopback.names import new_id
from tests.wire.modal.loopback.rpc import Caller, NotServedError, rpc
from tests.wire.modal.loopback.scheduler import Scheduler
from tests.wire.modal.loopback.settings import Clock
from tests.wire.modal.loopback.work import Call, Input

Result = api_pb2.GenericResult
MAX_POLL_SECONDS = 55.0
RESULT_SECONDS = 7 * 24 * 60 * 60
MAX_INLINE_BYTES = 2 * 1024 * 1024
MAX_INLINE_SPAWN_BYTES = 8 * 1024


class Calls:
    """All calls by id."""

    def __init__(
        self, functions: Functions, scheduler: Scheduler, clock: Clock, changes: Changes
    ) -> None:
        self._functions, self._scheduler = functions, scheduler
        self._clock, self._changes = clock, changes
        self.calls: dict[str, Call] = {}

    def get(self, call_id: str) -> Call:
        """Return a call by its id.

        Raises:
            GRPCError: NOT_FOUND.
        """
        if call_id not in self.calls:
            raise GRPCError(Status.NOT_FOUND, f"Function call {call_id} not found")
        return self.calls[call_id]

    def expire(self) -> None:
        """Drop the results of every finished call, as Modal does after a week."""
        for call in self.calls.values():
            call.is_expired = call.is_expired or call.finished_at is not None

    def start(self, function_id: str, parent_input_id: str = "") -> Call:
        """Open a call without inputs.

        Raises:
            GRPCError: NOT_FOUND, or FAILED_PRECONDITION: no deploy published the function.
        """
        record = self._functions.get(function_id)
        definition = record.definition
        if definition is None:
            raise GRPCError(Status.FAILED_PRECONDITION, f"{record.name} is not deployed")
        policy = definition.function.retry_policy
        call = Call(new_id("fc"), record, policy, parent_input_id, self._clock.now())
        self.calls[call.id] = call
        return call

    def add(self, call: Call, index: int, message: api_pb2.FunctionInput) -> Input:
        """Add an input to a call and let it wait for a container."""
        work = Input(new_id("in"), call, index, message)
        call.inputs.append(work)
        self._scheduler.enqueue(work)
        return work

    @rpc
    async def function_map(
        self, request: api_pb2.FunctionMapRequest, caller: Caller
    ) -> api_pb2.FunctionMapResponse:
        if request.function_call_type != api_pb2.FUNCTION_CALL_TYPE_UNARY:
            raise NotServedError("map over many inputs")
        invocation = request.function_call_invocation_type
        is_spawn = invocation == api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC
        limit = MAX_INLINE_SPAWN_BYTES if is_spawn else MAX_INLINE_BYTES
        for item in request.pipelined_inputs:
            if len(item.input.args) > limit:
                raise GRPCError(Status.INVALID_ARGUMENT, f"Inputs above {limit} B go as blobs")
        call = self.start(request.function_id, request.parent_input_id)
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            pipelined_inputs=[self._add(call, item) for item in request.pipelined_inputs],
            function_call_jwt=call.id,
            retry_policy=call.policy,
            max_inputs_outstanding=1000,
        )

    @rpc
    async def function_put_inputs(
        self, request: api_pb2.FunctionPutInputsRequest, caller: Caller
    ) -> api_pb2.FunctionPutInputsResponse:
        call = self.get(request.function_call_id)
        added = [self._add(call, item) for item in request.inputs]
        return api_pb2.FunctionPutInputsResponse(inputs=added)

    @rpc
    async def function_call_from_id(
        self, request: api_pb2.FunctionCallFromIdRequest, caller: Caller
    ) -> api_pb2.FunctionCallFromIdResponse:
        call = self.get(request.function_call_id)
        return api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.id,
            num_inputs=len(call.inputs),
            metadata=api_pb2.FunctionCallHandleMetadata(
                app_id=call.function.app_id, function_id=call.function.id
            ),
        )

    @rpc
    async def function_call_get_info(
        self, request: api_pb2.FunctionCallGetInfoRequest, caller: Caller
    ) -> api_pb2.FunctionCallGetInfoResponse:
        call = self.get(request.function_call_id)

        def count(*outcomes: int) -> api_pb2.InputCategoryInfo:
            outputs = [its.output.result.status if its.output else 0 for its in call.inputs]
            return api_pb2.InputCategoryInfo(total=sum(outputs.count(its) for its in outcomes))

        return api_pb2.FunctionCallGetInfoResponse(
            info=api_pb2.FunctionCallInfo(
                function_call_id=call.id,
                created_at=call.created_at,
                pending_inputs=count(Result.GENERIC_STATUS_UNSPECIFIED),
                failed_inputs=count(
                    Result.GENERIC_STATUS_FAILURE,
                    Result.GENERIC_STATUS_INTERNAL_FAILURE,
                    Result.GENERIC_STATUS_INIT_FAILURE,
                ),
                succeeded_inputs=count(Result.GENERIC_STATUS_SUCCESS),
                timeout_inputs=count(Result.GENERIC_STATUS_TIMEOUT),
                cancelled_inputs=count(Result.GENERIC_STATUS_TERMINATED),
                total_inputs=len(call.inputs),
            )
        )

    @rpc
    async def function_get_outputs(
        self, request: api_pb2.FunctionGetOutputsRequest, caller: Caller
    ) -> api_pb2.FunctionGetOutputsResponse:
        call = self.get(request.function_call_id)

        def finished() -> list[Input]:
            return [its for its in call.inputs if its.output and _is_asked_for(its, request)]

        timeout = min(request.timeout, MAX_POLL_SECONDS)
        await self._changes.wait_for(lambda: finished() or call.finished_at, timeout)
        if self._is_expired(call):
            return api_pb2.FunctionGetOutputsResponse(last_entry_id="0-0")
        return api_pb2.FunctionGetOutputsResponse(
            outputs=[_output(work) for work in finished()],
            last_entry_id="0-0",
            num_unfinished_inputs=sum(work.output is None for work in call.inputs),
        )

    @rpc
    async def function_call_cancel(
        self, request: api_pb2.FunctionCallCancelRequest, caller: Caller
    ) -> Empty:
        call = self.get(request.function_call_id)
        self._scheduler.cancel(call, terminate=request.terminate_containers)
        return Empty()

    @rpc
    async def function_get_call_graph(
        self, request: api_pb2.FunctionGetCallGraphRequest, caller: Caller
    ) -> api_pb2.FunctionGetCallGraphResponse:
        root = self.get(request.function_call_id)
        family = self._with_children(root)
        return api_pb2.FunctionGetCallGraphResponse(
            inputs=[_node(work) for call in family for work in call.inputs],
            function_calls=[
                api_pb2.FunctionCallCallGraphInfo(
                    function_call_id=call.id,
                    parent_input_id=call.parent_input_id,
                    function_name=call.function.name,
                )
                for call in family
            ],
        )

    @rpc
    async def function_get_current_stats(
        self, request: api_pb2.FunctionGetCurrentStatsRequest, caller: Caller
    ) -> api_pb2.FunctionStats:
        record = self._functions.get(request.function_id)
        living = self._scheduler.living(record.id)
        return api_pb2.FunctionStats(
            backlog=len(self._scheduler.queue(record.id)),
            num_total_tasks=len(living),
            num_running_inputs=sum(len(its.inputs) for its in living),
        )

    def _add(
        self, call: Call, item: api_pb2.FunctionPutInputsItem
    ) -> api_pb2.FunctionPutInputsResponseItem:
        work = self.add(call, item.idx, item.input)
        return api_pb2.FunctionPutInputsResponseItem(
            idx=item.idx, input_id=work.id, input_jwt=work.id
        )

    def _is_expired(self, call: Call) -> bool:
        if call.finished_at is not None:
            aged = self._clock.now() - call.finished_at > RESULT_SECONDS
            call.is_expired = call.is_expired or aged
        return call.is_expired

    def _with_children(self, root: Call) -> list[Call]:
        found = [root]
        for parent in found:
            inputs = {work.id for work in parent.inputs}
            found += [its for its in self.calls.values() if its.parent_input_id in inputs]
        return found


def _is_asked_for(work: Input, request: api_pb2.FunctionGetOutputsRequest) -> bool:
    if not request.HasField("start_idx"):
        return True
    return request.start_idx <= work.index <= request.end_idx


def _output(work: Input) -> api_pb2.FunctionGetOutputsItem:
    assert work.output is not None
    return api_pb2.FunctionGetOutputsItem(
        result=work.output.result,
        idx=work.index,
        input_id=work.id,
        data_format=work.output.data_format,
        task_id=work.container_id,
        input_started_at=work.output.input_started_at,
        output_created_at=work.output.output_created_at,
        retry_count=work.retries,
    )


def _node(work: Input) -> api_pb2.InputCallGraphInfo:
    unknown = Result.GENERIC_STATUS_UNSPECIFIED
    return api_pb2.InputCallGraphInfo(
        input_id=work.id,
        status=work.output.result.status if work.output else unknown,
        function_call_id=work.call.id,
        task_id=work.container_id,
    )
