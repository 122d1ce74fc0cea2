"""Do the scores sum to the change of the output that they claim to explain?"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from trimkit.audit.checks.base import Check, Findings, too_few, undecided
from trimkit.audit.columns import Column
from trimkit.audit.statistics import fewest_samples, quantile_estimate, quantiles
from trimkit.audit.subject import Batch, Explained, Subject
from trimkit.coefficients import tree
from trimkit.errors import OptionError
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number
from trimkit.trim import Trim

QUANTILE = 0.95


class Completeness(Check):
    """The gap |Σ scores − (f(x) − f(s₀))|, relative to |f(x) − f(s₀)|, must be small for 95 % of the samples.

    Integrated gradients miss the sum by the error of their quadrature. A sample whose gap is too large is explained
    again with twice as many nodes, until the gap is small or `most_steps` is reached; the other checks judge these
    scores too.

    Args:
        tolerance: relative gap that is allowed.
        floor: smallest change that a gap is divided by, in standard deviations of the explained output.
        most_steps: quadrature nodes that are tried at most.
    """

    name = "completeness"
    question = "Do the scores sum to the change of the output that they claim to explain?"
    unit = "%"

    def __init__(self, tolerance: float = 0.05, floor: float = 0.01, most_steps: int = 512) -> None:
        if not tolerance > 0 or not floor > 0:
            raise OptionError(f"completeness: expected tolerance and floor > 0, got {tolerance} and {floor}")
        self.tolerance = tolerance
        self.floor = floor
        self.most_steps = most_steps

    def inapplicable(self, subject: Subject, label: str) -> str:
        """Attributions that make no such claim."""
        return "" if subject.attributions[label].complete else "This attribution does not claim that its scores sum up."

    def improve(self, subject: Subject, batch: Batch, label: str) -> Batch:
        """Double the nodes for samples whose gap is too large."""
        explained = batch.explained[label]
        if not subject.attributions[label].complete or explained.steps is None:
            return batch
        steps = 2 * int(explained.steps.max())
        while steps <= self.most_steps:
            wide = (self._relative(subject, explained) > self.tolerance).nonzero()[:, 0]
            if not len(wide):
                break
            explained = _put(explained, wide, _with_steps(subject, batch.rows(wide.tolist()), label, steps))
            steps *= 2
        return replace(batch, explained={**batch.explained, label: explained})

    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """``gap``, relative; ``steps`` that were used, where the attribution has them."""
        measured = {}
        for label in labels:
            explained = batch.explained[label]
            measured[label] = {"gap": self._relative(subject, explained)}
            if explained.steps is not None:
                measured[label]["steps"] = explained.steps
        return measured

    def conclude(self, findings: Findings) -> Verdict:
        """From the 95th percentile of the relative gaps."""
        n = findings.n
        spent = findings.bootstrap.spent
        estimate = quantile_estimate(findings.values["gap"], QUANTILE, spent)
        status = judge(estimate, self.tolerance, "≤")
        steps = _steps_sentence(findings)
        if status is Status.INCONCLUSIVE and math.isinf(estimate.high):
            return self._too_few(findings, estimate, fewest_samples(QUANTILE, spent) - n)
        sentence = {
            Status.PASS: f"For 95 % of the samples the scores sum up to within {number(estimate.value, '%')} %.{steps}",
            Status.FAIL: f"More than 5 % of the samples miss the sum by over {number(self.tolerance, '%')} %.{steps}",
            Status.INCONCLUSIVE: undecided(self, estimate, self.tolerance, n) + steps,
        }[status]
        return self.verdict(findings, status, sentence, estimate, ("≤", self.tolerance))

    def evidence(self, findings: Findings) -> dict[str, Any]:
        """Quantiles of the gap, and how many samples used how many steps."""
        gap = quantiles(findings.values["gap"], [0.5, 0.95, 1.0]).tolist()
        return {
            "gap": dict(zip(("median", "95 %", "largest"), gap, strict=True)),
            "steps": {str(step): count for step, count in _steps(findings).items()},
        }

    def paired(self, findings: Findings) -> dict[str, tuple[Column, Literal["higher", "lower"]]]:
        """The relative gap."""
        return {"gap": (findings.values["gap"], "lower")}

    def _too_few(self, findings: Findings, estimate: Estimate, more: int) -> Verdict:
        sentence = too_few(findings.n, "to bound a 95th percentile", more)
        verdict = self.verdict(findings, Status.INCONCLUSIVE, sentence, estimate, ("≤", self.tolerance))
        return replace(verdict, samples_needed=more)

    def _relative(self, subject: Subject, explained: Explained) -> Tensor:
        assert explained.gap is not None
        assert explained.change is not None
        return explained.gap.abs() / explained.change.abs().clamp_min(self.floor * subject.scale)


def _with_steps(subject: Subject, batch: Batch, label: str, steps: int) -> Explained:
    attribution = copy.copy(subject.attributions[label])
    attribution.n_steps = steps  # type: ignore[attr-defined]
    return subject.run(Trim(subject.model, subject.transform, attribution), batch, subject.baseline)


def _put(into: Explained, index: Tensor, new: Explained) -> Explained:
    """Scores of some samples replaced."""

    def leaf(old: Tensor, fresh: Tensor) -> Tensor:
        return old.index_copy(0, index.to(old.device), fresh.to(old))

    pairs: Mapping[str, tuple[Any, Any]] = {
        name: (getattr(into, name), getattr(new, name)) for name in ("gap", "change", "steps")
    }
    scalars = {name: None if old is None else leaf(old, fresh) for name, (old, fresh) in pairs.items()}
    return Explained(tree.map_leaves(leaf, into.scores, new.scores), **scalars)


def _steps(findings: Findings) -> dict[int, int]:
    """Quadrature nodes, those asked for or a doubling of them → number of samples that used so many."""
    column = findings.values.get("steps")
    counts = {} if column is None else column.counts
    asked = getattr(findings.subject.attributions[findings.label], "n_steps", min(counts, default=1))
    return {round(asked * 2 ** round(math.log2(used / asked))): count for used, count in sorted(counts.items())}


def _steps_sentence(findings: Findings) -> str:
    steps = _steps(findings)
    if not steps:
        return ""
    asked = getattr(findings.subject.attributions[findings.label], "n_steps", min(steps))
    more = sum(count for used, count in steps.items() if used > asked)
    if not more:
        return f" {asked} quadrature steps were enough."
    return f" {more} of {findings.n} samples needed more than the {asked} steps asked for, up to {max(steps)}."
