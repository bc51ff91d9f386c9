"""What each model makes of a dataset, as plain text: buckets, items and steps of an epoch."""

from collections.abc import Iterator, Sequence

from bot.messages.figures import count
from bot.messages.markdown import wrapped
from training.dataset.report import Report
from training.estimates.steps_per_model import PredictedBucket, Prediction, predictions, suited


def model_lines(report: Report) -> Iterator[str]:
    """Yield what an epoch of each model trains on; nothing for a set that cannot be used."""
    if not report.is_usable:
        return
    yield ""
    yield "An epoch, by model:"
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
        yield from wrapped(f"{', '.join(names)}: not suited. {reason}", hanging=2)
    if left_out := dict.fromkeys(gap for prediction in alike for gap in prediction.left_out):
        yield "Left out:"
        for gap in left_out:
            yield from wrapped(gap, hanging=2)


def _prediction(prediction: Prediction, names: Sequence[str]) -> Iterator[str]:
    items = count(prediction.items, "item")
    steps = count(prediction.steps_per_epoch, "step")
    yield from wrapped(f"{', '.join(names)}: {items}, {steps}", hanging=2)
    groups: dict[str, list[str]] = {}
    for bucket in prediction.buckets:
        groups.setdefault(bucket.group, []).append(_bucket(bucket))
    for group, buckets in groups.items():
        yield from wrapped(f"{group}: {', '.join(buckets)}", 4, hanging=2)


def _bucket(bucket: PredictedBucket) -> str:
    size = f"{bucket.width}x{bucket.height}"
    shape = size if bucket.group == "images" else f"{size} of {count(bucket.frames, 'frame')}"
    return f"{bucket.items} at {shape}"
