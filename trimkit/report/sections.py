"""What a page is made of. Each section is a small record with the name of the template macro that draws it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from trimkit.report.charts import Chart, Row, Tick, round_numbers
from trimkit.report.pictures import Figure
from trimkit.report.verdicts import Status, Verdict, number


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        title: its heading; "" for a part that belongs to the one before.
        lead: a paragraph below the heading that says in plain words what is seen.
        about: the attribution that it is about, by which a reader can choose; "" for a part that is about none.
    """

    macro: ClassVar[str]

    title: str
    lead: str = ""
    about: str = field(default="", kw_only=True)

    @property
    def anchor(self) -> str:
        """The heading as an HTML id."""
        return re.sub(r"\W+", "-", self.title.casefold()).strip("-")


@dataclass(frozen=True)
class Headline(Section):
    """The overall status and the facts of the audit; stands first, without a heading of its own.

    Attributes:
        status: of the whole.
        sentence: in plain words.
        facts: (name, value) pairs.
        subject: what the status is about, before it; "" for nothing.
    """

    macro = "headline"

    status: Status = Status.INCONCLUSIVE
    sentence: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    subject: str = "Explanation"


@dataclass(frozen=True)
class Gauge:
    """An interval beside its threshold, in per cent of a short line: how close was it?"""

    value: float
    low: float
    high: float
    threshold: float
    good_left: bool
    label: str


@dataclass(frozen=True)
class VerdictTable(Section):
    """Verdicts as rows: status, question, answer, interval against threshold, and how it was measured.

    Attributes:
        verdicts: in the order of the rows, grouped by attribution.
    """

    macro = "verdict_table"

    verdicts: tuple[Verdict, ...] = ()

    @property
    def groups(self) -> list[tuple[str, list[Verdict]]]:
        """Attribution → its verdicts; those on the transform come first, under "". One group where one is audited."""
        labels = dict.fromkeys(["", *(v.attribution for v in self.verdicts)])
        if len(labels) <= 2:
            return [("", list(self.verdicts))]
        found = [(label, [v for v in self.verdicts if v.attribution == label]) for label in labels]
        return [(label, verdicts) for label, verdicts in found if verdicts]

    @staticmethod
    def gauge(verdict: Verdict) -> Gauge | None:
        """The picture of a verdict's interval; None where it has none."""
        if verdict.estimate is None or verdict.threshold is None:
            return None
        e, threshold = verdict.estimate, verdict.threshold
        ends = [v for v in (e.value, e.low, e.high, threshold, 0.0) if math.isfinite(v)]
        low, high = min(ends), max(ends)
        pad = 0.12 * ((high - low) or 1.0)
        low, high = (low - pad if low < 0 else low), high + pad

        def at(value: float) -> float:
            return 100 * min(1.0, max(0.0, (value - low) / (high - low)))

        label = f"Estimate and interval: {verdict.figures}"
        return Gauge(at(e.value), at(e.low), at(e.high), at(threshold), verdict.direction == "≤", label)


@dataclass(frozen=True)
class Curve(Section):
    """One wide chart."""

    macro = "curve"

    chart: Chart = field(default_factory=lambda: Chart("", ()))


@dataclass(frozen=True)
class DeletionCurves(Section):
    """Charts side by side, one for each removal operator, that share their series and one legend."""

    macro = "deletion_curves"

    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True)
class Panels(Section):
    """Charts side by side.

    Attributes:
        charts: of the same size.
        shared_legend: they share their series, so that one legend below serves all; else their titles name them.
    """

    macro = "chart_panels"

    charts: tuple[Chart, ...] = ()
    shared_legend: bool = True


