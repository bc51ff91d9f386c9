"""The hyperparameters a user may set: one grammar for chat and command line, resolved per expert.

A setting is one value for all experts (`1e-4`) or one for each (`high=1e-4 low=8e-5`; `:` and `,`
also work). Defaults come from the catalogue.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from training.catalogue.models import Expert, Model, WeightFile
from training.errors import RequestError
from training.runs.lightning_file import FILE, FORMS, REPO, REVISION, find_lightning_file
from training.runs.lr_schedules import Scheduler, require_effect
from training.vocabulary import ExpertName, Resolution

Optimizer = Literal["adamw8bit", "adamw", "adafactor"]

_EXPERTS: tuple[ExpertName, ...] = ("main", "high", "low")
# An expert's name starts a word: `owner/fast-low:a.safetensors` names a file, not an expert.
_PAIR = re.compile(r"(?<![^\s,;])(?P<expert>main|high|low)\s*[=:]\s*(?P<value>[^\s,;]+)")
_BOUNDS = {"ge": "from", "gt": "above", "le": "up to"}
_SEPARATORS = re.compile(r"[\s,;]*")


class ExpertSettings(BaseModel):
    """All hyperparameters of one expert; the defaults are the guide's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expert: ExpertName
    learning_rate: Annotated[
        float, Field(gt=0, le=1, description="learning rate, such as 8e-5 or high=1e-4 low=8e-5")
    ]
    rank: Annotated[int, Field(ge=1, le=512, description="rank of the adapter (network_dim)")]
    alpha: Annotated[float, Field(gt=0, le=1024, description="alpha; the rank when not given")]
    flow_shift: Annotated[float, Field(gt=0, le=30, description="discrete flow shift")]
    epochs: Annotated[int, Field(ge=1, le=1000, description="passes over the dataset")] = 50
    save_every: Annotated[int, Field(ge=1, le=1000, description="epochs between checkpoints")] = 5
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="random seed")] = 42
    scheduler: Annotated[Scheduler, Field(description="learning-rate schedule")] = "polynomial"
    scheduler_power: Annotated[
        float, Field(gt=0, le=10, description="power of the polynomial schedule")
    ] = 2.0
    min_lr_ratio: Annotated[
        float, Field(ge=0, le=1, description="final learning rate as a fraction of the initial one")
    ] = 0.01
    optimizer: Annotated[Optimizer, Field(description="optimizer")] = "adamw8bit"
    blocks_to_swap: Annotated[
        int,
        Field(ge=0, description="model blocks kept in main memory: slower, needs less GPU memory"),
    ] = 0
    fp8: Annotated[bool, Field(description="base weights in 8 bits; on for 14B models")] = False


class ItemSettings(BaseModel):
    """Limits for the training items of all experts, which share their caches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_frames: Annotated[
        int | None, Field(ge=1, le=129, description="cap on frames per training clip")
    ] = None
    resolution: Annotated[
        Resolution | None,
        Field(description="resolution of images and clips, 480p or 720p; default: the model's"),
    ] = None


class SpeedLoraSettings(BaseModel):
    """The speed LoRA merged into one expert's base, and its strength."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: Annotated[str, Field(pattern=f"^{REPO}$")]
    file: Annotated[
        str, Field(pattern=f"^{FILE}$", description=f"Lightning file: {FORMS}; high=… low=…")
    ]
    revision: Annotated[str, Field(pattern=f"^{REVISION}$")] = "main"
    strength: Annotated[
        float, Field(gt=0, le=4, description="strength of the Lightning merge, usually 1.0")
    ] = 1.0

    @property
    def weight_file(self) -> WeightFile:
        """Return the speed LoRA as a file of its repository."""
        return WeightFile(self.repo, self.file, self.revision)


SETTING_NAMES: tuple[str, ...] = tuple(n for n in ExpertSettings.model_fields if n != "expert")
ITEM_NAMES: tuple[str, ...] = tuple(ItemSettings.model_fields)
LIGHTNING_NAMES: tuple[str, ...] = ("lightning_file", "lightning_strength")

CONFIG_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "dataset_toml": "your musubi-tuner dataset TOML, instead of the guide's",
        "dataset_config": "from-zip uses the dataset TOML inside the dataset's zip",
    }
)


def describe(name: str) -> str:
    """Return a one-line description of a setting."""
    if name in CONFIG_TEXTS:
        return CONFIG_TEXTS[name]
    if name in LIGHTNING_NAMES:
        field = SpeedLoraSettings.model_fields[name.removeprefix("lightning_")]
    else:
        field = {**ExpertSettings.model_fields, **ItemSettings.model_fields}[name]
    return field.description or name


