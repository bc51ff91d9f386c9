"""Lists and short answers: models, runs, links, and the one line at a run's end."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from bot.messages.card import DESCRIPTION_LIMIT, TOTAL_LIMIT, VALUE_LIMIT, Card, Colour, Field
from bot.messages.figures import bar, count, rate, size
from bot.messages.markdown import cut, escape, join_lines, length, one_line
from bot.messages.remedy_text import changed_text
from bot.messages.run_card import REHEARSAL, made_by
from bot.messages.stage_line import DONE, FAILED, STOPPED, WAITING, WORKING
from training.catalogue.models import Model
from training.pipeline.run_view import RunSummary, RunView
from training.remedies import Suggestion
from training.runs.spec import RunSpec
from training.runs.state import RunStatus
from training.vocabulary import ExpertName

_SYMBOLS: Mapping[str, str] = MappingProxyType(
    {
        RunStatus.QUEUED.value: WAITING,
        RunStatus.RUNNING.value: WORKING,
        RunStatus.SUCCEEDED.value: DONE,
        RunStatus.FAILED.value: FAILED,
        RunStatus.CANCELLED.value: STOPPED,
    }
)
_PAIRS = "Pairs as zip, with a workflow each"
_SHOWN_PAIRS = 2
NO_PAIRS: Mapping[int, str] = MappingProxyType({})
_NO_NAME = "\u200b"
_PING_CAUSE_LIMIT = 300
_LINKS_LIMIT = TOTAL_LIMIT - 900  # the rest of the card


class Link(Protocol):
    """One checkpoint with the address that it can be downloaded from."""

    @property
    def expert(self) -> str:
        """The expert that it belongs to."""
        ...

    @property
    def file_name(self) -> str:
        """Its name without a folder."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch after which it was saved."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its size."""
        ...

    @property
    def url(self) -> str:
        """Where it is."""
        ...


def models_card(models: Sequence[Model]) -> Card:
    """Return what can be trained, with the defaults of each."""
    return Card(
        title="Models",
        description="The model that you train on must be the one that you use in ComfyUI.",
        fields=tuple(Field(model.name, _model(model)) for model in models),
        footer="Every default can be changed as an option of /train.",
    )


def runs_card(summaries: Sequence[RunSummary]) -> Card:
    """Return one line for each run."""
    if not summaries:
        return Card(title="Runs", description="There is no run here yet. Start one with `/train`.")
    return Card(
        title=count(len(summaries), "run").capitalize(),
        description=join_lines([_run(summary) for summary in summaries], DESCRIPTION_LIMIT),
        footer="/status shows one of them, /download gets its files.",
    )


def ended_ping(view: RunView) -> str:
    """Return the one line that tells a run's owner how it ended."""
    name = f"{view.spec.name}{' (a rehearsal)' if view.spec.engine == 'rehearsal' else ''}"
    match view.run.status:
        case RunStatus.SUCCEEDED:
            files = sum(len(view.run.expert(e.name).checkpoints) for e in view.spec.experts)
            return f"{DONE} {name} has succeeded: {count(files, 'checkpoint')} to download."
        case RunStatus.FAILED:
            cause = cut(escape(one_line(view.run.cause)), _PING_CAUSE_LIMIT)
            return f"{FAILED} {name} has failed. {cause}"
        case RunStatus.CANCELLED:
            kept = "what was saved is kept" if made_by(view) else "nothing had been saved yet"
            return f"{STOPPED} {name} was cancelled; {kept}."
        case RunStatus.QUEUED | RunStatus.RUNNING:
            raise ValueError(f"{view.spec.name} has not ended: {view.run.status}")


def cancelled_card(view: RunView) -> Card:
    """Return what cancelling did so far, and what stays."""
    done = view.run.status is RunStatus.CANCELLED
    first = "It is cancelled." if done else "It stops as soon as its stage at work has ended."
    nothing = "No checkpoint had been saved." if done else "What it saves until then is kept."
    kept = "Its checkpoints are kept." if made_by(view) else nothing
    state = "cancelled" if done else "cancelling"
    return Card(
        title=f"{view.spec.name}: {state}", description=f"{first} {kept}", colour=Colour.WARNING
    )


def resumed_card(spec: RunSpec) -> Card:
    """Return that a new run goes on where an old one stopped."""
    names = [expert.name for expert in spec.experts]
    experts = f" with the {names[0]} expert" if names in (["high"], ["low"]) else ""
    return Card(
        title=spec.name,
        description=(
            f"Goes on where **{spec.continues}** stopped{experts}: from the newest training state, "
            "or from the start if none was saved. Earlier checkpoints stay with the earlier run."
        ),
        colour=Colour.ACTIVE,
    )


