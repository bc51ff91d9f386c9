"""The settings of one installation (bot, web server and machine), read from the environment."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, HttpUrl, SecretStr, TypeAdapter, ValidationError, field_validator

from training.catalogue.gpus import GPUS
from training.deployment.names import DEFAULT_APP, DEFAULT_GPU_STAGES, STAGES_SUFFIX, Deployment
from training.errors import RequestError
from training.pipeline.settings import PREFIX, StageSettings
from training.vocabulary import BackendName, EngineName

# Modal allows 63 characters in a name, and a deployment appends up to 9 characters to this one.
_APP_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,53}$"
_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


class Settings(StageSettings):
    """Settings of the bot and its installation.

    All their environment variables except HF_TOKEN start with LORABOT_.
    """

    home: Path = Path("~/.lorabot")
    backend: Annotated[
        BackendName, Field(description="what commands act on: this machine or Modal")
    ] = "local"
    modal_app: Annotated[
        str, Field(pattern=_APP_NAME, description="name of the Modal deployment")
    ] = DEFAULT_APP
    engine: Annotated[EngineName, Field(description="engine of a Modal deployment")] = "musubi"
    gpu_stages: Annotated[
        int, Field(ge=1, le=100, description="how many GPU stages of a deployment run at once")
    ] = DEFAULT_GPU_STAGES
    discord_token: SecretStr | None = None
    team_role: Annotated[
        str | None, Field(description="name of the team's role, until /settings chooses one")
    ] = None
    web_host: str = "127.0.0.1"
    web_port: Annotated[int, Field(ge=0, le=65535)] = 0
    web_url: Annotated[str | None, Field(description="public URL of the web server")] = None
    link_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    hub_repos: Annotated[
        str,
        Field(description="Hub datasets that may be read with HF_TOKEN, such as ann/*, ben/set"),
    ] = ""
    caption_url: Annotated[
        str | None,
        Field(description="OpenAI-compatible endpoint that captions, such as Ollama's or vLLM's"),
    ] = None
    caption_model: Annotated[str | None, Field(description="its vision-language model")] = None
    caption_key: SecretStr | None = None
    hf_token: Annotated[SecretStr | None, Field(validation_alias="HF_TOKEN")] = None
    discord_url: Annotated[
        str | None, Field(description="URL of a Discord-compatible server, such as a sandbox")
    ] = None
    edit_seconds: Annotated[float, Field(gt=0, description="seconds between edits of a card")] = 5.0
    upload_limit_mib: Annotated[int, Field(ge=1)] = 500
    gpu_slots: Annotated[int, Field(ge=1, le=64)] = 2
    cpu_slots: Annotated[int, Field(ge=1, le=64)] = 2
    musubi_dir: Annotated[
        Path | None, Field(description="musubi-tuner checkout, for --engine musubi")
    ] = None
    musubi_python: Annotated[
        Path | None,
        Field(description="Python for musubi-tuner; by default .venv/bin/python in its checkout"),
    ] = None
    gpu: Annotated[
        str | None, Field(description="this machine's GPU, such as H100; for --engine musubi")
    ] = None

    @field_validator("modal_app")
    @classmethod
    def _names_no_stages(cls, value: str) -> str:
        if value.endswith(STAGES_SUFFIX):
            raise ValueError(f"names ending in {STAGES_SUFFIX} are reserved")
        return value

    @field_validator("web_url", "discord_url", "caption_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            _URL.validate_python(value)
        return value

    @field_validator("discord_token")
    @classmethod
    def _stripped(cls, value: SecretStr | None) -> SecretStr | None:
        return value and SecretStr(value.get_secret_value().strip())

    @field_validator("gpu")
    @classmethod
    def _is_known_gpu(cls, value: str | None) -> str | None:
        if value is not None and value not in GPUS:
            raise ValueError(f"it is not one of {', '.join(GPUS)}")
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
        """Return the settings from the environment. Arguments override environment variables.

        Raises:
            RequestError: A variable has an invalid value.
        """
        named = {"home": home, "backend": backend, "modal_app": modal_app, "engine": engine}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if name == "modal_app":
                raise RequestError(
                    f"{first['input']!r} is not a valid deployment name.",
                    "Use up to 54 letters, digits, dots, dashes and underscores, starting with a "
                    f"letter or digit and not ending in {STAGES_SUFFIX}. Set it with --app or "
                    f"{PREFIX}MODAL_APP.",
                ) from error
            why = first["msg"][0].lower() + first["msg"][1:]
            raise RequestError(
                f"{PREFIX}{name.upper()} cannot be {first['input']!r}: {why}.",
                "Correct the variable, or leave it empty to use the default.",
            ) from error

    @property
    def home_folder(self) -> Path:
        """Return the absolute path of the folder that holds all state."""
        return self.home.expanduser().resolve()

    @property
    def deployment(self) -> Deployment:
        return Deployment(name=self.modal_app, engine=self.engine, gpu_stages=self.gpu_stages)

    def require_discord_token(self) -> str:
        """Return the bot's token.

        Raises:
            RequestError: The token is not set.
        """
        if self.discord_token is None:
            raise RequestError(
                "LORABOT_DISCORD_TOKEN is not set, so the bot cannot log in to Discord.",
                "Copy the token from your application's Bot page at discord.com/developers. "
                "To try the bot without an account, run lorabot sandbox.",
            )
        return self.discord_token.get_secret_value()


# Settings that `lorabot deploy` passes on to the deployed bot. All others are secrets, or concern
# only one machine.
HOSTED_VARIABLES = (
    *("LORABOT_TEAM_ROLE", "LORABOT_WEB_URL", "LORABOT_LINK_HOURS", "LORABOT_DISCORD_URL"),
    *("LORABOT_EDIT_SECONDS", "LORABOT_UPLOAD_LIMIT_MIB", "LORABOT_HUB_REPOS"),
    *("LORABOT_CAPTION_URL", "LORABOT_CAPTION_MODEL"),
)
