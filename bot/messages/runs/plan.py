"""The plan of a run, as shown before the run starts and once it has started."""

from collections.abc import Sequence
from datetime import datetime

from bot.messages.card import VALUE_LIMIT, Card, Colour, Field
from bot.messages.datasets.cards import finding_text
from bot.messages.datasets.report import media_counts
from bot.messages.figures import moment
from bot.messages.markdown import cut, escape, join_lines, one_line
from bot.messages.options import in_chat
from bot.messages.remedies import chat_command
from bot.messages.runs.plan_costs import (
    cost_lines,
    line_text,
    memory_text,
    price_lines,
    single_frames_text,
    why_asked,
)
from bot.messages.runs.settings import settings_field
from bot.messages.runs.stages import FLAWED
from bot.messages.runs.wording import REHEARSAL, chosen_gpu, item_limits, preset_text
from training.operations.drafts import Draft
from training.operations.run_plans import RunPlan
from training.remedies import ShowRuns
from training.wording import count

_NOTE_LIMIT = 300


def started_card(plan: RunPlan) -> Card:
    show = chat_command(ShowRuns(run=plan.spec.name))
    return _card(plan, plan.spec.name, [f"Queued. Follow it below, or use `{show}`."])


def asked_card(
    plan: RunPlan, valid_until: datetime, limit_usd: float, notes: Sequence[str]
) -> Card:
    """Return a card with a plan that the user must confirm before the run starts.

    Args:
        plan: The plan.
        valid_until: When it expires.
        limit_usd: A run that may cost more than this always needs a confirmation.
        notes: Why the plan is shown again, if it is.
    """
    lines = [f"{FLAWED} {cut(escape(one_line(note)), _NOTE_LIMIT)}" for note in notes]
    lines.append(f"Nothing has started. The plan is valid until {moment(valid_until, 't')}.")
    if reasons := plan.reasons_to_ask(limit_usd):
        lines.append(f"-# {why_asked(reasons, limit_usd)}")
    return _card(plan, f"Plan: {plan.spec.name}", lines)


def model_question(dataset: str) -> Card:
    """Ask which model to train on a dataset."""
    text = "Choose a model to see the plan of a run. Nothing starts until you confirm the plan."
    return Card(title=f"Train on {dataset}", description=text)


def dismissed_card(draft: Draft) -> Card:
    """Confirm that a plan was dismissed."""
    text = f"{draft.shown.name} was not started, and its plan is deleted."
    return Card(title="Dismissed", description=text)


def _card(plan: RunPlan, title: str, lines: Sequence[str]) -> Card:
    spec = plan.spec
    totals = plan.report.totals
    contents = media_counts(totals.images, totals.clips)
    description = [f"**{spec.model}** on dataset **{spec.dataset}** ({contents})"]
    if spec.engine == "rehearsal":
        description.append(f"*{REHEARSAL}*")
    description += lines
    chosen = (preset_text(spec), item_limits(spec), chosen_gpu(spec))
    description += [f"**{text}**" for text in chosen if text]
    is_doubtful = bool(plan.doubts or plan.findings)
    return Card(
        title=title,
        description="\n".join(description),
        colour=Colour.WARNING if is_doubtful else Colour.ACTIVE,
        fields=(
            *(settings_field(spec, expert, plan.model) for expert in spec.experts),
            *_listed("Unusual settings", plan.doubts),
            *_findings(plan),
            Field("Time and cost", _time_and_cost(plan)),
            *_prices(plan),
            Field("Training items", _items(plan)),
            *_single_frames(plan),
            Field("GPU memory", memory_text(plan)),
            *_dataset_toml(plan),
        ),
    )


def _time_and_cost(plan: RunPlan) -> str:
    lines = cost_lines(plan, in_chat)
    waiting = line_text(plan.line)
    if plan.spec.engine != "rehearsal":
        end = moment(plan.ends_at, "f")
        waiting = f"{waiting} Ends {end} at the earliest." if waiting else f"Ends about {end}."
    return "\n".join(filter(None, (*lines, waiting)))


def _prices(plan: RunPlan) -> list[Field]:
    title = "Cost on each GPU"
    if plan.spec.engine == "rehearsal":
        title = "Cost of real training on each GPU"
    lines = price_lines(plan)
    return [Field(title, join_lines(lines, VALUE_LIMIT))] if lines else []


def _listed(title: str, sentences: Sequence[str]) -> list[Field]:
    lines = [f"{FLAWED} {escape(one_line(sentence))}" for sentence in sentences]
    return [Field(title, join_lines(lines, VALUE_LIMIT))] if lines else []


def _findings(plan: RunPlan) -> list[Field]:
    lines = [finding_text(finding) for finding in plan.findings]
    title = f"Open findings in {plan.spec.dataset}"
    return [Field(title, join_lines(lines, VALUE_LIMIT, "- and {} more"))] if lines else []


def items_text(plan: RunPlan) -> str:
    """Return lines that say which items are left out and what is unusual about the others."""
    return "\n".join((*plan.groups.left_out, *plan.groups.remarks))


def _items(plan: RunPlan) -> str:
    items, steps = len(plan.groups.items), plan.groups.steps_per_epoch
    lines = [f"{count(items, 'item')}, {count(steps, 'step')} per epoch."]
    lines += [escape(one_line(line)) for line in items_text(plan).splitlines()]
    return join_lines(lines, VALUE_LIMIT)


def _single_frames(plan: RunPlan) -> list[Field]:
    text = single_frames_text(plan, in_chat)
    return [Field("Single frames", text)] if text else []


def _dataset_toml(plan: RunPlan) -> list[Field]:
    if plan.spec.dataset_toml is None:
        return []
    lines = [f"- {escape(one_line(f'{finding.cause} {finding.fix}'))}" for finding in plan.remarks]
    text = join_lines(lines, VALUE_LIMIT) if lines else "Used unchanged, except for the paths."
    return [Field("Your dataset TOML", text)]
