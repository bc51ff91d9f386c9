"""The RPCs that define functions and look them up."""

from collections.abc import Callable

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.apps import App, Apps
from tests.wire.modal.loopback.definitions import Definition, FunctionRecord, data_of
from tests.wire.modal.loopback.gaps import check_served, check_served_options
from tests.wire.modal.loopback.limits import check_crons, check_definition, check_options
from tests.wire.modal.loopback.names import Names, new_id
from tests.wire.modal.loopback.rpc import Caller, NotServedError, rpc
from tests.wire.modal.loopback.state import State


class Functions:
    """All functions and classes by id.

    Attributes:
        url_of: Returns the public URL of a server, empty for other functions.
    """

    def __init__(self, state: State, apps: Apps, names: Names) -> None:
        self._state, self._apps, self._names = state, apps, names
        self._records: dict[str, FunctionRecord] = {}
        self._bound: dict[bytes, str] = {}
        self.url_of: Callable[[FunctionRecord], str] = lambda _record: ""
        for value in state.items("function").values():
            self._restore(api_pb2.FunctionCreateRequest.FromString(value))

    def get(self, function_id: str) -> FunctionRecord:
        """Return a function by its id.

        Raises:
            GRPCError: NOT_FOUND.
        """
        if function_id not in self._records:
            raise GRPCError(Status.NOT_FOUND, f"Function {function_id} not found")
        return self._records[function_id]

    def of(self, app: App) -> list[FunctionRecord]:
        """Return the published functions of an app."""
        return [self.get(tag) for tag in app.tags.values() if tag.startswith("fu-")]

    def variants(self, function_id: str) -> list[FunctionRecord]:
        """Return a function and what `with_options` made of it."""
        own = self.get(function_id)
        return [own, *(record for record in self._records.values() if record.base is own)]

    def publish(self, app: App, definitions: dict[str, str]) -> list[FunctionRecord]:
        """Make the created definitions of an app the ones that run; return its functions."""
        records = self.of(app)
        for record in records:
            record.active = record.created[definitions[record.id]]
            record.created = {record.active.id: record.active}
            kept = api_pb2.FunctionCreateRequest(
                app_id=app.id, function_data=record.active.data, existing_function_id=record.id
            )
            self._state.put("function", record.id, kept.SerializeToString())
        return records

    def metadata(self, record: FunctionRecord) -> api_pb2.FunctionHandleMetadata:
        """Return what a client's handle of a function knows."""
        definition = record.newest
        assert definition is not None  # every record is asked for after its creation
        function, url = definition.function, self.url_of(record)
        return api_pb2.FunctionHandleMetadata(
            function_name=function.function_name,
            function_type=function.function_type,
            function_schema=function.function_schema,
            is_method=function.is_method,
            definition_id=definition.id,
            class_parameter_info=function.class_parameter_info,
            supported_input_formats=function.supported_input_formats,
            supported_output_formats=function.supported_output_formats,
            app_id=record.app_id,
            method_handle_metadata={
                name: _method(name, method, record.app_id)
                for name, method in function.method_definitions.items()
            },
            _experimental_flash_urls=[url] if url else [],
        )

    @rpc
    async def function_precreate(
        self, request: api_pb2.FunctionPrecreateRequest, caller: Caller
    ) -> api_pb2.FunctionPrecreateResponse:
        function_id = request.existing_function_id or new_id("fu")
        if function_id not in self._records:
            record = FunctionRecord(function_id, request.app_id, request.function_name)
            self._records[function_id] = record
        metadata = api_pb2.FunctionHandleMetadata(
            function_name=request.function_name,
            function_type=request.function_type,
            function_schema=request.function_schema,
            app_id=request.app_id,
            method_handle_metadata={
                name: _method(name, method, request.app_id)
                for name, method in request.method_definitions.items()
            },
        )
        return api_pb2.FunctionPrecreateResponse(function_id=function_id, handle_metadata=metadata)

    @rpc
    async def function_create(
        self, request: api_pb2.FunctionCreateRequest, caller: Caller
    ) -> api_pb2.FunctionCreateResponse:
        record = self._create(request)
        definition = record.newest
        assert definition is not None
        return api_pb2.FunctionCreateResponse(
            function_id=record.id,
            function=definition.function,
            function_data=self._data(record, definition),
            handle_metadata=self.metadata(record),
        )

    @rpc
    async def class_create(
        self, request: api_pb2.ClassCreateRequest, caller: Caller
    ) -> api_pb2.ClassCreateResponse:
        class_id = request.existing_class_id or new_id("cs")
        return api_pb2.ClassCreateResponse(
            class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata()
        )

    @rpc
    async def function_get(
        self, request: api_pb2.FunctionGetRequest, caller: Caller
    ) -> api_pb2.FunctionGetResponse:
        if request.app_version:
            raise NotServedError("look-up of an older version")
        found = self._apps.find(request.app_name, request.environment_name, request.object_tag)
        record = self.get(found)
        assert record.active is not None  # a published tag
        return api_pb2.FunctionGetResponse(
            function_id=record.id,
            handle_metadata=self.metadata(record),
            function=self._data(record, record.active),
        )

    @rpc
    async def function_get_by_id(
        self, request: api_pb2.FunctionGetByIdRequest, caller: Caller
    ) -> api_pb2.FunctionGetByIdResponse:
        record = self.get(request.function_id)
        definition = record.definition
        assert definition is not None
        return api_pb2.FunctionGetByIdResponse(
            handle_metadata=self.metadata(record), function=self._data(record, definition)
        )

    @rpc
    async def class_get(
        self, request: api_pb2.ClassGetRequest, caller: Caller
    ) -> api_pb2.ClassGetResponse:
        found = self._apps.find(request.app_name, request.environment_name, request.object_tag)
        return api_pb2.ClassGetResponse(
            class_id=found, handle_metadata=api_pb2.ClassHandleMetadata()
        )

    @rpc
    async def function_bind_params(
        self, request: api_pb2.FunctionBindParamsRequest, caller: Caller
    ) -> api_pb2.FunctionBindParamsResponse:
        base = self.get(request.function_id)
        check_options(request.function_options)
        check_served_options(request.function_options, base.definition)
        key = request.SerializeToString(deterministic=True)
        if key not in self._bound:
            bound = FunctionRecord(new_id("fu"), base.app_id, base.name, base=base)
            bound.options, bound.params = request.function_options, request.serialized_params
            if bound.definition is not None:
                check_definition(bound.definition.data)
            self._records[bound.id], self._bound[key] = bound, bound.id
        record = self._records[self._bound[key]]
        return api_pb2.FunctionBindParamsResponse(
            bound_function_id=record.id, handle_metadata=self.metadata(record)
        )

    def _create(self, request: api_pb2.FunctionCreateRequest) -> FunctionRecord:
        given = request.function_data
        data = given if given.ranked_functions else data_of(request.function)
        check_definition(data)
        check_served(data)
        function_id = request.existing_function_id or new_id("fu")
        name = data.function_name
        record = self._records.setdefault(
            function_id, FunctionRecord(function_id, request.app_id, name)
        )
        definition = Definition(new_id("de"), data)
        if definition.has_cron:
            check_crons(sum(its is not record and its.has_cron for its in self._living()))
        record.created[definition.id] = definition
        return record

    def _living(self) -> list[FunctionRecord]:
        """Return the functions of all apps that have not been stopped."""
        stopped = api_pb2.APP_STATE_STOPPED
        return [
            its for its in self._records.values() if self._apps.get(its.app_id).state != stopped
        ]

    def _restore(self, request: api_pb2.FunctionCreateRequest) -> None:
        record = self._create(request)
        record.active = record.newest

    def _data(self, record: FunctionRecord, definition: Definition) -> api_pb2.FunctionData:
        data = api_pb2.FunctionData()
        data.CopyFrom(definition.data)
        if url := self.url_of(record):
            data.flash_service_urls.append(url)
        return data


def _method(
    name: str, method: api_pb2.MethodDefinition, app_id: str
) -> api_pb2.FunctionHandleMetadata:
    return api_pb2.FunctionHandleMetadata(
        function_name=method.function_name,
        function_type=method.function_type,
        function_schema=method.function_schema,
        supported_input_formats=method.supported_input_formats,
        supported_output_formats=method.supported_output_formats,
        use_method_name=name,
        is_method=True,
        app_id=app_id,
    )