def retried_card(spec: RunSpec, suggestion: Suggestion, old: str) -> Card:
    """Return that a new run does what a failed one could not, with a suggested change."""
    return Card(title=spec.name, description=changed_text(suggestion, old), colour=Colour.ACTIVE)


def download_card(
    view: RunView, links: Sequence[Link], archive: str, pairs: Mapping[int, str] = NO_PAIRS
) -> Card:
    """Return a link for each checkpoint, the newest of each expert first, and one for all.

    `pairs` are zips with the files of both experts, by epoch.
    """
    lines = [
        f"**[Everything as one zip]({archive})** ({size(_total(links))})",
        "The attached workflow loads the newest files: drop it on ComfyUI's page.",
    ]
    if view.spec.engine == "rehearsal":
        lines.insert(0, f"*{REHEARSAL}*")
    fields: list[Field] = _pair_fields(pairs)
    # An equal share of the card each, so that no expert's final file is crowded out.
    room = (_LINKS_LIMIT - sum(length(f.value) for f in fields)) // len(view.spec.experts)
    for expert in view.spec.experts:
        own = [link for link in links if link.expert == expert.name]
        fields += _link_fields(expert.name, sorted(own, key=_by_age, reverse=True), room)
    shown = sum(field.value.count("](") for field in fields if field.name != _PAIRS)
    if hidden := len(links) - shown:
        lines.append(f"{count(hidden, 'earlier checkpoint')} did not fit here: see the zip.")
    return Card(
        title=f"{view.spec.name}: {count(len(links), 'checkpoint')}",
        description="\n".join(lines),
        colour=Colour.GOOD,
        fields=tuple(fields),
        footer="The links expire; /download makes new ones. Whoever has a link can use it.",
    )


def _pair_fields(pairs: Mapping[int, str]) -> list[Field]:
    """Return links to the newest pairs; high and low of one epoch belong together."""
    if not pairs:
        return []
    newest = sorted(pairs, reverse=True)[:_SHOWN_PAIRS]
    lines = [f"[epoch {epoch}: high and low]({pairs[epoch]})" for epoch in newest]
    return [Field(_PAIRS, join_lines(lines, VALUE_LIMIT))]


def _link_fields(expert: ExpertName, links: Sequence[Link], room: int) -> list[Field]:
    """Return the first links that fit into `room`, in fields of whole lines."""
    title = "Checkpoints" if expert == "main" else f"Checkpoints, {expert}-noise expert"
    fields: list[Field] = []
    for link in links:
        line = f"[epoch {link.epoch}]({link.url}) · {size(link.size_bytes)}"
        value = f"{fields[-1].value}\n{line}" if fields else line
        if is_new := not fields or length(value) > VALUE_LIMIT:
            value = line
        room -= length(line) + 1 + (len(title) if is_new else 0)
        if room < 0:
            break
        # A field after the first goes on with the same list: Discord shows an empty name for this.
        shown = title if len(fields) - (not is_new) == 0 else _NO_NAME
        fields = [*(fields if is_new else fields[:-1]), Field(shown, value)]
    return fields


def _by_age(link: Link) -> tuple[int, str]:
    # Of the same epoch the final file, whose name has no number, comes first.
    return link.epoch, link.file_name


def _total(links: Sequence[Link]) -> int:
    return sum(link.size_bytes for link in links)


def _model(model: Model) -> str:
    experts = " · ".join(
        f"{'' if expert.name == 'main' else f'{expert.name}: '}rank {expert.rank}, "
        f"learning rate {rate(expert.learning_rate)}"
        for expert in model.experts
    )
    needs = "needs clips" if model.i2v else "images or clips"
    return f"{model.use_case}\n{experts}\n{needs} · {model.gpu}"


def _run(summary: RunSummary) -> str:
    rehearsal = ", rehearsal" if summary.engine == "rehearsal" else ""
    words = summary.state if summary.stage is None else f"{summary.state}, {summary.stage}"
    line = (
        f"{_SYMBOLS.get(summary.state, STOPPED)} **{summary.name}** · {summary.model} · "
        f"{summary.dataset} · {words}{rehearsal}"
    )
    if summary.state != RunStatus.RUNNING:
        return line
    done = sum(expert.step for expert in summary.experts)
    return f"{line}\n{bar(done, sum(expert.total_steps for expert in summary.experts))}"
