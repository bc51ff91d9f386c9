"""The names of a deployment's resources on Modal, and the variables of its containers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from training.store_keys import Area
from training.vocabulary import EngineName

APP_VARIABLE, ENGINE_VARIABLE = "LORABOT_MODAL_APP", "LORABOT_ENGINE"
GPU_STAGES_VARIABLE = "LORABOT_GPU_STAGES"
DEPLOY_VARIABLE = "LORABOT_DEPLOY"
# These variables are set only if all containers run on one machine: the root of their mounts, and
# the server's port.
ROOT_VARIABLE = "LORABOT_MOUNT_ROOT"
SERVER_PORT_VARIABLE = "LORABOT_SERVER_PORT"
DEFAULT_APP = "lorabot"
STAGES_SUFFIX = "-stages"
DEFAULT_GPU_STAGES = 4

# Many users have a secret with this name, because guides to training on Modal create it.
HUB_SECRET = "my-huggingface-secret"
# Keys that each secret must contain.
HUB_KEYS, DISCORD_KEYS = ("HF_TOKEN",), ("LORABOT_DISCORD_TOKEN",)

Purpose = Literal["leases", "claims", "calls", "line", "progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment; the names of all its resources begin with `name`.

    Attributes:
        engine: The engine that caches and trains.
        gpu_stages: How many stages may hold a GPU at once.
        root: Folder that takes the place of `/` in a container.
        hub_secret: Name of the Modal secret that holds the Hugging Face token.
        deploy: Id of this deploy; "" if none was given.
    """

    name: str = DEFAULT_APP
    engine: EngineName = "musubi"
    gpu_stages: int = DEFAULT_GPU_STAGES
    root: Path = Path("/")
    hub_secret: str = HUB_SECRET
    deploy: str = ""

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """Return the deployment that the variables of a deploy command or a container describe.

        Raises:
            ValueError: A variable is invalid.
        """
        engine = environment.get(ENGINE_VARIABLE, "musubi")
        for known in get_args(EngineName):
            if engine == known:
                return cls(
                    name=environment.get(APP_VARIABLE, DEFAULT_APP),
                    engine=known,
                    gpu_stages=int(environment.get(GPU_STAGES_VARIABLE, DEFAULT_GPU_STAGES)),
                    root=Path(environment.get(ROOT_VARIABLE, "/")),
                    deploy=environment.get(DEPLOY_VARIABLE, ""),
                )
        raise ValueError(f"{ENGINE_VARIABLE} is {engine!r}, not {get_args(EngineName)}")

    def variables(self) -> dict[str, str | None]:
        """Return the environment variables that describe this deployment to a container."""
        return {
            APP_VARIABLE: self.name,
            ENGINE_VARIABLE: self.engine,
            GPU_STAGES_VARIABLE: str(self.gpu_stages),
            **({DEPLOY_VARIABLE: self.deploy} if self.deploy else {}),
        }

    @property
    def areas(self) -> tuple[Area, ...]:
        return get_args(Area)

    @property
    def stages_app(self) -> str:
        return f"{self.name}{STAGES_SUFFIX}"

    @property
    def bot_app(self) -> str:
        return self.name

    @property
    def discord_secret(self) -> str:
        return f"{self.name}-discord"

    def volume(self, area: Area) -> str:
        return f"{self.name}-{area}"

    @property
    def secrets(self) -> Mapping[str, tuple[str, ...]]:
        """Return the required secrets with the keys that each must have."""
        return {self.hub_secret: HUB_KEYS, self.discord_secret: DISCORD_KEYS}

    def dictionary(self, purpose: Purpose) -> str:
        return f"{self.name}-{purpose}"

    def mount_path(self, area: Area) -> str:
        return f"/mnt/lorabot/{area}"
