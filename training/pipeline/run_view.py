"""A run as shown to users: folded events, latest progress, position in the queue."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from training.files.parallel import each
from training.pipeline.runtime import Runtime
from training.runs.spec import RunSpec
from training.runs.state import Run, StageState, StageStatus
from training.store_keys import RunKeys
from training.vocabulary import ExpertName, StageKey


class Progress(BaseModel):
    """The latest progress of one stage; it may be stale. `done` counts items or layers."""

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


class Metric(BaseModel):
    """Loss and learning rate of one optimizer step."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int
    loss: float
    learning_rate: float


class ExpertView(BaseModel):
    """The progress of one expert."""

    model_config = ConfigDict(frozen=True)

    name: ExpertName
    epoch: int
    step: int
    total_steps: int
    loss: float | None
    checkpoints: tuple[str, ...]


class RunSummary(BaseModel):
    """The stable fields of `lorabot runs --json`."""

    model_config = ConfigDict(frozen=True)

    name: str
    model: str
    dataset: str
    state: str
    stage: str | None
    experts: tuple[ExpertView, ...]
    error: str | None
    engine: str
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run with everything that its card shows."""

    run: Run
    keys: tuple[StageKey, ...]
    progress: Mapping[StageKey, Progress]
    positions: Mapping[StageKey, int]

    @property
    def spec(self) -> RunSpec:
        """Return what was asked for."""
        return self.run.spec

    def current(self) -> tuple[StageKey, ...]:
        """Return the stages that run or are queued, in the run's order."""
        alive = (StageStatus.RUNNING, StageStatus.SUBMITTED, StageStatus.INTERRUPTED)
        return tuple(key for key in self.keys if self.run.stage(key).status in alive)

    def expert(self, name: ExpertName) -> ExpertView:
        """Return an expert's progress from durable events, or from newer progress reports."""
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
        )

    def summary(self) -> RunSummary:
        """Return the stable fields of a listing."""
        current = self.current()
        error = f"{self.run.cause} {self.run.fix}".strip()
        return RunSummary(
            name=self.spec.name,
            model=self.spec.model,
            dataset=str(self.spec.dataset),
            state=self.run.status.value,
            stage=str(current[0].stage) if current and not self.run.status.is_final else None,
            experts=tuple(self.expert(expert.name) for expert in self.spec.experts),
            error=error or None,
            engine=self.spec.engine,
            created_at=self.spec.created_at.isoformat(timespec="seconds"),
        )


def damaged_summary(name: str, error: str) -> RunSummary:
    """Return the summary of a run whose record cannot be read."""
    return RunSummary(
        name=name,
        model="?",
        dataset="?",
        state="damaged",
        stage=None,
        experts=(),
        error=error,
        engine="?",
        created_at="",
    )


def stage_keys(spec: RunSpec) -> tuple[StageKey, ...]:
    """Return the keys of a run's stages in display order."""
    keys = [StageKey("prepare"), StageKey("fetch"), StageKey("cache")]
    keys += [StageKey("merge", e.name) for e in spec.experts if e.speed_lora is not None]
    keys += [StageKey("train", expert.name) for expert in spec.experts]
    return (*keys, *(StageKey("publish", expert.name) for expert in spec.experts))


def view_run(runtime: Runtime, guild: str, name: str) -> RunView:
    """Return the current view of a run.

    Raises:
        NotFoundError: The guild has no such run.
    """
    return view_of(runtime, runtime.log(guild, name).load())


def view_of(runtime: Runtime, run: Run) -> RunView:
    """Return the view of a loaded run."""
    keys = stage_keys(run.spec)
    looks = each(lambda key: _look(runtime, run, key), keys)
    progress = {key: found for key, (found, _) in zip(keys, looks, strict=True) if found}
    places = zip(keys, (place for _, place in looks), strict=True)
    positions = {key: place for key, place in places if place is not None}
    return RunView(run=run, keys=keys, progress=progress, positions=positions)


def _look(runtime: Runtime, run: Run, key: StageKey) -> tuple[Progress | None, int | None]:
    """Return the latest progress of a stage and its queue position, querying only if needed."""
    stage = run.stage(key)
    if stage.attempt == 0:
        return None, None
    progress = None
    if _shows_progress(key, stage):
        progress = _progress(runtime, run.spec.guild, run.spec.name, key)
    if stage.status is not StageStatus.SUBMITTED or run.status.is_final:
        return progress, None
    return progress, runtime.backend.state(stage.handle).position


def metrics(runtime: Runtime, spec: RunSpec, name: ExpertName) -> list[Metric]:
    """Return every step of one expert once; a later attempt's value replaces an earlier one."""
    key = StageKey("train", name)
    steps: dict[int, Metric] = {}
    attempts = runtime.log(spec.guild, spec.name).load().stage(key).attempt
    for attempt in range(1, attempts + 1):
        try:
            data = runtime.store.read(spec.keys.metrics(key, attempt))
        except FileNotFoundError:
            continue
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            metric = Metric.model_validate_json(line)
            steps[metric.step] = metric
    return [steps[step] for step in sorted(steps)]


def _shows_progress(key: StageKey, stage: StageState) -> bool:
    """Return whether a stage's progress is worth a query; for training also after its end."""
    if key.stage == "train":
        return stage.attempt > 0
    return stage.status is StageStatus.RUNNING


def _progress(runtime: Runtime, guild: str, name: str, key: StageKey) -> Progress | None:
    data = runtime.board.read(RunKeys(guild, name).progress(key))
    return Progress.model_validate_json(data) if data is not None else None
