"""Turns a training request into a run's spec, or refuses the request."""

from dataclasses import dataclass

from training.catalogue.gpus import find_gpu
from training.catalogue.models import Model
from training.dataset.config.group import GroupPlan
from training.dataset.config.guide_groups import suits
from training.dataset.report import Report
from training.errors import RequestError
from training.estimates.gpu_memory import refuse_too_large
from training.pipeline.plan import steps_per_epoch
from training.pipeline.runtime import now
from training.remedies import AddDataset
from training.runs.spec import (
    DatasetRef,
    RunSpec,
    TrainRequest,
    check_name,
    default_run_name,
    requested_items,
    requested_preset,
    resolve_experts,
)
from training.runs.training_items import config_of_zip, cut_dataset, without
from training.vocabulary import EngineName

Dataset = tuple[DatasetRef, Report]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """The user and channel of a request; a request that arrives twice has the same `token`."""

    guild: str
    by: str
    channel: str = ""
    token: str = ""


def draft_spec(
    request: TrainRequest,
    requester: Requester,
    engine: EngineName,
    model: Model,
    dataset: Dataset,
    *,
    default_gpu: str | None = None,
) -> RunSpec:
    """Return the spec of a run that fulfils `request` on `dataset`.

    The items must fit the memory of the requested GPU, or else of `default_gpu`, if that is given.
    A rehearsal uses no GPU, but the request may name one, so that the same request can be rehearsed
    and trained. The rehearsal's plan then shows the cost on that GPU.

    Raises:
        NotFoundError: The GPU does not exist.
        RequestError: A setting, the name or the dataset does not fit.
    """
    ref, report = dataset
    experts = resolve_experts(request, model)
    _require_suited(model, ref, report)
    if request.name is not None:
        check_name("run", request.name)
    dataset_toml = _dataset_toml(request, report)
    items = requested_items(request, model, has_toml=dataset_toml is not None)
    groups = cut_dataset(without(report, request.left_out), model, items, dataset_toml)
    _require_movement(model, groups, report)
    gpu = find_gpu(request.gpu).name if request.gpu is not None else None
    fitting = gpu if gpu is not None and engine == "musubi" else default_gpu
    if fitting is not None:
        settings = [expert.settings for expert in experts]
        refuse_too_large(model, groups, fitting, settings, has_toml=dataset_toml is not None)
    return RunSpec(
        name=request.name or default_run_name(ref.name, model.name),
        guild=requester.guild,
        created_at=now(),
        requested_by=requester.by,
        channel=requester.channel,
        model=model.name,
        dataset=ref,
        engine=engine,
        experts=experts,
        steps_per_epoch=steps_per_epoch(groups),
        items=items,
        preset=requested_preset(request),
        gpu=gpu,
        dataset_toml=dataset_toml,
        left_out=request.left_out,
    )


def _require_suited(model: Model, ref: DatasetRef, report: Report) -> None:
    if (reason := suits(report, needs_video=model.i2v)) is not None:
        raise RequestError(
            f"{ref} does not suit {model.name}: {reason}",
            "Add clips to the dataset, or choose a text-to-video model.",
            AddDataset(name=ref.name, keeps_files=True),
        )


def _require_movement(model: Model, groups: GroupPlan, report: Report) -> None:
    if not model.i2v or not groups.items or any(item.frames > 1 for item in groups.items):
        return
    clips = {clip.name: clip.frames_16fps or 0 for clip in report.clips}
    if not any(item.sample_name in clips for item in groups.items):
        longest = max(clips.values())
        raise RequestError(
            f"{model.name} learns movement from clips, and no clip is as long as the dataset TOML "
            f"asks for: the longest has {longest} frames at 16 fps.",
            f"Lower target_frames to {longest} or less, or choose a text-to-video model.",
        )
    raise RequestError(
        f"{model.name} learns movement from clips, and every item would be a single frame.",
        "Raise max-frames or target_frames to 5 or more, or choose a text-to-video model.",
    )


def _dataset_toml(request: TrainRequest, report: Report) -> str | None:
    if request.dataset_config is None:
        return request.dataset_toml
    if request.dataset_toml is not None:
        raise RequestError(
            "dataset-config and dataset-toml cannot both be used.", "Leave one of the two out."
        )
    return config_of_zip(report)
