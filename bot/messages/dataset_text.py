"""Datasets in words: what a version holds, what training makes of it, and what was found."""

import textwrap
from collections.abc import Iterator, Sequence

from bot.messages.card import DESCRIPTION_LIMIT, VALUE_LIMIT, Card, Colour, Field
from bot.messages.figures import count, duration, listed
from bot.messages.markdown import cut, escape, join_lines, one_line, wrapped
from bot.messages.model_text import model_lines
from training.catalogue.models import MODELS, Model
from training.dataset.config.group import Group, GroupPlan
from training.dataset.report import Finding, Report, Sample, Severity
from training.estimates.steps_per_model import suited
from training.registry.datasets import DatasetVersion

_SHOWN_FINDINGS = 5
_SHOWN_SIZES = 3
_FINDING_LIMIT = 480
_ALL_FINDINGS_LIMIT = 1800
_CAPTION_WIDTH = 72
_NAME_LIMIT = 200  # so that the report of 10,000 files can still be attached
_SEVERITIES: dict[Severity, str] = {
    "error": "Must be changed",
    "warning": "Worth a look",
    "info": "Good to know",
}
_COLOURS: dict[Severity, Colour] = {
    "error": Colour.BAD,
    "warning": Colour.WARNING,
    "info": Colour.GOOD,
}


def dataset_card(
    version: DatasetVersion,
    report: Report,
    groups: GroupPlan | None = None,
    *,
    same_as: str | None = None,
    others: Sequence[int] = (),
    is_known: bool = False,
) -> Card:
    """Return what a version holds.

    `same_as` names one with the same content, `others` are the numbers of those kept beside it;
    `is_known` says that it was there before it was asked to be stored.
    """
    return Card(
        title=str(version.ref),
        description=_description(version, same_as, others, is_known=is_known),
        colour=report_colour(report),
        fields=report_fields(report, groups),
        footer=f"Added {version.added_at:%Y-%m-%d}. The attached report says everything.",
    )


def report_fields(report: Report, groups: GroupPlan | None) -> tuple[Field, ...]:
    """Return what a set holds, what training makes of it, and what was found."""
    fields = [Field("Contents", contents(report))]
    if groups is not None:
        fields += group_fields(groups)
    return (*fields, Field("Suits", _suits(report)), *finding_fields(report))


def report_colour(report: Report) -> Colour:
    """Return the colour of the gravest finding."""
    return _COLOURS[report.findings[0].severity if report.findings else "info"]


def dataset_list(versions: Sequence[DatasetVersion]) -> Card:
    """Return the newest version of every dataset."""
    if not versions:
        return Card(
            title="Datasets",
            description="There is no dataset here yet. Add one with `/dataset add` and a zip.",
        )
    lines = [
        f"**{version.ref}** · {_counts(version.images, version.clips)} · "
        f"added {version.added_at:%Y-%m-%d}"
        for version in versions
    ]
    return Card(
        title=count(len(versions), "dataset").capitalize(),
        description=join_lines(lines, DESCRIPTION_LIMIT),
        footer="A name alone means the newest version; name@1 means the first.",
    )


def report_text(report: Report) -> str:
    """Return the whole report as plain text, for a file or a terminal."""
    parts = (_head, _finding_texts, model_lines, _samples)
    return "\n".join(line for part in parts for line in part(report)) + "\n"


def contents(report: Report) -> str:
    """Return how much a dataset holds."""
    totals = report.totals
    text = _counts(totals.images, totals.clips)
    return f"{text}, {duration(totals.seconds)} of video" if totals.clips else text


def group_fields(groups: GroupPlan) -> list[Field]:
    """Return what an epoch trains on, and what is left out."""
    lines = [_group(group) for group in groups.groups]
    lines.append(f"In all {count(len(groups.items), 'item')}, each a step of every epoch.")
    fields = [Field("An epoch trains on", join_lines(lines, VALUE_LIMIT))]
    if groups.left_out:
        left_out = [f"- {escape(sentence)}" for sentence in groups.left_out]
        fields.append(Field("Left out", join_lines(left_out, VALUE_LIMIT)))
    return fields


def _description(
    version: DatasetVersion, same_as: str | None, others: Sequence[int], *, is_known: bool
) -> str:
    lines = [f"Version {version.number} of **{version.name}**, {escape(version.change)}."]
    if is_known:
        lines = [f"That is **{version.ref}** already, so nothing new was stored."]
    elif others:
        word = "version" if len(others) == 1 else "versions"
        kept = f"{word} {listed([str(n) for n in others])} {'is' if len(others) == 1 else 'are'}"
        lines[0] += f" A version replaces nothing: {kept} kept until removed."
    if same_as is not None and not is_known:
        lines.append(f"Its content is the same as that of **{same_as}**; caches are shared.")
    if version.trigger is not None:
        lines.append(f"Trigger word: **{escape(version.trigger)}**.")
    if version.media == "original":
        lines.append("Its images and clips are trained on as they were uploaded, not repaired.")
    return "\n".join(lines)


