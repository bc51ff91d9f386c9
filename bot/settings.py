"""What the environment says, read once and checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from training.dataset.limits import GIB, Limits
from training.deployment import DEFAULT_APP, DEFAULT_GPU_STAGES, Deployment
from training.errors import RequestError
from training.gpus import GPUS
from training.musubi.launcher.program import DEFAULT_STATE_SECONDS
from training.request import EngineName

BackendName = Literal["local", "modal"]
# Modal's names have up to 63 characters, and those of a deployment end in up to 9 more.
_APP_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,53}$"


class Settings(BaseSettings):
    """One installation's settings; every variable starts with `LORABOT_`."""

    model_config = SettingsConfigDict(
        env_prefix="LORABOT_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    home: Path = Path("~/.lorabot")
    backend: Annotated[
        BackendName, Field(description="where the command line works: this machine or Modal")
    ] = "local"
    modal_app: Annotated[
        str, Field(pattern=_APP_NAME, description="name of a deployment on Modal")
    ] = DEFAULT_APP
    engine: Annotated[EngineName, Field(description="what a deployment on Modal trains with")] = (
        "musubi"
    )
    gpu_stages: Annotated[
        int, Field(ge=1, le=100, description="stages of a deployment that hold a GPU at once")
    ] = DEFAULT_GPU_STAGES
    discord_token: SecretStr | None = None
    team_role: Annotated[
        str | None, Field(description="name of the role that is notified when a run ends")
    ] = None
    web_host: str = "127.0.0.1"
    web_port: Annotated[int, Field(ge=0, le=65535)] = 0
    web_url: Annotated[
        str | None, Field(description="address under which people reach the web side")
    ] = None
    link_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    discord_url: Annotated[
        str | None, Field(description="address of a Discord-compatible server, such as a sandbox")
    ] = None
    edit_seconds: Annotated[float, Field(gt=0, description="pause between edits of a card")] = 5.0
    upload_limit_mib: Annotated[int, Field(ge=1)] = 500
    dataset_files: Annotated[int, Field(ge=1, description="entries of a zip")] = 10_000
    dataset_zip_gib: Annotated[float, Field(gt=0, description="size of a zip")] = 6.0
    dataset_unpacked_gib: Annotated[float, Field(gt=0, description="its files, unpacked")] = 8.0
    dataset_ratio: Annotated[
        int, Field(ge=1, description="unpacked over packed size, over 64 MiB")
    ] = 100
    dataset_seconds: Annotated[int, Field(ge=1, description="for looking at all files")] = 3600
    image_megapixels: Annotated[float, Field(gt=0)] = 50.0
    clip_megapixels: Annotated[float, Field(gt=0, description="of one frame")] = 9.5
    clip_seconds: Annotated[int, Field(ge=1)] = 300
    decoder_seconds: Annotated[int, Field(ge=1, description="for one image or clip")] = 600
    decoder_gib: Annotated[
        float, Field(ge=1, description="address space of a decoding process")
    ] = 4.0
    gpu_slots: Annotated[int, Field(ge=1, le=64)] = 2
    cpu_slots: Annotated[int, Field(ge=1, le=64)] = 2
    musubi_dir: Annotated[
        Path | None, Field(description="folder of a musubi-tuner checkout, for --engine musubi")
    ] = None
    musubi_python: Annotated[
        Path | None,
        Field(description="interpreter that it is installed in; its .venv's when not given"),
    ] = None
    state_seconds: Annotated[
        float, Field(gt=0, description="time between two training states saved by musubi-tuner")
    ] = DEFAULT_STATE_SECONDS
    gpu: Annotated[
        str | None, Field(description="this machine's GPU, for --engine musubi; such as H100")
    ] = None

    @field_validator("gpu")
    @classmethod
    def _known_card(cls, value: str | None) -> str | None:
        if value is not None and value not in GPUS:
            raise ValueError(f"it is none of {', '.join(GPUS)}")
        return value

    @classmethod
    def read(
        cls,
        home: Path | None = None,
        *,
        backend: BackendName | None = None,
        modal_app: str | None = None,
        engine: EngineName | None = None,
    ) -> Self:
        """Return what the environment says; what is given here goes before it.

        Raises:
            RequestError: A variable holds what it cannot.
        """
        named = {"home": home, "backend": backend, "modal_app": modal_app, "engine": engine}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors()[0]
            name = f"LORABOT_{str(first['loc'][0]).upper()}"
            raise RequestError(
                f"{name} cannot be {first['input']!r}: {first['msg'].lower()}.",
                "Correct the variable, or unset it for the default.",
            ) from error

    @property
    def home_folder(self) -> Path:
        """Return the absolute folder that holds all state."""
        return self.home.expanduser().resolve()

    @property
    def deployment(self) -> Deployment:
        """Return the names of the deployment on Modal."""
        return Deployment(name=self.modal_app, engine=self.engine, gpu_stages=self.gpu_stages)

    @property
    def limits(self) -> Limits:
        """Return how much an upload may ask of this machine."""
        return Limits(
            files=self.dataset_files,
            archive_bytes=round(self.dataset_zip_gib * GIB),
            unpacked_bytes=round(self.dataset_unpacked_gib * GIB),
            ratio=self.dataset_ratio,
            pixels=round(self.image_megapixels * 1_000_000),
            clip_pixels=round(self.clip_megapixels * 1_000_000),
            clip_seconds=self.clip_seconds,
            inspection_seconds=self.dataset_seconds,
            worker_seconds=self.decoder_seconds,
            worker_bytes=round(self.decoder_gib * GIB),
        )

    def require_discord_token(self) -> str:
        """Return the bot's token.

        Raises:
            RequestError: It is not set.
        """
        if self.discord_token is None:
            raise RequestError(
                "LORABOT_DISCORD_TOKEN is not set, so the bot cannot log in to Discord.",
                "Copy the token from discord.com/developers, your application, page Bot; "
                "or try everything without an account: lorabot sandbox.",
            )
        return self.discord_token.get_secret_value()


# What is set about a bot wherever it runs; the rest is of one machine, or a secret.
_HOSTED = (
    *("team_role", "web_url", "link_hours", "discord_url", "edit_seconds", "upload_limit_mib"),
    *("dataset_files", "dataset_zip_gib", "dataset_unpacked_gib", "dataset_ratio"),
    "dataset_seconds",
    *("image_megapixels", "clip_megapixels", "clip_seconds", "decoder_seconds", "decoder_gib"),
)


def hosted_variables(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that are to be set where the bot is hosted as they are set here."""
    names = (f"LORABOT_{name.upper()}" for name in _HOSTED)
    return {name: environment[name] for name in names if environment.get(name)}
