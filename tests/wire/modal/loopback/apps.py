"""Apps: the published functions under a name, and their versions."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.names import ENVIRONMENT, check_environment, new_id
from tests.wire.modal.loopback.rpc import Caller, rpc
from tests.wire.modal.loopback.settings import Clock
from tests.wire.modal.loopback.state import State

STOPPED = (api_pb2.APP_STATE_STOPPED, api_pb2.APP_STATE_STOPPING)


@dataclass
class App:
    """One app.

    Attributes:
        tags: Ids of its published functions and classes by tag.
        version: Counts the deploys.
        labels: What its `tags` argument says of it.
    """

    id: str
    name: str = ""
    state: api_pb2.AppState.ValueType = api_pb2.APP_STATE_INITIALIZING
    version: int = 0
    tags: dict[str, str] = field(default_factory=dict[str, str])
    labels: dict[str, str] = field(default_factory=dict[str, str])


class Apps:
    """The apps, and the RPCs of a deploy as a whole.

    Attributes:
        published: Called at each publish with the app, the ids of functions that it has no
            more, and the ids of definitions by function id.
        stopped: Called with the app that was stopped.
    """

    def __init__(self, state: State, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._apps = {
            key.decode(): App(**json.loads(value)) for key, value in state.items("app").items()
        }
        self.published: Callable[[App, set[str], dict[str, str]], Awaitable[None]]
        self.stopped: Callable[[App], Awaitable[None]]

    def get(self, app_id: str) -> App:
        """Return an app by its id.

        Raises:
            GRPCError: NOT_FOUND.
        """
        if app_id not in self._apps:
            raise GRPCError(Status.NOT_FOUND, f"App {app_id} not found")
        return self._apps[app_id]

    def deployed(self, name: str) -> App | None:
        """Return the app that is deployed under a name."""
        wanted = (app for app in self._apps.values() if app.name == name)
        return next((app for app in wanted if app.state == api_pb2.APP_STATE_DEPLOYED), None)

    def all_deployed(self) -> list[App]:
        """Return every deployed app."""
        return [app for app in self._apps.values() if app.state == api_pb2.APP_STATE_DEPLOYED]

    def find(self, app_name: str, environment: str, tag: str) -> str:
        """Return the id of a published function or class.

        Raises:
            GRPCError: NOT_FOUND, for the app or for the tag in it.
        """
        check_environment(environment)
        app = self.deployed(app_name)
        if app is None:
            raise GRPCError(
                Status.NOT_FOUND, f"App '{app_name}' not found in environment '{ENVIRONMENT}'"
            )
        if tag not in app.tags:
            raise GRPCError(Status.NOT_FOUND, f"Function '{tag}' not found in app '{app_name}'")
        return app.tags[tag]

    @rpc
    async def app_create(
        self, request: api_pb2.AppCreateRequest, caller: Caller
    ) -> api_pb2.AppCreateResponse:
        check_environment(request.environment_name)
        app = App(new_id("ap"), request.description, request.app_state)
        self._apps[app.id] = app
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=f"http://loopback/{app.id}")

    @rpc
    async def app_get_by_deployment_name(
        self, request: api_pb2.AppGetByDeploymentNameRequest, caller: Caller
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        check_environment(request.environment_name)
        app = self.deployed(request.name)
        return api_pb2.AppGetByDeploymentNameResponse(
            app_id=app.id if app else "", environment_name=ENVIRONMENT
        )

    @rpc
    async def app_get_or_create(
        self, request: api_pb2.AppGetOrCreateRequest, caller: Caller
    ) -> api_pb2.AppGetOrCreateResponse:
        check_environment(request.environment_name)
        app = self.deployed(request.app_name)
        if app is None:
            if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found")
            app = App(new_id("ap"), request.app_name, api_pb2.APP_STATE_DEPLOYED)
            self._keep(app)
        return api_pb2.AppGetOrCreateResponse(app_id=app.id)

    @rpc
    async def app_publish(
        self, request: api_pb2.AppPublishRequest, caller: Caller
    ) -> api_pb2.AppPublishResponse:
        app = self.get(request.app_id)
        app.name = request.name or app.name
        app.state = request.app_state or app.state
        app.version += 1
        before = {its for its in app.tags.values() if its.startswith("fu-")}
        app.tags = {**request.function_ids, **request.class_ids}
        app.labels = dict(request.tags)
        gone = before - set(app.tags.values())
        await self.published(app, gone, dict(request.definition_ids))
        if app.state == api_pb2.APP_STATE_DEPLOYED:
            self._keep(app)
        return api_pb2.AppPublishResponse(
            url=f"http://loopback/apps/{app.name}", deployed_at=self._clock.now()
        )

    @rpc
    async def app_get_tags(
        self, request: api_pb2.AppGetTagsRequest, caller: Caller
    ) -> api_pb2.AppGetTagsResponse:
        return api_pb2.AppGetTagsResponse(tags=self.get(request.app_id).labels)

    @rpc
    async def app_heartbeat(self, request: api_pb2.AppHeartbeatRequest, caller: Caller) -> Empty:
        self.get(request.app_id)
        return Empty()

    @rpc
    async def app_client_disconnect(
        self, request: api_pb2.AppClientDisconnectRequest, caller: Caller
    ) -> Empty:
        app = self.get(request.app_id)
        if app.state in (api_pb2.APP_STATE_INITIALIZING, api_pb2.APP_STATE_EPHEMERAL):
            await self._stop(app)
        return Empty()

    @rpc
    async def app_stop(self, request: api_pb2.AppStopRequest, caller: Caller) -> Empty:
        await self._stop(self.get(request.app_id))
        return Empty()

    async def _stop(self, app: App) -> None:
        app.state = api_pb2.APP_STATE_STOPPED
        self._state.delete("app", app.id)
        await self.stopped(app)

    def _keep(self, app: App) -> None:
        self._apps[app.id] = app
        self._state.put("app", app.id, json.dumps(app.__dict__).encode())
