"""Settings of stages, read from the environment; the same for stages and the bot."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from training.dataset.limits import GIB, Limits
from training.musubi.launcher.program import DEFAULT_STATE_SECONDS

PREFIX = "LORABOT_"


class StageSettings(BaseSettings):
    """The settings of stages; every variable starts with `LORABOT_`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

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
    state_seconds: Annotated[
        float, Field(gt=0, description="time between two training states saved by the trainer")
    ] = DEFAULT_STATE_SECONDS

    @property
    def limits(self) -> Limits:
        """Return how much an upload may ask of the machine that looks at it."""
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


# Variables that a deployment passes on to the stages.
STAGE_VARIABLES = (
    *(f"{PREFIX}{name.upper()}" for name in StageSettings.model_fields),
    "HF_ENDPOINT",  # read by huggingface_hub: the mirror that weights are fetched from
)


def chosen(names: tuple[str, ...], environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that are set and not empty."""
    return {name: environment[name] for name in names if environment.get(name)}