def _counts(images: int, clips: int) -> str:
    found = [(images, "image"), (clips, "clip")]
    return " and ".join(count(number, what) for number, what in found if number) or "nothing"


def _group(group: Group) -> str:
    sizes = list(dict.fromkeys(f"{width}x{height}" for width, height, _ in group.buckets))
    more = [f"{len(sizes) - _SHOWN_SIZES} more sizes"] if len(sizes) > _SHOWN_SIZES else []
    frames = sorted({frames for _, _, frames in group.buckets})
    length = ""
    if group.extract is not None:
        unit = "frame" if frames == [1] else "frames"
        length = f", {listed([str(n) for n in frames])} {unit}"
    shown = listed([*sizes[:_SHOWN_SIZES], *more])
    return f"**{group.name}**: {count(len(group.items), 'item')} ({shown}{length})"


def _suits(report: Report) -> str:
    reasons = suited(report)
    against = [reason for reason in reasons.values() if reason is not None]
    good = [model for model in MODELS if reasons[model.name] is None]
    if len(good) == len(MODELS):
        return "every model"
    if not good:
        return "no model: " + escape(
            next(reason for reason in reasons.values() if reason is not None)
        )
    return f"{_names(good)}\nNot the others: {escape(against[0])}"


def _names(models: Sequence[Model]) -> str:
    return ", ".join(model.name for model in models)


def finding_fields(report: Report) -> list[Field]:
    """Return the gravest findings, and how many others there are."""
    shown = report.findings[:_SHOWN_FINDINGS]
    fields: list[Field] = []
    room = _ALL_FINDINGS_LIMIT
    for severity, title in _SEVERITIES.items():
        texts = [_finding(finding) for finding in shown if finding.severity == severity]
        if texts and room > _FINDING_LIMIT:
            value = join_lines(texts, min(VALUE_LIMIT, room), "- and {} more, in the report")
            fields.append(Field(title, value))
            room -= len(value)
    if hidden := len(report.findings) - len(shown):
        fields.append(Field("And", f"{count(hidden, 'more finding')}, in the attached report"))
    return fields


def _finding(finding: Finding) -> str:
    cause = cut(escape(one_line(finding.cause)), _FINDING_LIMIT * 2 // 3)
    return f"- {cause} *{cut(escape(one_line(finding.fix)), _FINDING_LIMIT // 3)}*"


def _head(report: Report) -> Iterator[str]:
    verdict = "It can be trained on." if report.is_usable else "It cannot be trained on as it is."
    yield f"{contents(report).capitalize()}. {verdict}"
    yield f"Content id: {report.version}"
    yield ""


def _finding_texts(report: Report) -> Iterator[str]:
    if not report.findings:
        yield "Nothing was found to be wrong."
        return
    yield f"{count(len(report.findings), 'finding')}:"
    for finding in report.findings:
        yield ""
        yield from _finding_text(finding)


def _finding_text(finding: Finding) -> Iterator[str]:
    yield f"[{finding.severity}] {finding.code}{', repaired' if finding.repaired else ''}"
    yield from wrapped(finding.cause)
    yield from wrapped(f"-> {finding.fix}")
    if len(finding.files) > 1:
        yield from (f"     {cut(one_line(file), _NAME_LIMIT)}" for file in finding.files)


def _samples(report: Report) -> Iterator[str]:
    if not report.samples:
        return
    yield ""
    yield f"{count(len(report.samples), 'sample')}:"
    for sample in report.samples:
        yield f"  {one_line(sample.name)}  {_facts(sample)}"
        yield f"     {textwrap.shorten(one_line(sample.caption), _CAPTION_WIDTH, placeholder='…')}"


def _facts(sample: Sample) -> str:
    facts = [f"{sample.width}x{sample.height}"]
    if sample.seconds is not None:
        facts.append(f"{sample.seconds:.2f} s")
    if sample.frames_16fps is not None:
        facts.append(f"{count(sample.frames_16fps, 'frame')} at 16 fps")
    if sample.source != sample.name:
        facts.append(f"from {cut(one_line(sample.source), _NAME_LIMIT)}")
    return ", ".join(facts)
