"""Do the scores find what the model uses better than random and input-only controls do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trimkit.audit.checks.base import Check, Findings, missing, undecided
from trimkit.audit.columns import Column
from trimkit.audit.headroom import best_areas
from trimkit.audit.removal import OPERATORS, curves, cuts, order_by, random_order, replacements
from trimkit.audit.reservations import reservation, silent_falls
from trimkit.audit.subject import Batch, Subject
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError
from trimkit.report.charts import Chart, Series, Style
from trimkit.report.sections import DeletionCurves, Section
from trimkit.report.verdicts import Estimate, Status, Verdict, holm, number, samples_needed

CONTROLS = ("random", "input-only")

_FLAT = (
    "The model's output stays the same whatever is removed: it uses none of these coefficients, so no order is right."
)


@dataclass(frozen=True)
class Comparison:
    """The scores against one control under one removal operator.

    Attributes:
        operator: see `trimkit.audit.removal.OPERATORS`.
        control: "random" or "input-only".
        difference: area under the control's deletion curve minus that of the scores; above zero, the scores are better.
        p: one-sided, by paired bootstrap over samples, Holm-adjusted over all comparisons of the verdict.
        headroom: how far the best order that was found beats the control, as a share of the curve's fall; None where
            it was not measured.
    """

    operator: str
    control: str
    difference: Estimate
    p: float
    headroom: float | None = None


class Controls(Check):
    """Deletion curves: groups of coefficients are removed, those with the largest total score first.

    The class's probability (the explained number, where there are no classes) must fall faster than when groups go in
    random order, and faster than when they go by the input's own amplitude |s|, which no model enters into. The area is
    the mean over the curve's inner points. What a removed coefficient becomes decides the ranking of methods, so the
    claim must survive three removal operators: all → PASS, some → WARN, none → FAIL.

    A comparison that is lost counts only where it could have been won: the best order that is found for each of a few
    samples (all orders of up to 8 groups, else greedily) must beat the control by `headroom` of the curve's fall. Where
    no lost comparison has that, no scores could do better: INCONCLUSIVE.

    A victory gets a WARN where it is small beside that of the best order, or where groups scored zero hold much of the
    output all the same (see `trimkit.audit.reservations`).

    Args:
        alpha: level of the tests, Holm-adjusted over operators and controls.
        orders: random orders a sample, averaged, at least 1.
        headroom: share of the curve's fall by which the best order must beat a control, in [0, 1).
        searched: samples whose best order is looked for.
        reach: share of the best order's lead over random ones that the scores must reach, in [0, 1).
        silent: share of the output's movement that groups scored zero may hold, in (0, 1].
    """

    name = "controls"
    question = "Do the scores find what the model uses better than random and input-only controls do?"

    def __init__(
        self,
        alpha: float = 0.05,
        orders: int = 2,
        headroom: float = 0.1,
        searched: int = 16,
        reach: float = 0.5,
        silent: float = 0.1,
    ) -> None:
        if not 0 < alpha < 1 or orders < 1 or not 0 <= headroom < 1 or searched < 0:
            raise OptionError(
                "controls: expected 0 < alpha < 1, orders ≥ 1, headroom in [0, 1) and searched ≥ 0, got "
                f"{alpha}, {orders}, {headroom} and {searched}"
            )
        if not 0 <= reach < 1 or not 0 < silent <= 1:
            raise OptionError(f"controls: expected reach in [0, 1) and silent in (0, 1], got {reach} and {silent}")
        self.alpha = alpha
        self.orders = orders
        self.headroom = headroom
        self.searched = searched
        self.reach = reach
        self.silent = silent

    def inapplicable(self, subject: Subject, label: str) -> str:
        """Transforms whose coefficients form one group."""
        groups = len(subject.groups.names)
        return "" if groups > 1 else "The transform has one group of coefficients only, so there is no order to test."

    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """``operator/order``: deletion curves, (N, points), of the scores and of both controls; ``moved``: 1 where any
        of them leaves its start by more than rounding.
        """
        orders = self._orders(subject, batch, labels)
        measured: dict[str, dict[str, Tensor]] = {label: {} for label in labels}
        for operator, replacement in replacements(subject, batch).items():
            table = curves(subject, batch, orders, replacement)
            random = torch.stack([table[f"random {i}"] for i in range(self.orders)]).mean(0)
            best = self._best(subject, batch, replacement)
            for label in labels:
                measured[label][f"{operator}/best"] = best
                scores = batch.explained[label].scores
                measured[label][f"{operator}/silent"] = silent_falls(subject, batch, scores, replacement)
                measured[label][f"{operator}/scores"] = table[f"scores {label}"]
                measured[label][f"{operator}/random"] = random
                measured[label][f"{operator}/input-only"] = table["input-only"]
        return {label: {**curves, "moved": _moved(curves)} for label, curves in measured.items()}

    def conclude(self, findings: Findings) -> Verdict:
        """From the adjusted comparisons under every operator."""
        if _flat(findings):
            flat = self.not_applicable(findings.subject, findings.label, _FLAT)
            return replace(flat, status=Status.INCONCLUSIVE)  # else a dead model would pass by the other checks alone
        compared = self.compare(findings)
        if missing(findings.n):
            return self._too_few(findings, min(compared, key=lambda c: c.difference.value))
        alpha = self.alpha * findings.bootstrap.spent
        won = [o for o in OPERATORS if all(c.p < alpha for c in compared if c.operator == o)]
        lost = [c for c in compared if c.p >= alpha]
        if lost and all(c.headroom is not None and c.headroom < self.headroom for c in lost):
            return self._no_headroom(findings, lost)
        status = Status.PASS if len(won) == len(OPERATORS) else Status.WARN if won else Status.FAIL
        worst = min(compared, key=lambda c: c.difference.value)
        sentence = self._sentence(compared, won, worst)
        if status is Status.PASS and (why := self._reservation(findings)):
            status, sentence = Status.WARN, why
        verdict = self.verdict(findings, status, sentence, worst.difference, ("≥", 0.0))
        n = findings.n
        more = (
            samples_needed(worst.difference, 0.0, n)
            if status is not Status.PASS and worst.difference.value > 0
            else None
        )
        settings = {**verdict.settings, "removal": OPERATORS, "controls": list(CONTROLS)}
        return replace(verdict, settings=settings, samples_needed=more)

    def compare(self, findings: Findings) -> list[Comparison]:
        """Every operator against every control, with Holm-adjusted p-values."""
        keys = [(operator, control) for operator in OPERATORS for control in CONTROLS]
        differences = [self._difference(findings, *k) for k in keys]
        adjusted = holm([findings.bootstrap.p_value(d) for d in differences])
        return [
            Comparison(*k, findings.bootstrap.estimate(d), p, _headroom(findings, *k))
            for k, d, p in zip(keys, differences, adjusted, strict=True)
        ]

    def evidence(self, findings: Findings) -> dict[str, Any]:
        """Curves with pointwise intervals, and the comparisons."""
        groups = len(findings.subject.groups.names)
        operators = {
            operator: {order: findings.band(findings.values[f"{operator}/{order}"]) for order in ("scores", *CONTROLS)}
            for operator in OPERATORS
        }
        compared = [
            {"operator": c.operator, "control": c.control, **vars(c.difference), "p": c.p, "headroom": c.headroom}
            for c in self.compare(findings)
        ]
        return {"removed": [k / groups for k in cuts(groups)], "operators": operators, "comparisons": compared}

    def paired(self, findings: Findings) -> dict[str, tuple[Column, Literal["higher", "lower"]]]:
        """How much the area under the curve lies below each control's, averaged over the operators."""
        return {f"lead over {control}": (self._lead(findings, control), "higher") for control in CONTROLS}

    def sections(self, findings: Findings) -> list[Section]:
        """What the model still says while groups are removed, one chart for each removal operator."""
        evidence = findings.evidence
        bands = [band for curves in evidence["operators"].values() for band in curves.values()]
        every = [v for band in bands for v in (*band["low"], *band["high"])]
        limits = (0.0, 1.0) if min(every) >= 0 and max(every) <= 1 else (min(0.0, *every), max(0.0, *every))
        charts = tuple(
            Chart(
                operator,
                (
                    series_of(findings.label, curves["scores"], "one"),
                    series_of("random order", curves["random"], "random"),
                    series_of("amplitude of the input", curves["input-only"], "input"),
                ),
                tuple(evidence["removed"]),
                x_axis="share of the groups that are removed",
                y_axis="explained class's probability" if limits == (0.0, 1.0) else "explained output",
                percent=limits == (0.0, 1.0),
                y_limits=limits,
                subtitle=OPERATORS[operator],
            )
            for operator, curves in evidence["operators"].items()
        )
        return [DeletionCurves("Deletion curves", _LEAD, charts)]

    def _orders(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, Tensor]:
        groups = subject.groups
        amplitude = groups.sums(magnitude(batch.s))
        orders = {"input-only": order_by(amplitude, subject, batch).cpu()}
        for label in labels:
            totals = groups.sums(batch.explained[label].scores)
            orders[f"scores {label}"] = order_by(totals, subject, batch).cpu()
        for i in range(self.orders):
            orders[f"random {i}"] = random_order(subject, batch, len(groups.names), f"random order {i}")
        return orders

    def _best(self, subject: Subject, batch: Batch, replacement: Tree) -> Tensor:
        """Area of the best order for the first samples in key order, NaN for the others: (N,)."""
        some = set(subject.order[: self.searched])
        rows = [row for row, i in enumerate(batch.ids) if i in some]
        areas = torch.full((len(batch),), torch.nan, dtype=torch.float64)
        if rows:
            at = torch.tensor(rows, device=batch.x.device)
            areas[rows] = best_areas(subject, batch.rows(rows), tree.map_leaves(lambda v: v[at], replacement))
        return areas

    @staticmethod
    def _difference(findings: Findings, operator: str, control: str) -> Column:
        scores, other = (findings.values[f"{operator}/{order}"][:, 1:-1].mean(1) for order in ("scores", control))
        return other - scores

    def _lead(self, findings: Findings, control: str) -> Column:
        first, *others = (self._difference(findings, operator, control) for operator in OPERATORS)
        return sum(others, first) / len(OPERATORS)

    def _reservation(self, findings: Findings) -> str:
        return reservation(findings.values, findings.bootstrap, self.reach, self.silent)

    def _too_few(self, findings: Findings, worst: Comparison) -> Verdict:
        sentence = undecided(self, worst.difference, 0.0, findings.n)
        verdict = self.verdict(findings, Status.INCONCLUSIVE, sentence, worst.difference, ("≥", 0.0))
        return replace(verdict, settings={**verdict.settings, "removal": OPERATORS, "controls": list(CONTROLS)})

    def _no_headroom(self, findings: Findings, lost: list[Comparison]) -> Verdict:
        most = max(lost, key=lambda c: c.headroom or 0.0)
        sentence = (
            f"No order of these {len(findings.subject.groups.names)} groups can tell: where the scores do not win, the "
            f"best order found beats the {most.control} control by {number(most.headroom or 0.0, '%')} % of the "
            "curve's fall at most. Take a space with more or finer groups."
        )
        verdict = self.verdict(findings, Status.INCONCLUSIVE, sentence, most.difference, ("≥", 0.0))
        return replace(verdict, samples_needed=None)

    def _sentence(self, compared: list[Comparison], won: list[str], worst: Comparison) -> str:
        d = worst.difference
        against = f"the {worst.control} control with coefficients {OPERATORS[worst.operator]}"
        if len(won) == len(OPERATORS):
            return (
                "Removing first what the scores rank first lowers the output faster than random and input-only orders "
                f"do, under all {len(OPERATORS)} removal operators; least, by {number(d.value)} on the mean of the "
                f"curve, against {against}."
            )
        lost = f"not shown against {against}: {number(d.value)} [{number(d.low)}, {number(d.high)}]"
        if won:
            return (
                f"Better than both controls under {' and '.join(won)} only; {lost}. The ranking holds for that "
                "removal; look at the curves before relying on it elsewhere, or audit another attribution."
            )
        return f"Under no removal operator better than both controls; {lost}."


