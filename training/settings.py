"""The settings a user may give a run, one grammar for chat and command line, resolved per expert.

A setting is one value for all experts (`1e-4`) or one for each (`high=1e-4 low=8e-5`; `:` and `,`
are accepted too). What is not given comes from the catalogue.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from training.catalogue import Expert, ExpertName, Model, WeightFile
from training.errors import RequestError

Scheduler = Literal[
    "polynomial",
    "constant",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "rex",
]
Optimizer = Literal["adamw8bit", "adamw", "adafactor"]

_EXPERTS: tuple[ExpertName, ...] = ("main", "high", "low")
_PAIR = re.compile(r"(?P<expert>main|high|low)\s*[=:]\s*(?P<value>[^\s,;]+)")
_BOUNDS = {"ge": "from", "gt": "above", "le": "up to"}
_SEPARATORS = re.compile(r"[\s,;]*")


class ExpertSettings(BaseModel):
    """Everything that decides how one expert is trained; the defaults are the guide's."""

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
        float, Field(ge=0, le=1, description="last learning rate as a part of the first")
    ] = 0.01
    optimizer: Annotated[Optimizer, Field(description="optimizer")] = "adamw8bit"


class SpeedLoraSettings(BaseModel):
    """The speed LoRA that is merged into one expert's base, and how strongly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$",
            description="Lightning repository, owner/name",
        ),
    ]
    file: Annotated[
        str,
        Field(
            pattern=r"^[\w-][\w. -]*(/[\w-][\w. -]*)*\.safetensors$",
            description="Lightning file in it: high=a.safetensors low=b.safetensors",
        ),
    ]
    revision: str = "main"
    strength: Annotated[
        float, Field(gt=0, le=4, description="strength of the Lightning merge, usually 1.0")
    ] = 1.0

    @property
    def weight_file(self) -> WeightFile:
        """Return the speed LoRA as a file of its repository."""
        return WeightFile(self.repo, self.file, self.revision)


SETTING_NAMES: tuple[str, ...] = tuple(n for n in ExpertSettings.model_fields if n != "expert")
LIGHTNING_NAMES: tuple[str, ...] = ("lightning_repo", "lightning_file", "lightning_strength")


def describe(name: str) -> str:
    """Return one line on the setting `name`, for option lists and help texts."""
    if name in LIGHTNING_NAMES:
        field = SpeedLoraSettings.model_fields[name.removeprefix("lightning_")]
    else:
        field = ExpertSettings.model_fields[name]
    return field.description or name


def split_value(name: str, text: str, experts: tuple[ExpertName, ...]) -> dict[ExpertName, str]:
    """Return the value that `text` gives each of `experts`; one it does not name is left out.

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
    """Return the complete settings of one expert: the catalogue's, changed by what was given.

    Raises:
        RequestError: A value is out of range or of the wrong kind.
    """
    values: dict[str, object] = {
        "expert": expert.name,
        "learning_rate": expert.learning_rate,
        "rank": expert.rank,
        "flow_shift": model.flow_shift,
        **given,
    }
    values.setdefault("alpha", values["rank"])
    try:
        return ExpertSettings.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from error


def resolve_speed_lora(
    model: Model, expert: ExpertName, given: Mapping[str, str]
) -> SpeedLoraSettings | None:
    """Return the speed LoRA for one expert of the model, None for a model without one.

    Raises:
        RequestError: The model takes no speed LoRA, or a value is not usable.
    """
    if model.speed_lora is None:
        if given:
            raise RequestError(
                f"{model.name} is trained without a speed LoRA, so {option(next(iter(given)))} "
                "has no effect there.",
                "Leave it out, or choose one of the lightning models.",
            )
        return None
    default = model.speed_lora.files[expert]
    values = {
        "repo": default.repo,
        "file": default.file,
        # A pin holds for its own repository only.
        "revision": "main" if "lightning_repo" in given else default.revision,
        "strength": model.speed_lora.strength,
        **{name.removeprefix("lightning_"): value for name, value in given.items()},
    }
    try:
        return SpeedLoraSettings.model_validate(values)
    except ValidationError as error:
        raise _refusal(error, prefix="lightning-") from error


def _refusal(error: ValidationError, prefix: str = "") -> RequestError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    fields = SpeedLoraSettings.model_fields if prefix else ExpertSettings.model_fields
    return RequestError(
        f"{prefix}{option(name)} cannot be {first['input']!r}.",
        f"It stands for {fields[name].description}; give {_expected(fields[name])}.",
    )


def _expected(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(get_args(field.annotation))
    kinds = ((int, "a whole number"), (float, "a number"))
    kind = next((text for type_, text in kinds if field.annotation is type_), "text of that form")
    rules: list[object] = field.metadata
    bounds = [
        f"{words} {getattr(rule, key)}"
        for rule in rules
        for key, words in _BOUNDS.items()
        if hasattr(rule, key)
    ]
    return " ".join([kind, " ".join(bounds)]).strip()
