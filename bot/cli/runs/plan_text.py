"""Prints a plan: for `lorabot plan`, and before `lorabot train` asks for confirmation."""

from collections.abc import Iterator

from bot.cli.output import console
from bot.messages.figures import rate
from bot.messages.options import on_terminal
from bot.messages.runs.plan import items_text
from bot.messages.runs.plan_costs import (
    cost_lines,
    line_text,
    memory_text,
    price_lines,
    single_frames_text,
)
from bot.messages.runs.wording import chosen_gpu, item_limits, preset_text
from training.operations.run_plans import RunPlan
from training.runs.spec import ExpertSpec
from training.wording import count


def print_plan(plan: RunPlan) -> None:
    spec = plan.spec
    console.print(f"{spec.name}: {spec.model} on {spec.dataset}, engine {spec.engine}")
    for line in _lines(plan):
        console.print(line, markup=False)


def _lines(plan: RunPlan) -> Iterator[str]:
    spec = plan.spec
    yield from (_expert(plan, expert) for expert in spec.experts)
    yield from filter(None, (preset_text(spec), item_limits(spec), chosen_gpu(spec)))
    yield from (f"[unusual] {sentence}" for sentence in plan.doubts)
    for finding in (*plan.findings, *plan.remarks):
        yield f"[{finding.severity}] {finding.cause} {finding.fix}"
    yield from cost_lines(plan, on_terminal)
    yield from filter(None, (line_text(plan.line), *_prices(plan)))
    frames = single_frames_text(plan, on_terminal)
    yield from filter(None, (items_text(plan), frames, memory_text(plan)))


def _expert(plan: RunPlan, expert: ExpertSpec) -> str:
    its, steps = expert.settings, plan.spec.steps_per_epoch
    return (
        f"{expert.name}: rank {its.rank}, alpha {its.alpha:g}, learning rate "
        f"{rate(its.learning_rate)}, {count(its.epochs, 'epoch')} of {count(steps, 'step')}, "
        f"{steps * its.epochs} in total"
    )


def _prices(plan: RunPlan) -> list[str]:
    lines = price_lines(plan)
    return ["On each GPU with enough memory:", *(f"  {line}" for line in lines)] if lines else []
