"""What the metadata of a LoRA file says about its training."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast

from training.catalogue.models import MODELS, Expert, Model
from training.errors import AdapterError
from training.vocabulary import ExpertName

# Prefix of the metadata that `completed_metadata` adds to a checkpoint.
PREFIX = "lorabot."
_EVERYTHING = (0, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a file says about its training; None where it says nothing."""

    task: str | None = None
    expert: ExpertName | None = None
    timesteps: tuple[int, int] | None = None
    base: str | None = None
    engine: str | None = None


def read_origin(metadata: Mapping[str, str]) -> Origin:
    """Return the origin given by a file's metadata.

    Our own entries come first (`lorabot.*`, or the comment that our runs pass to musubi), then
    musubi's: the range of timesteps and the name of the base file.
    """
    comment = _object(metadata.get("ss_training_comment", ""))

    def ours(name: str) -> str | None:
        return metadata.get(f"{PREFIX}{name}") or comment.get(name)

    expert = ours("expert")
    return Origin(
        task=ours("task"),
        expert=next((name for name in ("main", "high", "low") if name == expert), None),
        timesteps=_range(metadata.get("modelspec.timestep_range", "")),
        base=metadata.get("ss_sd_model_name"),
        engine=ours("engine"),
    )


def require_same_origin(file: str, origin: Origin, model: Model, expert: Expert) -> None:
    """Raise if a file's metadata contradicts the model or the expert.

    Raises:
        AdapterError: Task, expert, timesteps or base differ.
    """
    target = f"{model.family}, {expert.name} expert" if expert.name != "main" else model.family
    said = _contradiction(origin, model, expert)
    if said is not None:
        raise AdapterError(
            f"{file} was trained for something else than {target}: {said}.",
            "Name the model and the expert that it was trained for, or use another file.",
        )


def unproven(origin: Origin, model: Model) -> tuple[str, ...]:
    """Return what the metadata leaves open, where the user's word is taken instead."""
    open_questions: list[str] = []
    of_base = _owners(origin.base)
    if origin.task is None and not of_base and len(_same_shape(model)) > 1:
        open_questions.append(f"which model it was trained for; taken as {model.family}")
    knows_expert = origin.expert or origin.timesteps or of_base
    if len(model.experts) > 1 and not knows_expert:
        open_questions.append("which expert it was trained for")
    return tuple(open_questions)


def proven_models(origin: Origin) -> tuple[Model, ...]:
    """Return the models that the metadata names: all of one family, or none."""
    families = {
        model.family for model in MODELS if origin.task is not None and model.task == origin.task
    } or {family for family, _expert in _owners(origin.base)}
    if len(families) != 1:
        return ()
    return tuple(model for model in MODELS if model.family in families)


def proven_expert(origin: Origin, model: Model) -> ExpertName | None:
    """Return the expert of `model` that the metadata names, None if it names none."""
    if len(model.experts) == 1:
        return model.experts[0].name
    if origin.expert is not None:
        return origin.expert
    for expert in model.experts:
        if origin.timesteps is not None and origin.timesteps == expert.timesteps:
            return expert.name
        if any(owner == (model.family, expert.name) for owner in _owners(origin.base)):
            return expert.name
    return None


def _contradiction(origin: Origin, model: Model, expert: Expert) -> str | None:
    if origin.task is not None and origin.task != model.task:
        return f"its metadata names the task {origin.task}"
    if origin.expert is not None and origin.expert != expert.name:
        return f"its metadata names the expert {origin.expert}"
    allowed = expert.timesteps or _EVERYTHING
    if origin.timesteps is not None and origin.timesteps != allowed:
        lowest, highest = origin.timesteps
        return f"its metadata names the timesteps {lowest} to {highest}"
    owners = _owners(origin.base)
    if owners and (model.family, expert.name) not in owners:
        return f"its metadata names the base {origin.base}"
    return None


def _owners(base: str | None) -> set[tuple[str, ExpertName]]:
    """Return the families and experts whose base file, plain or merged, has that name."""
    stem = PurePosixPath(base or "").stem
    return {
        (model.family, expert.name)
        for model in MODELS
        for expert in model.experts
        if stem and stem.startswith(PurePosixPath(expert.dit.file).stem)
    }


def _same_shape(model: Model) -> set[str]:
    return {other.family for other in MODELS if other.modules == model.modules}


def _range(text: str) -> tuple[int, int] | None:
    lowest, _, highest = text.partition(",")
    if not (lowest.strip().isdecimal() and highest.strip().isdecimal()):
        return None
    return int(lowest), int(highest)


def _object(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    items = cast("dict[str, object]", value).items()
    return {name: item for name, item in items if isinstance(item, str)}
