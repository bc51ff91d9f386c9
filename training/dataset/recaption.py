"""Updates an inspected dataset's report for new captions, without decoding again."""

from collections.abc import Iterator, Mapping

from training.dataset.captions.caption import LONGEST_TOKENS, estimated_tokens, holds_trigger, tidy
from training.dataset.findings.findings import Noted, by_gravity, fold
from training.dataset.findings.whole_set import equal_captions, without_trigger
from training.dataset.report import Finding, Kind, Note, Report, Sample, content_id
from training.errors import RequestError

LONGEST_TRIGGER = 60  # characters
# A new caption settles what was wrong with the caption file.
_OF_FILES = {
    *("missing-caption", "empty-caption", "unreadable-caption", "caption-encoding"),
    "caption-name",
}
_OF_TEXTS = {"caption-too-long", "captions-all-equal", "trigger-missing"}


def recaption(report: Report, captions: Mapping[str, str], trigger: str | None) -> Report:
    """Return the report of the same media with other captions.

    Args:
        report: The report with the previous captions.
        captions: New captions by sample name; other samples keep theirs.
        trigger: A word that every caption should contain.
    """
    samples = tuple(_with_caption(sample, captions) for sample in report.samples)
    edited = {sample.source for sample in report.samples if sample.name in captions}
    totals: dict[Kind, int] = {"image": len(report.images), "video": len(report.clips)}
    kinds: dict[str, Kind] = {sample.source: sample.kind for sample in samples}
    kept: list[Finding] = []
    noted = [*_too_long(samples), *without_trigger(samples, trigger)]
    for finding in report.findings:
        if finding.code in _OF_FILES and edited.intersection(finding.files):
            left = [file for file in finding.files if file not in edited]
            noted += [Noted(file, kinds.get(file), Note(code=finding.code)) for file in left]
        elif finding.code not in _OF_TEXTS:
            kept.append(finding)
    findings = sorted((*kept, *equal_captions(samples), *fold(noted, totals)), key=by_gravity)
    return Report(version=content_id(samples), samples=samples, findings=tuple(findings))


def prefixed(report: Report, trigger: str) -> dict[str, str]:
    """Return the captions that lack the trigger word, by sample name, with it prepended."""
    return {
        sample.name: f"{trigger}, {sample.caption}"
        for sample in report.samples
        if sample.caption and not holds_trigger(sample.caption, trigger)
    }


def check_trigger(text: str) -> str:
    """Return the normalized trigger word.

    Raises:
        RequestError: It is empty, too long or not a single line.
    """
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


def _too_long(samples: tuple[Sample, ...]) -> Iterator[Noted]:
    for sample in samples:
        tokens = estimated_tokens(sample.caption)
        if tokens > LONGEST_TOKENS:
            note = Note(code="caption-too-long", detail=f"about {tokens} tokens")
            yield Noted(sample.source, sample.kind, note)
