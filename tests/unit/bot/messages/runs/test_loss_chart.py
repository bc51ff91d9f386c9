"""The chart of a run: what it draws, and what it tells people who do not see it."""

import io
import math

import pytest
from PIL import Image

from bot.messages.runs.chart import Series, draw_chart
from training.pipeline.run_view import Metric
from training.vocabulary import ExpertName

ORANGE, BLUE = (240, 178, 50), (86, 180, 233)


def falling(steps: int) -> list[Metric]:
    return [
        Metric(step=step, loss=0.4 - 0.3 * step / steps, learning_rate=1e-4)
        for step in range(1, steps + 1)
    ]


def series(name: ExpertName, steps: int = 40) -> Series:
    return Series(name, falling(steps), 80, [(20, 5), (40, 10)])


def colours(data: bytes) -> set[tuple[int, ...]]:
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (1000, 760)
    found = picture.convert("RGB").getcolors(1000 * 760)
    assert found is not None
    return {colour for _, colour in found if isinstance(colour, tuple)}


def test_a_chart_draws_both_experts_and_tells_their_numbers() -> None:
    chart = draw_chart([series("high"), series("low", 30)])

    assert chart is not None
    assert {ORANGE, BLUE} <= colours(chart.data)
    high, low = chart.alt.split(" low expert: ")
    assert high.startswith("high expert: smoothed loss 0.3")
    assert "at step 40 of 80. Learning rate 1e-4 to 1e-4." in high
    assert high.endswith("2 checkpoints: epochs 5, 10.")
    assert "at step 30 of 80" in low


def test_a_single_expert_is_not_named() -> None:
    chart = draw_chart([series("main")])

    assert chart is not None
    assert chart.alt.startswith("Smoothed loss")
    assert ORANGE not in colours(chart.data)


def test_a_chart_spans_the_steps_that_were_reached() -> None:
    early, resumed = Series("main", falling(40), 4000), Series("main", falling(80)[40:], 80)

    for one in (early, resumed):
        chart = draw_chart([one])
        assert chart is not None
        picture = Image.open(io.BytesIO(chart.data)).convert("RGB")
        drawn = [x for x in range(1000) for y in range(92, 520) if picture.getpixel((x, y)) == BLUE]
        assert (min(drawn), max(drawn)) == (pytest.approx(176, abs=20), pytest.approx(976, abs=6))


def test_losses_that_are_not_finite_are_left_out() -> None:
    bad = [Metric(step=41, loss=math.nan, learning_rate=1e-4)]

    chart = draw_chart([Series("main", [*falling(40), *bad], 80)])

    assert chart is not None
    assert "at step 40 of 80" in chart.alt


def test_a_run_without_steps_has_no_chart_and_a_constant_loss_has_one() -> None:
    same = [Metric(step=step, loss=0.1, learning_rate=0.0) for step in (1, 2, 3)]

    assert draw_chart([Series("main", falling(1), 80)]) is None
    assert draw_chart([Series("main", same, 3)]) is not None
