"""A run as users see it: its state from events, its latest progress, its place in the queue."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from training.catalogue.models import find_model
from training.estimates.prices import PriceList
from training.estimates.spent import usd_spent
from training.estimates.step_times import step_kind
from training.files.parallel import each
from training.pipeline.runtime import Runtime
from training.runs.hyperparameters import Fast
from training.runs.spec import RunSpec
from training.runs.state import Run, StageStatus
from training.vocabulary import ExpertName, StageKey, Trouble, device_of


class Progress(BaseModel):
    """The latest progress of one stage; it may be outdated or come from an earlier attempt.

    `done` and `total` count bytes, items or layers, depending on the stage. `at` is the time of the
    report; None in runs of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    done: int = 0
    total: int = 0
    step: int = 0
    total_steps: int = 0
    epoch: int = 0
    loss: float | None = None
    average_loss: float | None = None
    learning_rate: float | None = None
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    attempt: int | None = None
    at: datetime | None = None


class Metric(BaseModel):
    """Loss and learning rate of one optimizer step."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int
    loss: float
    learning_rate: float


class StepTime(BaseModel):
    """How long the steps of one training attempt took: the median seconds for one sample.

    Attributes:
        gpu: The GPU that the attempt actually got.
        fast: How the steps were really computed.
        tokens: The tokens of a sample.
        steps: How many steps were timed.
    """

    model_config = ConfigDict(frozen=True)

    gpu: str
    fast: Fast
    is_fp8: bool
    is_swapping: bool
    tokens: int
    seconds: float
    steps: int


class ExpertView(BaseModel):
    """The progress of one expert."""

    model_config = ConfigDict(frozen=True)

    name: ExpertName
    epoch: int
    step: int
    total_steps: int
    loss: float | None
    checkpoints: tuple[str, ...]
    gpu: str | None = None
    step_times: tuple[StepTime, ...] = ()


class RunSummary(BaseModel):
    """A run in a listing.

    Scripts read these fields from the `--json` output, so their names and types must not change. A
    damaged run has the default values.

    Attributes:
        spent_usd: What its stages have cost so far; None if that is unknown or nothing is billed.
        gpu_place: Its place in the GPU queue; None if it is not waiting for a GPU.
        starts_at: When it should get a GPU; "" if it is not waiting for one or that is unknown.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    model: str = "?"
    dataset: str = "?"
    state: str
    stage: str | None = None
    experts: tuple[ExpertView, ...] = ()
    error: str | None = None
    engine: str = "?"
    created_at: str = ""
    requested_by: str = ""
    trouble: Trouble | None = None
    spent_usd: float | None = None
    gpu_place: int | None = None
    starts_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run with everything that its card shows.

    Attributes:
        positions: Places in the backend's queue, for queued stages.
        obstacle: The problem that keeps its waiting stages from starting, or its running stages
            from storing their results; None if there is none.
        starts_at: When the run should get a GPU; None if it is not waiting for one or the time is
            unknown.
        prices: The prices; None if no stage has started or stages cost nothing.
    """

    run: Run
    keys: tuple[StageKey, ...]
    progress: Mapping[StageKey, Progress]
    positions: Mapping[StageKey, int]
    obstacle: str | None = None
    starts_at: datetime | None = None
    prices: PriceList | None = None

    @property
    def spec(self) -> RunSpec:
        return self.run.spec

    @property
    def is_waiting(self) -> bool:
        """Whether nothing runs at the moment and the run has not begun to train."""
        if self.run.status.is_final:
            return False
        stages = {key: self.run.stage(key) for key in self.keys}
        return not any(
            stage.status is StageStatus.RUNNING or (key.stage == "train" and stage.started_at)
            for key, stage in stages.items()
        )

    @property
    def gpu_places(self) -> list[int]:
        """The places of its waiting stages in the GPU queue."""
        return [at for key, at in self.positions.items() if device_of(key.stage) == "gpu"]

    def current(self) -> tuple[StageKey, ...]:
        """Return the stages that are running, queued or interrupted, in display order."""
        alive = (StageStatus.RUNNING, StageStatus.SUBMITTED, StageStatus.INTERRUPTED)
        return tuple(key for key in self.keys if self.run.stage(key).status in alive)

    def expert(self, name: ExpertName) -> ExpertView:
        """Return an expert's progress from the newer of its events and its live progress."""
        state = self.run.expert(name)
        newest = self.progress.get(StageKey("train", name), Progress())
        settings = self.spec.expert(name).settings
        ahead = newest.step > state.step
        return ExpertView(
            name=name,
            epoch=newest.epoch if ahead else state.epoch,
            step=newest.step if ahead else state.step,
            total_steps=self.spec.steps_per_epoch * settings.epochs,
            loss=newest.average_loss if newest.average_loss is not None else state.loss,
            checkpoints=tuple(checkpoint.file for checkpoint in state.checkpoints),
            gpu=self.run.stage(StageKey("train", name)).gpu,
            step_times=tuple(_step_times(self.run, name)),
        )

    def last_sign_of_life(self) -> datetime | None:
        """Return when a running stage last began or reported progress; None if no stage runs."""
        signs: list[datetime] = []
        for key in self.keys:
            stage = self.run.stage(key)
            if stage.status is StageStatus.RUNNING:
                newest = self.progress.get(key, Progress())
                told_at = newest.at if newest.attempt == stage.attempt else None
                signs += [at for at in (stage.heard_at, told_at) if at is not None]
        return max(signs, default=None)

    def summary(self, now: datetime) -> RunSummary:
        """Return the run as a listing shows it at the time `now`."""
        current = self.current()
        error = f"{self.run.cause} {self.run.fix}".strip()
        return RunSummary(
            name=self.spec.name,
            model=self.spec.model,
            dataset=str(self.spec.dataset),
            state=self.run.status.value,
            stage=str(current[0].stage) if current and not self.run.status.is_final else None,
            experts=tuple(self.expert(expert.name) for expert in self.spec.experts),
            error=error or self.obstacle,
            engine=self.spec.engine,
            trouble=self.run.trouble,
            created_at=self.spec.created_at.isoformat(timespec="microseconds"),
            requested_by=self.spec.requested_by,
            spent_usd=self.spent_usd(now),
            gpu_place=min(self.gpu_places, default=None),
            starts_at=self.starts_at.isoformat() if self.starts_at else "",
        )

    def spent_usd(self, now: datetime) -> float | None:
        """Return the dollars spent up to `now` or the end; None if unknown or nothing is billed."""
        return usd_spent(self.run, self.prices, self.run.ended_at or now)


