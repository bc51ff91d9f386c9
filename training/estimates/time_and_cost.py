"""Estimated time and cost of a run, from measured step times and a price list."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.catalogue.gpus import FALLBACKS, GPUS, Gpu
from training.catalogue.models import Model
from training.dataset.config.group import GroupPlan, token_count
from training.estimates.gpu_memory import needs
from training.estimates.machine_requests import (
    CACHE_REQUEST,
    MERGE_REQUEST,
    TRAIN_REQUEST,
    training_request,
)
from training.estimates.prices import PriceList
from training.estimates.step_times import StepKind, StepTimes, step_kind
from training.runs.hyperparameters import ExpertSettings
from training.runs.spec import ExpertSpec

START_SECONDS = 240.0  # to start a container and load 14B weights from a Volume
_CACHE_SECONDS_AN_ITEM = 6.0
_MERGE_SECONDS = 285.0  # to read and write a 14B base on a Volume
# An estimate counts as measured if unmeasured steps take at most this share of its training time.
_UNMEASURED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected wall-clock seconds, with both experts in parallel, and total dollars.

    The dollars also cover CPU cores, main memory and merges.

    Attributes:
        is_measured: Whether at least 90% of the training time is for steps of a kind and size that
            were measured on this GPU.
        is_from_here: Whether earlier runs here took such steps on this GPU.
    """

    seconds: float
    usd: float
    gpu: Gpu
    prices: PriceList
    is_measured: bool
    is_from_here: bool = False


def estimate(
    model: Model,
    groups: GroupPlan,
    experts: Sequence[ExpertSpec],
    *,
    gpu: str | None,
    prices: PriceList,
    times: StepTimes | None = None,
) -> Estimate:
    """Return the estimate for training these experts on `gpu`; None means the model's own GPU.

    Without `times`, earlier runs are ignored and only the built-in measurements are used.
    """
    run = _Run(model, groups, experts, prices, times or StepTimes())
    return run.on(training_gpu(model, gpu))


def estimate_each(
    model: Model,
    groups: GroupPlan,
    experts: Sequence[ExpertSpec],
    *,
    prices: PriceList,
    times: StepTimes | None = None,
) -> tuple[Estimate, ...]:
    """Return an estimate for each GPU with enough memory for the run, the least expensive first."""
    run = _Run(model, groups, experts, prices, times or StepTimes())
    settings = [expert.settings for expert in experts]
    fitting = [
        gpu
        for gpu in GPUS.values()
        if not any(need.is_too_large for need in needs(model, groups, gpu.name, settings))
    ]
    return tuple(sorted(map(run.on, fitting), key=lambda found: found.usd))


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything that an estimate depends on, except for the GPU."""

    model: Model
    groups: GroupPlan
    experts: Sequence[ExpertSpec]
    prices: PriceList
    times: StepTimes

    def on(self, gpu: Gpu) -> Estimate:
        prices = self.prices
        caching = START_SECONDS + _CACHE_SECONDS_AN_ITEM * len(self.groups.items)
        usd = caching * prices.container_usd_per_second(gpu.name, CACHE_REQUEST)
        merges = sum(expert.speed_lora is not None for expert in self.experts)
        usd += merges * _MERGE_SECONDS * prices.machine.usd_per_second(MERGE_REQUEST)
        training, unmeasured, is_from_here = list[float](), 0.0, False
        for expert in self.experts:
            kind = step_kind(self.model, gpu.name, expert.settings)
            is_from_here |= self.times.is_seen(kind)
            epoch, rough = self._epoch(kind)
            unmeasured += rough * expert.settings.epochs
            training.append(epoch * expert.settings.epochs)
            usd += (training[-1] + START_SECONDS) * training_usd_per_second(
                self.model, expert.settings, gpu.name, prices
            )
        return Estimate(
            seconds=caching + max(training) + START_SECONDS,
            usd=usd,
            gpu=gpu,
            prices=prices,
            is_measured=unmeasured <= _UNMEASURED_SHARE * sum(training),
            is_from_here=is_from_here,
        )

    def _epoch(self, kind: StepKind) -> tuple[float, float]:
        """Return the seconds of an epoch's steps, and how many of them are for unmeasured steps."""
        every, rough = 0.0, 0.0
        for group in self.groups.groups:
            for (width, height, frames), items in group.buckets.items():
                tokens = token_count((width, height), frames)
                seconds = self.times.seconds(kind, tokens) * items * group.num_repeats
                every += seconds
                rough += 0.0 if self.times.is_measured(kind, tokens) else seconds
        return every, rough


def training_usd_per_second(
    model: Model, settings: ExpertSettings, gpu: str, prices: PriceList
) -> float:
    """Return the dollars per second of training an expert, including cores and memory."""
    return prices.container_usd_per_second(gpu, training_request(model, settings))


def fallbacks(model: Model, experts: Sequence[ExpertSpec], *, gpu: str | None) -> tuple[str, ...]:
    """Return the GPUs that Modal may give instead of the model's own.

    There are none if the user chose a GPU, or if the run needs more memory than usual (see
    `placement_of`).
    """
    has_own = any(training_request(model, e.settings) != TRAIN_REQUEST for e in experts)
    return () if gpu is not None or has_own else FALLBACKS[model.gpu]


def training_gpu(model: Model, gpu: str | None) -> Gpu:
    """Return the GPU called `gpu`; for None, the model's own."""
    return GPUS[gpu or model.gpu]
