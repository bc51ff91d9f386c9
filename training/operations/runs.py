"""The runs of a guild: start, cancel, list; a run is stored before anyone is told of it."""

import logging
from collections.abc import Callable, Iterator

from training import store_keys
from training.catalogue.gpus import require_same_gpu
from training.catalogue.models import find_model
from training.dataset.report import Report
from training.errors import RequestError
from training.operations.initial_weights import InitialWeights
from training.operations.retry import rest_of, with_suggestion
from training.operations.run_drafts import Requester, draft_spec
from training.operations.run_list import RunList
from training.pipeline.advance import open_runs, request_advance, stop_stages
from training.pipeline.leases import hold_lease
from training.pipeline.runtime import Runtime
from training.ports import RunIndex
from training.registry.datasets import Datasets
from training.remedies import DownloadRun, ResumeRun, ShowRuns, StartRun
from training.runs import events as ev
from training.runs.event_log import REQUEST
from training.runs.spec import DatasetRef, RunSpec, TrainRequest
from training.runs.state import Run, RunStatus
from training.store_keys import RunKeys
from training.vocabulary import EngineName

_MAX_SUFFIX = 10_000
logger = logging.getLogger(__name__)


class Runs(RunList):
    """Starts, cancels and shows the runs of guilds."""

    def __init__(self, runtime: Runtime, index: RunIndex) -> None:
        super().__init__(runtime, index)
        self._datasets = Datasets(runtime.store)
        self.initial_weights = InitialWeights(runtime)

    def draft(self, request: TrainRequest, requester: Requester, engine: EngineName) -> RunSpec:
        """Return the spec that a request leads to, without storing anything.

        Raises:
            NotFoundError: The model or dataset does not exist.
            RequestError: A setting, the name or the dataset does not fit.
        """
        find_model(request.model)
        version = self._datasets.find(requester.guild, request.dataset)
        report = self._datasets.report(requester.guild, version)
        return self.draft_for(request, requester, engine, ref=version.ref, report=report)

    def draft_for(
        self,
        request: TrainRequest,
        requester: Requester,
        engine: EngineName,
        *,
        ref: DatasetRef,
        report: Report,
    ) -> RunSpec:
        """Return the spec that a request leads to for a dataset that may not be stored yet.

        Raises:
            NotFoundError: The model or what it starts from does not exist.
            RequestError: A setting, the name or the dataset does not fit.
            AdapterError: What it starts from does not fit the model.
        """
        gpu, only = self._runtime.gpu(find_model(request.model), engine), self._runtime.only_gpu
        if request.gpu is not None and only is not None and engine == "musubi":
            require_same_gpu(request.gpu, only)
        spec = draft_spec(request, requester, engine, ref=ref, report=report, default_gpu=gpu)
        return self.initial_weights.resolve(spec, request.resume_from)

    def start(self, request: TrainRequest, requester: Requester, engine: EngineName) -> RunSpec:
        """Store a run and move it as far as it can go; the same token gives the same run.

        Raises:
            NotFoundError: The model or dataset does not exist.
            RequestError: A setting, the name or the dataset does not fit.
        """
        if (earlier := self._requested(requester)) is not None:
            return self._store_spec(earlier) or earlier
        draft = self.draft(request, requester, engine)
        return self._store(draft, requester, is_name_given=request.name is not None)

    def resume(self, name: str, requester: Requester) -> RunSpec:
        """Store a new run that goes on with the experts which a failed or cancelled one lacks.

        The old run's folder stays as it is; the new one starts from its training states.

        Raises:
            NotFoundError: The guild has no such run.
            RequestError: The run is still open, or has nothing left to do.
        """

        def draft(old: Run) -> RunSpec:
            if not old.status.is_final or old.status is RunStatus.SUCCEEDED:
                raise RequestError(
                    f"{name} is {old.status.value}, so there is nothing to resume.",
                    "Start another run.",
                    StartRun(),
                )
            return self._rest_of(old, requester)

        return self._go_on(name, requester, draft)

    def try_again(self, name: str, requester: Requester) -> RunSpec:
        """Store a new run of what a failed one lacks, changed as its failure suggests.

        Raises:
            NotFoundError: The guild has no such run, or its dataset is gone.
            RequestError: Nothing was suggested for it.
        """

        def draft(old: Run) -> RunSpec:
            if old.suggestion is None:
                raise RequestError(
                    f"No change of settings is known to help {name} ({old.status.value}).",
                    "Resume it as it is, or start another run.",
                    ResumeRun(run=name),
                )
            report = self._runtime.report(old.spec)
            return with_suggestion(self._rest_of(old, requester), old.suggestion, report)

        return self._go_on(name, requester, draft)

    def _go_on(self, name: str, requester: Requester, draft: Callable[[Run], RunSpec]) -> RunSpec:
        """Store the run that goes on with an old one; no two do at the same time."""
        if (earlier := self._requested(requester)) is not None:
            return self._store_spec(earlier) or earlier
        with hold_lease(self._runtime.leases, f"resume/{requester.guild}/{name}"):
            old = self._runtime.log(requester.guild, name).load()
            spec = draft(old)
            self._runtime.require_engine(old.spec)
            self._require_not_gone_on(old.spec)
            return self._store(spec, requester, is_name_given=False)

    def _require_not_gone_on(self, old: RunSpec) -> None:
        for guild, name in open_runs(self._runtime, old.guild):
            if self._runtime.log(guild, name).spec().continues == old.name:
                raise RequestError(
                    f"{name} continues {old.name} already.",
                    "Wait for it to end.",
                    ShowRuns(run=name),
                )

    def _rest_of(self, old: Run, requester: Requester) -> RunSpec:
        asked = {"requested_by": requester.by, "channel": requester.channel}
        return rest_of(old).model_copy(update={"created_at": self._runtime.clock(), **asked})

    def _store(self, draft: RunSpec, requester: Requester, *, is_name_given: bool) -> RunSpec:
        for name in _names(draft.name, is_given=is_name_given):
            if self._runtime.store.exists(RunKeys(requester.guild, name).spec):
                continue
            spec = self._claim(draft.model_copy(update={"name": name}), requester)
            if (stored := self._store_spec(spec)) is not None:
                request_advance(self._runtime, stored.guild, stored.name)
                return stored
            self._unclaim(requester)
        raise RequestError(
            f"There is a run called {draft.name!r} already.",
            "Choose another name, or leave it out.",
        )

    def cancel(self, guild: str, name: str, *, by: str) -> Run:
        """Ask a run to stop and return it; its checkpoints stay.

        Raises:
            NotFoundError: The guild has no such run.
            RequestError: The run has ended already.
        """
        log = self._runtime.log(guild, name)
        run = log.load()
        if run.status.is_final:
            raise RequestError(
                f"{name} has ended already ({run.status.value}), so there is nothing to cancel.",
                "Download what it saved.",
                DownloadRun(run=name),
            )
        log.append_alone(REQUEST, ev.CancelRequested(at=self._runtime.clock(), by=by))
        try:
            # At once: whoever advances the run may take a while to come, and a GPU is paid for.
            stop_stages(self._runtime, run)
        except OSError:
            logger.warning("run %s: whoever advances it asks its stages", name, exc_info=True)
        request_advance(self._runtime, guild, name)
        return log.load()

    def _requested(self, requester: Requester) -> RunSpec | None:
        if not requester.token:
            return None
        try:
            data = self._runtime.store.read(store_keys.request(requester.guild, requester.token))
        except FileNotFoundError:
            return None
        return RunSpec.model_validate_json(data)

    def _claim(self, spec: RunSpec, requester: Requester) -> RunSpec:
        """Tie the request to this spec; if it arrived twice, both go on with the first's."""
        if requester.token:
            key = store_keys.request(requester.guild, requester.token)
            if not self._runtime.store.create(key, spec.model_dump_json().encode()):
                return self._requested(requester) or spec
        return spec

    def _unclaim(self, requester: Requester) -> None:
        if requester.token:
            self._runtime.store.delete(store_keys.request(requester.guild, requester.token))

    def _store_spec(self, spec: RunSpec) -> RunSpec | None:
        """Store a spec; None when another run has taken its name meanwhile."""
        store = self._runtime.store
        data = spec.model_dump_json(indent=2).encode()
        key = spec.keys.spec
        if not store.exists(key):
            store.create(spec.keys.open, b"")
            if spec.channel:
                store.create(spec.keys.unannounced, b"")
            report = self._report(spec)
            store.write(spec.keys.report, report.model_dump_json().encode())
            self.initial_weights.keep(spec)
        is_ours = store.create(key, data) or store.read(key) == data
        return spec if is_ours else None

    def _report(self, spec: RunSpec) -> Report:
        if spec.continues is not None:
            # The dataset may have been removed since; the old run kept its report.
            return self._runtime.report(spec.model_copy(update={"name": spec.continues}))
        version = self._datasets.find(spec.guild, str(spec.dataset))
        return self._datasets.report(spec.guild, version)


def _names(name: str, *, is_given: bool) -> Iterator[str]:
    yield name
    if is_given:
        return
    for number in range(2, _MAX_SUFFIX):
        suffix = f"-{number}"
        yield f"{name[: 64 - len(suffix)]}{suffix}"
