"""A user's request, and the spec of the run that is made from it."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from anyascii import anyascii
from pydantic import BaseModel, ConfigDict, Field

from training.catalogue.models import Expert, Model
from training.catalogue.presets import Preset
from training.dataset.report import Media
from training.errors import RequestError
from training.files.hashing import SHA256
from training.files.windows_names import is_device
from training.runs.hyperparameters import (
    ITEM_NAMES,
    LIGHTNING_NAMES,
    PRESET_NAME,
    SETTING_NAMES,
    ExpertSettings,
    ItemSettings,
    SpeedLoraSettings,
    option,
    resolve_expert,
    resolve_items,
    resolve_preset,
    resolve_speed_lora,
    split_value,
)
from training.store_keys import RunKeys
from training.vocabulary import EngineName, ExpertName

ExpertChoice = Literal["both", "high", "low"]
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_REFERENCE = re.compile(r"(?P<name>[^@]+)(?:@(?P<number>\d{1,6}))?")


class DatasetRef(BaseModel):
    """One version of a dataset.

    Attributes:
        version: Id computed from the content; versions with the same id share their caches.
        media: Whether training reads the repaired files or the uploaded ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    number: int
    version: str
    media: Media = "repaired"

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


class StartingPoint(BaseModel):
    """The LoRA file that an expert starts from: its name as the user gave it, and its hash.

    The run has its own copy of the file, so the original may be removed.

    Attributes:
        kept_by: The earlier run from whose folder the copy is made, if this run continues or
            repeats one; None to copy the original.
        remarks: Hints in the file's name or metadata that it is not meant for this expert.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    sha256: Annotated[str, Field(pattern=SHA256)]
    kept_by: str | None = None
    remarks: tuple[str, ...] = ()


class ExpertSpec(BaseModel):
    """One expert of a run with all its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: ExpertSettings
    speed_lora: SpeedLoraSettings | None = None
    start: StartingPoint | None = None

    @property
    def name(self) -> ExpertName:
        return self.settings.expert


class Promise(BaseModel):
    """The time and cost that were expected when somebody agreed to a run.

    `usd` is None where GPUs cost nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    usd: float | None = None


def _is_missing(promised: Promise | None) -> bool:
    """Return whether the run has no promise; its stored spec then omits the field."""
    return promised is None


class RunSpec(BaseModel):
    """A run as requested; stored before any stage or message refers to it, and never changed.

    Attributes:
        follows: The run that this run takes over from, by continuing or repeating it.
        continues: The run whose training states this run continues from.
        items: Limits on training items, where the user or the preset sets any.
        preset: The defaults for settings that the user did not give.
        gpu: The only GPU to use, if the user chose one; None for the model's usual GPU.
        dataset_toml: The user's dataset TOML; None for the default groups.
        left_out: Names of samples that are not trained on.
        promised: The time and cost shown in the plan; None for a rehearsal, or if the run started
            without a plan, as a resumed run does.
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
    preset: Preset = "guide"
    gpu: str | None = None
    follows: str | None = None
    continues: str | None = None
    caches_after: Annotated[
        str | None, Field(description="the failed run whose caches must not be reused")
    ] = None
    dataset_toml: str | None = None
    left_out: tuple[str, ...] = ()
    promised: Annotated[Promise | None, Field(exclude_if=_is_missing)] = None

    @property
    def keys(self) -> RunKeys:
        return RunKeys(self.guild, self.name)

    def expert(self, name: ExpertName) -> ExpertSpec:
        return next(expert for expert in self.experts if expert.name == name)

    def output_name(self, expert: ExpertName) -> str:
        return self.name if expert == "main" else f"{self.name}-{expert}"


