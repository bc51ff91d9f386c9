"""The share of an I2V run that trains on single frames, which teach it nothing.

For I2V, the latent cache of a single frame holds the same latents as target and as condition, bit
for bit (measured with musubi-tuner at its pinned commit: 5 of 5 items).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from training.catalogue.models import Model
from training.dataset.config.group import Group, GroupPlan, Item, tokens
from training.estimates.prices import PriceList
from training.estimates.step_times import StepTimes, step_kind
from training.estimates.time_and_cost import training_gpu, training_usd_per_second
from training.runs.spec import ExpertSpec


@dataclass(frozen=True, slots=True)
class SingleFrames:
    """The part of an epoch that trains on single frames.

    Attributes:
        steps: Steps on single frames.
        all_steps: Steps of the whole epoch.
        time_share: Share of the epoch's time that single frames take, from 0 to 1.
        seconds_per_epoch: Seconds of the epoch that single frames take.
    """

    steps: int
    all_steps: int
    time_share: float
    seconds_per_epoch: float


@dataclass(frozen=True, slots=True)
class Savings:
    """What a run would save by leaving out single frames: wall-clock seconds, and dollars."""

    seconds: float
    usd: float


def single_frames(
    model: Model, groups: GroupPlan, *, gpu: str | None = None, times: StepTimes | None = None
) -> SingleFrames | None:
    """Return the part of an epoch that trains on single frames, at the model's default settings.

    Return None for T2V models, and if no item or every item is a single frame.
    """
    if not model.i2v:
        return None
    kind, known = step_kind(model, training_gpu(model, gpu).name), times or StepTimes()

    def seconds(group: Group, item: Item) -> float:
        return known.seconds(kind, tokens(item)) * group.num_repeats

    every = [(group, item) for group in groups.groups for item in group.items]
    single = [(group, item) for group, item in every if item.frames == 1]
    if not single or len(single) == len(every):
        return None
    wasted, total = (sum(seconds(*one) for one in some) for some in (single, every))
    return SingleFrames(
        steps=sum(group.num_repeats for group, _ in single),
        all_steps=sum(group.num_repeats for group, _ in every),
        time_share=wasted / total,
        seconds_per_epoch=wasted,
    )


def savings(
    found: SingleFrames,
    model: Model,
    experts: Sequence[ExpertSpec],
    *,
    gpu: str | None,
    prices: PriceList,
) -> Savings:
    """Return the savings if a run of these experts left out single frames."""
    seconds = [found.seconds_per_epoch * expert.settings.epochs for expert in experts]
    found_gpu = training_gpu(model, gpu).name
    usd = sum(
        its * training_usd_per_second(model, expert.settings, found_gpu, prices)
        for expert, its in zip(experts, seconds, strict=True)
    )
    return Savings(max(seconds), usd)
