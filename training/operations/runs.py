"""Starts, resumes and cancels runs. A run is stored before any message or stage refers to it."""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from training import store_keys
from training.catalogue.gpus import require_same_gpu
from training.catalogue.models import Model, find_model
from training.dataset.report import Report
from training.errors import RequestError
from training.estimates.single_frames import single_frames
from training.estimates.step_times import StepTimes
from training.files.disk_space import is_full
from training.operations.initial_weights import InitialWeights
from training.operations.retry import on_clips, rest_of, with_suggestion
from training.operations.run_drafts import Dataset, Requester, draft_spec
from training.operations.run_list import RunList
from training.operations.run_plans import RunPlan, plan_of
from training.operations.step_history import times_here
from training.operations.successors import require_newest, successor_record
from training.pipeline.advance import request_advance, stop_stages
from training.pipeline.leases import hold_lease
from training.pipeline.runtime import Runtime
from training.ports import RunIndex
from training.records import both
from training.registry.datasets import Datasets
from training.remedies import DownloadRun, ResumeRun, ShowRuns, StartRun
from training.runs import events as ev
from training.runs.event_log import REQUEST
from training.runs.spec import RunSpec, TrainRequest
from training.runs.state import Run, RunStatus
from training.runs.training_items import cut_run
from training.store_keys import RunKeys
from training.vocabulary import EngineName

_MAX_SUFFIX = 10_000
_MOST_STARTS = 100  # how many of the newest runs are searched for starting points
_NAMES_SECONDS = 2.0  # how long a list is reused, because completion asks at every keystroke
logger = logging.getLogger(__name__)


