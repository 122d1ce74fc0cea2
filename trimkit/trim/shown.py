"""What explanations and penalties show of themselves in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import TrimkitError
from trimkit.report.charts import Chart, Series
from trimkit.report.pictures import Figure, signed_figure
from trimkit.report.snippet import Snippet
from trimkit.report.verdicts import number
from trimkit.trim.penalty import PenaltyReport
from trimkit.trim.result import TrimResult

QUANTILES = 33
"""Points of the chart of a penalty."""

MOST_GROUPS = 200
"""Groups in a chart."""


def show_result(result: TrimResult) -> Snippet:
    """An explanation in brief: its sizes, its completeness, and the mean |score| of each group over samples."""
    leaves = tree.leaves(result.scores)
    facts = [("samples", str(len(leaves[0]))), ("coefficients", ", ".join(_shape(leaf) for leaf in leaves[:4]))]
    if isinstance(result.output, Tensor):
        facts.append(("output", _shape(result.output)))
    if result.gap is not None and result.change is not None:
        gap, change = (float(v.detach().abs().max()) for v in (result.gap, result.change))
        facts.append(("largest completeness gap", f"{number(gap)}, of changes up to {number(change)}"))
    if result.steps is not None:
        facts.append(("quadrature steps", _range(result.steps)))
    return Snippet("TRIM explanation", (), tuple(facts), _map(result.scores), _group_chart(result))


def show_penalty(report: PenaltyReport) -> Snippet:
    """A penalty in brief: its mean, what of it trains, and its quantiles over samples."""
    values = report.values.detach().cpu().double().flatten()
    facts = (
        ("mean over samples", number(float(values.mean()))),
        ("samples", str(len(values))),
        ("without gradient, all scores zero", str(int(report.dead))),
        ("parameters reached", str(report.reached)),
    )
    if len(values) < 2 or not bool(torch.isfinite(values).all()):
        return Snippet("TRIM penalty", (), facts, _map(report.scores))
    at = torch.linspace(0, 1, QUANTILES, dtype=torch.float64)
    quantiles = Series("penalty", tuple(torch.quantile(values, at).tolist()))
    chart = Chart("Penalty of samples, sorted", (quantiles,), tuple(at.tolist()), x_axis="share of samples")
    return Snippet("TRIM penalty", (), facts, _map(report.scores), (chart,))


def _map(scores: Tree) -> tuple[Figure, ...]:
    """The first sample's scores as they are stored, where they are one picture."""
    leaves = tree.leaves(scores)
    if len(leaves) != 1 or leaves[0].ndim != 4 or min(leaves[0].shape) < 1:
        return ()
    first = leaves[0][0].detach().cpu().sum(0)
    return (signed_figure(first, "scores of the first sample", "Scores of the first sample, as they are stored."),)


def _group_chart(result: TrimResult) -> tuple[Chart, ...]:
    magnitude = tree.map_leaves(lambda leaf: leaf.detach().abs(), result.scores)
    try:
        groups = result.groups
        if groups.each:  # a group means something in its sample alone
            return ()
        means = groups.sums(magnitude).mean(0).tolist()[:MOST_GROUPS]
    except (TrimkitError, NotImplementedError):  # a result without groups, or a space that names none
        return ()
    series = Series("mean |score|", tuple(means))
    title = "Mean |score| by group" + (f", the first {MOST_GROUPS}" if len(groups.names) > MOST_GROUPS else "")
    return (Chart(title, (series,), labels=groups.names[:MOST_GROUPS], x_axis=groups.axis, kind="points"),)


def _shape(values: Tensor | Mapping[str, Any]) -> str:
    return "×".join(map(str, getattr(values, "shape", ())))


def _range(values: Tensor) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