_LEAD = (
    "Groups are removed, those with the largest score first. A good explanation's curve falls below both "
    "controls, whatever removed coefficients become."
)


def series_of(name: str, band: Mapping[str, Sequence[float]], style: Style) -> Series:
    """A line with its interval, from lists "value", "low" and "high"."""
    return Series(name, tuple(band["value"]), tuple(band["low"]), tuple(band["high"]), style)


def magnitude(s: Tree) -> Tree:
    """|s|: the map that knows the input and no model."""
    return tree.map_leaves(Tensor.abs, s)


def _moved(curves: Mapping[str, Tensor]) -> Tensor:
    values = torch.cat([curve for name, curve in curves.items() if not name.endswith(_BESIDE)], dim=1)
    return values.amax(1) - values.amin(1) > 1e-7 * values.abs().amax(1)


_BESIDE = ("/best", "/silent")
"""Ends of the names of values that are no curves."""


def _flat(findings: Findings) -> bool:
    """Whether removing coefficients changes no output, up to rounding: a model that is dead on these samples."""
    return "moved" in findings.values and findings.values["moved"].mean() == 0


def _headroom(findings: Findings, operator: str, control: str) -> float | None:
    """How far the best order beats a control, over the curve's mean fall, where it was looked for."""
    column = findings.values.get(f"{operator}/best")
    best = np.zeros(0) if column is None else column.rows
    some = ~np.isnan(best)
    if column is None or not some.any():
        return None
    curve = findings.values[f"{operator}/{control}"].rows[some]
    fall = np.abs(curve[:, 0] - curve[:, -1]).mean()
    return float((curve[:, 1:-1].mean(1) - best[some]).mean() / fall) if fall > 0 else 0.0
