"""Time and cost of a planned run, on its own GPU and on other GPUs."""

from collections.abc import Mapping, Sequence

from bot.messages.figures import and_list, duration, single_frames_share
from bot.messages.options import Spell
from training.catalogue.gpus import GPUS
from training.estimates.gpu_memory import UNMEASURED, needs
from training.estimates.prices import PriceList
from training.estimates.single_frames import savings, single_frames
from training.estimates.time_and_cost import Estimate
from training.operations.run_plans import INTERRUPTIONS, ReasonToAsk, RunPlan
from training.ports import GpuLine


def cost_lines(plan: RunPlan, spell: Spell) -> list[str]:
    """Return the time and cost of a run: on its GPU, then on the GPUs that it may get instead."""
    found = plan.estimate
    takes = f"about {duration(found.seconds)} and ${found.usd:,.2f}"
    rest = f"on {found.gpu.with_article} ({basis(found)})"
    if plan.spec.engine == "rehearsal":
        return [
            "This rehearsal is free.",
            f"Real training would take {takes} {rest}.",
            *_may_become(plan, spell),
        ]
    if not plan.is_billed:
        on = f"on {found.gpu.with_article} ({_steps(found)})"
        return [f"About {duration(found.seconds)} {on}. Runs on this machine are not billed."]
    return [f"{takes.capitalize()} {rest}.", *_may_become(plan, spell)]


def _may_become(plan: RunPlan, spell: Spell) -> list[str]:
    lines: list[str] = []
    first, worst = plan.estimate.gpu, plan.worst
    if plan.fallbacks:
        others = [
            f"{one.gpu.with_article} ({duration(one.seconds)}, ${one.usd:,.2f}"
            f"{'' if one.is_measured else f'; {UNMEASURED}'})"
            for one in plan.fallbacks
        ]
        lines.append(
            f"If no {first.name} is free, the run uses {' or '.join(others)}. "
            f"With {spell('gpu', first.name)} it waits for {first.with_article}."
        )
    each = "" if len(plan.spec.experts) == 1 else " of each expert"
    lines.append(
        f"At worst, on {GPUS[worst.gpu].with_article} and with {INTERRUPTIONS} interruptions"
        f"{each}: {duration(worst.seconds)} and ${worst.usd:,.2f}"
        f"{_unless_measured(is_measured=worst.is_measured)}."
    )
    return lines


def _unless_measured(*, is_measured: bool) -> str:
    return "" if is_measured else f" ({UNMEASURED})"


def price_lines(plan: RunPlan) -> list[str]:
    """Return the cost and time on each GPU with enough memory for the run, cheapest first.

    Only GPUs on which steps were measured are called cheapest or fastest.
    """
    if plan.spec.engine != "rehearsal" and not plan.is_billed:
        return []
    lines = [_price_line(plan, one) for one in plan.price_list]
    fitting = {one.gpu.name for one in plan.price_list}
    small = [name for name in GPUS if name not in fitting]
    if small:
        lines.append(f"Too little memory: {and_list(small)}.")
    return lines


def _price_line(plan: RunPlan, one: Estimate) -> str:
    marks = {"cheapest": plan.cheapest, "fastest": plan.fastest}
    marked = [mark for mark, best in marks.items() if best is not None and best.gpu == one.gpu]
    notes = [f"{and_list(marked)} of those measured"] if marked else []
    if not one.is_measured:
        notes.append(UNMEASURED)
    if one.gpu == plan.estimate.gpu:
        notes.append("this plan")
    return " · ".join([one.gpu.name, f"${one.usd:,.2f}", duration(one.seconds), *notes])


def line_text(line: GpuLine) -> str:
    """Return a sentence with a run's position in the GPU queue; "" if it would not wait."""
    place = line.next_place
    return "" if place is None else f"Position {place} in the GPU queue."


_WHY: Mapping[ReasonToAsk, str] = {
    "unusual settings": "a setting is unusual",
    "open findings": "its dataset has open findings",
    "unknown cost": "its cost is only a rough estimate",
}


def why_asked(reasons: Sequence[ReasonToAsk], limit_usd: float) -> str:
    """Return a sentence that says why a run needs a confirmation."""
    texts = [
        f"it may cost more than ${limit_usd:,.2f}" if reason == "high cost" else _WHY[reason]
        for reason in reasons
    ]
    return f"This run needs your confirmation because {and_list(texts)}."


def memory_text(plan: RunPlan) -> str:
    """Return how much GPU memory the most demanding group needs, and how much the GPU has."""
    settings = [expert.settings for expert in plan.spec.experts]
    gpu = plan.estimate.gpu
    found = needs(plan.model, plan.groups, gpu.name, settings)
    most = max(found, key=lambda need: need.gib)
    source = "measured" if most.is_measured else UNMEASURED
    fits = " Won't fit." if most.is_too_large else ""
    return (
        f"Needs about {most.gib:.0f} GiB for the group {most.group.name} ({source}); "
        f"{gpu.with_article} has {most.gpu_gib:.0f}.{fits}"
    )


def single_frames_text(plan: RunPlan, spell: Spell) -> str:
    """Return the share and cost of single frames in an I2V run; "" if it has none."""
    spec = plan.spec
    found = single_frames(plan.model, plan.groups, gpu=spec.gpu, times=plan.times)
    if found is None:
        return ""
    saved = savings(found, plan.model, spec.experts, gpu=spec.gpu, prices=plan.estimate.prices)
    advice = (
        "Leave them out of your dataset TOML to save"
        if spec.dataset_toml is not None
        else f"{spell('items', 'clips')} leaves them out and saves"
    )
    return (
        f"{single_frames_share(found)} {advice} about {duration(saved.seconds)} and "
        f"${saved.usd:,.2f}{_unless_measured(is_measured=plan.estimate.is_measured)}."
    )


def priced(gpu: str, prices: PriceList) -> str:
    """Return `H200 ($4.54/h, list of 2026-07-01)`, or `H200 ($4.54/h, live)`."""
    source = "live" if prices.is_live else f"list of {prices.day}"
    return f"{gpu} (${prices.usd_per_hour(gpu):.2f}/h, {source})"


def basis(estimate: Estimate) -> str:
    """Return what an estimate is based on: measured or estimated steps, and which prices."""
    prices = estimate.prices
    source = f"live prices of {prices.day}" if prices.is_live else f"price list of {prices.day}"
    return f"{_steps(estimate)}; {source}"


def _steps(estimate: Estimate) -> str:
    if not estimate.is_measured:
        return UNMEASURED
    return f"measured steps{' of earlier runs here' if estimate.is_from_here else ''}"