@dataclass(frozen=True)
class Gallery(Section):
    """Small pictures, each with its caption."""

    macro = "gallery"

    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """A square table of numbers between the same things, the deeper in colour the larger.

    Attributes:
        title: above it.
        names: of rows and columns.
        values: rows of numbers; the diagonal is not shown.
        note: below it.
    """

    title: str
    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    note: str = ""

    @property
    def rows(self) -> list[tuple[str, list[tuple[str, float]]]]:
        """Name of the row → text of each cell and its depth of colour in per cent, of 100 at |value| ≥ ½."""
        return [
            (name, [("", 0.0) if i == j else self._cell(value) for j, value in enumerate(row)])
            for i, (name, row) in enumerate(zip(self.names, self.values, strict=True))
        ]

    @staticmethod
    def _cell(value: float) -> tuple[str, float]:
        return f"{value:.2f}".replace("-", "−"), min(100.0, 200 * abs(value))


@dataclass(frozen=True)
class Matrices(Section):
    """Square tables side by side."""

    macro = "matrix_panels"

    matrices: tuple[Matrix, ...] = ()


@dataclass(frozen=True)
class RandomisationPanel(Section):
    """Histograms of rank correlations: of the model with random copies, and of the copies among themselves (the null).

    Attributes:
        edges: of the bins, rising.
        trained: counts, one a bin.
        null: counts, one a bin.
        markers: (name, correlation) of the means and of the input-only map.
    """

    macro = "randomisation_panel"

    edges: tuple[float, ...] = (-1.0, 1.0)
    trained: tuple[int, ...] = ()
    null: tuple[int, ...] = ()
    markers: tuple[tuple[str, float], ...] = ()

    @property
    def shapes(self) -> tuple[tuple[str, str], ...]:
        """(style, outline) of both histograms as step functions, in per cent, each as shares of its own total."""
        shares = {style: _shares(counts) for style, counts in (("random", self.null), ("one", self.trained))}
        most = max((v for values in shares.values() for v in values), default=0.0) or 1.0
        return tuple((style, self._steps(values, most)) for style, values in shares.items())

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Round correlations on the axis."""
        low, high = self.edges[0], self.edges[-1]
        return tuple(Tick(self.at(v), f"{v:g}".replace("-", "−")) for v in round_numbers(low, high, 4))

    @property
    def rows(self) -> tuple[Row, ...]:
        """The panel as a table: one row a bin, the share of the model's correlations and of the null's in it."""
        trained, null = _shares(self.trained), _shares(self.null)
        bins = zip(self.edges, self.edges[1:], trained, null, strict=False)
        return tuple(
            Row(self.at((a + b) / 2), f"{number(a)} to {number(b)}", (f"{number(t, '%')} %", f"{number(n, '%')} %"))
            for a, b, t, n in bins
        )

    @property
    def alt(self) -> str:
        """The panel in words."""
        return "Histograms of rank correlations. " + "; ".join(f"{name}: {v:.2f}" for name, v in self.markers) + "."

    def at(self, correlation: float) -> float:
        """Where a correlation is on the axis, in per cent."""
        low, high = self.edges[0], self.edges[-1]
        return 100 * (correlation - low) / (high - low)

    def _steps(self, shares: list[float], most: float) -> str:
        points = [(self.at(self.edges[0]), 100.0)]
        for left, right, share in zip(self.edges, self.edges[1:], shares, strict=False):
            top = 100 - 94 * share / most
            points += [(self.at(left), top), (self.at(right), top)]
        points.append((self.at(self.edges[-1]), 100.0))
        return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


@dataclass(frozen=True)
class Table(Section):
    """A table of text; the first column names the rows.

    Attributes:
        headings: one a column.
        rows: cells; a number should come with its interval or spread.
        note: below the table.
        strong: index of a row to stress, or None.
    """

    macro = "table"

    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    strong: int | None = None


@dataclass(frozen=True)
class Text(Section):
    """Paragraphs, and a list of points below them."""

    macro = "text"

    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance(Section):
    """Where the result comes from: named values, and the whole record to unfold.

    Attributes:
        facts: (name, value) pairs.
        record: JSON values.
    """

    macro = "provenance"

    facts: tuple[tuple[str, str], ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Signature(Section):
    """Blank lines for those who answer for the result."""

    macro = "signature"

    lines: tuple[str, ...] = ("Name", "Role", "Date", "Signature")


def _shares(counts: tuple[int, ...]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]
