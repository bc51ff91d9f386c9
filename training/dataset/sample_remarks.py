"""Says what is remarkable about one sample or one caption, while a person looks at it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from training.dataset.captions.caption import (
    estimated_tokens,
    text_notes,
    tidy,
    trigger_places,
)
from training.dataset.findings.captions import OF_ALL_CAPTIONS
from training.dataset.findings.rules import RULES
from training.dataset.recaption import ABOUT_CAPTIONS, with_prefix
from training.dataset.report import Note, Report, Severity


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding on one sample, as sentences in which "it" is the sample."""

    code: str
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCaption:
    """What a caption would be like.

    Attributes:
        tokens: Its estimated length in tokens of the text encoder, which reads `LONGEST_TOKENS`.
        trigger: Where the trigger word begins and ends, for each occurrence.
        prefixed: The caption prefixed with the trigger word, if it lacks the word.
    """

    tokens: int
    trigger: tuple[tuple[int, int], ...]
    prefixed: str | None
    remarks: tuple[Remark, ...]

    @property
    def is_usable(self) -> bool:
        return all(remark.severity != "error" for remark in self.remarks)


@lru_cache(16_384)  # each new version repeats nearly all captions of the one before
def judge_caption(text: str, trigger: str | None) -> JudgedCaption:
    """Judge a caption as an inspection would, once it is tidied."""
    caption = tidy(text)
    places = trigger_places(text, trigger) if trigger else []
    return JudgedCaption(
        tokens=estimated_tokens(caption),
        trigger=tuple(places),
        prefixed=with_prefix(caption, trigger) if trigger else None,
        remarks=tuple(_remarks(caption, trigger)),
    )


def _remarks(caption: str, trigger: str | None) -> Iterator[Remark]:
    if not caption:
        yield _remark(Note(code="missing-caption"))
        return
    for note in text_notes(caption, trigger):
        yield _remark(note)
    if trigger and with_prefix(caption, trigger) is not None:
        yield _remark(Note(code="trigger-missing"))


def remarks_on_files(report: Report) -> dict[str, list[Remark]]:
    """Return what a report says about each image or clip itself, keyed by its path in the zip."""
    found: dict[str, list[Remark]] = {}
    for finding in report.findings:
        if finding.code in RULES and finding.code not in ABOUT_CAPTIONS:
            for file in finding.files:
                found.setdefault(file, []).append(_remark(Note(code=finding.code)))
    return found


def about_all(report: Report) -> list[Remark]:
    """Return what a report says about the dataset as a whole."""
    return [
        Remark(finding.code, finding.severity, f"{finding.cause} {finding.fix}")
        for finding in report.findings
        if not finding.files or finding.code in OF_ALL_CAPTIONS
    ]


def _remark(note: Note) -> Remark:
    rule = RULES[note.code]
    detail = f" ({note.detail})" if note.detail else ""
    what = f"{rule.what[0].upper()}{rule.what[1:]}{detail}."
    return Remark(note.code, rule.severity, f"{what} {rule.because}".strip())
