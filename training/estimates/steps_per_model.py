"""Predicts for each model whether a dataset suits it, and what it would train on in an epoch."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from training.catalogue.models import MODELS, Model
from training.dataset.config.guide_groups import plan_groups, suits
from training.dataset.report import Report
from training.estimates.single_frames import SingleFrames, single_frames


class PredictedBucket(BaseModel):
    """A group's items of the same size and length; only these can share a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str
    width: int
    height: int
    frames: int
    items: int


class Prediction(BaseModel):
    """How many items and steps one epoch of a model has, if items are grouped as by default.

    Attributes:
        items: Number of cached items.
        steps_per_epoch: Optimizer steps at batch size 1.
        left_out: Sentences that say which samples are not trained on, and why.
        remarks: Sentences that explain unusual items.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int
    steps_per_epoch: int
    buckets: tuple[PredictedBucket, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def _predict(report: Report, model: Model) -> Prediction:
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
        remarks=plan.remarks,
    )


def predictions(report: Report) -> Mapping[str, Prediction]:
    """Return the prediction for each model, keyed by the model's name."""
    return {model.name: _predict(report, model) for model in MODELS}


def predicted_single_frames(report: Report) -> Mapping[str, SingleFrames]:
    """Return the part of an epoch that trains on single frames, keyed by the model's name.

    Leave out T2V models, models that the dataset does not suit, and models for which none or all
    of the items are single frames.
    """
    suits_it = suited(report)
    found = {
        model.name: single_frames(model, plan_groups(report, model.resolution))
        for model in MODELS
        if suits_it[model.name] is None
    }
    return {name: share for name, share in found.items() if share is not None}


def suited(report: Report) -> Mapping[str, str | None]:
    """Return, by model name, why the dataset does not suit the model; None if it suits it."""
    if report.errors:
        return dict.fromkeys((model.name for model in MODELS), report.errors[0].cause)
    return {model.name: suits(report, needs_video=model.i2v) for model in MODELS}