class TrainRequest(BaseModel):
    """A training request, before it is checked against a model.

    Attributes:
        gpu: The only GPU to cache and train on. None for the model's usual GPU, or a replacement if
            that is not free.
        dataset_toml: The text of the user's dataset TOML.
        dataset_config: Whether to use the dataset TOML inside the dataset's zip.
        left_out: Names of samples that are not trained on.
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
    left_out: tuple[str, ...] = ()
    settings: Mapping[str, str] = Field(default_factory=dict[str, str])


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_name(kind: str, name: str) -> str:
    """Return `name` if it is valid.

    Raises:
        RequestError: The name is too long, has characters other than lower-case letters, digits,
            `-` and `_`, or cannot be a file name on Windows.
    """
    if not is_name(name):
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        raise RequestError(
            f"{shown!r} is not a valid name for a {kind}.",
            "Use 1 to 64 lower-case letters, digits, - and _, such as annika-v2.",
        )
    if is_device(name):
        raise RequestError(
            f"{name} cannot name a {kind}: Windows cannot store a file called {name}.",
            f"Use another name, such as {kind}-{name}.",
        )
    return name


def name_from_file(file_name: str, default: str = "dataset") -> str:
    """Derive a name such as `annika-v2` from an uploaded file's name, which may be in any alphabet.

    A file name without any letter or digit, such as `★.zip`, gives the name `default`. A name that
    Windows reserves for a device gets `default` as a prefix: `con.zip` gives `dataset-con`.
    """
    plain = anyascii(file_name.rsplit(".", 1)[0]).lower()
    name = re.sub(r"[^a-z0-9_-]+", "-", plain)[:64].strip("-_") or default
    return f"{default}-{name}" if is_device(name) else name


def parse_reference(text: str) -> tuple[str, int | None]:
    """Parse `annika@3` into name and version number; for `annika`, the version is None (newest).

    Capital letters are read as lower case, because names have no capital letters.

    Raises:
        RequestError: The text is malformed.
    """
    match = _REFERENCE.fullmatch(text.strip().lower())
    if match is None:
        raise RequestError(
            f"{text[:60]!r} is not a dataset.", "Write a name, or name@version such as annika@3."
        )
    return check_name("dataset", match["name"]), int(match["number"]) if match["number"] else None


def resolve_experts(request: TrainRequest, model: Model) -> tuple[ExpertSpec, ...]:
    """Return the experts that a request trains, with complete settings.

    Raises:
        RequestError: A setting does not exist, does not fit the model or is out of range.
    """
    experts = _chosen(model, request.expert)
    names: tuple[ExpertName, ...] = tuple(expert.name for expert in experts)
    given: dict[ExpertName, dict[str, str]] = {name: {} for name in names}
    preset = requested_preset(request)
    for setting, text in request.settings.items():
        if setting in (PRESET_NAME, *ITEM_NAMES):
            continue
        if setting not in SETTING_NAMES and setting not in LIGHTNING_NAMES:
            known = ", ".join(
                map(option, (PRESET_NAME, *SETTING_NAMES, *ITEM_NAMES, *LIGHTNING_NAMES))
            )
            raise RequestError(f"There is no setting called {setting!r}.", f"Settings: {known}.")
        for name, value in split_value(setting, text, names).items():
            given[name][setting] = value
    return tuple(_resolve(model, expert, given[expert.name], preset) for expert in experts)


def requested_preset(request: TrainRequest) -> Preset:
    """Return the preset that the request names; see `resolve_preset`."""
    return resolve_preset(request.settings.get(PRESET_NAME))


def requested_items(request: TrainRequest, model: Model, *, has_toml: bool = False) -> ItemSettings:
    """Return the request's limits for training items; see `resolve_items`.

    A user's own dataset TOML replaces the preset's limits.
    """
    given = {n: request.settings[n] for n in ITEM_NAMES if n in request.settings}
    return resolve_items(given, model, "guide" if has_toml else requested_preset(request))


def default_run_name(dataset: str, model: str) -> str:
    return f"{dataset[: 63 - len(model)].rstrip('-_')}-{model}"


def _resolve(model: Model, expert: Expert, given: Mapping[str, str], preset: Preset) -> ExpertSpec:
    lightning = {name: value for name, value in given.items() if name in LIGHTNING_NAMES}
    settings = {name: value for name, value in given.items() if name in SETTING_NAMES}
    return ExpertSpec(
        settings=resolve_expert(model, expert, settings, preset),
        speed_lora=resolve_speed_lora(model, expert.name, lightning),
    )


def _chosen(model: Model, choice: ExpertChoice) -> tuple[Expert, ...]:
    if choice == "both":
        return model.experts
    if len(model.experts) == 1:
        raise RequestError(
            f"{model.name} has a single expert, so there is no {choice} expert.",
            "Name no expert, or choose a Wan 2.2 model.",
        )
    return (model.expert(choice),)
