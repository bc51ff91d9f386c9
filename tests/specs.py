"""Specs and groups for tests that need a run without a dataset on disk."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from training.catalogue.models import find_model
from training.dataset.config.group import GroupPlan
from training.dataset.config.guide_groups import plan_groups
from training.dataset.report import Report, Sample
from training.runs.spec import DatasetRef, ExpertChoice, RunSpec, TrainRequest, resolve_experts


@dataclass(frozen=True)
class Rooted:
    """Places below one folder, for plans that are not carried out."""

    root: Path

    def path(self, key: str) -> Path:
        return self.root / key

    def staging_path(self, key: str) -> Path:
        return self.root / key


def report(images: int = 2, clips: int = 2, frames: int = 49) -> Report:
    """Return the report on a good dataset."""
    stills = [_image(f"images/{n:03d}.png") for n in range(images)]
    videos = [_clip(f"videos/{n:03d}.mp4", frames) for n in range(clips)]
    return Report(version="v" * 32, samples=(*stills, *videos), findings=())


def groups() -> GroupPlan:
    """Return the training items of `report()`."""
    return plan_groups(report())


def spec(
    model: str = "wan21-i2v-720p", *, expert: ExpertChoice = "both", **settings: str
) -> RunSpec:
    """Return a run of the dataset annika@1."""
    request = TrainRequest(model=model, dataset="annika", expert=expert, settings=settings)
    return RunSpec(
        name=f"annika-{model}",
        guild="1",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        requested_by="7",
        channel="5",
        model=model,
        dataset=DatasetRef(name="annika", number=1, version="v" * 32),
        engine="rehearsal",
        experts=resolve_experts(request, find_model(model)),
        steps_per_epoch=10,
    )


def _image(name: str) -> Sample:
    return Sample(
        name=name, source=name, kind="image", caption="c", sha256="0" * 64, width=1280, height=720
    )


def _clip(name: str, frames: int) -> Sample:
    return Sample(
        name=name,
        source=name,
        kind="video",
        caption="c",
        sha256="0" * 64,
        width=1280,
        height=720,
        frames=frames,
        fps=16.0,
        seconds=frames / 16,
        frames_16fps=frames,
    )
