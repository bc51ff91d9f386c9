"""What a container finds when it starts: its files, its variables, its arguments."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modal_proto import api_pb2

from tests.wire.modal.loopback.apps import Apps
from tests.wire.modal.loopback.assets import Images, Mounts, Secrets
from tests.wire.modal.loopback.blobs import Blobs
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.gpus import DRIVER_NAMES, Gpus
from tests.wire.modal.loopback.layout import Layouts
from tests.wire.modal.loopback.names import ENVIRONMENT
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.loopback.starter import CONTAINER_ENV, Starter, host_env
from tests.wire.modal.loopback.volume_rpcs import Volumes
from tests.wire.modal.loopback.volumes import View

MOUNT_ROOT = "LORABOT_MOUNT_ROOT"
SERVER_PORT = "LORABOT_SERVER_PORT"
ARGUMENTS = "arguments"
PRODUCT = "training"  # the package that every deployment of the product mounts
PROGRAMS = "driver"  # where a container has the programs of its GPU's driver
# Modal limits these to the cores that a function asks for.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Provision:
    """Makes the root folder of a container, which stands for its file system.

    A mount path `/mnt/data` lies at `$LORABOT_MOUNT_ROOT/mnt/data`; the sources that the client
    mounts below `/root` are the only ones on `PYTHONPATH`.
    """

    settings: Settings
    apps: Apps
    layouts: Layouts
    images: Images
    secrets: Secrets
    mounts: Mounts
    blobs: Blobs
    volumes: Volumes
    starter: Starter
    gpus: Gpus

    async def fill(self, container: Container) -> dict[str, View]:
        """Fill the root folder of a container; return its views of volumes by volume id."""
        (container.root / "root").mkdir(parents=True)
        self._install_driver(container)
        self._mount_code(container)
        views: dict[str, View] = {}
        for mount in container.definition.volume_mounts:
            path = container.root / mount.mount_path.lstrip("/")
            volume = self.volumes.get(mount.volume_id)
            view = View(volume, path, mount.sub_path, mount.read_only)
            await self.volumes.load(view)
            views[volume.id] = view
        arguments = self._arguments(container).SerializeToString()
        (container.root / ARGUMENTS).write_bytes(arguments)
        return views

    def env(self, container: Container, url: str) -> dict[str, str]:
        """Return the whole environment of a container that reaches the control plane at `url`."""
        env = host_env()
        programs = (container.root / PROGRAMS, self.starter.python.parent)
        env["PATH"] = ":".join((*map(str, programs), env.get("PATH", os.defpath)))
        env |= self.images.env(container.definition.image_id)
        env |= self.settings.container_env
        for secret_id in container.definition.secret_ids:
            env |= self.secrets.variables(secret_id)
        resources = container.definition.resources
        if resources.milli_cpu and not resources.skip_num_threads_env_vars:
            threads = str(max(1, round(resources.milli_cpu / 1000)))
            env |= dict.fromkeys(THREADS, threads)
        if container.port:
            env[SERVER_PORT] = str(container.port)
        own = {
            "MODAL_SERVER_URL": url,
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(container.root / ARGUMENTS),
            "MODAL_TASK_ID": container.id,
            "MODAL_FUNCTION_ID": container.function.id,
            "MODAL_APP_ID": container.function.app_id,
            "MODAL_IMAGE_ID": container.definition.image_id,
            "MODAL_ENVIRONMENT": ENVIRONMENT,
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOOPBACK",
            "MODAL_REGION": "loopback",
            "MODAL_HEARTBEAT_INTERVAL": "1",
            "PYTHONPATH": str(container.root / "root"),
            "HOME": str(container.root / "root"),
            MOUNT_ROOT: str(container.root),
        }
        return env | own | CONTAINER_ENV

    def _mount_code(self, container: Container) -> None:
        """Link the packages below `/root`, which no container writes to, and copy other files."""
        packages: dict[str, Path] = {}
        for mount_id in container.definition.mount_ids:
            for name, sha256 in self.mounts.files(mount_id).items():
                path, content = PurePosixPath(name).relative_to("/"), self.blobs.content(sha256)
                if path.parts[0] == "root" and len(path.parts) > 2:
                    packages[str(path.relative_to("root"))] = content
                else:
                    target = container.root / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(content, target)
        if not packages:
            return
        code = self.starter.code(packages)
        for package in code.iterdir():
            (container.root / "root" / package.name).symlink_to(package)
        container.code = code if (code / PRODUCT).exists() else None

    def _install_driver(self, container: Container) -> None:
        """Give a container with a GPU a driver that names it, as each of Modal's has."""
        asked = container.definition.resources.gpu_config.gpu_type
        if not asked:
            return
        program = container.root / PROGRAMS / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho '{DRIVER_NAMES[self.gpus.given(asked)]}'\n")
        program.chmod(0o755)

    def _arguments(self, container: Container) -> api_pb2.ContainerArguments:
        app = self.apps.get(container.function.app_id)
        definition = container.definition
        return api_pb2.ContainerArguments(
            task_id=container.id,
            function_id=container.function.id,
            app_id=app.id,
            function_def=definition,
            serialized_params=container.function.params,
            environment_name=ENVIRONMENT,
            app_layout=self.layouts.layout(app, definition),
        )
