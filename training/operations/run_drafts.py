"""From a request to the spec of a run: everything that can be refused is refused here."""

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
    resolve_experts,
)
from training.runs.training_items import config_of_zip, cut_dataset
from training.vocabulary import EngineName


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks, and where; `token` is the same whenever the same request arrives again."""

    guild: str
    by: str
    channel: str = ""
    token: str = ""


def draft_spec(
    request: TrainRequest,
    requester: Requester,
    engine: EngineName,
    *,
    ref: DatasetRef,
    report: Report,
    default_gpu: str | None = None,
) -> RunSpec:
    """Return the spec of a request for the dataset version `ref` with that report.

    Without a GPU in the request, the groups must fit `default_gpu`; None if that is not known.
    A rehearsal may name a GPU as well. It needs none, but this way the same request can be tried
    out, and the plan shows what real training would cost on it.

    Raises:
        NotFoundError: The model or the GPU does not exist.
        RequestError: A setting, the name or the dataset does not fit.
    """
    model, experts = resolve_experts(request)
    if (reason := suits(report, needs_video=model.i2v)) is not None:
        raise RequestError(
            f"{ref} does not suit {model.name}: {reason}",
            "Add clips to it, or choose a text-to-video model.",
            AddDataset(name=ref.name),
        )
    if request.name is not None:
        check_name("run", request.name)
    if request.dataset_config is not None:
        request = _with_config_of_zip(request, report)
    items = requested_items(request)
    groups = cut_dataset(report, model, items, request.dataset_toml)
    if model.i2v and groups.items and all(item.frames == 1 for item in groups.items):
        raise _without_movement(model, groups, report)
    asked = find_gpu(request.gpu).name if request.gpu is not None else None
    if asked is not None and engine == "musubi":
        default_gpu = asked
    if default_gpu is not None:
        refuse_too_large(model, groups, default_gpu, is_own_toml=request.dataset_toml is not None)
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
        gpu=asked,
        dataset_toml=request.dataset_toml,
    )


def _without_movement(model: Model, groups: GroupPlan, report: Report) -> RequestError:
    clips = {clip.name: clip.frames_16fps or 0 for clip in report.clips}
    if not any(item.sample_name in clips for item in groups.items):
        longest = max(clips.values())
        return RequestError(
            f"{model.name} learns movement from clips, and no clip is as long as the dataset TOML "
            f"asks for: the longest has {longest} frames at 16 fps.",
            f"Lower target_frames to {longest} or less, or choose a text-to-video model.",
        )
    return RequestError(
        f"{model.name} learns movement from clips, and every item would be a single frame.",
        "Raise max-frames or target_frames to 5 or more, or choose a text-to-video model.",
    )


def _with_config_of_zip(request: TrainRequest, report: Report) -> TrainRequest:
    if request.dataset_toml is not None:
        raise RequestError(
            "dataset-config and dataset-toml cannot both be used.", "Leave one of them out."
        )
    return request.model_copy(update={"dataset_toml": config_of_zip(report)})
