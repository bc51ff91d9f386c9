"""A user's request, and the spec of the run that it becomes."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.catalogue.models import Expert, Model, find_model
from training.dataset.report import Media
from training.errors import RequestError
from training.runs.hyperparameters import (
    ITEM_NAMES,
    LIGHTNING_NAMES,
    SETTING_NAMES,
    ExpertSettings,
    ItemSettings,
    SpeedLoraSettings,
    option,
    resolve_expert,
    resolve_items,
    resolve_speed_lora,
    split_value,
)
from training.store_keys import RunKeys
from training.vocabulary import EngineName, ExpertName

ExpertChoice = Literal["both", "high", "low"]
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_REFERENCE = re.compile(r"(?P<name>[^@]+)(?:@(?P<number>\d{1,6}))?")


class DatasetRef(BaseModel):
    """One version of a dataset; caches are reused by its content id, `version`.

    Attributes:
        media: Whether training reads the repaired or the uploaded files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    number: int
    version: str
    media: Media = "repaired"

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


class StartingPoint(BaseModel):
    """The LoRA file that an expert starts from: the user's name for it, and its hash.

    The run keeps its own copy, so the source may be removed.

    Attributes:
        kept_by: The earlier run whose copy is used, if this run finishes that one's work.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    kept_by: str | None = None


class ExpertSpec(BaseModel):
    """One expert of a run with all its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: ExpertSettings
    speed_lora: SpeedLoraSettings | None = None
    start: StartingPoint | None = None

    @property
    def name(self) -> ExpertName:
        """Return which expert this is."""
        return self.settings.expert


class RunSpec(BaseModel):
    """A run as requested; stored once, before anything refers to the run.

    Attributes:
        items: Limits for training items, if not the guide's.
        gpu: The GPU that was asked for; None for the model's own.
        dataset_toml: The user's dataset TOML, instead of the guide's groups.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    guild: str
    created_at: datetime
    requested_by: str
    channel: str
    model: str
    dataset: DatasetRef
    engine: EngineName
    experts: tuple[ExpertSpec, ...]
    steps_per_epoch: Annotated[int, Field(ge=1)]
    items: ItemSettings = ItemSettings()
    gpu: str | None = None
    continues: str | None = None
    caches_after: Annotated[
        str | None, Field(description="the failed run whose caches must not be reused")
    ] = None
    dataset_toml: str | None = None

    @property
    def keys(self) -> RunKeys:
        """Return the keys of the run's files in the store."""
        return RunKeys(self.guild, self.name)

    def expert(self, name: ExpertName) -> ExpertSpec:
        """Return the settings of the expert called `name`."""
        return next(expert for expert in self.experts if expert.name == name)

    def output_name(self, expert: ExpertName) -> str:
        """Return the stem of the checkpoints of one expert."""
        return self.name if expert == "main" else f"{self.name}-{expert}"


class TrainRequest(BaseModel):
    """A training request, before it is checked against a model.

    Attributes:
        gpu: The GPU to cache and train on; defaults to the model's own.
        dataset_toml: The text of the user's dataset TOML.
        dataset_config: Use the dataset TOML inside the dataset's zip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    dataset: str
    name: str | None = None
    expert: ExpertChoice = "both"
    resume_from: str | None = None
    gpu: str | None = None
    dataset_toml: str | None = None
    dataset_config: Literal["from-zip"] | None = None
    settings: Mapping[str, str] = Field(default_factory=dict[str, str])


def is_name(name: str) -> bool:
    """Return whether a dataset, run or checkpoint can have that name."""
    return _NAME.fullmatch(name) is not None


def check_name(kind: str, name: str) -> str:
    """Return `name` when it can name a dataset, run or checkpoint.

    Raises:
        RequestError: It holds other characters than lower-case letters, digits, `-` and `_`.
    """
    if not is_name(name):
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        raise RequestError(
            f"{shown!r} cannot be the name of a {kind}.",
            "Use 1 to 64 lower-case letters, digits, - and _, such as annika-v2.",
        )
    return name


def name_from_file(file_name: str, kind: str = "dataset") -> str:
    """Derive a name such as `annika-v2` from an uploaded file's name.

    Raises:
        RequestError: The file's name has no usable characters.
    """
    stem = unicodedata.normalize("NFKD", file_name.rsplit(".", 1)[0].lower())
    plain = stem.encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9_-]+", "-", plain)[:64].strip("-_")
    if not name:
        raise RequestError(
            f"The file name {file_name!r} gives no name for a {kind}.",
            f"Rename it with letters or digits, such as annika, or use /{kind} add with a name.",
        )
    return name


def parse_reference(text: str) -> tuple[str, int | None]:
    """Parse `annika@3` into name and version number; None means the newest.

    Raises:
        RequestError: The text is not a dataset's name with an optional version number.
    """
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise RequestError(
            f"{text[:60]!r} is not a dataset.", "Write its name, or name@version such as annika@3."
        )
    return check_name("dataset", match["name"]), int(match["number"]) if match["number"] else None


def resolve_experts(request: TrainRequest) -> tuple[Model, tuple[ExpertSpec, ...]]:
    """Return the model and the experts that a request trains, with complete settings.

    Raises:
        NotFoundError: The model does not exist.
        RequestError: A setting does not exist, does not fit the model or is out of range.
    """
    model = find_model(request.model)
    experts = _chosen(model, request.expert)
    names: tuple[ExpertName, ...] = tuple(expert.name for expert in experts)
    given: dict[ExpertName, dict[str, str]] = {name: {} for name in names}
    for setting, text in request.settings.items():
        if setting in ITEM_NAMES:
            continue
        if setting not in SETTING_NAMES and setting not in LIGHTNING_NAMES:
            known = ", ".join(map(option, (*SETTING_NAMES, *ITEM_NAMES, *LIGHTNING_NAMES)))
            raise RequestError(f"There is no setting called {setting!r}.", f"Settings: {known}.")
        for name, value in split_value(setting, text, names).items():
            given[name][setting] = value
    return model, tuple(_resolve(model, expert, given[expert.name]) for expert in experts)


def requested_items(request: TrainRequest) -> ItemSettings:
    """Return the request's limits for training items.

    Raises:
        RequestError: A value is out of range or of the wrong type.
    """
    return resolve_items({n: request.settings[n] for n in ITEM_NAMES if n in request.settings})


def default_run_name(dataset: str, model: str) -> str:
    """Return the name a run gets when the user gives none, such as `annika-wan21-i2v-720p`."""
    return f"{dataset[: 63 - len(model)].rstrip('-_')}-{model}"


def _resolve(model: Model, expert: Expert, given: Mapping[str, str]) -> ExpertSpec:
    lightning = {name: value for name, value in given.items() if name in LIGHTNING_NAMES}
    settings = {name: value for name, value in given.items() if name in SETTING_NAMES}
    return ExpertSpec(
        settings=resolve_expert(model, expert, settings),
        speed_lora=resolve_speed_lora(model, expert.name, lightning),
    )


def _chosen(model: Model, choice: ExpertChoice) -> tuple[Expert, ...]:
    if choice == "both":
        return model.experts
    if len(model.experts) == 1:
        raise RequestError(
            f"{model.name} has a single expert, so expert:{choice} does not exist.",
            "Leave expert out, or choose a Wan 2.2 model.",
        )
    return (model.expert(choice),)
