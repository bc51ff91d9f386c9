"""Compares two versions of a dataset, sample by sample."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.dataset.captions.origin import CaptionOrigin
from training.dataset.report import Report, Sample


@dataclass(frozen=True, slots=True)
class NewCaption:
    """A sample's caption before and after a change, and the origin of the new one."""

    name: str
    before: str
    after: str
    origin: CaptionOrigin = "written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The differences between two versions of a dataset; samples are given by their names.

    Attributes:
        renamed: Images and clips with a new name, as pairs of old and new name.
        replaced: Samples that have the same name, but a different image or clip.
        captions: Captions that were changed.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    replaced: tuple[str, ...]
    captions: tuple[NewCaption, ...]

    @property
    def is_empty(self) -> bool:
        return not any((self.added, self.removed, self.renamed, self.replaced, self.captions))


def compare(old: Report, new: Report, origins: Mapping[str, CaptionOrigin]) -> Difference:
    """Return what changed from `old` to `new`.

    `origins` are those of the captions of `new`, keyed by sample name; captions without an origin
    were written by a person.
    """
    before = {sample.name: sample for sample in old.samples}
    after = {sample.name: sample for sample in new.samples}
    gone = {name: sample for name, sample in before.items() if name not in after}
    come = {name: sample for name, sample in after.items() if name not in before}
    renamed = _renamed(gone, come)
    pairs = [(before[name], after[name]) for name in before if name in after]
    pairs += [(before[was], after[now]) for was, now in renamed]
    were, are = dict(renamed).keys(), set(dict(renamed).values())
    return Difference(
        added=tuple(name for name in come if name not in are),
        removed=tuple(name for name in gone if name not in were),
        renamed=tuple(renamed),
        replaced=tuple(a.name for b, a in pairs if a.sha256 != b.sha256),
        captions=tuple(
            NewCaption(a.name, b.caption, a.caption, origins.get(a.name, "written"))
            for b, a in pairs
            if a.caption != b.caption
        ),
    )


def _renamed(gone: dict[str, Sample], come: dict[str, Sample]) -> list[tuple[str, str]]:
    by_content: dict[str, list[str]] = {}
    for name, sample in come.items():
        by_content.setdefault(sample.sha256, []).append(name)
    found: list[tuple[str, str]] = []
    for name, sample in gone.items():
        if names := by_content.get(sample.sha256):
            found.append((name, names.pop(0)))
    return found