def split_value(name: str, text: str, experts: tuple[ExpertName, ...]) -> dict[ExpertName, str]:
    """Return the value for each of `experts`; those that `text` does not name are left out.

    Raises:
        RequestError: The text mixes both forms, names an expert twice or one the model lacks.
    """
    pairs = list(_PAIR.finditer(text))
    if not pairs:
        return dict.fromkeys(experts, text.strip())
    if _SEPARATORS.fullmatch(_PAIR.sub("", text)) is None:
        raise RequestError(
            f"{option(name)} {text!r} is neither one value nor one for each expert.",
            f"Write for example {option(name)}:high=… low=… or a single value.",
        )
    values: dict[ExpertName, str] = {}
    for pair in pairs:
        expert = next(e for e in _EXPERTS if e == pair["expert"])
        if expert not in experts or expert in values:
            why = "is named twice" if expert in values else "is not trained in this run"
            raise RequestError(
                f"{option(name)}: expert {expert} {why}.",
                f"Give one value for each of: {', '.join(experts)}.",
            )
        values[expert] = pair["value"]
    return values


def option(name: str) -> str:
    """Return the setting's name as it is typed in chat and on the command line."""
    return name.replace("_", "-")


def resolve_expert(model: Model, expert: Expert, given: Mapping[str, str]) -> ExpertSettings:
    """Return the complete settings of one expert: given values over the catalogue's defaults.

    Raises:
        RequestError: A value is out of range, of the wrong type, or has no effect.
    """
    values: dict[str, object] = {
        "expert": expert.name,
        "learning_rate": expert.learning_rate,
        "rank": expert.rank,
        "flow_shift": model.flow_shift,
        "fp8": bool(model.fp8),
        **given,
    }
    values.setdefault("alpha", values["rank"])
    try:
        settings = ExpertSettings.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from error
    require_effect(settings.scheduler, given, settings.min_lr_ratio)
    if settings.blocks_to_swap > model.swappable:
        raise RequestError(
            f"blocks-to-swap cannot be {settings.blocks_to_swap} for {model.name}.",
            f"One of its blocks at least stays on the GPU: give 0 up to {model.swappable}.",
        )
    return settings


def resolve_items(given: Mapping[str, str]) -> ItemSettings:
    """Parse the limits for training items.

    Raises:
        RequestError: A value is out of range or of the wrong type.
    """
    try:
        return ItemSettings.model_validate(dict(given))
    except ValidationError as error:
        raise _refusal(error) from error


def resolve_speed_lora(
    model: Model, expert: ExpertName, given: Mapping[str, str]
) -> SpeedLoraSettings | None:
    """Return the speed LoRA of one expert, or None if the model has none.

    Raises:
        RequestError: The model takes no speed LoRA, or a value is invalid.
    """
    if model.speed_lora is None:
        if given:
            raise RequestError(
                f"{model.name} is trained without a speed LoRA, so {option(next(iter(given)))} "
                "has no effect there.",
                "Leave it out, or choose one of the lightning models.",
            )
        return None
    file = model.speed_lora.files[expert]
    if "lightning_file" in given:
        file = find_lightning_file(given["lightning_file"], file)
    values = {
        "repo": file.repo,
        "file": file.file,
        "revision": file.revision,
        "strength": given.get("lightning_strength", model.speed_lora.strength),
    }
    try:
        return SpeedLoraSettings.model_validate(values)
    except ValidationError as error:
        raise _refusal(error, prefix="lightning-") from error


def _refusal(error: ValidationError, prefix: str = "") -> RequestError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    fields = {
        **ExpertSettings.model_fields,
        **ItemSettings.model_fields,
        **(SpeedLoraSettings.model_fields if prefix else {}),
    }
    return RequestError(
        f"{prefix}{option(name)} cannot be {first['input']!r}.",
        f"It stands for {fields[name].description}; give {_expected(fields[name])}.",
    )


def _expected(field: FieldInfo) -> str:
    kind_of = _without_none(field.annotation)
    if get_origin(kind_of) is Literal:
        return "one of " + ", ".join(get_args(kind_of))
    kinds = ((int, "a whole number"), (float, "a number"), (bool, "yes or no"))
    kind = next((text for type_, text in kinds if kind_of is type_), "text of that form")
    rules: list[object] = field.metadata
    bounds = [
        f"{words} {getattr(rule, key)}"
        for rule in rules
        for key, words in _BOUNDS.items()
        if hasattr(rule, key)
    ]
    return " ".join([kind, " ".join(bounds)]).strip()


def _without_none(annotation: object) -> object:
    """Return the type inside an optional type."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return next(kind for kind in get_args(annotation) if kind is not type(None))
