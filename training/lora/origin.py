"""What the metadata and the name of a LoRA file say about its training."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, cast

from training.catalogue.models import MODELS, Expert, Model
from training.errors import AdapterError
from training.vocabulary import ExpertName

# Prefix of the metadata that the publish stage adds to each checkpoint.
PREFIX = "lorabot."
_EVERYTHING = (0, 1000)
# End of a word: the next character is not a letter, or begins a version such as `v2` in `HIGHv2`.
_END = r"(?![a-uw-z]|v(?!\d))"
_NOISES: Mapping[ExpertName, re.Pattern[str]] = {
    "high": re.compile(rf"(?<![a-z])(?:hi(?:gh)?[_ .-]?noise|hn){_END}|高噪"),
    "low": re.compile(rf"(?<![a-z])(?:lo(?:w)?[_ .-]?noise|ln){_END}|低噪"),
}
# Before these words, "high" or "low" does not name an expert: `high_quality`, `lowpoly`.
_NO_EXPERT = (
    r"(?![_ .-]?(?:angle|contrast|cut|definition|detail|fantasy|fashion|fidelity|fps|heel|key|lr"
    r"|poly|pony|quality|rank|res|rise|saturation|school|speed|step|tech|vram|waist|light(?!n)|fi|def))"
)
_SINGLE_WORDS: Mapping[ExpertName, re.Pattern[str]] = {
    "high": re.compile(rf"(?<![a-z])high{_END}{_NO_EXPERT}"),
    "low": re.compile(rf"(?<![a-z])low{_END}{_NO_EXPERT}"),
}
_SPEED_NAMES = ("lightning", "lightx2v", "4step", "distill", "causvid", "accvideo", "fusionx")
_VERSION = re.compile(r"(?i)wan[ _.-]?2[ _.-]?([12])(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Facts about a file's training from its metadata; a field is None if the metadata lacks it."""

    task: str | None = None
    expert: ExpertName | None = None
    timesteps: tuple[int, int] | None = None
    base: str | None = None
    engine: str | None = None
    variant: Literal["vanilla", "lightning"] | None = None


def read_origin(metadata: Mapping[str, str]) -> Origin:
    """Return what a file's metadata says about its training.

    Task, expert, engine and variant come from our own entries: `lorabot.*`, or the JSON comment
    that our runs pass to musubi. Timesteps and base come from musubi's entries. If our entries name
    no variant, but the base's name contains a speed LoRA's name, the variant is `lightning`.
    """
    comment = _object(metadata.get("ss_training_comment", ""))

    def ours(name: str) -> str | None:
        return metadata.get(f"{PREFIX}{name}") or comment.get(name)

    expert, variant, base = ours("expert"), ours("variant"), metadata.get("ss_sd_model_name")
    if variant is None and base is not None and _speed_name(base):
        variant = "lightning"
    return Origin(
        task=ours("task"),
        expert=next((name for name in ("main", "high", "low") if name == expert), None),
        timesteps=_range(metadata.get("modelspec.timestep_range", "")),
        base=base,
        engine=ours("engine"),
        variant=next((name for name in ("vanilla", "lightning") if name == variant), None),
    )


def require_same_origin(file: str, origin: Origin, model: Model, expert: Expert) -> None:
    """Raise if a file's metadata contradicts the model or the expert.

    Raises:
        AdapterError: The metadata names a different task, expert, timestep range or base.
    """
    target = f"{model.family}, {expert.name} expert" if expert.name != "main" else model.family
    said = _contradiction(origin, model, expert)
    if said is not None:
        raise AdapterError(
            f"{file} was not trained for {target}: {said}.",
            "Choose the model and expert that the file was trained for, or use another file.",
        )


def unproven(origin: Origin, model: Model) -> tuple[str, ...]:
    """Return what the metadata leaves open, such as "which expert the file was trained for"."""
    open_questions: list[str] = []
    of_base = _owners(origin.base)
    if origin.task is None and not of_base and len(_same_shape(model)) > 1:
        open_questions.append(f"which model the file was trained for (assumed: {model.family})")
    knows_expert = origin.expert or origin.timesteps or of_base
    if len(model.experts) > 1 and not knows_expert:
        open_questions.append("which expert the file was trained for")
    return tuple(open_questions)


def remarks(file: str, origin: Origin, model: Model, expert: Expert) -> tuple[str, ...]:
    """Return warnings about using a file for this model and expert, from its name and metadata.

    The file can still be used: a name proves nothing, and a LoRA trained with a speed LoRA also
    loads into a model without one.
    """
    found: list[str] = []
    if len(model.experts) > 1 and (named := named_expert(file)) not in (None, expert.name):
        found.append(
            f"The file's name says {named} noise, but the {expert.name} expert uses the file."
        )
    kinds = {kind for kind in ("I2V", "T2V") if kind.lower() in _plain(file)}
    if kinds == {"T2V" if model.i2v else "I2V"}:
        found.append(f"The file's name says {kinds.pop()}, but the model is {model.family}.")
    versions = {f"Wan 2.{minor}" for minor in _VERSION.findall(file)}
    if len(versions) == 1 and not model.family.startswith(tuple(versions)):
        found.append(f"The file's name says {versions.pop()}, but the model is {model.family}.")
    is_fast, speed = model.speed_lora is not None, _speed_name(file)
    if origin.variant == "lightning" and not is_fast:
        found.append(f"The LoRA was trained with a speed LoRA merged in; {model.name} has none.")
    elif origin.variant == "vanilla" and is_fast:
        found.append(f"The LoRA was trained without a speed LoRA; {model.name} merges one in.")
    elif origin.variant is None and speed and not is_fast:
        found.append(
            f"The file's name says {speed}, which suggests a speed LoRA or training with one; "
            f"{model.name} has none."
        )
    return tuple(found)


def named_expert(file: str) -> ExpertName | None:
    """Return the expert that a file's name suggests; None if it suggests none or both."""
    plain = _plain(file)
    for table in (_NOISES, _SINGLE_WORDS):
        found: list[ExpertName] = [name for name, words in table.items() if words.search(plain)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _speed_name(file: str) -> str | None:
    return next((name for name in _SPEED_NAMES if name in _plain(file)), None)


def _plain(file: str) -> str:
    """Return a file's stem in lower case, with camel case split: `HighNoise` gives `high_noise`."""
    stem = PurePosixPath(file).name.removesuffix(".safetensors")
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])(?![A-Z]v\d)", "_", stem).lower()


def proven_models(origin: Origin) -> tuple[Model, ...]:
    """Return the models of the family that the metadata identifies; () if it identifies none."""
    families = {
        model.family for model in MODELS if origin.task is not None and model.task == origin.task
    } or {family for family, _expert in _owners(origin.base)}
    if len(families) != 1:
        return ()
    return tuple(model for model in MODELS if model.family in families)


def proven_expert(origin: Origin, model: Model) -> ExpertName | None:
    """Return the expert of `model` that the metadata identifies; None if it identifies none.

    If the model has only one expert, that expert is returned, whatever the metadata says.
    """
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
    """Return the families and experts that use the base file `base`, as published or merged."""
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
