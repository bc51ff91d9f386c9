"""The names of one deployment on Modal, and what its containers are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from training.store_keys import Area
from training.vocabulary import EngineName

APP_VARIABLE, ENGINE_VARIABLE = "LORABOT_MODAL_APP", "LORABOT_ENGINE"
GPU_STAGES_VARIABLE = "LORABOT_GPU_STAGES"
DEPLOY_VARIABLE = "LORABOT_DEPLOY"
# Set where containers share one machine: where their Volumes lie, and the port of a server.
ROOT_VARIABLE = "LORABOT_MOUNT_ROOT"
SERVER_PORT_VARIABLE = "LORABOT_SERVER_PORT"
DEFAULT_APP = "lorabot"
STAGES_SUFFIX = "-stages"
DEFAULT_GPU_STAGES = 4

# The name that guides for training on Modal use.
HUB_SECRET = "my-huggingface-secret"
# What the secrets must hold.
HUB_KEYS, DISCORD_KEYS = ("HF_TOKEN",), ("LORABOT_DISCORD_TOKEN",)

Purpose = Literal["leases", "claims", "calls", "line", "progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment; everything that it has on Modal begins with its name.

    Attributes:
        name: Its name.
        engine: What caches and trains.
        gpu_stages: How many stages may hold a GPU at once.
        root: The root of a container's file system.
        deploy: Another one for each time that it is deployed; empty where nobody gave it one.
    """

    name: str = DEFAULT_APP
    engine: EngineName = "musubi"
    gpu_stages: int = DEFAULT_GPU_STAGES
    root: Path = Path("/")
    hub_secret: str = HUB_SECRET
    deploy: str = ""

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """Return the deployment that the environment of a deploy, or of a container, names.

        Raises:
            ValueError: A variable holds what it cannot.
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
        """Return what a container must know to find the same names."""
        return {
            APP_VARIABLE: self.name,
            ENGINE_VARIABLE: self.engine,
            GPU_STAGES_VARIABLE: str(self.gpu_stages),
            **({DEPLOY_VARIABLE: self.deploy} if self.deploy else {}),
        }

    @property
    def areas(self) -> tuple[Area, ...]:
        """Return the areas of the store; each is a Volume."""
        return get_args(Area)

    @property
    def stages_app(self) -> str:
        """Return the app that the stages run in."""
        return f"{self.name}{STAGES_SUFFIX}"

    @property
    def bot_app(self) -> str:
        """Return the app that the bot runs in."""
        return self.name

    @property
    def discord_secret(self) -> str:
        """Return the secret that holds the bot's token."""
        return f"{self.name}-discord"

    def volume(self, area: Area) -> str:
        """Return the Volume of an area."""
        return f"{self.name}-{area}"

    @property
    def secrets(self) -> Mapping[str, tuple[str, ...]]:
        """Return the secrets that must be there, each with the keys that it must have."""
        return {self.hub_secret: HUB_KEYS, self.discord_secret: DISCORD_KEYS}

    def dictionary(self, purpose: Purpose) -> str:
        """Return the Dict for a purpose."""
        return f"{self.name}-{purpose}"

    def mount_path(self, area: Area) -> str:
        """Return where the Volume of an area is mounted in every container that has it."""
        return f"/mnt/lorabot/{area}"
