"""The adapters that the pipeline works with, passed in by a composition root."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from training.catalogue.models import Model
from training.dataset.config.group import GroupPlan
from training.dataset.limits import Limits
from training.dataset.report import Report
from training.errors import RequestError
from training.estimates.prices import PriceList, listed_prices
from training.pipeline.plan import Planner
from training.ports import Backend, Board, Engine, Leases, Store
from training.remedies import StartRun
from training.runs.event_log import RunLog
from training.runs.spec import RunSpec
from training.runs.training_items import cut_run
from training.vocabulary import EngineName


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def no_gpu(_model: Model, _engine: EngineName) -> None:
    """Return no GPU: stages run on a CPU or an unknown GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The adapters and limits of one installation.

    Attributes:
        gpu: Returns the GPU that an engine trains a model on, if known.
        only_gpu: The machine's GPU, if stages run on a single known one.
        only_engine: The only engine that stages can use, if limited to one.
        prices: Returns the GPU prices; by default Modal's public list.
        remote_advance: Asks another process to advance a run; None to advance in-process.
    """

    store: Store
    leases: Leases
    backend: Backend
    board: Board
    engine: Callable[[EngineName], Engine]
    gpu: Callable[[Model, EngineName], str | None] = no_gpu
    only_gpu: str | None = None
    only_engine: EngineName | None = None
    prices: Callable[[], PriceList] = listed_prices
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], datetime] = now
    remote_advance: Callable[[str, str], None] | None = None

    def require_engine(self, spec: RunSpec) -> None:
        """Raise if this installation cannot train the run.

        Raises:
            RequestError: It trains with another engine than the run's.
        """
        if self.only_engine not in (None, spec.engine):
            raise RequestError(
                f"{spec.name} was started with {spec.engine}, but this installation now trains "
                f"with {self.only_engine}.",
                "Start another run; the checkpoints of this one are kept.",
                StartRun(),
            )

    def log(self, guild: str, run: str) -> RunLog:
        """Return the log of one run."""
        return RunLog(self.store, guild, run)

    def planner(self, spec: RunSpec) -> Planner:
        """Return the planner of one run."""
        return Planner(spec, self.groups(spec), self.engine(spec.engine), self.store)

    def report(self, spec: RunSpec) -> Report:
        """Return the report on the run's dataset."""
        data = self.store.read(spec.keys.report)
        return Report.model_validate_json(data)

    def groups(self, spec: RunSpec) -> GroupPlan:
        """Return how the run's dataset is split into training items."""
        return cut_run(self.report(spec), spec)
