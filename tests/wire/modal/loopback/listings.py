"""What a client may list: containers, apps, secrets, volumes, prices."""

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from tests.wire.modal.loopback.apps import Apps
from tests.wire.modal.loopback.names import ENVIRONMENT, Names, check_environment
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.scheduler import Scheduler


class Listings:
    """The lists of the workspace.

    Attributes:
        rates: Prices as Modal names them, in dollars; empty until a test sets some.
    """

    def __init__(self, apps: Apps, names: Names, scheduler: Scheduler) -> None:
        self._apps, self._names, self._scheduler = apps, names, scheduler
        self.rates: dict[str, str] = {}

    @rpc
    async def task_list(
        self, request: api_pb2.TaskListRequest, caller: Caller
    ) -> api_pb2.TaskListResponse:
        check_environment(request.environment_name)
        tasks = [
            api_pb2.TaskStats(
                task_id=its.id,
                app_id=its.function.app_id,
                app_description=self._apps.get(its.function.app_id).name,
                started_at=its.enqueued_at,
                enqueued_at=its.enqueued_at,
            )
            for its in self._scheduler.living_all()
            if request.app_id in ("", its.function.app_id)
        ]
        return api_pb2.TaskListResponse(tasks=tasks)

    @rpc
    async def app_list(
        self, request: api_pb2.AppListRequest, caller: Caller
    ) -> api_pb2.AppListResponse:
        check_environment(request.environment_name)
        living = self._scheduler.living_all()
        apps = [
            api_pb2.AppListResponse.AppListItem(
                app_id=app.id,
                name=app.name,
                description=app.name,
                state=app.state,
                n_running_tasks=sum(its.function.app_id == app.id for its in living),
            )
            for app in self._apps.all_deployed()
        ]
        return api_pb2.AppListResponse(apps=apps)

    @rpc
    async def secret_list(
        self, request: api_pb2.SecretListRequest, caller: Caller
    ) -> api_pb2.SecretListResponse:
        check_environment(request.environment_name)
        items = [
            api_pb2.SecretListItem(
                label=name, secret_id=found, metadata=api_pb2.SecretMetadata(name=name)
            )
            for name, found in self._names.of_kind("Secret").items()
        ]
        return api_pb2.SecretListResponse(items=items, environment_name=ENVIRONMENT)

    @rpc
    async def volume_list(
        self, request: api_pb2.VolumeListRequest, caller: Caller
    ) -> api_pb2.VolumeListResponse:
        check_environment(request.environment_name)
        items = [
            api_pb2.VolumeListItem(
                label=name,
                volume_id=found,
                metadata=api_pb2.VolumeMetadata(version=api_pb2.VOLUME_FS_VERSION_V1, name=name),
            )
            for name, found in self._names.of_kind("Volume").items()
        ]
        return api_pb2.VolumeListResponse(items=items, environment_name=ENVIRONMENT)

    @rpc
    async def workspace_name_lookup(
        self, request: Empty, caller: Caller
    ) -> api_pb2.WorkspaceNameLookupResponse:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name="loopback", username="loopback")

    @rpc
    async def workspace_billing_rates(
        self, request: api_pb2.WorkspaceBillingRatesRequest, caller: Caller
    ) -> api_pb2.WorkspaceBillingRatesResponse:
        formatted = "\n".join(f"{name} {price}" for name, price in self.rates.items())
        return api_pb2.WorkspaceBillingRatesResponse(rates=self.rates, formatted=formatted)
