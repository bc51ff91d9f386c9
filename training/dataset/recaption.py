"""Puts new captions into a dataset's report, without decoding images and clips again."""

from collections.abc import Iterator, Mapping

from training.dataset.captions.caption import holds_trigger, replace_trigger, text_notes, tidy
from training.dataset.findings.captions import OF_ALL_CAPTIONS, judge_captions
from training.dataset.findings.findings import Noted, by_gravity, fold
from training.dataset.findings.whole_set import equal_captions, without_trigger
from training.dataset.report import NO_CAPTION, Finding, Kind, Note, Report, Sample, content_id
from training.errors import RequestError

LONGEST_TRIGGER = 60  # characters
# Findings that depend only on the texts of captions. They are dropped and determined again.
_OF_TEXTS = {
    *("caption-too-long", "captions-all-equal", "trigger-missing"),
    *("caption-markup", "caption-failed", "caption-chat"),
    *OF_ALL_CAPTIONS,
}
# Findings on caption files. They no longer apply to a sample with a new caption.
_OF_FILES = {*NO_CAPTION, "caption-encoding", "caption-name"} - _OF_TEXTS
ABOUT_CAPTIONS = frozenset(_OF_TEXTS | _OF_FILES)


def recaption(report: Report, captions: Mapping[str, str], trigger: str | None) -> Report:
    """Return the report with these new captions, keyed by sample name, and updated findings."""
    samples = tuple(_with_caption(sample, captions) for sample in report.samples)
    edited = {sample.source for sample in report.samples if sample.name in captions}
    totals: dict[Kind, int] = {"image": len(report.images), "video": len(report.clips)}
    kinds: dict[str, Kind] = {sample.source: sample.kind for sample in samples}
    kept: list[Finding] = []
    about_all, noted = judge_captions(samples, trigger)
    noted += without_trigger(samples, trigger)
    left: set[tuple[str, str]] = set()
    for finding in report.findings:
        if finding.code in _OF_FILES and edited.intersection(finding.files):
            left |= {(finding.code, file) for file in finding.files if file not in edited}
        elif finding.code not in _OF_TEXTS:
            kept.append(finding)
    for sample in samples:
        noted += _about(sample, left, trigger, is_edited=sample.source in edited)
    noted += [Noted(file, kinds.get(file), Note(code=code)) for code, file in sorted(left)]
    findings = sorted(
        (*kept, *equal_captions(samples), *about_all, *fold(noted, totals)), key=by_gravity
    )
    return report.model_copy(
        update={
            "version": content_id(samples),
            "samples": samples,
            "findings": tuple(findings),
        }
    )


def prefixed(report: Report, trigger: str) -> dict[str, str]:
    """Return the captions that lack the trigger word, prefixed with it and keyed by sample name."""
    found = {sample.name: with_prefix(sample.caption, trigger) for sample in report.samples}
    return {name: caption for name, caption in found.items() if caption is not None}


def with_prefix(caption: str, trigger: str) -> str | None:
    """Return a caption prefixed with the trigger word; None if it is empty or has the word."""
    if not caption or holds_trigger(caption, trigger):
        return None
    return f"{trigger}, {caption}"


def renamed(report: Report, old: str, new: str) -> dict[str, str]:
    """Return the captions that contain `old`, with `new` in its place, keyed by sample name.

    Raises:
        RequestError: No caption contains `old`.
    """
    found = {
        sample.name: replace_trigger(sample.caption, old, new)
        for sample in report.samples
        if holds_trigger(sample.caption, old)
    }
    if not found:
        raise RequestError(
            f"No caption contains the word {old!r}.", "Write the word as in the captions."
        )
    return found


def check_trigger(text: str) -> str:
    """Return a user's trigger word in normalized form; raise `RequestError` if it is invalid."""
    trigger = tidy(text)
    if not trigger or len(trigger) > LONGEST_TRIGGER or not trigger.isprintable():
        raise RequestError(
            "That is not a valid trigger word.",
            f"Use one or a few words of up to {LONGEST_TRIGGER} characters, such as ann1ka.",
        )
    return trigger


def _with_caption(sample: Sample, captions: Mapping[str, str]) -> Sample:
    if sample.name not in captions:
        return sample
    return sample.model_copy(update={"caption": tidy(captions[sample.name])})


def _about(
    sample: Sample, left: set[tuple[str, str]], trigger: str | None, *, is_edited: bool
) -> Iterator[Noted]:
    """Yield the notes on a caption's text that are new or still apply.

    `left` holds the (code, file) pairs of earlier notes. The pair of each yielded note is
    removed from `left`.
    """
    for note in text_notes(sample.caption, trigger):
        key = (note.code, sample.source)
        if is_edited or note.code in _OF_TEXTS or key in left:
            left.discard(key)
            yield Noted(sample.source, sample.kind, note)
