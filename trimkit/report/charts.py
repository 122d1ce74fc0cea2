"""Charts as geometry in per cent: the template draws them as SVG that stretches, with labels as text that does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from trimkit.report.verdicts import number

Style = Literal["one", "two", "three", "random", "input"]
"""Colours and dashes of the page's style sheet; the controls are grey and ochre everywhere."""

MOST_LABELS = 9


@dataclass(frozen=True)
class Series:
    """One line of a chart, or the bars of a bar chart.

    Attributes:
        name: in the legend.
        values: one for each x.
        low: lower ends of the 95 % intervals, or ().
        high: upper ends, or ().
        style: see `Style`.
    """

    name: str
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    style: Style = "one"


@dataclass(frozen=True)
class Tick:
    """A label at a place, in per cent of its axis; ``minor`` ones are left out on narrow screens."""

    at: float
    text: str
    minor: bool = False


@dataclass(frozen=True)
class Shape:
    """A series as the template draws it.

    Attributes:
        series: what is drawn.
        line: its points, "x,y x,y …".
        interval: outline of its interval, or "".
        points: (x, y).
        whiskers: (x, lower end, upper end) of each interval.
    """

    series: Series
    line: str
    interval: str
    points: tuple[tuple[float, float], ...]
    whiskers: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Row:
    """What a chart shows at one place of its x axis, as text.

    Attributes:
        at: the place, in per cent of the axis.
        name: of the place.
        cells: one value a series, with its interval.
    """

    at: float
    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """Lines over a common x.

    Attributes:
        title: above the chart, or "".
        series: at least one.
        x: places on the x axis; equally spaced categories where `labels` are given.
        labels: of categories, in place of numbers.
        x_axis: what x is.
        y_axis: what y is.
        percent: y are shares, written in per cent.
        kind: "line" for an ordered axis, "points" where neighbours on the axis mean nothing.
        y_limits: fixed ends of the y axis, so that charts can be compared; else zero and the data's own.
        subtitle: below the title.
        x_percent: x are shares, written in per cent.
    """

    title: str
    series: tuple[Series, ...]
    x: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    x_axis: str = ""
    y_axis: str = ""
    percent: bool = False
    kind: Literal["line", "points"] = "line"
    y_limits: tuple[float, float] | None = None
    subtitle: str = ""
    x_percent: bool = True

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Ends of the y axis; zero is always on it."""
        if self.y_limits:
            return self.y_limits
        every = [v for s in self.series for v in (*s.values, *s.low, *s.high) if math.isfinite(v)]
        low, high = min(0.0, *every), max(0.0, *every)
        return _to_ticks(low, high) if high > low else (low, low + 1.0)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The series as points in per cent, in the order of drawing: controls first, so that they lie below."""
        drawn = sorted(self.series, key=lambda s: s.style not in ("random", "input"))
        return tuple(self._shape(series) for series in drawn)

    @property
    def y_ticks(self) -> tuple[Tick, ...]:
        """Round numbers on the y axis."""
        low, high = self.limits
        return tuple(Tick(self._y(v), _label(v, self.percent)) for v in round_numbers(low, high))

    @property
    def x_ticks(self) -> tuple[Tick, ...]:
        """Labels of categories, at most `MOST_LABELS`, or round numbers."""
        if self.labels:
            every = max(1, math.ceil(len(self.labels) / MOST_LABELS))
            shown = range(0, len(self.labels), every)
            return tuple(Tick(self._x(i), self.labels[i], n % 3 != 0) for n, i in enumerate(shown))
        low, high = self.x[0], self.x[-1]
        return tuple(Tick(100 * (v - low) / (high - low), _label(v, self.x_percent)) for v in round_numbers(low, high))

    @property
    def zero(self) -> float:
        """Where the line at zero is, in per cent from the top."""
        return self._y(0.0)

    @property
    def alt(self) -> str:
        """The chart in words: the largest value of each series and where it is."""
        parts = []
        for series in self.series:
            top = max(range(len(series.values)), key=lambda i: abs(series.values[i]))
            parts.append(f"{series.name}: largest {_label(series.values[top], self.percent)} at {self._name(top)}")
        return f"{self.title or self.y_axis or 'Chart'}. {'; '.join(parts)}."

    @property
    def rows(self) -> tuple[Row, ...]:
        """The chart as a table: one row for each place on the x axis, one cell for each of `series`."""
        count = max((len(series.values) for series in self.series), default=0)
        return tuple(Row(self._x(i), self._name(i), tuple(self._cell(s, i) for s in self.series)) for i in range(count))

    def _name(self, i: int) -> str:
        return self.labels[i] if self.labels else _label(self.x[i], self.x_percent)

    def _cell(self, series: Series, i: int) -> str:
        if i >= len(series.values):
            return "–"
        ends = f" [{_label(series.low[i], self.percent)}, {_label(series.high[i], self.percent)}]" if series.low else ""
        return f"{_label(series.values[i], self.percent)}{ends}"

    def _shape(self, series: Series) -> Shape:
        points = tuple((self._x(i), self._y(v)) for i, v in enumerate(series.values))
        low, high = ([(self._x(i), self._y(v)) for i, v in enumerate(ends)] for ends in (series.low, series.high))
        whiskers = tuple((x, bottom, top) for (x, bottom), (_, top) in zip(low, high, strict=True))
        return Shape(series, _path(points), _path([*low, *reversed(high)]), points, whiskers)

    def _x(self, i: int) -> float:
        if self.labels:
            return 100 * (i + 0.5) / len(self.labels)
        return 100 * (self.x[i] - self.x[0]) / (self.x[-1] - self.x[0])

    def _y(self, value: float) -> float:
        low, high = self.limits
        return 100 * (high - min(max(value, low), high)) / (high - low)


def round_numbers(low: float, high: float, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 · 10ᵏ between two ends, at most `most` + 1.

    Example:
        >>> round_numbers(0, 0.62)
        [0.0, 0.2, 0.4, 0.6]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _to_ticks(low: float, high: float) -> tuple[float, float]:
    """Ends moved outwards to the next round number."""
    ticks = round_numbers(low, high)
    step = ticks[1] - ticks[0]
    return step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _label(value: float, percent: bool) -> str:
    return f"{number(value, '%')} %" if percent else number(value)
