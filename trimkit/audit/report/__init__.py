"""The report: sections of a page, and the pages of an audit.

from trimkit.audit.report import Curve, Table, Text, VerdictTable, render

html = render("Title", "What this is.", [Text("Result", paragraphs=("…",)), VerdictTable("Verdicts", "", verdicts)])
"""

from trimkit.audit.report.coefficients import coefficient_figure, pixel_figure
from trimkit.audit.report.compose import (
    band_chart,
    compare_bands,
    compare_samples,
    headline,
    limitations,
    provenance,
    sample_rows,
    sections_of,
)
from trimkit.report.charts import Chart, Series
from trimkit.report.page import render
from trimkit.report.pictures import Figure, bar_figure, input_figure, signed_figure
from trimkit.report.sections import (
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
    "band_chart",
    "bar_figure",
    "coefficient_figure",
    "compare_bands",
    "compare_samples",
    "headline",
    "input_figure",
    "limitations",
    "pixel_figure",
    "provenance",
    "render",
    "sample_rows",
    "sections_of",
    "signed_figure",
]
