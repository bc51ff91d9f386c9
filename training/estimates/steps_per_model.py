"""For each model, whether a dataset suits it and what an epoch trains on."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from training.catalogue.models import MODELS, Model
from training.dataset.config.guide_groups import plan_groups, suits
from training.dataset.report import Report


class PredictedBucket(BaseModel):
    """Items of one size and length, which may share a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str
    width: int
    height: int
    frames: int
    items: int


class Prediction(BaseModel):
    """An epoch of one model on a dataset, with the guide's groups.

    Attributes:
        items: Number of cached items.
        steps_per_epoch: Optimizer steps at batch size 1.
        left_out: Sentences that name what is not used, and why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int
    steps_per_epoch: int
    buckets: tuple[PredictedBucket, ...]
    left_out: tuple[str, ...]


def predict(report: Report, model: Model) -> Prediction:
    """Return what an epoch of a model trains on."""
    plan = plan_groups(report, model.resolution)
    buckets = tuple(
        PredictedBucket(group=group.name, width=width, height=height, frames=frames, items=count)
        for group in plan.groups
        for (width, height, frames), count in group.buckets.items()
    )
    return Prediction(
        items=len(plan.items),
        steps_per_epoch=plan.steps_per_epoch,
        buckets=buckets,
        left_out=plan.left_out,
    )


def predictions(report: Report) -> Mapping[str, Prediction]:
    """Return what an epoch of each model trains on, by its name."""
    return {model.name: predict(report, model) for model in MODELS}


def suited(report: Report) -> Mapping[str, str | None]:
    """Return for each model why the dataset does not suit it, None if it does."""
    if report.errors:
        return dict.fromkeys((model.name for model in MODELS), report.errors[0].cause)
    return {model.name: suits(report, needs_video=model.i2v) for model in MODELS}
