"""The card that asks for confirmation before a dataset is removed."""

from collections.abc import Sequence

from bot.messages.card import VALUE_LIMIT, Card, Colour, Field
from bot.messages.datasets.report import media_counts
from bot.messages.figures import and_list
from bot.messages.markdown import cut, escape, join_lines
from training.operations.trash.dataset_removal import PlannedRemoval
from training.registry.datasets import DatasetVersion
from training.registry.trash import TRASH_DAYS
from training.wording import count, listed

_SHOWN_RUNS = 12


def removal_card(removal: PlannedRemoval) -> Card:
    """Return a card that says what would be removed, what would stay and which runs used it."""
    fields = [
        Field("Will be removed", join_lines([_line(v) for v in removal.versions], VALUE_LIMIT))
    ]
    if removal.others:
        stays = and_list([f"{removal.name}@{number}" for number in removal.others])
        whole = f"`/dataset remove name:{removal.name}` removes every version."
        fields.append(Field("Stays", f"{cut(stays, VALUE_LIMIT // 2)}. {whole}"))
    fields.append(Field("Runs trained on it", _runs(removal.runs)))
    versions = count(len(removal.versions), "version")
    what = f"all of {removal.name}, {versions}" if removal.is_whole else removal.newest
    return Card(
        title=f"Remove {what}?",
        description="This removes the upload, its captions and the repaired copies. You can "
        f"restore them for {TRASH_DAYS} days; then they are deleted. Dismiss this message to keep "
        "them.",
        colour=Colour.WARNING,
        fields=tuple(fields),
    )


def _line(version: DatasetVersion) -> str:
    samples = media_counts(version.images, version.clips)
    added = f"added {version.added_at:%Y-%m-%d}"
    return f"**{version.ref}**: {samples}, {escape(version.change)}, {added}"


def _runs(runs: Sequence[str]) -> str:
    if not runs:
        return "none"
    names = listed([f"**{name}**" for name in runs], _SHOWN_RUNS)
    return (
        f"{names}. Their checkpoints stay. Once the dataset is deleted, unfinished runs can no "
        "longer be resumed."
    )
