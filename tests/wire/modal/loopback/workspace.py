"""What a client asks about its workspace before anything else."""

import base64
import json
import time

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from tests.wire.modal.loopback.names import ENVIRONMENT, check_environment
from tests.wire.modal.loopback.rpc import Caller, rpc

IMAGE_BUILDER = "2025.06"


class Workspace:
    """One workspace with one environment."""

    @rpc
    async def client_hello(self, request: Empty, caller: Caller) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse()

    @rpc
    async def auth_token_get(
        self, request: api_pb2.AuthTokenGetRequest, caller: Caller
    ) -> api_pb2.AuthTokenGetResponse:
        parts = ({"alg": "none"}, {"exp": int(time.time()) + 3600})
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
        return api_pb2.AuthTokenGetResponse(token=".".join([*encoded, "loopback"]))

    @rpc
    async def environment_get_or_create(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, caller: Caller
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        check_environment(request.deployment_name)
        settings = api_pb2.EnvironmentSettings(image_builder_version=IMAGE_BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name=ENVIRONMENT, settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-main", metadata=metadata)
