"""The milestones of a run, and the messages that announce them in the run's thread."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from bot.messages.card import Colour, Field
from bot.messages.datasets.report import media_counts
from bot.messages.figures import loss
from bot.messages.markdown import escape
from bot.messages.panel import Panel
from bot.messages.runs.card import COLOURS, ended_footer, outcome, status_text
from bot.messages.runs.experts import files_field, slow_text, trouble_text
from bot.messages.runs.stages import DONE, FLAWED
from bot.messages.runs.wording import expert_title, item_limits
from training.dataset.report import Report
from training.files.sizes import size
from training.merge.receipt import Receipt
from training.pipeline.run_view import RunView
from training.runs.spec import RunSpec
from training.runs.state import Checkpoint, StageStatus
from training.vocabulary import ExpertName, StageKey
from training.wording import listed

MOST_SAVED = 6  # the most checkpoints that one message announces
_SHOWN_SAVED = 3
_HASH = 12  # how many characters of a hash are shown

# Why a run's milestones cannot be posted in a thread; "" if they can.
ThreadObstacle = Literal["", "create", "send", "place", "deleted", "locked"]
_REASONS: Mapping[ThreadObstacle, str] = {
    "create": "the bot lacks the Create Public Threads permission here",
    "send": "the bot lacks the Send Messages in Threads permission here",
    "place": "this channel cannot have threads",
    "deleted": "its thread was deleted",
    "locked": "its thread is locked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """An event that is announced once in a run's thread.

    Attributes:
        key: Identifies the milestone among those of its run.
        expert: None for the dataset and for the end of the run.
        saved: The checkpoint; only for the kind "saved".
        text: The warning; only for the kind "warning".
    """

    key: str
    kind: Literal["dataset", "merged", "saved", "warning", "end"]
    expert: ExpertName | None = None
    saved: Checkpoint | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A link to a checkpoint, and the result of checking its keys.

    Attributes:
        check: The result, such as "400/400 modules load", or what is wrong; "" without a check.
        is_right: Whether all keys load.
    """

    url: str
    check: str = ""
    is_right: bool = True


def milestones(view: RunView) -> list[Milestone]:
    """Return everything that has happened in a run so far and belongs in its thread.

    The first milestone shows the dataset, but never comes alone: a thread opens when something has
    happened.
    """
    found = [*_merged(view), *_saved(view), *_warnings(view)]
    if view.run.status.is_final:
        found.append(Milestone(key="end", kind="end"))
    return [Milestone(key="dataset", kind="dataset"), *found] if found else []


def next_milestones(view: RunView, told: Collection[str]) -> list[Milestone]:
    """Return the milestones for the next message: one, or several checkpoints; or else []."""
    new = [one for one in milestones(view) if one.key not in told]
    if told:  # a thread that an earlier version of the bot opened has no picture of the dataset
        new = [one for one in new if one.kind != "dataset"]
    saved = [one for one in new if one.kind == "saved"]
    return saved[:MOST_SAVED] if saved and new[0].kind == "saved" else new[:1]


def _merged(view: RunView) -> list[Milestone]:
    keys = [key for key in view.keys if key.stage == "merge"]
    done = [key for key in keys if view.run.stage(key).status is StageStatus.SUCCEEDED]
    return [Milestone(key=str(key), kind="merged", expert=key.expert) for key in done]


def _saved(view: RunView) -> list[Milestone]:
    found = [
        Milestone(key=saved.file, kind="saved", expert=expert.name, saved=saved)
        for expert in view.spec.experts
        for saved in view.run.expert(expert.name).checkpoints
    ]
    return sorted(found, key=lambda one: one.saved.step if one.saved else 0)


def _warnings(view: RunView) -> list[Milestone]:
    found: list[Milestone] = []
    for spec in view.spec.experts:
        expert, name = view.run.expert(spec.name), spec.name
        texts = {trouble: trouble_text(trouble) for trouble in expert.troubles}
        if expert.slow_reason:
            texts |= {"slow": slow_text(expert.slow_reason)}
        found += [
            Milestone(key=f"{what}-{name}", kind="warning", expert=name, text=text)
            for what, text in texts.items()
        ]
    return found