class Runs(RunList):
    """Starts, cancels and shows the runs of guilds."""

    def __init__(self, runtime: Runtime, index: RunIndex) -> None:
        super().__init__(runtime, index)
        self._datasets = Datasets(runtime.store)
        self.initial_weights = InitialWeights(runtime)

    def draft(
        self,
        request: TrainRequest,
        requester: Requester,
        engine: EngineName,
        dataset: Dataset | None = None,
    ) -> RunSpec:
        """Return the spec of the run that a request would start; store nothing.

        Pass `dataset` if it is not stored yet; otherwise it is read from the store.

        Raises:
            NotFoundError: The model, the dataset or the LoRA to start from does not exist.
            RequestError: A setting, the name or the dataset does not fit.
            AdapterError: The LoRA to start from does not fit the model.
        """
        model = find_model(request.model)
        dataset = dataset or self._dataset(requester.guild, request.dataset)
        return self._draft(request, requester, engine, model, dataset)

    def _draft(
        self,
        request: TrainRequest,
        requester: Requester,
        engine: EngineName,
        model: Model,
        dataset: Dataset,
    ) -> RunSpec:
        gpu, only = self._runtime.gpu(model, engine), self._runtime.only_gpu
        if request.gpu is not None and only is not None and engine == "musubi":
            require_same_gpu(request.gpu, only)
        spec = draft_spec(request, requester, engine, model, dataset, default_gpu=gpu)
        return self.initial_weights.resolve(spec, model, request.resume_from)

    def plan(
        self,
        request: TrainRequest,
        requester: Requester,
        engine: EngineName,
        dataset: Dataset | None = None,
    ) -> RunPlan:
        """Return the plan of the run that a request would start, under a free name; see `draft`.

        Raises:
            RequestError: As for `draft`, or because the request names an existing run.
        """
        model = find_model(request.model)
        dataset = dataset or self._dataset(requester.guild, request.dataset)
        spec = self._draft(request, requester, engine, model, dataset)
        is_given = request.name is not None
        names = _names(spec.name, is_given=is_given)
        name = next((one for one in names if not self._is_used(spec.guild, one)), None)
        if name is None:
            raise self._name_taken(spec.guild, spec.name)
        named, times = spec.model_copy(update={"name": name}), self._times(spec.guild, model)
        return plan_of(self._runtime, named, model, dataset[1], times)

    def plan_of(self, spec: RunSpec) -> RunPlan:
        model, report = find_model(spec.model), self._runtime.report(spec)
        return plan_of(self._runtime, spec, model, report, self._times(spec.guild, model))

    def _times(self, guild: str, model: Model) -> StepTimes:
        # This also adds the guild's newest runs to the index.
        self.glance(guild, 1, containing="", age_seconds=_NAMES_SECONDS)
        return times_here(self._index, model)

    def starting_points(self, guild: str, typed: str = "") -> dict[str, str]:
        """Return the names of LoRA files and checkpoints to start from, with descriptions."""
        wanted = typed.strip().lower().partition("/")[0]
        page = self.glance(guild, _MOST_STARTS, containing=wanted, age_seconds=_NAMES_SECONDS)
        return self.initial_weights.names(guild, [run.name for run in page.runs], typed)

    def start(self, request: TrainRequest, requester: Requester, engine: EngineName) -> RunSpec:
        """Store a run and advance it; a repeated request with the same token returns the same run.

        Raises:
            TrainingError: The run cannot start; `draft` lists the reasons.
        """
        if (earlier := self.started(requester)) is not None:
            return earlier
        draft = self.draft(request, requester, engine)
        return self._store(draft, requester, is_name_given=request.name is not None)

    def start_planned(self, plan: RunPlan, requester: Requester, *, is_name_given: bool) -> RunSpec:
        """Start the run exactly as it was planned; its spec records the promised time and cost."""
        if (earlier := self.started(requester)) is not None:
            return earlier
        spec = plan.spec.model_copy(update={"promised": plan.promise})
        return self._store(self._asked(spec, requester), requester, is_name_given=is_name_given)

    def resume(self, name: str, requester: Requester) -> RunSpec:
        """Store a new run that finishes a failed or cancelled run.

        The new run starts from the old run's training states; the old run's folder does not change.

        Raises:
            NotFoundError: The guild has no such run.
            RequestError: The run is still open or has succeeded, or another run took over from it.
        """

        def draft(old: Run) -> RunSpec:
            if not old.status.is_final or old.status is RunStatus.SUCCEEDED:
                done = "has finished" if old.status.is_final else f"is {old.status.value}"
                raise RequestError(
                    f"{name} {done}, so there is nothing to resume.",
                    "Start another run.",
                    StartRun(),
                )
            return self._rest_of(old, requester)

        return self._continue(name, requester, draft)

    def try_again(self, name: str, requester: Requester) -> RunSpec:
        """Store a new run as `resume` does, but with the change that the failed run suggests.

        Raises:
            NotFoundError: The guild has no such run.
            RequestError: The failed run suggests no change, or another run took over from it.
        """

        def draft(old: Run) -> RunSpec:
            if old.suggestion is None:
                raise RequestError(
                    f"No change of settings is known to help {name} ({old.status.value}).",
                    "Resume the run unchanged, or start another one.",
                    ResumeRun(run=name),
                )
            rest, report = self._rest_of(old, requester), self._runtime.report(old.spec)
            return with_suggestion(rest, old.suggestion, report, find_model(rest.model))

        return self._continue(name, requester, draft)

    def train_on_clips(self, name: str, requester: Requester) -> RunSpec:
        """Store a copy of an open run, to train without single frames; the open run continues.

        Raises:
            NotFoundError: The guild has no such run.
            RequestError: The run has no single frames, has ended, or has saved checkpoints.
        """
        if (earlier := self.started(requester)) is not None:
            return earlier
        old = self.find(requester.guild, name)
        model, report = find_model(old.spec.model), self._runtime.report(old.spec)
        has_toml = old.spec.dataset_toml is not None
        if has_toml or single_frames(model, cut_run(report, old.spec, model)) is None:
            raise RequestError(
                f"{name} has no single frames to leave out.",
                "Change the dataset TOML itself." if has_toml else "Let the run train as it is.",
            )
        if old.status.is_final or old.is_cancelling:
            raise RequestError(f"{name} has ended.", "Start another run.", StartRun())
        if any(old.expert(expert.name).checkpoints for expert in old.spec.experts):
            raise RequestError(
                f"{name} has already saved checkpoints, and a new run would not use them.",
                "Start another run on clips only, or let this one finish.",
                StartRun(),
            )
        draft = self._asked(on_clips(old, report, model), requester)
        return self._store(draft, requester, is_name_given=False)

    def _continue(
        self, name: str, requester: Requester, draft: Callable[[Run], RunSpec]
    ) -> RunSpec:
        """Store a run that takes over from an old run; only one run may do so."""
        if (earlier := self.started(requester)) is not None:
            return earlier
        with continue_lease(self._runtime, requester.guild, name):
            old = self.find(requester.guild, name)
            spec = draft(old)
            self._runtime.require_engine(old.spec)
            require_newest(self._runtime, old.spec, self.find)
            return self._store(spec, requester, is_name_given=False)

    def _rest_of(self, old: Run, requester: Requester) -> RunSpec:
        return self._asked(rest_of(old), requester)

    def _asked(self, spec: RunSpec, requester: Requester) -> RunSpec:
        asked = {"requested_by": requester.by, "channel": requester.channel}
        return spec.model_copy(update={"created_at": self._runtime.clock(), **asked})

    def _store(self, draft: RunSpec, requester: Requester, *, is_name_given: bool) -> RunSpec:
        for name in _names(draft.name, is_given=is_name_given):
            if self._is_used(requester.guild, name):
                continue
            spec = self._claim(draft.model_copy(update={"name": name}), requester)
            with self._undone_if_full(spec, requester):
                stored = self._store_spec(spec)
            if stored is not None:
                self._begin(stored)
                return stored
            self._unclaim(requester)
        raise self._name_taken(requester.guild, draft.name)

    def started(self, requester: Requester) -> RunSpec | None:
        """Return the run that an earlier request with the same token started, if there was one."""
        if (earlier := self._requested(requester)) is None:
            return None
        with self._undone_if_full(earlier, requester):
            return self._store_spec(earlier) or earlier

    @contextmanager
    def _undone_if_full(self, spec: RunSpec, requester: Requester) -> Generator[None]:
        """If the body finds the disk full, withdraw the request, or the run would start later."""
        try:
            yield
        except OSError as error:
            if is_full(error) and not self._runtime.store.exists(spec.keys.spec):
                for key in (spec.keys.folder, spec.keys.unannounced, spec.keys.open):
                    self._runtime.store.delete(key)
                self._unclaim(requester)
            raise

    def _begin(self, spec: RunSpec) -> None:
        """Advance a run that has just been stored; if the disk is full, it starts later."""
        try:
            request_advance(self._runtime, spec.guild, spec.name)
        except OSError as error:
            if not is_full(error):
                raise
            logger.warning("run %s: it starts when there is room: %s", spec.name, error)

    def _is_used(self, guild: str, name: str) -> bool:
        """Return whether this is the name of a run, or was the name of a deleted run."""
        store = self._runtime.store
        return store.exists(RunKeys(guild, name).spec) or store.exists(
            store_keys.used_run_name(guild, name)
        )

    def _name_taken(self, guild: str, name: str) -> RequestError:
        if name in self.names(guild):
            cause = f"There is already a run called {name!r}."
        else:
            cause = f"There was a run called {name!r}, and earlier links still point to it."
        return RequestError(cause, "Choose another name, or leave the name out.")

    def cancel(self, guild: str, name: str, *, by: str) -> Run:
        """Ask a run to stop, and return the run; its checkpoints are kept.

        Raises:
            NotFoundError: The guild has no such run.
            RequestError: The run has already ended, or is trained and only checks its files.
        """
        log = self._runtime.log(guild, name)
        run = self.find(guild, name)
        if run.status.is_final:
            raise RequestError(
                f"{name} has already ended ({run.status.value}), so there is nothing to cancel.",
                "Download what the run saved.",
                DownloadRun(run=name),
            )
        if run.is_trained:
            raise RequestError(
                f"{name} is trained to the end, so there is nothing left to stop.",
                "Wait a moment: the run's files are being checked.",
                ShowRuns(run=name),
            )
        log.append_alone(REQUEST, ev.CancelRequested(at=self._runtime.clock(), by=by))
        try:
            # Stop the stages now, not at the next advance: until then the GPU would cost money.
            stop_stages(self._runtime, run)
        except OSError:
            logger.warning("run %s: the next advance stops its stages", name, exc_info=True)
        request_advance(self._runtime, guild, name)
        return log.load()

    def _requested(self, requester: Requester) -> RunSpec | None:
        if not requester.token:
            return None
        try:
            data = self._runtime.store.read(store_keys.request(requester.guild, requester.token))
            return RunSpec.model_validate_json(data)
        except (FileNotFoundError, ValidationError):
            return None

    def _claim(self, spec: RunSpec, requester: Requester) -> RunSpec:
        """Record a request's spec and return it; for a repeated request, return its first spec."""
        if requester.token:
            key = store_keys.request(requester.guild, requester.token)
            if not self._runtime.store.create(key, spec.model_dump_json().encode()):
                return self._requested(requester) or spec
        return spec

    def _unclaim(self, requester: Requester) -> None:
        if requester.token:
            self._runtime.store.delete(store_keys.request(requester.guild, requester.token))

    def _store_spec(self, spec: RunSpec) -> RunSpec | None:
        """Store a spec and return it; return None if another run has taken its name."""
        store = self._runtime.store
        key = spec.keys.spec
        records = both(key, spec)
        data = records.pop(key)
        others: dict[str, bytes] = {}
        if not store.exists(key):
            # Store the marker of an open run with the spec, because a run without the marker is
            # never advanced.
            others[spec.keys.open] = b""
            if spec.channel:
                others[spec.keys.unannounced] = b""
            others[spec.keys.report] = self._report(spec).model_dump_json().encode()
            others |= {**successor_record(spec), **records}
            self.initial_weights.keep(spec)
        is_ours = store.create(key, data, others) or store.read(key) == data
        self.forget_names(spec.guild)
        return spec if is_ours else None

    def _report(self, spec: RunSpec) -> Report:
        if spec.continues is not None:
            # Read the report from the old run, because the dataset may have been removed.
            return self._runtime.report(spec.model_copy(update={"name": spec.continues}))
        return self._dataset(spec.guild, str(spec.dataset))[1]

    def _dataset(self, guild: str, reference: str) -> Dataset:
        version = self._datasets.find_complete(guild, reference)
        return version.ref, self._datasets.report(guild, version)


@contextmanager
def continue_lease(runtime: Runtime, guild: str, name: str) -> Generator[None]:
    """Hold the lease on continuing a run, so that only one new run can continue it."""
    with hold_lease(runtime.leases, f"resume/{guild}/{name}"):
        yield


def _names(name: str, *, is_given: bool) -> Iterator[str]:
    yield name
    if is_given:
        return
    for number in range(2, _MAX_SUFFIX):
        suffix = f"-{number}"
        yield f"{name[: 64 - len(suffix)]}{suffix}"
