"""Combines notes on single files into findings on a dataset, such as "3 of 8 clips have sound"."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.dataset.findings.rules import RULES, Rule
from training.dataset.report import Finding, Kind, Note
from training.wording import listed

_MOST_LISTED, _MOST_EXAMPLES = 8, 3
GRAVITY = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Noted:
    """A note on the file at `path`; `kind` is None if the file is neither image nor clip."""

    path: str
    kind: Kind | None
    note: Note


def fold(noted: Iterable[Noted], totals: dict[Kind, int]) -> tuple[Finding, ...]:
    """Return one finding for each code, errors first; `totals` counts all images and clips."""
    by_code: dict[str, list[Noted]] = defaultdict(list)
    for item in noted:
        by_code[item.note.code].append(item)
    findings = [_finding(code, items, totals) for code, items in by_code.items()]
    return tuple(sorted(findings, key=by_gravity))


def by_gravity(finding: Finding) -> tuple[int, str]:
    return GRAVITY.index(finding.severity), finding.code


def whole_set(code: str, subject: str, *, is_one: bool = False) -> Finding:
    """Return a finding on the whole dataset; `subject` is a phrase such as "All 12 samples"."""
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
        what = _about_many(items, len(paths), rule, totals)
    return Finding(
        code=code,
        severity=rule.severity,
        file=paths[0] if len(paths) == 1 else None,
        cause=_sentences(what, rule.because),
        fix=rule.fix,
        repaired=rule.is_repaired,
        files=paths,
    )


def _about_many(items: Sequence[Noted], count: int, rule: Rule, totals: dict[Kind, int]) -> str:
    """Return a sentence such as "2 of 8 clips have sound: a.mp4, b.mp4."."""
    what = rule.of_many
    kinds = {item.kind for item in items}
    listed_items = _listed(items, _MOST_EXAMPLES if rule.is_shown else _MOST_LISTED)
    if None in kinds:
        return f"{count} files {what}: {listed_items}."
    noun, total = "samples", sum(totals.values())
    if len(kinds) == 1:
        kind = items[0].kind or "image"
        noun, total = "images" if kind == "image" else "clips", totals[kind]
    if count < total:
        return f"{count} of {total} {noun} {what}: {listed_items}."
    all_of_them = f"{'Both' if total == 2 else f'All {total}'} {noun} {what}"
    details = {item.note.detail for item in items}
    if len(details) == 1:
        return f"{all_of_them}{f' ({detail})' if (detail := details.pop()) else ''}."
    return f"{all_of_them}: {listed_items}." if rule.is_shown else f"{all_of_them}."


def _listed(items: Sequence[Noted], most: int) -> str:
    details = (f" ({item.note.detail})" if item.note.detail else "" for item in items)
    return listed([item.path + detail for item, detail in zip(items, details, strict=True)], most)


def _sentences(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
