"""Runs for tests of messages, folded from real events."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from training.catalogue.models import find_model
from training.estimates.prices import PriceList
from training.pipeline.run_view import Progress, RunView, stage_keys
from training.runs import events as ev
from training.runs.events import Event
from training.runs.spec import DatasetRef, RunSpec, TrainRequest, resolve_experts
from training.runs.state import fold
from training.runs.training_events import CheckpointSaved
from training.vocabulary import EngineName, StageKey

START = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
NOW = START + timedelta(minutes=12)
PREPARE, FETCH, CACHE = StageKey("prepare"), StageKey("fetch"), StageKey("cache")


def a_spec(
    model: str = "wan22-i2v-lightning",
    engine: EngineName = "musubi",
    *,
    settings: Mapping[str, str] | None = None,
    continues: str | None = None,
) -> RunSpec:
    request = TrainRequest(model=model, dataset="annika", settings=settings or {})
    experts = resolve_experts(request, find_model(model))
    return RunSpec(
        name=f"annika-{model}",
        guild="42",
        created_at=START,
        requested_by="7",
        channel="8",
        model=find_model(model).name,
        dataset=DatasetRef(name="annika", number=2, version="c" * 32),
        engine=engine,
        experts=experts,
        steps_per_epoch=18,
        continues=continues,
    )


def a_view(
    spec: RunSpec,
    *events: Event,
    progress: Mapping[StageKey, Progress] | None = None,
    positions: Mapping[StageKey, int] | None = None,
    prices: PriceList | None = None,
) -> RunView:
    return RunView(
        run=fold(spec, events),
        keys=stage_keys(spec),
        progress=progress or {},
        positions=positions or {},
        prices=prices,
    )


def submitted(key: StageKey, attempt: int = 1) -> Event:
    return ev.StageEvent(
        at=START, key=key, attempt=attempt, body=ev.StageSubmitted(handle=f"{key}-{attempt}")
    )


def started(key: StageKey, attempt: int = 1, gpu: str | None = None) -> Event:
    return ev.StageEvent(at=START, key=key, attempt=attempt, body=ev.StageStarted(gpu=gpu))


def stopped(key: StageKey, attempt: int = 1) -> Event:
    return ev.StageEvent(
        at=START, key=key, attempt=attempt, body=ev.StageStopped(reason="a signal")
    )


def succeeded(key: StageKey, note: str = "", *, reused: bool = False, attempt: int = 1) -> Event:
    return ev.StageEvent(
        at=START, key=key, attempt=attempt, body=ev.StageSucceeded(reused=reused, note=note)
    )


def failed(key: StageKey, cause: str, fix: str) -> Event:
    return ev.StageEvent(at=START, key=key, attempt=1, body=ev.StageFailed(cause=cause, fix=fix))


def saved(spec: RunSpec, key: StageKey, epoch: int, *, is_final: bool = False) -> Event:
    if key.expert is None:
        raise ValueError("checkpoints belong to an expert")
    number = "" if is_final else f"-{epoch:06d}"
    return ev.StageEvent(
        at=START,
        key=key,
        attempt=1,
        body=CheckpointSaved(
            path=f"checkpoints/{key.expert}/{spec.output_name(key.expert)}{number}.safetensors",
            epoch=epoch,
            step=epoch * spec.steps_per_epoch,
            size_bytes=158_000_000,
            is_final=is_final,
        ),
    )


def trained(spec: RunSpec) -> list[Event]:
    """Return the events of a run whose stages all succeeded."""
    found: list[Event] = []
    for key in stage_keys(spec):
        if key.stage == "train" and key.expert is not None:
            epochs = spec.expert(key.expert).settings.epochs
            found += [saved(spec, key, 5), saved(spec, key, 10)]
            found.append(saved(spec, key, epochs, is_final=True))
        note = "Lightning 20/20" if key.stage == "merge" else ""
        found += [started(key), succeeded(key, note)]
    return found


def ended(minutes: int = 40) -> Event:
    return ev.RunSucceeded(at=START + timedelta(minutes=minutes))
