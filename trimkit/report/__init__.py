"""Pages: sections in, one self-contained HTML file out.

from trimkit.report import Curve, Table, Text, VerdictTable, render

html = render("Title", "What this is.", [Text("Result", paragraphs=("…",)), VerdictTable("Verdicts", "", verdicts)])
"""

from trimkit.report.charts import Chart, Series
from trimkit.report.page import render, write_text
from trimkit.report.pictures import Figure, bar_figure, input_figure, signed_figure
from trimkit.report.samples import Measure, SampleRow, SampleRows, SampleTable
from trimkit.report.sections import (
    Curve,
    DeletionCurves,
    Headline,
    Provenance,
    RandomisationPanel,
    Section,
    Signature,
    Table,
    Text,
    VerdictTable,
)
from trimkit.report.snippet import Snippet

__all__ = [
    "Chart",
    "Curve",
    "DeletionCurves",
    "Figure",
    "Headline",
    "Measure",
    "Provenance",
    "RandomisationPanel",
    "SampleRow",
    "SampleRows",
    "SampleTable",
    "Section",
    "Series",
    "Signature",
    "Snippet",
    "Table",
    "Text",
    "VerdictTable",
    "bar_figure",
    "input_figure",
    "render",
    "signed_figure",
    "write_text",
]
