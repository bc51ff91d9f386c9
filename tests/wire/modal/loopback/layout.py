"""What a container or a deploying client is told about the objects of an app."""

from modal_proto import api_pb2

from tests.wire.modal.loopback.apps import App, Apps
from tests.wire.modal.loopback.functions import Functions
from tests.wire.modal.loopback.names import Names
from tests.wire.modal.loopback.rpc import Caller, rpc


class Layouts:
    """The layout of each app."""

    def __init__(self, apps: Apps, functions: Functions, names: Names) -> None:
        self._apps, self._functions, self._names = apps, functions, names

    def layout(self, app: App, *also: api_pb2.Function) -> api_pb2.AppLayout:
        """Return the layout of an app with every object that its functions use."""
        objects: dict[str, api_pb2.Object] = {}
        used = list(also)
        for object_id in app.tags.values():
            if object_id.startswith("fu-"):
                record = self._functions.get(object_id)
                metadata = self._functions.metadata(record)
                objects[object_id] = api_pb2.Object(
                    object_id=object_id, function_handle_metadata=metadata
                )
                used += record.active.ranked if record.active else []
            else:
                objects[object_id] = api_pb2.Object(
                    object_id=object_id, class_handle_metadata=api_pb2.ClassHandleMetadata()
                )
        for function in used:
            for dependency in function.object_dependencies:
                objects.setdefault(dependency.object_id, self._dependency(dependency.object_id))
        return api_pb2.AppLayout(
            function_ids={t: o for t, o in app.tags.items() if o.startswith("fu-")},
            class_ids={t: o for t, o in app.tags.items() if not o.startswith("fu-")},
            objects=objects.values(),
        )

    @rpc
    async def app_get_layout(
        self, request: api_pb2.AppGetLayoutRequest, caller: Caller
    ) -> api_pb2.AppGetLayoutResponse:
        app = self._apps.get(request.app_id)
        return api_pb2.AppGetLayoutResponse(app_layout=self.layout(app))

    def _dependency(self, object_id: str) -> api_pb2.Object:
        found = api_pb2.Object(object_id=object_id)
        if object_id.startswith("mo-"):
            found.mount_handle_metadata.content_checksum_sha256_hex = ""
        elif object_id.startswith("vo-"):
            found.volume_metadata.version = api_pb2.VOLUME_FS_VERSION_V1
            found.volume_metadata.name = self._names.name_of(object_id)
        elif object_id.startswith("fu-"):
            metadata = self._functions.metadata(self._functions.get(object_id))
            found.function_handle_metadata.CopyFrom(metadata)
        return found
