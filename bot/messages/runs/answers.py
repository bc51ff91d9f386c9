"""The list of runs, the answers to actions on a run, and the ping when a run ends."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.messages.card import DESCRIPTION_LIMIT, Card, Colour
from bot.messages.figures import CENT, ago, bar, page_text
from bot.messages.markdown import cut, escape, join_lines, length, one_line
from bot.messages.remedies import suggestion_words
from bot.messages.runs.stages import DONE, FAILED, FLAWED, STOPPED, WAITING, WORKING
from bot.messages.runs.verdict import verdicts
from bot.messages.runs.wording import (
    KEPT,
    flawed_end,
    place_text,
    state_text,
    with_checkpoints,
)
from bot.messages.trash import trash_field
from training.operations.run_list import RunPage
from training.pipeline.run_view import RunSummary, RunView
from training.ports import EVERY_RUN, RunFilter
from training.registry.trash import Removal
from training.remedies import Suggestion, keeps_items
from training.runs.spec import RunSpec
from training.runs.state import RunStatus
from training.wording import count

_SYMBOLS: Mapping[str, str] = {
    RunStatus.QUEUED.value: WAITING,
    RunStatus.RUNNING.value: WORKING,
    RunStatus.SUCCEEDED.value: DONE,
    RunStatus.FAILED.value: FAILED,
    RunStatus.CANCELLED.value: STOPPED,
}
_PING_CAUSE_LIMIT = 300
_LONGEST_REASON = 150  # characters; short enough that a page of runs fits into a message
_FROM_STATE = "from its newest training state, or from the start if none was saved"
_OLD_FILES = "Earlier checkpoints stay with that run."


def runs_card(
    page: RunPage,
    removals: list[Removal] | None = None,
    *,
    only: RunFilter = EVERY_RUN,
    most: int = 10,
) -> Card:
    """Return a card with one page of the list of runs, then removed runs that can be restored.

    `only` is the filter of the list, and `most` the number of runs on a page.
    """
    trash = tuple(filter(None, [trash_field(removals or [])]))
    if not page.total and not page.unread:
        none = "No runs yet. Start one with `/train`."
        if only != EVERY_RUN:
            none = f"No run is {_filter_text(only)}. `/runs` lists all runs."
        return Card(title="Runs", description=none, fields=trash)
    which = "" if only == EVERY_RUN else f": {_filter_text(only)}"
    return Card(
        title=f"{count(page.total, 'run').capitalize()}{which}",
        description=join_lines([_line(summary) for summary in page.runs], DESCRIPTION_LIMIT),
        fields=trash,
        footer=f"{page_text(page.skipped, page.total, most)}{_unread(page)}"
        "/status shows one run; /download gets its files.",
    )


def _filter_text(only: RunFilter) -> str:
    yours = None if only.requested_by is None else "yours"
    model = None if only.model is None else f"of {only.model}"
    return ", ".join(filter(None, (only.state, model, yours)))


def _unread(page: RunPage) -> str:
    if not page.unread:
        return ""
    older = count(page.unread, "older run")
    if page.obstacle is None:
        return f"Still reading {older}. "
    return f"{older} cannot be listed: the bot cannot write the index of runs ({page.obstacle}). "


def live_runs_card(
    summaries: Sequence[RunSummary], *, now: datetime, are_held: bool = False
) -> Card:
    """Return a card that lists live runs, for a channel with too many to keep all cards current.

    Pass `are_held=True` if the waiting runs have no cards yet.
    """
    footer = "With so many runs in one channel, their cards are updated less often."
    if are_held:
        footer = "Runs that wait get their card when they start. /cancel stops a run."
    updated = f"-# Updated {ago(now)}"
    lines = join_lines([_line(run) for run in summaries], DESCRIPTION_LIMIT - length(updated) - 1)
    return Card(
        title=count(len(summaries), "live run").capitalize(),
        description=f"{lines}\n{updated}",
        colour=Colour.ACTIVE,
        footer=footer,
    )


def ended_ping(view: RunView) -> str:
    """Return the line that tells the owner how a run ended."""
    name = f"{view.spec.name}{' (a rehearsal)' if view.spec.engine == 'rehearsal' else ''}"
    match view.run.status:
        case RunStatus.SUCCEEDED:
            files = sum(len(view.run.expert(e.name).checkpoints) for e in view.spec.experts)
            done = f"{DONE} {name} succeeded"
            if (trouble := view.run.trouble) is not None:
                done = f"{FLAWED} {name} {flawed_end(trouble)}"
            return f"{done}: {count(files, 'checkpoint')} to download.{verdicts(view)}"
        case RunStatus.FAILED:
            cause = cut(escape(one_line(view.run.cause)), _PING_CAUSE_LIMIT)
            return f"{FAILED} {name} failed. {cause}"
        case RunStatus.CANCELLED:
            files = "its checkpoints are kept" if with_checkpoints(view) else "nothing was saved"
            return f"{STOPPED} {name} was cancelled; {files}."
        case RunStatus.QUEUED | RunStatus.RUNNING:
            raise ValueError(f"{view.spec.name} has not ended: {view.run.status}")


def ended_elsewhere(view: RunView, *, server: str | None = None) -> str:
    """Return the ping for another channel or a direct message.

    The bot sends it when it can no longer post in the run's own channel.

    Args:
        view: The run.
        server: Name of the run's server, for a direct message; None for a channel of that server.
    """
    where = f" on {escape(server)}" if server is not None else ""
    return f"{ended_ping(view)} The bot can no longer post in its channel{where}."


def cancelled_card(view: RunView) -> Card:
    """Confirm that a run was cancelled, or is stopping."""
    if view.run.status is RunStatus.CANCELLED:
        state = "cancelled"
        text = "Its checkpoints are kept." if with_checkpoints(view) else "Nothing had been saved."
    else:
        state, text = "cancelling", "Stopping now. Anything already saved is kept."
    return Card(title=f"{view.spec.name}: {state}", description=text, colour=Colour.WARNING)


def saving_card(run: str) -> Card:
    """Confirm that the run was asked to save checkpoints now."""
    text = "Every expert that is training saves a checkpoint and its training state after its "
    text += "current step. The card shows the checkpoint once it is saved."
    return Card(title=f"{run}: saving", description=text, colour=Colour.ACTIVE)


def finishing_card(run: str) -> Card:
    """Confirm that the run was asked to stop training and keep everything."""
    text = f"Every expert ends after its current step, as if it had finished. {KEPT}"
    return Card(title=f"{run}: stopping here", description=text, colour=Colour.ACTIVE)


def resumed_card(spec: RunSpec) -> Card:
    """Confirm that a new run continues an old one."""
    names = [expert.name for expert in spec.experts]
    only = f" Trains only the {names[0]} expert." if names in (["high"], ["low"]) else ""
    text = f"Resumes **{spec.continues}** {_FROM_STATE}.{only} {_OLD_FILES}"
    return Card(title=spec.name, description=text, colour=Colour.ACTIVE)


def retried_card(spec: RunSpec, suggestion: Suggestion, old: str) -> Card:
    """Confirm that a new run repeats a failed one with a suggested change."""
    change = suggestion_words(suggestion)
    if keeps_items(suggestion):
        text = f"Resumes **{old}** with {change}, {_FROM_STATE}. {_OLD_FILES}"
    else:
        text = f"Trains **{old}** again with {change}: from the start, because the training items "
        text += f"change. {_OLD_FILES}"
    return Card(title=spec.name, description=text, colour=Colour.ACTIVE)


def _line(summary: RunSummary) -> str:
    symbol = _SYMBOLS.get(summary.state, STOPPED)
    if summary.trouble is not None:
        symbol = FLAWED if summary.state != RunStatus.FAILED else symbol
    usd = summary.spent_usd
    cost = f"${usd:,.2f}" if usd is not None and usd >= CENT else ""
    facts = filter(None, (summary.model, summary.dataset, state_text(summary), cost))
    line = f"{symbol} **{summary.name}** · {' · '.join(facts)}"
    if summary.state in (RunStatus.QUEUED, RunStatus.RUNNING) and summary.error is not None:
        line += f"\n{FLAWED} Waiting: {cut(escape(summary.error), _LONGEST_REASON)}"
    elif summary.gpu_place is not None:
        starts = datetime.fromisoformat(summary.starts_at) if summary.starts_at else None
        line += f"\n{place_text(summary.gpu_place, starts)}"
    if summary.state != RunStatus.RUNNING:
        return line
    done = sum(expert.step for expert in summary.experts)
    return f"{line}\n{bar(done, sum(expert.total_steps for expert in summary.experts))}"
