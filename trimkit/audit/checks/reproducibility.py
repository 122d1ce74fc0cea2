"""Do the same seed and input give the same scores, whatever the batch?"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor

from trimkit.audit.checks.base import Check, Findings, missing, undecided
from trimkit.audit.modules import parameters_of
from trimkit.audit.statistics import spearman
from trimkit.audit.subject import Batch, Explained, Subject, join
from trimkit.coefficients import tree
from trimkit.errors import OptionError
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number


class Reproducibility(Check):
    """Two runs with one seed must agree bit for bit; other batches, up to rounding; other seeds, in their ranking.

    Args:
        correlation: for stochastic attributions: rank correlation between seeds that must be reached.
        tolerance: mean relative difference ‖a − a'‖ / ‖a‖ that is allowed when a batch is cut in two.
        seeds: how many draws of a stochastic attribution are compared, at least 2.
        samples: how many of the audited samples are explained again.
    """

    name = "reproducibility"
    question = "Do the same seed and input give the same scores, whatever the batch?"

    def __init__(
        self, correlation: float = 0.9, tolerance: float = 1e-3, seeds: int = 3, samples: int | None = 32
    ) -> None:
        if seeds < 2:
            raise OptionError(f"reproducibility: expected seeds ≥ 2, got {seeds}")
        self.correlation = correlation
        self.tolerance = tolerance
        self.seeds = seeds
        self.samples = samples

    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """``equal``: 1 where two runs have the same bits; ``batch``: relative difference in half a batch; ``seeds``."""
        return {label: self._compare(subject, batch, label) for label in labels}

    def conclude(self, findings: Findings) -> Verdict:
        """Any difference in bits fails; then the batch, then the seeds decide."""
        equal = findings.bootstrap.estimate(findings.values["equal"])
        batch = findings.bootstrap.estimate(findings.values["batch"])
        if equal.value < 1:
            sentence = (
                f"{number(1 - equal.value, '%')} % of the samples get other scores when the same run is repeated."
            )
            return self._share(findings, Status.FAIL, sentence, equal)
        tolerance = max(self.tolerance, rounding_of(findings.subject))
        if batch.value > tolerance:
            sentence = "The scores of a sample depend on which other samples share its batch."
            return self.verdict(findings, Status.FAIL, sentence, batch, ("≤", tolerance))
        if "seeds" not in findings.values and missing(findings.n):
            return self._share(findings, Status.INCONCLUSIVE, undecided(self, equal, 1.0, findings.n), equal)
        if "seeds" not in findings.values:
            sentence = "Repeating the run gives the same scores bit for bit, and other batches the same up to rounding."
            return self._share(findings, Status.PASS, sentence, equal)
        return self._between_seeds(findings, findings.bootstrap.estimate(findings.values["seeds"]))

    def _share(self, findings: Findings, status: Status, sentence: str, equal: Estimate) -> Verdict:
        return replace(self.verdict(findings, status, sentence, equal, ("≥", 1.0)), unit="%")

    def _between_seeds(self, findings: Findings, estimate: Estimate) -> Verdict:
        status = judge(estimate, self.correlation, "≥")
        value = number(estimate.value)
        sentence = {
            Status.PASS: f"Other seeds rank the coefficients alike: rank correlation {value}.",
            Status.FAIL: f"Other seeds rank the coefficients differently: rank correlation {value}. Draw more samples.",
            Status.INCONCLUSIVE: undecided(self, estimate, self.correlation, findings.n),
        }[status]
        return self.verdict(findings, status, sentence, estimate, ("≥", self.correlation))

    def _compare(self, subject: Subject, batch: Batch, label: str) -> dict[str, Tensor]:
        first = _rows(subject.explain(batch, label))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seeds)  # what draws without having declared it reads this state
            second = _rows(subject.explain(batch, label))
        halves = _rows(_in_halves(subject, batch, label))
        size = first.norm(dim=1)
        change = (first - halves).norm(dim=1) / torch.where(size == 0, torch.ones_like(size), size)
        measured = {"equal": (first == second).all(1), "batch": change}
        if subject.attributions[label].stochastic:
            draws = [first, *(_rows(subject.explain(batch, label, draw=d)) for d in range(1, self.seeds))]
            measured["seeds"] = torch.stack([spearman(a, b) for a, b in combinations(draws, 2)]).mean(0)
        return measured


def rounding_of(subject: Subject) -> float:
    """How far two kernels for the same sums may differ, relative to the largest: eps of the model's number type."""
    kinds = [torch.finfo(p.dtype).eps for p in parameters_of(subject.model.model) if p.is_floating_point()]
    return max(kinds, default=0.0)


def _in_halves(subject: Subject, batch: Batch, label: str) -> Explained:
    middle = (len(batch) + 1) // 2
    parts = [batch.rows(range(middle)), batch.rows(range(middle, len(batch)))]
    return join([subject.explain(part, label) for part in parts if len(part)])


def _rows(explained: Explained) -> Tensor:
    return tree.rows(explained.scores)
