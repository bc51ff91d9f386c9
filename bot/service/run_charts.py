"""Draws the chart of a run from its stored metrics."""

import logging

from bot.messages.picture import Picture
from bot.messages.runs.chart import Series, draw_chart
from training.errors import TrainingError
from training.pipeline.run_view import RunView, metrics
from training.pipeline.runtime import Runtime

logger = logging.getLogger(__name__)


def chart_of(runtime: Runtime, view: RunView) -> Picture | None:
    """Return the chart of a run; None if no expert has two steps with a finite loss."""
    spec = view.spec
    series = [
        Series(
            name=expert.name,
            metrics=metrics(runtime, spec, expert.name),
            total_steps=view.expert(expert.name).total_steps,
            saved=[(one.step, one.epoch) for one in view.run.expert(expert.name).checkpoints],
        )
        for expert in spec.experts
    ]
    return draw_chart(series)


def chart_if_possible(runtime: Runtime, view: RunView) -> Picture | None:
    """Return the chart of a run; if it cannot be drawn, log this and return None."""
    try:
        return chart_of(runtime, view)
    except (OSError, TrainingError):
        logger.warning("run %s: its chart cannot be drawn", view.spec.name, exc_info=True)
        return None
