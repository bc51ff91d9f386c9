"""The hyperparameters that a user may set, in one syntax for chat and command line.

A setting is one value for all experts (`1e-4`) or one for each (`high=1e-4 low=8e-5` or
`high:1e-4, low:8e-5`). Defaults come from the catalogue.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from training.catalogue.models import Expert, Model, WeightFile
from training.catalogue.presets import Preset, preset_values
from training.errors import RequestError
from training.runs.lightning_file import FILE, FORMS, REPO, REVISION, find_lightning_file
from training.vocabulary import ExpertName, Resolution
from training.wording import spelled

Scheduler = Literal[
    "polynomial",
    "constant",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "rex",
]

# The schedules that use each setting; with any other schedule, musubi-tuner silently ignores the
# setting. Source: `get_lr_scheduler` in its training/trainer_base.py.
_TAKEN_BY: Mapping[str, tuple[Scheduler, ...]] = MappingProxyType(
    {
        "scheduler_power": ("polynomial",),
        "min_lr_ratio": ("polynomial", "cosine_with_min_lr", "rex"),
    }
)


Optimizer = Literal["adamw8bit", "adamw", "adafactor"]
Items = Literal["all", "clips"]
Fast = Literal["off", "16bit", "fp8"]

_EXPERTS: tuple[ExpertName, ...] = ("main", "high", "low")
# An expert's name counts only at the start of a word, not inside a path such as
# `owner/fast-low:a.safetensors`.
_PAIR = re.compile(
    r"(?<![^\s,;])(?P<expert>main|high|low)\s*[=:]\s*(?P<value>[^\s,;]+)", re.IGNORECASE
)
_BOUNDS = {"ge": "from", "gt": "above", "le": "up to"}
_SEPARATORS = re.compile(r"[\s,;]*")


def _is_off(fast: Fast) -> bool:
    """Return whether `fast` is off.

    If so, stored settings omit `fast`, like those of versions that did not have it.
    """
    return fast == "off"


class ExpertSettings(BaseModel):
    """All hyperparameters of one expert; the defaults are those of the guide (see README.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expert: ExpertName
    learning_rate: Annotated[
        float, Field(gt=0, le=1, description="learning rate, such as 8e-5 or high=1e-4 low=8e-5")
    ]
    rank: Annotated[int, Field(ge=1, le=512, description="rank of the adapter (network_dim)")]
    alpha: Annotated[float, Field(gt=0, le=1024, description="alpha; by default, the rank")]
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
    force_v2_1_time_embedding: Annotated[
        bool, Field(description="Wan 2.2: embed the time once, not per token; saves memory")
    ] = False
    fast: Annotated[
        Fast,
        Field(
            description="compiled steps, tested before use: off, 16bit or fp8 (faster, coarser)",
            exclude_if=_is_off,
        ),
    ] = "off"
    loraplus_lr_ratio: Annotated[
        float | None,
        Field(ge=1, le=64, description="LoRA+: multiplies the learning rate of lora_up; try 4"),
    ] = None


class ItemSettings(BaseModel):
    """Limits on training items. They apply to all experts, because experts share their caches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_frames: Annotated[
        int | None, Field(ge=1, le=129, description="cap on frames per training clip")
    ] = None
    resolution: Annotated[
        Resolution | None,
        Field(description="resolution of images and clips, 480p or 720p; default: the model's"),
    ] = None
    items: Annotated[
        Items | None,
        Field(description="all, or clips; single frames and images teach I2V nothing"),
    ] = None


class SpeedLoraSettings(BaseModel):
    """The speed LoRA to merge into one expert's base model, and its strength."""

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
        return WeightFile(self.repo, self.file, self.revision)


SETTING_NAMES: tuple[str, ...] = tuple(n for n in ExpertSettings.model_fields if n != "expert")
_OF_EXPERTS = frozenset(SETTING_NAMES)
ITEM_NAMES: tuple[str, ...] = tuple(ItemSettings.model_fields)
LIGHTNING_NAMES: tuple[str, ...] = ("lightning_file", "lightning_strength")
PRESET_NAME = "preset"
_FIELDS: Mapping[str, FieldInfo] = MappingProxyType(
    {
        **ExpertSettings.model_fields,
        **ItemSettings.model_fields,
        **{f"lightning_{name}": field for name, field in SpeedLoraSettings.model_fields.items()},
    }
)

_PRESET_TEXT = "guide, or reference (values from musubi-tuner's docs, each shown with its reason)"
CONFIG_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "dataset_toml": "your musubi-tuner dataset TOML, instead of the guide's",
        "dataset_config": "from-zip uses the dataset TOML inside the dataset's zip",
    }
)


def describe(name: str) -> str:
    if name == PRESET_NAME:
        return _PRESET_TEXT
    if name in CONFIG_TEXTS:
        return CONFIG_TEXTS[name]
    return _FIELDS[name].description or name


