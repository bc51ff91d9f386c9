"""The adapters that the pipeline works with, passed in by a composition root."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError

from training import store_keys
from training.catalogue.models import Model, find_model
from training.dataset.limits import Limits
from training.dataset.original import used_as
from training.dataset.report import Report
from training.errors import DatasetError, RequestError
from training.estimates.prices import PriceList, listed_prices
from training.pipeline.found_gpu import no_found_gpu
from training.pipeline.plan import Planner
from training.ports import Backend, Engine, Leases, LiveValues, Store
from training.remedies import StartRun
from training.runs.event_log import RunLog
from training.runs.spec import RunSpec
from training.runs.training_items import cut_run
from training.vocabulary import EngineName

logger = logging.getLogger(__name__)
DEFAULT_CACHE_SECONDS = 180.0


def now() -> datetime:
    return datetime.now(UTC)


def no_shortage() -> None:
    """Return None, for a store that is not on this machine's disk."""


def no_gpu(_model: Model, _engine: EngineName) -> None:
    """Return None, for stages that run on a CPU or on an unknown GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The adapters and limits of one installation.

    Attributes:
        gpu: Returns the GPU on which an engine trains a model; None for a CPU or an unknown GPU.
        only_gpu: The machine's GPU, if there is only one kind; None if a run can choose.
        found_gpu: Returns the GPU that the stage in this process actually got; None if unknown.
        is_billed: Whether stages are billed by the second, at `prices`.
        falls_back: Whether a run that chose no GPU may get one other than the model's default.
        only_engine: The only engine that stages can use; None if they can use any.
        prices: Returns the GPU prices; by default, the prices of Modal's public list.
        cache_seconds: How long the cache stage waits between two writes of finished files.
        shortage: Returns what the store's disk has run out of, such as space; None if the disk has
            room, or if nothing is known about it.
        room_seconds: How long small writes wait for room if the store is full; 0 on Modal, where
            a waiting container costs money.
        remote_advance: Asks another process to advance a run; if None, this process does it.
    """

    store: Store
    leases: Leases
    backend: Backend
    live: LiveValues
    engine: Callable[[EngineName], Engine]
    gpu: Callable[[Model, EngineName], str | None] = no_gpu
    only_gpu: str | None = None
    found_gpu: Callable[[EngineName], str | None] = no_found_gpu
    is_billed: bool = False
    falls_back: bool = False
    only_engine: EngineName | None = None
    prices: Callable[[], PriceList] = listed_prices
    limits: Limits = field(default_factory=Limits)
    cache_seconds: float = DEFAULT_CACHE_SECONDS
    shortage: Callable[[], str | None] = no_shortage
    room_seconds: float = 0.0
    clock: Callable[[], datetime] = now
    remote_advance: Callable[[str, str], None] | None = None

    def require_engine(self, spec: RunSpec) -> None:
        """Raise `RequestError` if this installation cannot use the run's engine."""
        if self.only_engine not in (None, spec.engine):
            raise RequestError(
                f"{spec.name} was started with {spec.engine}, but this installation now trains "
                f"with {self.only_engine}.",
                "Start another run; the checkpoints of this run are kept.",
                StartRun(),
            )

    def log(self, guild: str, run: str) -> RunLog:
        return RunLog(self.store, guild, run)

    def planner(self, spec: RunSpec) -> Planner:
        model = find_model(spec.model)
        groups = cut_run(self.report(spec), spec, model)
        return Planner(spec, model, groups, self.engine(spec.engine), self.store)

    def report(self, spec: RunSpec) -> Report:
        """Return the report on a run's dataset: the run's own copy, else the dataset's.

        Raises:
            FileNotFoundError: The copy is missing, and the dataset has no valid report of the
                version that the run uses.
            ValidationError: The copy is damaged, and the dataset has no valid report of the version
                that the run uses.
        """
        try:
            return Report.model_validate_json(self.store.read(spec.keys.report))
        except (FileNotFoundError, ValidationError):
            if (report := self._report_of_dataset(spec)) is None:
                raise
            logger.warning(
                "run %s: its report is missing or damaged; using the dataset's", spec.name
            )
            return report

    def _report_of_dataset(self, spec: RunSpec) -> Report | None:
        used = spec.dataset
        folder = store_keys.dataset(spec.guild, used.name, used.number)
        try:
            data = self.store.read(f"{folder}/{store_keys.REPORT}")
            report = used_as(Report.model_validate_json(data), used.media)
        except (FileNotFoundError, ValidationError, DatasetError):
            return None
        return report if report.version == used.version else None
