"""The question before a dataset is removed, and what was removed."""

from collections.abc import Sequence

from bot.messages.card import VALUE_LIMIT, Card, Colour, Field
from bot.messages.figures import count, listed
from bot.messages.markdown import cut, escape, join_lines
from training.operations.dataset_removal import Removal
from training.registry.datasets import DatasetVersion

_SHOWN_RUNS = 12


def removal_card(removal: Removal) -> Card:
    """Return the question: what would go, what stays, and which runs were trained on it."""
    fields = [Field("Would go", join_lines([_line(v) for v in removal.versions], VALUE_LIMIT))]
    if removal.others:
        stays = listed([f"{removal.name}@{number}" for number in removal.others])
        whole = f"`/dataset remove name:{removal.name}` removes all."
        fields.append(Field("Stays", f"{cut(stays, VALUE_LIMIT // 2)}. {whole}"))
    fields.append(Field("Runs trained on it", _runs(removal.runs)))
    return Card(
        title=_question(removal),
        description="What was uploaded, its captions and what was repaired of it are deleted and "
        "cannot be had back. Dismiss this message to keep it.",
        colour=Colour.WARNING,
        fields=tuple(fields),
    )


def removed_card(removed: Sequence[DatasetVersion]) -> Card:
    """Return what was removed, and what was not."""
    names = join_lines([f"**{version.ref}**" for version in removed], VALUE_LIMIT)
    return Card(
        title=f"Removed {count(len(removed), 'dataset version')}",
        description=f"{names}\nRuns that were trained on it keep their checkpoints.",
    )


def _question(removal: Removal) -> str:
    if not removal.is_whole:
        return f"Remove {removal.newest}?"
    versions = len(removal.versions)
    return f"Remove all of {removal.name}, {count(versions, 'version')}?"


def _line(version: DatasetVersion) -> str:
    samples = [(version.images, "image"), (version.clips, "clip")]
    held = " and ".join(count(number, what) for number, what in samples if number)
    return f"**{version.ref}**: {held}, {escape(version.change)}, added {version.added_at:%Y-%m-%d}"


def _runs(runs: Sequence[str]) -> str:
    if not runs:
        return "none"
    names = [f"**{name}**" for name in runs[:_SHOWN_RUNS]]
    if more := len(runs) - len(names):
        names.append(f"{more:,} more")
    return (
        f"{listed(names)}. What they saved stays; those that did not finish cannot be resumed "
        "without it."
    )
