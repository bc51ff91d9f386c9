"""Folds notes about single files into findings."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.dataset.findings.rules import RULES
from training.dataset.report import Finding, Kind, Note
from training.wording import listed

SHOWN_FILES = 8
GRAVITY = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Noted:
    """A note and its file; `kind` is None for files that are neither image nor clip."""

    path: str
    kind: Kind | None
    note: Note


def fold(noted: Iterable[Noted], totals: dict[Kind, int]) -> tuple[Finding, ...]:
    """Return one finding per code, most severe first.

    Args:
        noted: Notes in any order.
        totals: Images and clips in the zip, for "3 of 12 clips".
    """
    by_code: dict[str, list[Noted]] = defaultdict(list)
    for item in noted:
        by_code[item.note.code].append(item)
    findings = [_finding(code, items, totals) for code, items in by_code.items()]
    return tuple(sorted(findings, key=by_gravity))


def by_gravity(finding: Finding) -> tuple[int, str]:
    """Return a sort key that puts the most severe finding first."""
    return GRAVITY.index(finding.severity), finding.code


def whole_set(code: str, subject: str, *, is_one: bool = False) -> Finding:
    """Return a finding about the whole set: a subject such as "All 12 samples", and the rule."""
    rule = RULES[code]
    return Finding(
        code=code,
        severity=rule.severity,
        file=None,
        cause=_sentences(f"{subject} {rule.what if is_one else rule.of_many}.", rule.because),
        fix=rule.fix,
        repaired=rule.is_repaired,
    )


def _finding(code: str, items: list[Noted], totals: dict[Kind, int]) -> Finding:
    rule = RULES[code]
    items = sorted(items, key=lambda item: item.path)
    paths = tuple(dict.fromkeys(item.path for item in items))
    if len(paths) == 1:
        detail = f" ({items[0].note.detail})" if items[0].note.detail else ""
        what = f"{paths[0]} {rule.what}{detail}."
    else:
        names = listed([_named(item) for item in items], SHOWN_FILES)
        what = f"{_count(items, len(paths), totals)} {rule.of_many}: {names}."
    return Finding(
        code=code,
        severity=rule.severity,
        file=paths[0] if len(paths) == 1 else None,
        cause=_sentences(what, rule.because),
        fix=rule.fix,
        repaired=rule.is_repaired,
        files=paths,
    )


def _count(items: Sequence[Noted], count: int, totals: dict[Kind, int]) -> str:
    kinds = {item.kind for item in items}
    if None in kinds:
        return f"{count} files"
    if kinds == {"image"}:
        return f"{count} of {totals['image']} images"
    if kinds == {"video"}:
        return f"{count} of {totals['video']} clips"
    return f"{count} of {sum(totals.values())} samples"


def _named(item: Noted) -> str:
    return f"{item.path} ({item.note.detail})" if item.note.detail else item.path


def _sentences(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
