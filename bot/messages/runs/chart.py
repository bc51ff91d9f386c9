"""The chart of a run: each expert's loss and learning rate, with its checkpoints marked."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from PIL import Image, ImageDraw, ImageFont

from bot.messages.figures import loss, rate
from bot.messages.picture import Picture
from training.pipeline.run_view import Metric
from training.vocabulary import ExpertName
from training.wording import count, listed

_NAME = "loss.png"
_SIZE = (1000, 760)  # pixels; large text, because a phone shows this about 300 points wide
_LEFT, _RIGHT, _TOP, _BOTTOM = 166, 976, 92, 520  # the plot of the loss
_RATE_TOP, _RATE_BOTTOM = 580, 676  # the plot of the learning rate
_TEXT, _HEAD = 40, 44  # font size, and y of the middle of the first line, in pixels
_GRID_LINES = 3
_SHARE = 20  # each point of the smoothed line is the mean of 1/20 of all steps
_SHOWN_EPOCHS = 12
# Colours of Discord's dark theme; readable on the light one too.
_PAPER, _GRID, _BRIGHT, _DIM = (30, 31, 34), (63, 65, 71), (242, 243, 245), (181, 186, 193)
_COLOURS: dict[ExpertName, tuple[int, int, int]] = {
    "main": (86, 180, 233),
    "high": (240, 178, 50),
    "low": (86, 180, 233),
}
# Gap between dashes in pixels; 0 means solid. Dashes tell the experts apart for people who cannot
# see the colours.
_DASH = {"main": 0, "high": 0, "low": 16}
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """The metrics of one expert.

    Attributes:
        metrics: One for each step so far, in order.
        total_steps: The number of planned steps.
        saved: The step and the epoch of each checkpoint.
    """

    name: ExpertName
    metrics: Sequence[Metric]
    total_steps: int
    saved: Sequence[tuple[int, int]] = ()

    @property
    def finite(self) -> list[Metric]:
        return [metric for metric in self.metrics if math.isfinite(metric.loss)]

    def smoothed(self) -> list[Point]:
        """Return (step, mean loss of the steps around it) for each step with a finite loss."""
        found = self.finite
        reach = max(len(found) // (2 * _SHARE), 1)
        sums = list(accumulate((metric.loss for metric in found), initial=0.0))
        points: list[Point] = []
        for at, metric in enumerate(found):
            begin, end = max(at - reach, 0), min(at + reach + 1, len(found))
            points.append((metric.step, (sums[end] - sums[begin]) / (end - begin)))
        return points


def draw_chart(series: Sequence[Series]) -> Picture | None:
    """Return the chart; None if no expert has two steps with a finite loss."""
    drawn = [one for one in series if len(one.finite) > 1]
    if not drawn:
        return None
    picture = Image.new("RGB", _SIZE, _PAPER)
    _Drawing(ImageDraw.Draw(picture), drawn).draw()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Picture(_NAME, buffer.getvalue(), alt_text(drawn))


def alt_text(series: Sequence[Series]) -> str:
    """Return the main figures of a chart as sentences."""
    return " ".join(_told(one, is_named=len(series) > 1) for one in series)


def _told(series: Series, *, is_named: bool) -> str:
    smoothed = series.smoothed()
    step, lowest = min(smoothed, key=lambda point: point[1])
    rates = [metric.learning_rate for metric in series.metrics]
    who = f"{series.name} expert: s" if is_named else "S"
    parts = [
        f"{who}moothed loss {loss(smoothed[0][1])} at step {series.finite[0].step}, "
        f"{loss(lowest)} at best (step {step:,.0f}), {loss(smoothed[-1][1])} at step "
        f"{series.finite[-1].step:,} of {series.total_steps:,}.",
        f"Learning rate {rate(rates[0])} to {rate(rates[-1])}.",
    ]
    if series.saved:
        epochs = listed([str(epoch) for _, epoch in series.saved], _SHOWN_EPOCHS)
        plural = "" if len(series.saved) == 1 else "s"
        parts.append(f"{count(len(series.saved), 'checkpoint')}: epoch{plural} {epochs}.")
    return " ".join(parts)


class _Drawing:
    """Draws the parts of a chart."""

    def __init__(self, pen: ImageDraw.ImageDraw, series: Sequence[Series]) -> None:
        self._pen, self._series = pen, series
        self._font = ImageFont.load_default(_TEXT)
        # The steps of this run so far, not those planned, so that few steps still fill the chart.
        self._first = min(one.finite[0].step for one in series) - 1
        self._last = max(one.finite[-1].step for one in series)
        self._planned = max(one.total_steps for one in series)
        curves = [mean for one in series for _, mean in one.smoothed()]
        low, high = min(curves), max(curves)
        room = (high - low) * 0.15 or abs(high) * 0.1 or 1.0
        self._low, self._high = max(low - room, 0.0), high + room
        self._most_rate = max(m.learning_rate for one in series for m in one.metrics) or 1.0

    def draw(self) -> None:
        self._pen.text((24, _HEAD - _TEXT / 2), "loss", _BRIGHT, self._font)
        self._legend()
        self._grid()
        for one in self._series:
            colour = _COLOURS[one.name]
            mixed = zip(colour, _PAPER, strict=True)
            faint = tuple((channel + 2 * paper) // 3 for channel, paper in mixed)
            raw = [(m.step, min(max(m.loss, self._low), self._high)) for m in one.finite]
            self._line(raw, self._place, faint, 1)
            rates = [(m.step, m.learning_rate) for m in one.metrics]
            self._line(rates, self._rate_place, colour, 5, _DASH[one.name])
        for one in self._series:
            smoothed = one.smoothed()
            self._line(smoothed, self._place, _COLOURS[one.name], 8, _DASH[one.name])
            self._checkpoints(one, smoothed)

    def _legend(self) -> None:
        """Draw the legend, from right to left."""
        right = float(_RIGHT)
        self._pen.ellipse((right - 22, _HEAD - 11, right, _HEAD + 11), _PAPER, _BRIGHT, 5)
        right = self._label("saved", right - 34, _DIM) - 36
        for one in reversed(self._series):
            if one.name != "main":
                right = self._label(one.name, right, _BRIGHT) - 12
                line = [(right - 70, float(_HEAD)), (right, float(_HEAD))]
                self._strokes(line, _COLOURS[one.name], 8, _DASH[one.name])
                right -= 106

    def _label(self, text: str, right: float, colour: tuple[int, ...]) -> float:
        """Draw text that ends at `right`; return its left edge."""
        left = right - self._pen.textlength(text, self._font)
        self._pen.text((left, _HEAD - _TEXT / 2), text, colour, self._font)
        return left

    def _grid(self) -> None:
        for number in range(_GRID_LINES + 1):
            value = self._low + (self._high - self._low) * number / _GRID_LINES
            y = self._place((0, value))[1]
            self._pen.line((_LEFT, y, _RIGHT, y), _GRID, 3)
            self._beside(f"{value:.3g}", y)
        self._beside(rate(self._most_rate), _RATE_TOP)
        self._beside("lr", _RATE_TOP + 1.3 * _TEXT)
        self._pen.line((_LEFT, _RATE_BOTTOM, _RIGHT, _RATE_BOTTOM), _GRID, 3)
        for share in (0.0, 0.5, 1.0):
            step = round(self._first + (self._last - self._first) * share)
            text = f"{step:,}" if share < 1 else self._end
            x = self._place((step, self._low))[0] - self._pen.textlength(text, self._font) * share
            self._pen.text((x, _RATE_BOTTOM + 16), text, _DIM, self._font)

    @property
    def _end(self) -> str:
        reached = f"step {self._last:,}"
        return reached if self._last >= self._planned else f"{reached} of {self._planned:,}"

    def _beside(self, text: str, y: float) -> None:
        """Write a text to the left of the plots."""
        width = self._pen.textlength(text, self._font)
        self._pen.text((_LEFT - 12 - width, y - _TEXT / 2), text, _DIM, self._font)

    def _checkpoints(self, series: Series, smoothed: Sequence[Point]) -> None:
        for saved, _ in series.saved:
            x, y = self._place(min(smoothed, key=lambda point: abs(point[0] - saved)))
            self._pen.ellipse((x - 11, y - 11, x + 11, y + 11), _PAPER, _COLOURS[series.name], 5)

    def _line(
        self,
        points: Sequence[Point],
        place: Callable[[Point], Point],
        colour: tuple[int, ...],
        width: int,
        dash: int = 0,
    ) -> None:
        self._strokes([place(point) for point in points], colour, width, dash)

    def _strokes(
        self, places: Sequence[Point], colour: tuple[int, ...], width: int, dash: int
    ) -> None:
        """Draw a line: solid if `dash` is 0, else dashed, with gaps of `dash` pixels."""
        if not dash:
            self._pen.line(list(places), colour, width, "curve")
            return
        gone = 0.0
        for begin, end in pairwise(places):
            pieces = max(math.ceil(math.dist(begin, end) / 4), 1)
            for number in range(pieces):
                if int(gone / dash) % 3 < 2:
                    piece = (_between(begin, end, n / pieces) for n in (number, number + 1))
                    self._pen.line(list(piece), colour, width)
                gone += math.dist(begin, end) / pieces

    def _place(self, point: Point) -> Point:
        height = (point[1] - self._low) / (self._high - self._low)
        return self._x(point[0]), _BOTTOM - height * (_BOTTOM - _TOP)

    def _rate_place(self, point: Point) -> Point:
        height = point[1] / self._most_rate
        return self._x(point[0]), _RATE_BOTTOM - height * (_RATE_BOTTOM - _RATE_TOP)

    def _x(self, step: float) -> float:
        share = (step - self._first) / (self._last - self._first)
        return _LEFT + (_RIGHT - _LEFT) * share


def _between(begin: Point, end: Point, share: float) -> Point:
    return begin[0] + (end[0] - begin[0]) * share, begin[1] + (end[1] - begin[1]) * share