def _step_times(run: Run, name: ExpertName) -> Iterator[StepTime]:
    """Yield the step times of each attempt on a known GPU.

    Steps that embed the time only once are left out: they are a kind of their own.
    """
    settings = run.spec.expert(name).settings
    for timed in run.expert(name).timed.values():
        if timed.gpu is None or settings.force_v2_1_time_embedding:
            continue
        kind = step_kind(
            find_model(run.spec.model),
            timed.gpu,
            settings.model_copy(update={"fast": timed.fast}),
        )
        for one in timed.times:
            yield StepTime(
                gpu=kind.gpu,
                fast=kind.fast,
                is_fp8=kind.is_fp8,
                is_swapping=kind.is_swapping,
                tokens=one.tokens,
                seconds=one.seconds,
                steps=one.steps,
            )


def stage_keys(spec: RunSpec) -> tuple[StageKey, ...]:
    """Return the keys of a run's stages in display order."""
    keys = [StageKey("prepare"), StageKey("fetch"), StageKey("cache")]
    keys += [StageKey("merge", e.name) for e in spec.experts if e.speed_lora is not None]
    keys += [StageKey("train", expert.name) for expert in spec.experts]
    return (*keys, *(StageKey("publish", expert.name) for expert in spec.experts))


def view_of(runtime: Runtime, run: Run) -> RunView:
    keys = stage_keys(run.spec)
    looked_up = [key for key in keys if _is_looked_up(run, key)]
    looks = each(lambda key: _look(runtime, run, key), looked_up)
    progress = {key: found for key, (found, _) in zip(looked_up, looks, strict=True) if found}
    places = zip(looked_up, (place for _, place in looks), strict=True)
    positions = {key: place for key, place in places if place is not None}
    working = any(run.stage(key).status is StageStatus.RUNNING for key in keys)
    waits = bool(positions) or not (working or run.status.is_final)
    obstacle = None if run.status.is_final else runtime.shortage()
    if obstacle is None and waits:
        obstacle = runtime.backend.obstacle()
    has_begun = any(stage.started_at is not None for stage in run.stages.values())
    return RunView(
        run=run,
        keys=keys,
        progress=progress,
        positions=positions,
        obstacle=obstacle,
        prices=runtime.prices() if runtime.is_billed and has_begun else None,
    )


def _is_looked_up(run: Run, key: StageKey) -> bool:
    """Return whether the card shows progress or a queue position for a stage."""
    stage = run.stage(key)
    live = (StageStatus.RUNNING, StageStatus.SUBMITTED)
    return stage.attempt > 0 and (key.stage == "train" or stage.status in live)


def _look(runtime: Runtime, run: Run, key: StageKey) -> tuple[Progress | None, int | None]:
    """Return a stage's latest progress and queue position, each None if the card omits it."""
    stage = run.stage(key)
    progress = None
    # The card keeps showing a train stage's last progress after the stage has ended.
    if key.stage == "train" or stage.status is StageStatus.RUNNING:
        progress = progress_of(runtime, run.spec, key)
    if stage.status is not StageStatus.SUBMITTED or run.status.is_final:
        return progress, None
    return progress, runtime.backend.state(stage.handle).position


def progress_of(runtime: Runtime, spec: RunSpec, key: StageKey) -> Progress | None:
    """Return a stage's latest progress, perhaps of an earlier attempt; None if there is none."""
    data = runtime.live.read(spec.keys.progress(key))
    if data is None:
        return None
    try:
        return Progress.model_validate_json(data)
    except ValidationError:
        return None  # damaged; the next update replaces it


def metrics(runtime: Runtime, spec: RunSpec, name: ExpertName) -> list[Metric]:
    """Return one expert's metrics in step order; for a repeated step, only the newest."""
    key = StageKey("train", name)
    steps: dict[int, Metric] = {}
    attempts = runtime.log(spec.guild, spec.name).load().stage(key).attempt
    for attempt in range(1, attempts + 1):
        try:
            data = runtime.store.read(spec.keys.metrics(key, attempt))
        except FileNotFoundError:
            continue
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            with suppress(ValidationError):  # a damaged line
                metric = Metric.model_validate_json(line)
                steps[metric.step] = metric
    return [steps[step] for step in sorted(steps)]
