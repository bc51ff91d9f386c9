"""A run's downloads: the card with links, and the README inside a zip."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from bot.messages.card import Card, Colour
from bot.messages.figures import and_list
from bot.messages.models import comfyui_advice
from bot.messages.remedies import chat_command
from bot.messages.runs.wording import DAMAGED_RECORD, REHEARSAL
from training.catalogue.models import find_model
from training.files.sizes import size
from training.pipeline.checkpoint_sets import CheckpointSet
from training.pipeline.run_view import RunView
from training.remedies import DownloadRun
from training.runs.spec import RunSpec
from training.vocabulary import ExpertName
from training.wording import count

_README_WIDTH = 92
MOST_EPOCHS = 100  # as many as fit into one message: four menus with 25 choices each


@dataclass(frozen=True, slots=True)
class CheckpointLink:
    """An expiring link to one checkpoint; `loss` is the mean loss of its epoch, if known."""

    expert: ExpertName
    file_name: str
    size_bytes: int
    loss: float | None
    url: str


@dataclass(frozen=True, slots=True)
class EpochLinks:
    """Links to the checkpoints of one epoch.

    Attributes:
        files: One link for each expert that saved a checkpoint in this epoch.
        archive: Link to a zip of these files and a workflow; None if there is only one file.
    """

    epoch: int
    files: tuple[CheckpointLink, ...]
    archive: str | None

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def download_card(
    view: RunView, epochs: Sequence[EpochLinks], newest: EpochLinks, archive: str
) -> Card:
    """Return a card with links to a zip of all checkpoints (`archive`) and to the newest ones."""
    total = sum(one.size_bytes for one in epochs)
    lines = [
        f"**[Everything in one zip]({archive})** ({size(total)})",
        "Drag the attached workflow into ComfyUI; it loads the newest files.",
        f"\n**Epoch {newest.epoch}, the newest**",
        _links(newest),
    ]
    if view.spec.engine == "rehearsal":
        lines.insert(0, f"*{REHEARSAL}*")
    if view.run.is_record_incomplete:
        lines.append(f"\n{DAMAGED_RECORD}")
    if len(epochs) > 1:
        lines.append("\nChoose another epoch below.")
    if (hidden := len(epochs) - MOST_EPOCHS) > 0:
        lines.append(
            "The oldest epoch is only in the zip."
            if hidden == 1
            else f"The {hidden} oldest epochs are only in the zip."
        )
    saved = count(sum(len(one.files) for one in epochs), "checkpoint")
    return _card(f"{view.spec.name}: {saved}", lines, is_flawed=view.run.trouble is not None)


def epoch_card(run: str, chosen: EpochLinks) -> Card:
    """Return a card with links to the checkpoints of one epoch."""
    return _card(f"{run}: epoch {chosen.epoch}", [_links(chosen)])


def links_revoked(run: str) -> str:
    return f"The links made so far to {run} no longer work."


def revoked_links_card(run: str) -> Card:
    """Confirm that all links to a run's files were revoked."""
    return Card(
        title=f"{run}: links revoked",
        description=f"{links_revoked(run)} `{chat_command(DownloadRun(run=run))}` makes new ones.",
        colour=Colour.GOOD,
    )


def epoch_choice(one: EpochLinks) -> tuple[str, str]:
    """Return an epoch's label in the menu, and the smaller line below it: losses and size."""
    shown = [
        f"{'' if file.expert == 'main' else file.expert + ' '}loss {file.loss:.4f}"
        for file in one.files
        if file.loss is not None
    ]
    parts = [", ".join(shown), size(one.size_bytes)]
    return f"Epoch {one.epoch}", " · ".join(part for part in parts if part)


def _card(title: str, lines: Sequence[str], *, is_flawed: bool = False) -> Card:
    return Card(
        title=title,
        description="\n".join(lines),
        colour=Colour.WARNING if is_flawed else Colour.GOOD,
        footer="Links expire; /download makes new ones. Anyone with a link can use it.",
    )


def _links(one: EpochLinks) -> str:
    lines: list[str] = []
    if one.archive is not None:
        total = size(one.size_bytes)
        lines.append(f"[Both experts and a workflow in one zip]({one.archive}) · {total}")
    for file in one.files:
        loss = "" if file.loss is None else f" · loss {file.loss:.4f}"
        lines.append(f"[{file.file_name}]({file.url}) · {size(file.size_bytes)}{loss}")
    return "\n".join(lines)


def read_me(
    spec: RunSpec, chosen: Sequence[CheckpointSet], loaded: str, missing: Sequence[str] = ()
) -> str:
    """Return the README of a zip of checkpoints.

    Args:
        spec: The run.
        chosen: The requested checkpoints, by epoch.
        loaded: What the zip's workflow loads, in words.
        missing: Names of requested files that are not in the zip.
    """
    lines = [f"{spec.name}: {spec.model} on dataset {spec.dataset}", ""]
    if spec.engine == "rehearsal":
        lines += [REHEARSAL, ""]
    if len(spec.experts) > 1:
        lines.append("The high and low LoRA of one epoch belong together and share a folder:")
        lines += [f"  epoch {one.epoch}" for one in chosen if one.is_complete] or ["  none yet"]
        if single := [one for one in chosen if not one.is_complete]:
            names = and_list([f"{' and '.join(one.files)} of epoch {one.epoch}" for one in single])
            lines.append(f"Without a counterpart, in the folder unpaired: {names}.")
        lines.append("")
    if missing:
        lines += [
            f"Missing, because the stored files are gone or damaged: {and_list(missing)}.",
            "",
        ]
    lines += [f"{spec.name}-comfyui.json: drag it into ComfyUI; it loads {loaded}.", ""]
    for number, advice in enumerate(comfyui_advice(find_model(spec.model)), start=1):
        plain = f"{number}. {advice.replace('`', '')}"
        lines += textwrap.wrap(plain, _README_WIDTH, subsequent_indent="   ")
    return "\n".join(lines) + "\n"
