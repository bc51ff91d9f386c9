"""Records what each attempt of a stage used and cost, when it ends or is found gone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from training.estimates.machine_requests import stage_request
from training.estimates.spent import usd_per_second
from training.pipeline.run_view import progress_of
from training.pipeline.runtime import Runtime
from training.runs.events import StageCost
from training.runs.spec import RunSpec
from training.runs.state import StageState
from training.vocabulary import StageKey

# An attempt that vanished counts up to its last sign of life and this much longer: it may have
# worked on in silence, for example while it loaded a model.
ALLOWANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class StageMeter:
    """Computes the cost of one attempt, which began at `began_at`.

    Attributes:
        gpu: The GPU that the attempt actually got; None if unknown or a CPU.
    """

    runtime: Runtime
    spec: RunSpec
    key: StageKey
    gpu: str | None
    began_at: datetime

    def cost(self, until: datetime) -> StageCost:
        request, seconds = stage_request(self.spec, self.key), until - self.began_at
        return StageCost(
            seconds=max(seconds.total_seconds(), 0.0),
            gpu=self.gpu,
            cores=request.cores,
            memory_gib=request.memory_gib,
            usd_per_second=self._rate(),
        )

    def _rate(self) -> float | None:
        if not self.runtime.is_billed:
            return None
        return usd_per_second(self.spec, self.key, self.gpu, self.runtime.prices())


def cost_of_lost(
    runtime: Runtime, spec: RunSpec, key: StageKey, stage: StageState
) -> StageCost | None:
    """Return the cost of a stage's newest attempt, which is gone; None if it never started."""
    if stage.attempt_started_at is None:
        return None
    signs = [stage.attempt_started_at, stage.heard_at or stage.attempt_started_at]
    newest = progress_of(runtime, spec, key)
    if newest is not None and newest.attempt == stage.attempt and newest.at is not None:
        signs.append(newest.at)
    meter = StageMeter(runtime, spec, key, stage.gpu, stage.attempt_started_at)
    return meter.cost(min(runtime.clock(), max(signs) + ALLOWANCE))