def split_value(name: str, text: str, experts: tuple[ExpertName, ...]) -> dict[ExpertName, str]:
    """Split a setting into values by expert; experts that `text` does not name are left out.

    `1e-4` is the value for all experts, and `high=1e-4 low=8e-5` is one value for each.

    Raises:
        RequestError: The text mixes both forms, names an expert twice, or names an expert that is
            not among `experts`.
    """
    pairs = list(_PAIR.finditer(text))
    if not pairs:
        return dict.fromkeys(experts, text.strip())
    if _SEPARATORS.fullmatch(_PAIR.sub("", text)) is None:
        raise RequestError(
            f"{option(name)} {text!r} is neither a single value nor one value per expert.",
            "Write high=… low=…, or a single value.",
        )
    values: dict[ExpertName, str] = {}
    for pair in pairs:
        expert = next(e for e in _EXPERTS if e == spelled(pair["expert"]))
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


def resolve_preset(text: str | None) -> Preset:
    """Return the preset that a request names, or `guide` if it names none.

    Raises:
        RequestError: There is no such preset.
    """
    if text is None:
        return "guide"
    for preset in get_args(Preset):
        if preset == text.strip().lower():
            return preset
    raise RequestError(
        f"preset cannot be {text!r}.", f"Use one of {', '.join(get_args(Preset))}, for all experts."
    )


def resolve_expert(
    model: Model, expert: Expert, given: Mapping[str, str], preset: Preset = "guide"
) -> ExpertSettings:
    """Return the complete settings of one expert; the preset supplies those that are not given.

    Raises:
        RequestError: A value is out of range, of the wrong type, or has no effect.
    """
    values: dict[str, object] = {
        "expert": expert.name,
        "learning_rate": expert.learning_rate,
        "rank": expert.rank,
        "flow_shift": model.flow_shift,
        "fp8": bool(model.fp8),
        **{k: v for k, v in preset_values(preset, model, expert.name).items() if k in _OF_EXPERTS},
        **given,
    }
    values.setdefault("alpha", values["rank"])
    try:
        settings = ExpertSettings.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from error
    _require_effect(settings.scheduler, given, settings.min_lr_ratio)
    if settings.force_v2_1_time_embedding and len(model.experts) == 1:
        raise RequestError(
            f"force-v2-1-time-embedding has no effect on {model.name}, a Wan 2.1 model.",
            "Leave the setting out; it is for the Wan 2.2 models.",
        )
    if settings.blocks_to_swap > model.swappable:
        raise RequestError(
            f"blocks-to-swap cannot be {settings.blocks_to_swap} for {model.name}.",
            f"At least one block stays on the GPU: use 0 to {model.swappable}.",
        )
    return settings


def _require_effect(scheduler: Scheduler, given: Mapping[str, str], min_lr_ratio: float) -> None:
    """Refuse settings that do not go with the schedule.

    Raises:
        RequestError: The schedule ignores a given setting, or the polynomial schedule would end at
            its initial learning rate.
    """
    for name, schedulers in _TAKEN_BY.items():
        if name in given and scheduler not in schedulers:
            raise RequestError(
                f"{option(name)} has no effect with scheduler {scheduler}.",
                f"Leave the setting out, or use scheduler {' or '.join(schedulers)}.",
            )
    if scheduler == "polynomial" and min_lr_ratio >= 1:
        raise RequestError(
            "With min-lr-ratio 1 the polynomial schedule would not decay, and the trainer refuses "
            "it.",
            "Use a smaller min-lr-ratio, or scheduler constant.",
        )


def resolve_items(given: Mapping[str, str], model: Model, preset: Preset = "guide") -> ItemSettings:
    """Parse the limits on training items; the preset supplies those that are not given.

    Raises:
        RequestError: A value is out of range or of the wrong type.
    """
    try:
        values = {k: v for k, v in preset_values(preset, model).items() if k in ITEM_NAMES}
        return ItemSettings.model_validate({**values, **given})
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
                f"{model.name} trains without a speed LoRA, so {option(next(iter(given)))} has no "
                "effect.",
                "Leave the setting out, or choose one of the lightning models.",
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
        raise _refusal(error, prefix="lightning_") from error


def _refusal(error: ValidationError, prefix: str = "") -> RequestError:
    first = error.errors()[0]
    name = f"{prefix}{first['loc'][0]}"
    return RequestError(
        f"{option(name)} cannot be {first['input']!r}.", f"Use {_expected(_FIELDS[name])}."
    )


def _expected(field: FieldInfo) -> str:
    kind_of = _without_none(field.annotation)
    if get_origin(kind_of) is Literal:
        return "one of " + ", ".join(get_args(kind_of))
    kinds = ((int, "a whole number"), (float, "a number"), (bool, "yes or no"))
    kind = next((text for type_, text in kinds if kind_of is type_), "valid text")
    rules: list[object] = field.metadata
    bounds = [
        f"{words} {getattr(rule, key)}"
        for rule in rules
        for key, words in _BOUNDS.items()
        if hasattr(rule, key)
    ]
    return " ".join([kind, " ".join(bounds)]).strip()


def _without_none(annotation: object) -> object:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return next(kind for kind in get_args(annotation) if kind is not type(None))
