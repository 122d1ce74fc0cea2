"""Do the scores depend on what the model has learned, or look alike for random weights?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trimkit import tree
from trimkit.audit.checks.base import Check, Findings, undecided
from trimkit.audit.checks.controls import magnitude
from trimkit.audit.randomise import randomised_copies
from trimkit.audit.statistics import spearman
from trimkit.audit.subject import Batch, Counted, Subject
from trimkit.audit.verdict import Estimate, Status, Verdict, judge, number
from trimkit.errors import ModelError, OptionError

EDGES = np.linspace(-1, 1, 41)
"""Bins of the histograms of rank correlations."""


class Randomisation(Check):
    """Rank correlation of the scores of the model with those of copies whose weights are drawn anew (Adebayo 2018).

    Correlation alone says little: maps of two random models resemble each other too, since the input enters them. So
    the excess of trained–random over random–random correlation counts. Above `margin`, the scores of a trained model
    look like those of models that learned nothing: FAIL. Where random models agree among themselves by more than
    `saturated`, the comparison cannot tell: INCONCLUSIVE. Scores that are the same whatever the weights (a Sobel
    filter) do not depend on the model: FAIL.

    Args:
        margin: excess that is allowed.
        saturated: random–random correlation above which nothing is shown.
        blind: trained–random correlation from which the scores ignore the model.
        copies: models with random weights, at least 2.
        samples: how many of the audited samples are used.
    """

    name = "randomisation"
    question = "Do the scores depend on what the model has learned, or look alike for random weights?"

    def __init__(
        self,
        margin: float = 0.1,
        saturated: float = 0.5,
        blind: float = 0.99,
        copies: int = 5,
        samples: int | None = 64,
    ) -> None:
        if copies < 2:
            raise OptionError(f"randomisation: expected copies ≥ 2, got {copies}")
        self.margin = margin
        self.saturated = saturated
        self.blind = blind
        self.copies = copies
        self.samples = samples
        self._models: list[Counted] = []
        self._reason = ""

    def prepare(self, subject: Subject) -> None:
        """Draw the copies."""
        try:
            copies = randomised_copies(subject.model.model, self.copies, subject.seed)
            self._models = [subject.model.beside(model) for model in copies]
        except ModelError as error:
            self._reason = f"The model cannot be randomised: {error}."

    def inapplicable(self, subject: Subject, label: str) -> str:
        """Models with weights that nothing resets."""
        return self._reason

    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """Rank correlations: ``trained`` (N, K) with copies, ``null`` (N, pairs) among copies, ``input`` with |s|."""
        amplitude = tree.rows(magnitude(batch.s))
        found = {}
        for label in labels:
            own = tree.rows(batch.explained[label].scores)
            other = [tree.rows(subject.explain(batch, label, model=model).scores) for model in self._models]
            found[label] = {
                "trained": torch.stack([spearman(own, scores) for scores in other], dim=1),
                "null": torch.stack([spearman(a, b) for a, b in combinations(other, 2)], dim=1),
                "input": spearman(own, amplitude),
            }
        return found

    def conclude(self, findings: Findings) -> Verdict:
        """Blindness first, then the excess, then saturation."""
        trained, null = findings.values["trained"].mean(1), findings.values["null"].mean(1)
        similarity, level = findings.bootstrap.estimate(trained), findings.bootstrap.estimate(null)
        excess = findings.bootstrap.estimate(trained - null)
        if similarity.low >= self.blind:
            sentence = "The scores are the same whatever the model's weights: they say nothing about this model."
            return self.verdict(findings, Status.FAIL, sentence, similarity, ("≤", self.blind))
        if judge(excess, self.margin, "≤") is Status.FAIL:
            sentence = (
                f"The scores resemble those of untrained models {_by(excess)} more than untrained models do each other."
            )
            return self.verdict(findings, Status.FAIL, sentence, excess, ("≤", self.margin))
        if level.value > self.saturated:
            sentence = (
                f"Saturated: maps of untrained models correlate by {_two(level.value)} among themselves, so likeness "
                "shows nothing; see the controls, or audit a signed attribution."
            )
            return self.verdict(findings, Status.INCONCLUSIVE, sentence, level, ("≤", self.saturated))
        return self._within(findings, excess, level)

    def evidence(self, findings: Findings) -> dict[str, Any]:
        """Mean correlations of each copy and each pair, over the samples, and histograms over samples and copies."""
        values = findings.values
        return {
            "trained": values["trained"].mean(0).tolist(),
            "null": values["null"].mean(0).tolist(),
            "input": float(values["input"].mean()),
            "edges": EDGES.tolist(),
            "histograms": {name: np.histogram(values[name], EDGES)[0].tolist() for name in ("trained", "null")},
            "excess": vars(findings.bootstrap.estimate(values["trained"].mean(1) - values["null"].mean(1))),
        }

    def _within(self, findings: Findings, excess: Estimate, level: Estimate) -> Verdict:
        if judge(excess, self.margin, "≤") is Status.INCONCLUSIVE:
            sentence = undecided(self, excess, self.margin, len(findings.ids))
            return self.verdict(findings, Status.INCONCLUSIVE, sentence, excess, ("≤", self.margin))
        sentence = (
            "With random weights the scores change about as much as between two random models "
            f"(rank correlation {_two(level.value + excess.value)} against {_two(level.value)})."
        )
        return self.verdict(findings, Status.PASS, sentence, excess, ("≤", self.margin))


def _two(correlation: float) -> str:
    return f"{round(correlation, 2) + 0.0:.2f}".replace("-", "−")


def _by(excess: Estimate) -> str:
    return f"by {number(excess.value)} [{number(excess.low)}, {number(excess.high)}]"
