"""What a result shows of itself in a notebook: a few lines and pictures of HTML, without script or style sheet."""

from __future__ import annotations

from dataclasses import dataclass

from trimkit.report.charts import Chart
from trimkit.report.page import fill
from trimkit.report.pictures import Figure
from trimkit.report.verdicts import Status


@dataclass(frozen=True)
class Snippet:
    """A result in brief. Its text takes the notebook's own colour, so that it can be read on light and on dark.

    Attributes:
        title: what it is.
        statuses: (subject, status, sentence).
        facts: (name, value) pairs.
        figures: pictures in a row, each with its caption.
        charts: small charts in a row; each place tells its values as its tooltip.
        note: below all.

    Example:
        >>> Snippet("<b>", facts=(("n", "3"),)).to_html().count("&lt;b&gt;")
        1
    """

    title: str
    statuses: tuple[tuple[str, Status, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    charts: tuple[Chart, ...] = ()
    note: str = ""

    def to_html(self) -> str:
        """The snippet as HTML; every text is escaped, and nothing is loaded."""
        return fill("snippet.html.jinja", shown=self)
