"""What the pipeline works with, handed in by a composition root."""

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
    """Name no card: stages run on a CPU, or on one that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The adapters of one installation, and how much an upload may ask of it.

    Attributes:
        gpu: Names the card that an engine trains a model on, where it is known.
        only_gpu: The one card there is, where stages run on a machine whose card is known.
        only_engine: The one engine that its stages can train with, where there is one.
        prices: Tells what GPUs cost; Modal's dated public list unless another is handed in.
        remote_advance: Has a run of a guild advanced by others; without it whoever asks does it.
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
        """Raise when stages here cannot train what a run asks for.

        Raises:
            RequestError: They train with another engine than the run was started for.
        """
        if self.only_engine not in (None, spec.engine):
            raise RequestError(
                f"{spec.name} was started with {spec.engine}, and what is deployed here now trains "
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
        """Return what the inspection of the run's dataset found."""
        data = self.store.read(spec.keys.report)
        return Report.model_validate_json(data)

    def groups(self, spec: RunSpec) -> GroupPlan:
        """Return how the run's dataset is cut into training items."""
        return cut_run(self.report(spec), spec)
