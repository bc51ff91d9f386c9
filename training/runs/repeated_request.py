"""Turns a run's spec back into the request that it was made from."""

from collections.abc import Mapping
from urllib.parse import quote

from training.catalogue.models import Model, find_model
from training.catalogue.weights import WeightFile
from training.runs.hyperparameters import (
    PRESET_NAME,
    SETTING_NAMES,
    resolve_expert,
    resolve_items,
)
from training.runs.setting_names import for_experts, value_text
from training.runs.spec import ExpertChoice, ExpertSpec, RunSpec, TrainRequest
from training.vocabulary import ExpertName


def repeated_request(spec: RunSpec) -> TrainRequest:
    """Return a request for a run with the same dataset version, experts and settings.

    Values that the preset or the catalogue would supply anyway are left out, so that a plan shows
    only what differs from the defaults. The request names no run: its run gets a free name.

    Raises:
        NotFoundError: The model is no longer in the catalogue.
    """
    model = find_model(spec.model)
    return TrainRequest(
        model=spec.model,
        dataset=str(spec.dataset),
        expert=_choice(spec, model),
        resume_from=_starts(spec),
        gpu=spec.gpu,
        dataset_toml=spec.dataset_toml,
        left_out=spec.left_out,
        settings=_settings(spec, model),
    )


def _choice(spec: RunSpec, model: Model) -> ExpertChoice:
    if len(spec.experts) == len(model.experts):
        return "both"
    return "high" if spec.experts[0].name == "high" else "low"


def _starts(spec: RunSpec) -> str | None:
    starts: dict[str, str] = {e.name: e.start.source for e in spec.experts if e.start}
    return _joined(starts, spec) if starts else None


def _settings(spec: RunSpec, model: Model) -> dict[str, str]:
    given: dict[str, dict[str, str]] = {}
    for expert in spec.experts:
        for name, value in {**_own(spec, model, expert), **_lightning(model, expert)}.items():
            given.setdefault(name, {})[expert.name] = value
    first = {PRESET_NAME: spec.preset} if spec.preset != "guide" else {}
    return {
        **first,
        **{name: _joined(values, spec) for name, values in given.items()},
        **_items(spec, model),
    }


def _own(spec: RunSpec, model: Model, expert: ExpertSpec) -> Mapping[str, str]:
    """Return the expert's settings that differ from the defaults; alpha defaults to the rank."""
    defaults = resolve_expert(model, model.expert(expert.name), {}, spec.preset)
    usual = {name: getattr(defaults, name) for name in SETTING_NAMES}
    usual["alpha"] = expert.settings.rank
    found = {name: getattr(expert.settings, name) for name in SETTING_NAMES}
    return {name: value_text(value) for name, value in found.items() if value != usual[name]}


def _lightning(model: Model, expert: ExpertSpec) -> Mapping[str, str]:
    used = expert.speed_lora
    if used is None or model.speed_lora is None:
        return {}
    found: dict[str, str] = {}
    if used.weight_file != model.speed_lora.files[expert.name]:
        found["lightning_file"] = _address(used.weight_file)
    if used.strength != model.speed_lora.strength:
        found["lightning_strength"] = value_text(used.strength)
    return found


def _address(file: WeightFile) -> str:
    revision = quote(file.revision, safe="")
    return f"https://huggingface.co/{file.repo}/blob/{revision}/{quote(file.file)}"


def _items(spec: RunSpec, model: Model) -> Mapping[str, str]:
    preset = "guide" if spec.dataset_toml is not None else spec.preset
    defaults = resolve_items({}, model, preset)
    return {
        name: value_text(value)
        for name, value in spec.items
        if value is not None and value != getattr(defaults, name)
    }


def _joined(values: Mapping[str, str], spec: RunSpec) -> str:
    """Return one value for all experts if they share it, else each expert's own."""
    names: list[ExpertName] = [expert.name for expert in spec.experts]
    if len(values) == len(names) and len(set(values.values())) == 1:
        return next(iter(values.values()))
    return for_experts(values, names)