def dataset_panel(spec: RunSpec, report: Report | None) -> Panel:
    """Return a message about the dataset that a run trains on, sent with its contact sheet.

    `report` is None if it cannot be read.
    """
    totals = report.totals if report else None
    facts = f"{media_counts(totals.images, totals.clips)}." if totals else ""
    lines = "\n".join(filter(None, (facts, item_limits(spec))))
    return Panel(title=f"Dataset {spec.dataset}", description=lines, colour=Colour.ACTIVE)


def merged_panel(view: RunView, expert: ExpertName, receipt: Receipt | None) -> Panel:
    """Return the receipt of a merge; `receipt` is None if it cannot be read."""
    stage = view.run.stage(StageKey("merge", expert))
    lines = [f"{DONE} {stage.note}{', merged for an earlier run' if stage.reused else ''}"]
    if receipt is not None:
        lines += [
            f"{escape(receipt.lora_name)} at strength {receipt.strength:g} into "
            f"{escape(receipt.base_name)}",
            f"{receipt.sampled_values:,} values were recalculated: off by at most "
            f"{receipt.sampled_max_error:.2g}",
            f"-# Receipt `{receipt.merge_sha256[:_HASH]}`",
        ]
    title = expert_title("Merged", expert)
    return Panel(title=title, description="\n".join(lines), colour=Colour.ACTIVE)


def saved_panel(view: RunView, batch: Sequence[Milestone], files: Mapping[str, SavedFile]) -> Panel:
    """Return a message about saved checkpoints; `files` maps each milestone's key to its file."""
    labels = [_label(one) for one in batch]
    is_right = all(files[one.key].is_right for one in batch)
    names = labels if len(batch) > 1 else ["File"]
    texts = [_file_text(view, one, files[one.key]) for one in batch]
    return Panel(
        title=f"Saved: {listed(labels, _SHOWN_SAVED)}",
        colour=Colour.ACTIVE if is_right else Colour.WARNING,
        fields=tuple(map(Field, names, texts)),
        footer="Links expire; Download makes new ones. Anyone with a link can use it.",
    )


def _label(one: Milestone) -> str:
    if one.saved is None:
        raise ValueError(f"{one.key} is not a checkpoint")
    what = "final" if one.saved.is_final else f"epoch {one.saved.epoch}"
    expert = "" if one.expert == "main" else f"{one.expert} "
    return f"{expert}{what} (step {one.saved.step:,})"


def _file_text(view: RunView, one: Milestone, file: SavedFile) -> str:
    if one.saved is None or one.expert is None:
        raise ValueError(f"{one.key} is not a checkpoint")
    mean = view.run.expert(one.expert).losses.get(one.saved.epoch)
    facts = [size(one.saved.size_bytes)]
    if mean is not None:
        facts.append(f"loss {loss(mean)}")
    if file.check:
        facts.append(f"{DONE if file.is_right else FLAWED} {file.check}")
    return f"[{PurePosixPath(one.saved.file).name}]({file.url})\n{' · '.join(facts)}"


def warning_panel(one: Milestone) -> Panel:
    """Return a warning about the training of one expert."""
    title = expert_title("Warning", one.expert or "main")
    return Panel(title=title, description=f"{FLAWED} {one.text}", colour=Colour.WARNING)


def end_panel(view: RunView) -> Panel:
    """Return how a run ended: cause and fix of a failure, and each expert's loss and files."""
    state, colour = status_text(view), COLOURS[view.run.status]
    is_flawed = colour is Colour.GOOD and view.run.trouble is not None
    return Panel(
        title=f"{state[0].upper()}{state[1:]}",
        description="\n".join(outcome(view)).strip(),
        colour=Colour.WARNING if is_flawed else colour,
        fields=tuple(files_field(view, expert.name) for expert in view.spec.experts),
        footer=ended_footer(view),
    )


def thread_note(obstacle: ThreadObstacle, thread: int | None = None) -> str:
    """Return the card's line about its thread; "" if the thread hangs below the card."""
    if obstacle:
        return f"-# Milestones stay on this card: {_REASONS[obstacle]}."
    return f"-# Milestones: <#{thread}>" if thread else ""
