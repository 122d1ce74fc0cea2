"""Pages: sections in, one self-contained HTML file out.

from trimkit.pages import Curve, Table, Text, VerdictTable, render

html = render("Title", "What this is.", [Text("Result", paragraphs=("…",)), VerdictTable("Verdicts", "", verdicts)])
"""

from trimkit.pages.charts import Chart, Series
from trimkit.pages.page import render, write_text
from trimkit.pages.pictures import Figure, bar_figure, input_figure, signed_figure
from trimkit.pages.sections import (
    Curve,
    DeletionCurves,
    Headline,
    Provenance,
    RandomisationPanel,
    SampleRow,
    SampleRows,
    Section,
    Signature,
    Table,
    Text,
    VerdictTable,
)

__all__ = [
    "Chart",
    "Curve",
    "DeletionCurves",
    "Figure",
    "Headline",
    "Provenance",
    "RandomisationPanel",
    "SampleRow",
    "SampleRows",
    "Section",
    "Series",
    "Signature",
    "Table",
    "Text",
    "VerdictTable",
    "bar_figure",
    "input_figure",
    "render",
    "signed_figure",
    "write_text",
]
