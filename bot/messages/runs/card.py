"""The card of a run: progress while it lasts, then its files and what to do with them."""

from collections.abc import Mapping
from datetime import datetime

from bot.messages.card import VALUE_LIMIT, Colour, Field
from bot.messages.figures import CENT, about, ago, and_list, dollars, duration, moment
from bot.messages.markdown import cut, escape, join_lines
from bot.messages.models import comfyui_advice
from bot.messages.panel import Panel
from bot.messages.remedies import chat_command, chat_fix
from bot.messages.runs.experts import files_field, progress_field
from bot.messages.runs.stages import FAILED, FLAWED, stage_line, stage_title
from bot.messages.runs.wording import (
    DAMAGED_RECORD,
    KEPT,
    REHEARSAL,
    checked_text,
    chosen_gpu,
    flawed_end,
    item_limits,
    place_text,
    preset_text,
    promise_text,
    with_checkpoints,
)
from training.catalogue.models import find_model
from training.pipeline.outlook import ends_at, expected_usd, gpu_place, silence
from training.pipeline.run_view import RunView
from training.remedies import DownloadRun, ResumeRun
from training.runs.state import RunStatus, StageStatus
from training.vocabulary import StageKey

COLOURS: Mapping[RunStatus, Colour] = {
    RunStatus.QUEUED: Colour.NEUTRAL,
    RunStatus.RUNNING: Colour.ACTIVE,
    RunStatus.SUCCEEDED: Colour.GOOD,
    RunStatus.FAILED: Colour.BAD,
    RunStatus.CANCELLED: Colour.WARNING,
}
_CAUSE_LIMIT = 1500


def run_card(view: RunView, *, now: datetime, note: str = "") -> Panel:
    """Return the card of a run at the time `now`; `note` is a line about its thread, if any."""
    status = view.run.status
    colour = COLOURS[status]
    is_doubtful = view.run.trouble is not None or silence(view, now) is not None
    if is_doubtful and colour in (Colour.ACTIVE, Colour.GOOD):
        colour = Colour.WARNING
    return Panel(
        title=f"{view.spec.name}: {status_text(view)}",
        description="\n".join(filter(None, ("\n".join(_description(view, now)), note))),
        colour=colour,
        fields=_final_fields(view) if status.is_final else _live_fields(view, now),
        footer=_footer(view, now),
    )


def status_text(view: RunView) -> str:
    """Return a run's state in a word or two, such as `succeeded` or `cancelling`."""
    if view.run.is_cancelling:
        return "cancelling"
    if view.run.is_finishing:
        return "stopping here"
    if view.is_waiting and gpu_place(view) is not None:
        return "waiting for a GPU"
    if view.run.status is RunStatus.SUCCEEDED and view.run.trouble is not None:
        return flawed_end(view.run.trouble)
    return view.run.status.value


def _description(view: RunView, now: datetime) -> list[str]:
    spec = view.spec
    on = f"**{spec.model}** on dataset **{spec.dataset}**{_experts(view)}"
    lines = [f"{on}, started by <@{spec.requested_by}>"]
    if spec.continues is not None:
        lines.append(f"Resumes run **{spec.continues}**.")
    elif spec.follows is not None:
        lines.append(f"Repeats run **{spec.follows}** with a change.")
    lines += filter(None, (preset_text(spec), item_limits(spec), chosen_gpu(spec)))
    lines += [
        f"Starts from **{escape(e.start.source)}**{f' ({e.name})' if e.name != 'main' else ''}."
        for e in spec.experts
        if e.start is not None
    ]
    if spec.engine == "rehearsal":
        lines.append(f"*{REHEARSAL}*")
    lines += outcome(view)
    if view.run.status.is_final and view.run.is_record_incomplete:
        lines.append(f"{FLAWED} {DAMAGED_RECORD}")
    lines += _outlook(view, now)
    if not view.run.status.is_final:
        # Discord keeps this "2 minutes ago" current, so readers notice if updates stop.
        lines.append(f"-# Updated {ago(now)}")
    return lines


def _experts(view: RunView) -> str:
    names = [expert.name for expert in view.spec.experts]
    if names == ["main"]:
        return ""
    return f", {and_list(names)} expert{'s' if len(names) > 1 else ''}"


def outcome(view: RunView) -> list[str]:
    """Return an empty line, then a run's outcome and what to do next; [] if there is none yet."""
    run = view.run
    download = f"`{chat_command(DownloadRun(run=run.spec.name))}`"
    match run.status:
        case RunStatus.SUCCEEDED:
            return [
                "",
                *_stopped_early(view),
                f"{checked_text(view)} {download}",
            ]
        case RunStatus.CANCELLED:
            if with_checkpoints(view):
                resume = f"`{chat_command(ResumeRun(run=run.spec.name))}`"
                return ["", f"Its checkpoints are kept. {download}", f"To continue: {resume}"]
            return ["", "It was cancelled before it saved a checkpoint."]
        case RunStatus.FAILED:
            fix = f"**What to do:** {chat_fix(run.fix, run.remedy)}" if run.fix else ""
            return ["", f"**What happened:** {cut(escape(run.cause), _CAUSE_LIMIT)}", fix]
        case RunStatus.QUEUED | RunStatus.RUNNING if run.is_cancelling:
            return ["", "Stopping now. Anything already saved is kept."]
        case RunStatus.RUNNING if run.is_finishing:
            return ["", f"Every expert ends after its current step. {KEPT}"]
        case _:
            return ["", f"{FLAWED} Waiting: {escape(view.obstacle)}"] if view.obstacle else []


