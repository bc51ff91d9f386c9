"""How an expert's loss developed, in words and as a row of small columns."""

from collections.abc import Mapping

from bot.messages.figures import loss, trend
from training.pipeline.run_view import RunView
from training.runs.training_health import LossCourse, course_of

_SHOWN_EPOCHS = 10


def trend_text(losses: Mapping[int, float]) -> str:
    """Return the mean losses of the newest epochs as columns and words: `▇▅▃▁ fell by 71 %`.

    The result is "" before the end of the second epoch.
    """
    course = course_of(losses)
    if course is None or len(losses) < 2:
        return ""
    newest = [losses[epoch] for epoch in sorted(losses)][-_SHOWN_EPOCHS:]
    return f"{trend(newest)} {verdict(course)}"


def verdict(course: LossCourse) -> str:
    """Return how the loss developed, such as `fell by 71 %, flat since epoch 30`."""
    parts = [_change(course)]
    if course.diverged_in is not None:
        parts.append(f"diverged in epoch {course.diverged_in}")
    elif course.flat_since is not None:
        parts.append(f"flat since epoch {course.flat_since}")
    return ", ".join(parts)


def verdicts(view: RunView) -> str:
    """Return one sentence, with a leading space, on the losses of all experts; "" if unknown."""
    found = {one.name: course_of(view.run.expert(one.name).losses) for one in view.spec.experts}
    told = [
        verdict(course) if name == "main" else f"{verdict(course)} ({name})"
        for name, course in found.items()
        if course is not None
    ]
    return f" Loss {'; '.join(told)}." if told else ""


def course_text(course: LossCourse) -> str:
    """Return the first, lowest and last mean loss, and how the loss developed."""
    return (
        f"loss {loss(course.first)} at first, {loss(course.best)} at best (epoch "
        f"{course.best_epoch}), {loss(course.last)} at the end: {verdict(course)}"
    )


def _change(course: LossCourse) -> str:
    percent = round(100 * course.fallen)
    if percent == 0:
        return "has not changed"
    return f"fell by {percent} %" if percent > 0 else f"rose by {-percent} %"
