"""The differences between two versions of a dataset, as a card and as text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from bot.messages.card import VALUE_LIMIT, Card, Field
from bot.messages.markdown import cut, escape, join_lines, one_line
from training.dataset.captions.origin import CaptionOrigin
from training.dataset.difference import Difference
from training.registry.datasets import DatasetVersion
from training.wording import count

_CAPTION_LIMIT = 160
_ORIGINS: Mapping[CaptionOrigin, str] = MappingProxyType(
    {"written": "written", "edited": "edited", "accepted": "accepted proposal"}
)


def difference_card(old: DatasetVersion, new: DatasetVersion, difference: Difference) -> Card:
    """Return a card with the changes, shortened to fit; the attached text lists them all."""
    fields = [
        Field(f"{title}: {len(lines)}", join_lines([f"- {line}" for line in lines], VALUE_LIMIT))
        for title, lines in _sections(difference, _marked)
        if lines
    ]
    return Card(
        title=f"From {old.ref} to {new.ref}",
        description="\n".join([_summary(difference), *_settings(old, new)]),
        fields=tuple(fields),
    )


def difference_text(old: DatasetVersion, new: DatasetVersion, difference: Difference) -> str:
    """Return all changes as plain text."""
    lines = [f"From {old.ref} to {new.ref}: {_summary(difference)}", *_settings(old, new)]
    for title, changes in _sections(difference, one_line):
        if changes:
            lines += ["", f"{title}:", *(f"  {change}" for change in changes)]
    return "\n".join(lines) + "\n"


def _summary(difference: Difference) -> str:
    if difference.is_empty:
        return "The samples and captions are the same."
    parts = [
        (len(difference.added), "added"),
        (len(difference.removed), "removed"),
        (len(difference.renamed), "renamed"),
        (len(difference.replaced), "with changed media"),
        (len(difference.captions), "with a changed caption"),
    ]
    return ", ".join(f"{count(n, 'sample')} {what}" for n, what in parts if n) + "."


def _settings(old: DatasetVersion, new: DatasetVersion) -> Iterator[str]:
    if old.trigger != new.trigger:
        yield f"Trigger word: {old.trigger or 'none'} → {new.trigger or 'none'}"
    if old.media != new.media:
        words = {"repaired": "as repaired", "original": "as uploaded"}
        yield f"Images and clips: {words[old.media]} → {words[new.media]}"


def _sections(
    difference: Difference, shown: Callable[[str], str]
) -> Sequence[tuple[str, list[str]]]:
    return (
        ("Added", [shown(name) for name in difference.added]),
        ("Removed", [shown(name) for name in difference.removed]),
        ("Renamed", [f"{shown(was)} → {shown(now)}" for was, now in difference.renamed]),
        ("Changed media", [shown(name) for name in difference.replaced]),
        (
            "Changed captions",
            [
                f"{shown(c.name)} ({_ORIGINS[c.origin]}): {shown(c.before)} → {shown(c.after)}"
                for c in difference.captions
            ],
        ),
    )


def _marked(text: str) -> str:
    return cut(escape(one_line(text)), _CAPTION_LIMIT)