def _stopped_early(view: RunView) -> list[str]:
    if view.run.finish_requested_at is None:
        return []
    ends = [
        f"epoch {view.expert(one.name).epoch} of {one.settings.epochs}" for one in view.spec.experts
    ]
    return [f"Stopped on request in {and_list(list(dict.fromkeys(ends)))}."]


def _outlook(view: RunView, now: datetime) -> list[str]:
    """Return lines on when a run will start and end, with a warning if it has gone quiet."""
    if view.run.status.is_final or view.run.is_ending:
        return []
    lines: list[str] = []
    if quiet := silence(view, now):
        lines.append(f"{FLAWED} No news for {duration(quiet.total_seconds())}.")
    if (place := gpu_place(view)) is not None:
        lines.append(place_text(place, view.starts_at))
    end, promised = ends_at(view, now), view.spec.promised
    if end is not None:
        lines.append(f"Ends {moment(end, 'f')}, {ago(end)}.")
    elif promised is not None:
        lines.append(f"Takes about {duration(promised.seconds)} once it has a GPU.")
    return lines


def _live_fields(view: RunView, now: datetime) -> tuple[Field, ...]:
    shown = (StageStatus.RUNNING, StageStatus.INTERRUPTED, StageStatus.SUCCEEDED)
    experts = tuple(
        progress_field(view, expert.name, now)
        for expert in view.spec.experts
        if view.run.stage(StageKey("train", expert.name)).status in shown
        or view.expert(expert.name).step > 0
    )
    return (*experts, _stages(view))


def _final_fields(view: RunView) -> tuple[Field, ...]:
    files = tuple(files_field(view, expert.name) for expert in view.spec.experts)
    match view.run.status:
        case RunStatus.SUCCEEDED:
            return (*files, _advice(view), _stages(view))
        case RunStatus.FAILED:
            return (_failed(view), *files, _stages(view))
        case _:
            return (*files, _stages(view))


def _stages(view: RunView) -> Field:
    return Field("Stages", join_lines([stage_line(view, key) for key in view.keys], VALUE_LIMIT))


def _failed(view: RunView) -> Field:
    failed = [key for key in view.keys if view.run.stage(key).status is StageStatus.FAILED]
    lines = [f"{FAILED} {stage_title(key)}" for key in failed]
    return Field("What failed", "\n".join(lines) or "the whole run")


def _advice(view: RunView) -> Field:
    model = find_model(view.spec.model)
    lines = list(comfyui_advice(model))
    lines.append("`/download` includes a workflow with all of this set up: drag it into ComfyUI.")
    missing = [e.name for e in model.experts if e.name not in {s.name for s in view.spec.experts}]
    if missing:
        lines.append(
            f"This run trained one expert only; use the {and_list(missing)} LoRA of another run."
        )
    later = ", after real training" if view.spec.engine == "rehearsal" else ""
    numbered = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
    return Field(f"Use it in ComfyUI{later}", join_lines(numbered, VALUE_LIMIT))


def _footer(view: RunView, now: datetime) -> str:
    run = view.run
    seconds = max((now - run.spec.created_at).total_seconds(), 0.0)
    match run.status:
        case RunStatus.QUEUED:
            parts = [f"Waiting for {about(seconds)}", _cost(view, now)]
        case RunStatus.RUNNING:
            sign = view.last_sign_of_life()
            alive = f"last sign of life {ago(sign)}" if sign is not None else ""
            parts = [f"Started {about(seconds)} ago", _cost(view, now), alive]
        case _:
            return ended_footer(view)
    return " · ".join(filter(None, parts))


def ended_footer(view: RunView) -> str:
    """Return how long a run took and what it cost, and what its plan had said."""
    run = view.run
    until = run.ended_at or run.spec.created_at
    seconds = max((until - run.spec.created_at).total_seconds(), 0.0)
    parts = (f"Took {duration(seconds)}", _paid(view, until), promise_text(view.spec))
    return " · ".join(filter(None, parts))


def _paid(view: RunView, until: datetime) -> str:
    usd = view.spent_usd(until)
    return f"about ${usd:,.2f}" if usd else ""


def _cost(view: RunView, now: datetime) -> str:
    """Return the cost of an unfinished run so far and in all: `$4.10 of about $9.80`."""
    spent = view.spent_usd(now)
    expected = expected_usd(view, now)
    so_far = dollars(spent) if spent is not None and spent >= CENT else ""
    if so_far and expected:
        return f"{so_far} of about {dollars(expected)}"
    if expected:
        return f"about {dollars(expected)} expected"
    return f"{so_far} so far" if so_far else ""
