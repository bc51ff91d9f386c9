"""The full report on a dataset as plain text, including what each model would train on."""

import textwrap
from collections.abc import Iterator, Sequence

from bot.messages.figures import duration, single_frames_share
from bot.messages.markdown import cut, one_line, wrapped
from bot.messages.options import Spell
from training.dataset.report import Report, Sample
from training.estimates.steps_per_model import (
    PredictedBucket,
    Prediction,
    predicted_single_frames,
    predictions,
    suited,
)
from training.wording import count


def _models(report: Report, spell: Spell) -> Iterator[str]:
    """Yield lines on what each model would train on in an epoch; none if nothing is usable."""
    if not report.is_usable:
        return
    yield ""
    yield "One epoch, by model:"
    predicted = predictions(report)
    alike: dict[Prediction, list[str]] = {}
    unsuited: dict[str, list[str]] = {}
    for name, reason in suited(report).items():
        if reason is None:
            alike.setdefault(predicted[name], []).append(name)
        else:
            unsuited.setdefault(reason, []).append(name)
    for prediction, names in alike.items():
        yield from _prediction(prediction, names)
    for reason, names in unsuited.items():
        yield from wrapped(f"{', '.join(names)}: unsuitable. {reason}", hanging=2)
    yield from _single_frames(report, spell)
    if left_out := dict.fromkeys(gap for prediction in alike for gap in prediction.left_out):
        yield "Left out:"
        for gap in left_out:
            yield from wrapped(gap, hanging=2)


def _single_frames(report: Report, spell: Spell) -> Iterator[str]:
    """Yield lines with the share of single frames for each I2V model that the dataset suits."""
    alike: dict[str, list[str]] = {}
    for name, found in predicted_single_frames(report).items():
        alike.setdefault(single_frames_share(found), []).append(name)
    for share, names in alike.items():
        leave_out = f"Train with {spell('items', 'clips')} to leave them out."
        text = f"{', '.join(names)}: {share} {leave_out}"
        yield from wrapped(text, hanging=2)


def _prediction(prediction: Prediction, names: Sequence[str]) -> Iterator[str]:
    items = count(prediction.items, "item")
    steps = count(prediction.steps_per_epoch, "step")
    yield from wrapped(f"{', '.join(names)}: {items}, {steps}", hanging=2)
    groups: dict[str, list[str]] = {}
    for bucket in prediction.buckets:
        groups.setdefault(bucket.group, []).append(_bucket(bucket))
    for group, buckets in groups.items():
        yield from wrapped(f"{group}: {', '.join(buckets)}", 4, hanging=2)
    for remark in prediction.remarks:
        yield from wrapped(remark, 4)


def _bucket(bucket: PredictedBucket) -> str:
    size = f"{bucket.width}x{bucket.height}"
    shape = (
        size
        if bucket.group.startswith("images")
        else f"{size} with {count(bucket.frames, 'frame')}"
    )
    return f"{bucket.items} at {shape}"


_CAPTION_WIDTH = 72


_NAME_LIMIT = 200  # characters; keeps a report on 10,000 files small enough to attach


def report_text(report: Report, spell: Spell) -> str:
    """Return the full report as plain text.

    `spell` writes options of a run as the reader would type them: in chat or in a terminal.
    """
    parts = (_findings(report), _models(report, spell), _samples(report))
    return "\n".join(line for part in parts for line in part) + "\n"


def contents(report: Report) -> str:
    """Return how many images and clips a dataset contains, and how long the clips are."""
    totals = report.totals
    text = media_counts(totals.images, totals.clips)
    return f"{text}, {duration(totals.seconds)} of video" if totals.clips else text


def media_counts(images: int, clips: int) -> str:
    """Return `6 images and 4 clips`, or only the kind that is present."""
    found = [(images, "image"), (clips, "clip")]
    return " and ".join(count(number, what) for number, what in found if number) or "nothing"


def _findings(report: Report) -> Iterator[str]:
    verdict = "Ready to train on." if report.is_usable else "Cannot be trained on yet."
    yield f"{contents(report).capitalize()}. {verdict}"
    yield f"Content id: {report.version}"
    yield ""
    if not report.findings:
        yield "No problems found."
        return
    yield f"{count(len(report.findings), 'finding')}:"
    for finding in report.findings:
        yield ""
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
