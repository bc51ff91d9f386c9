"""Settings of stages. Both the stages and the bot read them from the environment."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.dataset.limits import Limits
from training.files.sizes import GIB
from training.musubi.launcher.program import DEFAULT_STATE_SECONDS
from training.pipeline.runtime import DEFAULT_CACHE_SECONDS

PREFIX = "LORABOT_"
# A Modal Volume accepts only a few writes a minute, and all stages of all runs share that limit.
DEFAULT_WRITE_SECONDS = 20.0


class StageSettings(BaseModel):
    """The settings of stages; every variable starts with `LORABOT_`.

    Values that are not given are read from the environment, without pydantic-settings: importing it
    took a fifth of the CPU time in which a stage's process starts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    dataset_files: Annotated[int, Field(ge=1, description="limit on entries in a zip")] = 10_000
    dataset_zip_gib: Annotated[float, Field(gt=0, description="limit on the size of a zip")] = 6.0
    dataset_unpacked_gib: Annotated[
        float, Field(gt=0, description="limit on the total size of a zip's unpacked files")
    ] = 8.0
    dataset_ratio: Annotated[
        int,
        Field(ge=1, description="limit on unpacked bytes per packed byte; checked above 64 MiB"),
    ] = 100
    dataset_seconds: Annotated[
        int, Field(ge=1, description="time limit for checking a dataset")
    ] = 3600
    image_megapixels: Annotated[float, Field(gt=0)] = 50.0
    clip_megapixels: Annotated[
        float, Field(gt=0, description="limit on the frame size of a clip")
    ] = 9.5
    clip_seconds: Annotated[int, Field(ge=1)] = 300
    decoder_seconds: Annotated[
        int, Field(ge=1, description="time limit for decoding one image or clip")
    ] = 600
    decoder_gib: Annotated[float, Field(ge=1, description="memory limit of a decoding process")] = (
        4.0
    )
    state_seconds: Annotated[
        float, Field(gt=0, description="time between two saved training states")
    ] = DEFAULT_STATE_SECONDS
    cache_seconds: Annotated[
        float,
        Field(gt=0, description="time between two writes of finished cache files"),
    ] = DEFAULT_CACHE_SECONDS
    write_seconds: Annotated[
        float, Field(ge=0, description="how long small writes wait on Modal, to be stored together")
    ] = DEFAULT_WRITE_SECONDS

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Add what the environment sets. An empty variable counts as unset."""
        found = {
            str(field.validation_alias or name): os.environ.get(
                str(field.validation_alias or f"{PREFIX}{name.upper()}")
            )
            for name, field in cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value} | given

    @property
    def limits(self) -> Limits:
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
    "HF_ENDPOINT",  # the mirror from which huggingface_hub downloads weights
)


def chosen(names: tuple[str, ...], environment: Mapping[str, str]) -> dict[str, str | None]:
    return {name: environment[name] for name in names if environment.get(name)}
