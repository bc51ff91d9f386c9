"""The files, images and secrets that functions are deployed with."""

import hashlib
import json
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from tests.wire.modal.loopback.blobs import Blobs
from tests.wire.modal.loopback.names import Names, new_id
from tests.wire.modal.loopback.rpc import Caller, NotServedError, rpc
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.loopback.state import State

_SUCCESS = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
_FAILURE = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE)


@dataclass(frozen=True)
class Layer:
    """One step of an image's build.

    Attributes:
        bases: The images it starts from, by id or by their name in a registry.
        commands: The lines of its Dockerfile.
    """

    id: str
    bases: tuple[str, ...]
    commands: tuple[str, ...]


class Images:
    """The images that deploys asked for. Nothing is built: each is the host's Python."""

    def __init__(self, state: State, settings: Settings) -> None:
        self._state, self._settings = state, settings
        self._printed: dict[str, str] = {}  # by builds that failed
        self._images = {
            key.decode(): api_pb2.Image.FromString(value)
            for key, value in state.items("image").items()
        }

    def steps(self, image_id: str) -> list[Layer]:
        """Return the build of an image from its first layer on."""
        image = self._images[image_id]
        below: list[Layer] = []
        for base in image.base_images:
            below += self.steps(base.image_id)
        bases = tuple(base.docker_tag or base.image_id for base in image.base_images)
        return [*below, Layer(image_id, bases, tuple(image.dockerfile_commands))]

    def env(self, image_id: str) -> dict[str, str]:
        """Return the variables that the `ENV` lines of an image set."""
        if image_id not in self._images:
            return {}
        found: dict[str, str] = {}
        for layer in self.steps(image_id):
            for command in layer.commands:
                if match := re.fullmatch(r"ENV (\w+)=(.*)", command, re.DOTALL):
                    found[match[1]] = "".join(shlex.split(match[2]))
        return found

    @rpc
    async def image_get_or_create(
        self, request: api_pb2.ImageGetOrCreateRequest, caller: Caller
    ) -> api_pb2.ImageGetOrCreateResponse:
        if request.image.HasField("build_function"):
            raise NotServedError("image built by a function")
        content = request.image.SerializeToString(deterministic=True)
        image_id = f"im-{hashlib.sha256(content).hexdigest()[:16]}"
        if printed := self._failure(request.image):
            # Without a result, the client waits for the build and shows its output.
            self._printed[image_id] = printed
            return api_pb2.ImageGetOrCreateResponse(image_id=image_id)
        self._images[image_id] = request.image
        self._state.put("image", image_id, content)
        return api_pb2.ImageGetOrCreateResponse(
            image_id=image_id,
            result=_SUCCESS,
            metadata=api_pb2.ImageMetadata(image_builder_version=request.builder_version),
        )

    @rpc
    async def image_join_streaming(
        self, request: api_pb2.ImageJoinStreamingRequest, caller: Caller
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        printed = api_pb2.TaskLogs(
            data=f"{self._printed[request.image_id]}\n",
            file_descriptor=api_pb2.FILE_DESCRIPTOR_STDERR,
        )
        yield api_pb2.ImageJoinStreamingResponse(task_logs=[printed], result=_FAILURE)

    def _failure(self, image: api_pb2.Image) -> str:
        """Return what a build prints before it fails; "" if it succeeds."""
        commands = "\n".join(image.dockerfile_commands)
        failing = self._settings.failing_builds.items()
        return next((printed for step, printed in failing if step in commands), "")


class Secrets:
    """The secrets and their variables."""

    def __init__(self, state: State, names: Names) -> None:
        self._state, self._names = state, names
        self._secrets: dict[str, dict[str, str]] = {
            key.decode(): json.loads(value) for key, value in state.items("secret").items()
        }

    def create(self, name: str, variables: dict[str, str]) -> str:
        """Create or replace the secret of a name, as a person does in the dashboard."""
        secret_id = self._names.get("Secret", name) or new_id("st")
        self._names.bind("Secret", name, secret_id)
        self._keep(secret_id, variables)
        return secret_id

    def variables(self, secret_id: str) -> dict[str, str]:
        """Return the variables of a secret."""
        return self._secrets[secret_id]

    @rpc
    async def secret_get_or_create(
        self, request: api_pb2.SecretGetOrCreateRequest, caller: Caller
    ) -> api_pb2.SecretGetOrCreateResponse:
        secret_id, is_new = self._names.resolve("Secret", "st", request)
        overwrite = api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS
        if is_new or request.object_creation_type == overwrite:
            self._keep(secret_id, dict(request.env_dict))
        missing = [key for key in request.required_keys if key not in self._secrets[secret_id]]
        if missing:
            raise GRPCError(
                Status.FAILED_PRECONDITION,
                f"Secret '{request.deployment_name}' is missing key(s): {', '.join(missing)}",
            )
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret_id)

    def _keep(self, secret_id: str, variables: dict[str, str]) -> None:
        self._secrets[secret_id] = variables
        self._state.put("secret", secret_id, json.dumps(variables).encode())


class Mounts:
    """The local files that functions see."""

    def __init__(self, state: State, names: Names, blobs: Blobs) -> None:
        self._state, self._names, self._blobs = state, names, blobs
        self._mounts: dict[str, dict[str, str]] = {
            key.decode(): json.loads(value) for key, value in state.items("mount").items()
        }

    def files(self, mount_id: str) -> dict[str, str]:
        """Return the SHA-256 of each file of a mount by its path."""
        return self._mounts.get(mount_id, {})

    @rpc
    async def mount_get_or_create(
        self, request: api_pb2.MountGetOrCreateRequest, caller: Caller
    ) -> api_pb2.MountGetOrCreateResponse:
        if request.namespace == api_pb2.DEPLOYMENT_NAMESPACE_GLOBAL:  # Modal publishes these
            mount_id = self._names.get("Mount", request.deployment_name) or new_id("mo")
            self._names.bind("Mount", request.deployment_name, mount_id)
        else:
            mount_id, _ = self._names.resolve("Mount", "mo", request)
            files = {file.filename: file.sha256_hex for file in request.files}
            self._mounts[mount_id] = files
            self._state.put("mount", mount_id, json.dumps(files).encode())
        checksum = hashlib.sha256(json.dumps(self.files(mount_id)).encode()).hexdigest()
        return api_pb2.MountGetOrCreateResponse(
            mount_id=mount_id,
            handle_metadata=api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum),
        )

    @rpc
    async def mount_batched_check_existence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, caller: Caller
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        missing = [sha for sha in request.sha256_hex_hashes if not self._blobs.has_content(sha)]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    @rpc
    async def mount_put_file(
        self, request: api_pb2.MountPutFileRequest, caller: Caller
    ) -> api_pb2.MountPutFileResponse:
        source = request.WhichOneof("data_oneof")
        if source == "data":
            self._blobs.put_content(request.sha256_hex, request.data)
        elif source == "data_blob_id":
            self._blobs.adopt_content(request.sha256_hex, request.data_blob_id)
        return api_pb2.MountPutFileResponse(exists=self._blobs.has_content(request.sha256_hex))
