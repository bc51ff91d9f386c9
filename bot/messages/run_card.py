"""A run's one live message, from the moment it is stored to what there is to do at the end."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from bot.messages.advice import comfyui_advice
from bot.messages.card import VALUE_LIMIT, Card, Colour, Field
from bot.messages.expert_field import files_field, progress_field
from bot.messages.figures import about, duration, listed
from bot.messages.gpu_text import asked_gpu
from bot.messages.markdown import cut, escape, join_lines
from bot.messages.remedy_text import chat_fix, items_text
from bot.messages.stage_line import FAILED, stage_line, stage_title
from training.catalogue.models import find_model
from training.pipeline.run_view import RunView
from training.runs.state import RunStatus, StageStatus
from training.vocabulary import ExpertName, StageKey

REHEARSAL = "Rehearsal: a tiny stand-in model on CPU; its LoRA is not usable in ComfyUI."

_COLOURS: Mapping[RunStatus, Colour] = MappingProxyType(
    {
        RunStatus.QUEUED: Colour.NEUTRAL,
        RunStatus.RUNNING: Colour.ACTIVE,
        RunStatus.SUCCEEDED: Colour.GOOD,
        RunStatus.FAILED: Colour.BAD,
        RunStatus.CANCELLED: Colour.WARNING,
    }
)
_CAUSE_LIMIT = 1500


def run_card(view: RunView, *, now: datetime) -> Card:
    """Return the run's card as it stands now."""
    status = view.run.status
    return Card(
        title=f"{view.spec.name}: {status_words(view)}",
        description="\n".join(_description(view)),
        colour=_COLOURS[status],
        fields=_final_fields(view) if status.is_final else _live_fields(view),
        footer=_footer(view, now),
    )


def status_words(view: RunView) -> str:
    """Return how the run stands, in a word or two."""
    if view.run.cancel_requested and not view.run.status.is_final:
        return "cancelling"
    return view.run.status.value


def failed_stages(view: RunView) -> list[StageKey]:
    """Return the stages that failed for good."""
    return [key for key in view.keys if view.run.stage(key).status is StageStatus.FAILED]


def made_by(view: RunView) -> list[ExpertName]:
    """Return the experts of which at least one checkpoint is there."""
    return [e.name for e in view.spec.experts if view.run.expert(e.name).checkpoints]


def _description(view: RunView) -> list[str]:
    spec = view.spec
    lines = [f"**{spec.model}** on dataset **{spec.dataset}**{_experts(view)}"]
    if spec.continues is not None:
        lines.append(f"Goes on from the run **{spec.continues}**.")
    lines += filter(None, (items_text(spec), asked_gpu(spec)))
    lines += [
        f"Starts from **{escape(e.start.source)}**{f' ({e.name})' if e.name != 'main' else ''}."
        for e in spec.experts
        if e.start is not None
    ]
    if spec.engine == "rehearsal":
        lines.append(f"*{REHEARSAL}*")
    return [*lines, *_outcome(view)]


def _experts(view: RunView) -> str:
    names = [expert.name for expert in view.spec.experts]
    if names == ["main"]:
        return ""
    return f", {listed(names)} expert{'s' if len(names) > 1 else ''}"


def _outcome(view: RunView) -> list[str]:
    run = view.run
    match run.status:
        case RunStatus.SUCCEEDED:
            return ["", f"Every checkpoint is complete and checked. `/download {run.spec.name}`"]
        case RunStatus.CANCELLED:
            kept = made_by(view)
            files = (
                f"What was saved is kept. `/download {run.spec.name}`"
                if kept
                else "No checkpoint had been saved."
            )
            return ["", f"Stopped on request. {files}"]
        case RunStatus.FAILED:
            fix = f"**What to do:** {chat_fix(run.fix, run.remedy)}" if run.fix else ""
            return ["", f"**What happened:** {cut(escape(run.cause), _CAUSE_LIMIT)}", fix]
        case RunStatus.QUEUED | RunStatus.RUNNING if run.cancel_requested:
            return ["", "Cancelling: the stage that is at work stops first. Checkpoints are kept."]
        case _:
            return []


def _live_fields(view: RunView) -> tuple[Field, ...]:
    shown = (StageStatus.RUNNING, StageStatus.INTERRUPTED, StageStatus.SUCCEEDED)
    experts = tuple(
        progress_field(view, expert.name)
        for expert in view.spec.experts
        if view.run.stage(StageKey("train", expert.name)).status in shown
        or view.expert(expert.name).step > 0
    )
    return (_stages(view), *experts)


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
    lines = [f"{FAILED} {stage_title(key)}" for key in failed_stages(view)]
    return Field("What failed", "\n".join(lines) or "the run as a whole")


def _advice(view: RunView) -> Field:
    model = find_model(view.spec.model)
    lines = list(comfyui_advice(model))
    lines.append("`/download` hands out a workflow with all of this in place: drop it on ComfyUI.")
    missing = [e.name for e in model.experts if e.name not in {s.name for s in view.spec.experts}]
    if missing:
        lines.append(
            f"This run trained one expert only: the {listed(missing)} LoRA comes from another run."
        )
    title = "What to do in ComfyUI"
    if view.spec.engine == "rehearsal":
        title = "What to do in ComfyUI, once it is trained for real"
    numbered = [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
    return Field(title, join_lines(numbered, VALUE_LIMIT))


def _footer(view: RunView, now: datetime) -> str:
    run = view.run
    until = run.ended_at or now
    seconds = max((until - run.spec.created_at).total_seconds(), 0.0)
    match run.status:
        case RunStatus.QUEUED:
            return f"Waiting for {about(seconds)}"
        case RunStatus.RUNNING:
            return f"Started {about(seconds)} ago"
        case _:
            return f"Took {duration(seconds)} from start to end"
