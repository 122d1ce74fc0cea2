"""The pictures of the check `reliance`: what is forbidden and how far the model leans on it; or what a search shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimkit.audit.checks.base import Findings
from trimkit.audit.pictures import coefficient_figure
from trimkit.audit.selection import Forbidden
from trimkit.audit.subject import Subject
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.report.charts import Chart, Series
from trimkit.report.pictures import Figure
from trimkit.report.sections import Curve, Gallery, Section, Table
from trimkit.report.verdicts import number

_OPERATIONS = ("removed", "replaced")

MOST_ROWS = 12
"""Groups in the table of a search."""

_FORBIDDEN = (
    "Share of the explanation that lies there, and what happens to the output when these coefficients are removed or "
    "take another sample's values; beside it the same for random other coefficients with as much energy."
)
_SEARCH = (
    "What another sample's values in one group do to the output, and what the explanation says of that group, beside "
    "the amplitude that the data hold there."
)


_SIGNS = {"useless": "helps none", "harmful": "more right without it", "outweighs": "beyond its energy"}
"""Why a group stands out."""


def forbidden_sections(findings: Findings) -> list[Section]:
    """A table of the measurements, and where each forbidden set lies."""
    rows = [
        (entry["name"], *(_measured(m) for m in entry["measurements"]), _accuracy(entry["accuracy"]))
        for entry in findings.evidence["forbidden"]
    ]
    headings = ("Forbidden", "Share of the explanation", "Effect of removing", "Effect of replacing", "Accuracy")
    pictures = [_where(findings.subject, _first(one), one.name) for one in findings.subject.forbidden]
    table = Table("What the model must not rely on", _FORBIDDEN, headings, tuple(rows))
    return [table, Gallery("", "Where it lies among the coefficients.", tuple(pictures))]


def search_sections(findings: Findings, flagged: Sequence[str]) -> list[Section]:
    """A chart of all groups, a table of the first ones, and where those that stand out lie."""
    rows = findings.evidence["searched"]
    by_name = {row["name"]: row for row in rows}
    names = [name for name in findings.subject.groups.names if name in by_name]
    series = (
        _series("effect of another sample's values", [by_name[n]["effect"] for n in names], "one"),
        _series("share of the explanation", [by_name[n]["share"] for n in names], "two"),
        Series("amplitude of the input", tuple(by_name[n]["amplitude"] for n in names), style="input"),
    )
    axis = findings.subject.groups.axis
    chart = Chart(
        "",
        series,
        labels=tuple(names),
        x_axis=axis,
        y_axis="share, or effect on the output",
        percent=True,
        kind="points",
    )
    parts: list[Section] = [Curve("What the model leans on", _SEARCH, chart), _table(rows)]
    if flagged:
        pictures = tuple(_where(findings.subject, _group(findings.subject, name), name) for name in flagged[:4])
        parts.append(Gallery("", "Where the groups that stand out lie among the coefficients.", pictures))
    return parts


def _first(one: Forbidden) -> Tree:
    """The mask of one sample, (1, ...): that of the first where each has its own."""
    return tree.map_leaves(lambda m: m[:1] if one.each else m[None], one.mask)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    headings = (
        "Group",
        "Stands out",
        "Effect",
        "Share",
        "Predictions changed",
        "Right answers lost",
        "Probe alone",
        "To forbid it",
    )
    cells = [
        (
            row["name"],
            ", ".join(words for sign, words in _SIGNS.items() if row[sign]) or "no",
            _interval(row["effect"]),
            _interval(row["share"]),
            _interval(row["flips"]),
            _interval(row["loss"]),
            "–" if row["probe"] is None else f"{row['probe']:.2f}",
            f'--forbid "{row["forbid"]}"',
        )
        for row in rows[:MOST_ROWS]
    ]
    more = f"{len(rows) - MOST_ROWS} more groups are in results.json. " if len(rows) > MOST_ROWS else ""
    note = more + "Probe alone: cross-validated accuracy of a linear classifier that sees this group only."
    return Table("", "", headings, tuple(cells), note)


def _where(subject: Subject, mask: Tree, name: str) -> Figure:
    """A mask as a map of the coefficients, each weighted as the pictures of scores weigh it."""
    held = subject.groups.multiplicity
    weights = mask if held is None else tree.map_leaves(lambda m, times: m * times.to(m.device), mask, held)
    values = tree.map_leaves(lambda leaf: leaf.float().cpu(), weights)
    figure = coefficient_figure(subject.transform, values, subject.data.shape)
    return Figure(
        name, f"Where {name} lies among the coefficients.", figure.uri, figure.bars, figure.line, figure.aspect
    )


def _group(subject: Subject, name: str) -> Tree:
    return tree.map_leaves(lambda leaf: leaf[None], subject.groups.mask(name))


def _series(name: str, estimates: Sequence[Mapping[str, float]], style: Any) -> Series:
    columns = [tuple(e[key] for e in estimates) for key in ("value", "low", "high")]
    return Series(name, *columns, style=style)


def _interval(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "–"
    value, low, high = (number(estimate[key], "%") for key in ("value", "low", "high"))
    return f"{value} % [{low}, {high}]"


def _measured(m: Mapping[str, Any]) -> str:
    random = "" if m["control"] is None else f"; random {number(m['control']['value'], '%')} %"
    return f"{m['status']}: {_interval(m['estimate'])} (≤ {number(m['limit'], '%')} %{random})"


def _accuracy(accuracy: Mapping[str, Any]) -> str:
    if not accuracy:
        return "–"
    removed, replaced = (f"{accuracy['changes'][key]['value']:+.3f}".replace("-", "−") for key in _OPERATIONS)
    return f"{accuracy['before']:.3f}; removed {removed}, replaced {replaced}"
