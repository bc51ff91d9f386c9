"""The plan of a run: everything that a person should see before the run starts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from training.catalogue.models import Model
from training.dataset.config.group import GroupPlan
from training.dataset.report import Finding, Report
from training.estimates.step_times import StepTimes
from training.estimates.time_and_cost import (
    START_SECONDS,
    Estimate,
    estimate,
    estimate_each,
    fallbacks,
    training_usd_per_second,
)
from training.pipeline.advance import FRUITLESS_ATTEMPTS
from training.pipeline.runtime import Runtime
from training.pipeline.settings import DEFAULT_STATE_SECONDS
from training.ports import GpuLine
from training.runs.hyperparameters import SETTING_NAMES, option
from training.runs.spec import Promise, RunSpec
from training.runs.training_items import cut_run, remarks
from training.runs.unusual_settings import doubts

# A stage may be interrupted this many times in a row without progress; the next interruption makes
# the run fail.
INTERRUPTIONS = FRUITLESS_ATTEMPTS - 1
# A price counts as changed if it differs by more than this fraction.
_SAME_PRICE = 0.01
_MOST_LISTED = 4  # at most this many changed settings are listed by name

ReasonToAsk = Literal["unusual settings", "open findings", "unknown cost", "high cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """The longest time and highest cost to expect for a run on `gpu`, with interruptions.

    `is_measured` says whether they are based on measured steps.
    """

    seconds: float
    usd: float
    gpu: str
    is_measured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The plan of a run, with the time and cost to expect if the run starts at the time `at`.

    Attributes:
        report: The report on the run's dataset.
        remarks: Findings on the user's dataset TOML.
        doubts: A sentence on each unusual setting.
        estimate: The estimate for the GPU that the run asks for.
        fallbacks: An estimate for each GPU that the run may get instead.
        price_list: An estimate for every GPU on which the run fits, the least expensive first.
        line: How many calls hold a GPU, and how many wait for one.
        is_billed: Whether GPUs cost money here.
        times: The step times that the estimates are based on.
    """

    spec: RunSpec
    model: Model
    report: Report
    groups: GroupPlan
    remarks: tuple[Finding, ...]
    doubts: tuple[str, ...]
    estimate: Estimate
    fallbacks: tuple[Estimate, ...]
    price_list: tuple[Estimate, ...]
    line: GpuLine
    is_billed: bool
    at: datetime
    times: StepTimes = field(default_factory=StepTimes)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The open findings on the dataset: warnings about problems that repair does not fix."""
        return tuple(
            finding
            for finding in self.report.findings
            if finding.severity == "warning" and not finding.repaired
        )

    @property
    def ends_at(self) -> datetime:
        """When the run would end if it got a GPU at once."""
        return self.at + timedelta(seconds=self.estimate.seconds)

    @property
    def promise(self) -> Promise | None:
        """The expected time and cost of the run; None for a rehearsal."""
        if self.spec.engine == "rehearsal":
            return None
        usd = self.estimate.usd if self.is_billed else None
        return Promise(seconds=self.estimate.seconds, usd=usd)

    @property
    def worst(self) -> WorstCase:
        """The worst case: the most expensive GPU that the run may get, and many interruptions."""
        dearest = max((self.estimate, *self.fallbacks), key=lambda one: one.usd)
        lost_seconds = INTERRUPTIONS * (START_SECONDS + DEFAULT_STATE_SECONDS)
        gpu = dearest.gpu.name
        lost_usd = sum(
            lost_seconds * training_usd_per_second(self.model, one.settings, gpu, dearest.prices)
            for one in self.spec.experts
        )
        return WorstCase(
            seconds=dearest.seconds + lost_seconds,
            usd=dearest.usd + lost_usd,
            gpu=gpu,
            is_measured=dearest.is_measured,
        )

    @property
    def cheapest(self) -> Estimate | None:
        """The cheapest of the estimates based on measured steps; None unless there are several."""
        return min(self._measured, key=lambda one: one.usd, default=None)

    @property
    def fastest(self) -> Estimate | None:
        """The fastest of the estimates based on measured steps; None unless there are several."""
        return min(self._measured, key=lambda one: one.seconds, default=None)

    @property
    def _measured(self) -> list[Estimate]:
        found = [one for one in self.price_list if one.is_measured]
        return found if len(found) > 1 else []

    @property
    def most_usd(self) -> float:
        """The cost on the most expensive GPU that the run may get."""
        return max(one.usd for one in (self.estimate, *self.fallbacks))

    def reasons_to_ask(self, limit_usd: float) -> tuple[ReasonToAsk, ...]:
        """Return the reasons to ask the user before the run starts; () if there are none.

        Rehearsals are free, so only unusual settings are asked about.
        """
        is_real = self.spec.engine != "rehearsal"
        is_paid = is_real and self.is_billed
        is_known = all(one.is_measured for one in (self.estimate, *self.fallbacks))
        reasons: dict[ReasonToAsk, bool] = {
            "unusual settings": bool(self.doubts),
            "open findings": is_real and bool(self.findings),
            "unknown cost": is_paid and not is_known,
            "high cost": is_paid and self.most_usd > limit_usd,
        }
        return tuple(reason for reason, holds in reasons.items() if holds)


def plan_of(
    runtime: Runtime, spec: RunSpec, model: Model, report: Report, times: StepTimes
) -> RunPlan:
    """Return the plan of a run on the dataset that `report` describes."""
    groups = cut_run(report, spec, model)
    work = (model, groups, spec.experts)
    prices = runtime.prices()
    others = fallbacks(model, spec.experts, gpu=spec.gpu) if runtime.falls_back else ()
    gpus = (_gpu(runtime, spec), *others)
    first, *rest = (estimate(*work, gpu=gpu, prices=prices, times=times) for gpu in gpus)
    return RunPlan(
        spec=spec,
        model=model,
        report=report,
        groups=groups,
        remarks=remarks(spec.dataset_toml, report),
        doubts=doubts(spec, model),
        estimate=first,
        fallbacks=tuple(rest),
        price_list=estimate_each(*work, prices=prices, times=times),
        line=runtime.backend.gpu_line(),
        is_billed=runtime.is_billed,
        at=runtime.clock(),
        times=times,
    )


def _gpu(runtime: Runtime, spec: RunSpec) -> str | None:
    """Return the GPU that a run asks for, or the machine's only GPU; None for the model's own."""
    return spec.gpu or (runtime.only_gpu if spec.engine == "musubi" else None)


def changes(shown: RunSpec, shown_usd: float, plan: RunPlan) -> tuple[str, ...]:
    """Return a sentence about each change since a plan was shown."""
    spec, usd = plan.spec, plan.estimate.usd
    found = [*_changes_of(shown, spec)]
    if abs(usd - shown_usd) > _SAME_PRICE * shown_usd:
        found.append(f"The expected cost is now ${usd:,.2f}; it was ${shown_usd:,.2f}.")
    return tuple(found)


def _changes_of(old: RunSpec, new: RunSpec) -> Iterator[str]:
    if old.dataset != new.dataset:
        yield f"The dataset is now {new.dataset}; it was {old.dataset}."
    names = [
        *(name for name in ("gpu", "preset", "engine") if getattr(old, name) != getattr(new, name)),
        *(name for name in type(old.items).model_fields if _differ(old.items, new.items, name)),
        *_changed_settings(old, new),
    ]
    if names:
        shown = ", ".join(map(option, names[:_MOST_LISTED]))
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        yield f"These settings have changed: {shown}{more}."
    elif _content(old) != _content(new):
        yield "The items to train on have changed."


def _changed_settings(old: RunSpec, new: RunSpec) -> Iterator[str]:
    pairs = [
        (before.settings, after.settings)
        for before, after in zip(old.experts, new.experts, strict=False)
    ]
    for name in SETTING_NAMES:
        if any(_differ(before, after, name) for before, after in pairs):
            yield name


def _differ(old: object, new: object, name: str) -> bool:
    return getattr(old, name) != getattr(new, name)


def _content(spec: RunSpec) -> str:
    """Return the spec as JSON, without the fields that differ each time a plan is made."""
    return spec.model_dump_json(exclude={"name", "created_at"})
