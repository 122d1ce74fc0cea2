"""Sections about single samples: rows of pictures, and a table of what was measured on each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trimkit.report.pictures import Figure
from trimkit.report.sections import Section
from trimkit.report.verdicts import number


@dataclass(frozen=True)
class SampleRow:
    """Pictures of one sample, one for each column.

    Attributes:
        caption: above them.
        figures: one a column.
        sample: its id, by which a reader can choose; "" where it has none.
    """

    caption: str
    figures: tuple[Figure, ...]
    sample: str = ""


@dataclass(frozen=True)
class SampleRows(Section):
    """Samples as rows of pictures: input, maps, reconstruction, or the same map before and after training.

    Attributes:
        columns: headings, one a picture.
        rows: with as many pictures each.
        scale: show the colour scale of signed maps.
    """

    macro = "sample_rows"

    columns: tuple[str, ...] = ()
    rows: tuple[SampleRow, ...] = ()
    scale: bool = True


@dataclass(frozen=True)
class Measure:
    """Values of single samples.

    Attributes:
        name: what was measured.
        values: sample's id → value; samples that were not measured are left out.
        better: the good side.
        about: the attribution that it is about, or "".
    """

    name: str
    values: Mapping[str, float]
    better: Literal["higher", "lower"] = "lower"
    about: str = ""


@dataclass(frozen=True)
class SampleTable(Section):
    """Values of single samples, one row a sample and one column a measure; a reader can sort by any of them.

    Attributes:
        measures: the columns.
        names: sample's id → its caption, for samples whose pictures are on the page.
        called: sample's id → what the data call it, for others.
    """

    macro = "sample_table"

    measures: tuple[Measure, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Sample's id → text of each cell, "–" where it was not measured, and what it is sorted by, "" for the text.

        Samples with pictures come first, then the others, each in the order of ids.
        """
        ids = {i for measure in self.measures for i in measure.values}
        ordered = sorted(ids, key=lambda i: (i not in self.names, not i.isdecimal(), int(i) if i.isdecimal() else 0, i))
        return [(i, [_value(measure.values.get(i)) for measure in self.measures]) for i in ordered]


def _value(value: float | None) -> tuple[str, str]:
    if value is None or not math.isfinite(value):
        return "–", ""
    text = number(value)
    return text, "" if text.isascii() else f"{value:.3g}"
