"""Do the scores depend on what the model has learned, or look alike for random weights?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trimkit.audit.checks.base import Check, Findings, missing, more_samples, too_few
from trimkit.audit.checks.controls import magnitude
from trimkit.audit.columns import Array, Column
from trimkit.audit.copies import CopyBootstrap, Likeness
from trimkit.audit.counted import Counted
from trimkit.audit.modules import parameters_of
from trimkit.audit.randomise import randomised_copies
from trimkit.audit.statistics import centred_ranks, rank_correlation, rank_correlations
from trimkit.audit.subject import Batch, Subject
from trimkit.coefficients import tree
from trimkit.errors import ModelError, OptionError
from trimkit.report.sections import RandomisationPanel, Section
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number

EDGES = np.linspace(-1, 1, 41)
"""Bins of the histograms of rank correlations."""

FEWEST_COEFFICIENTS = 8
"""Below so many, two unrelated rankings are alike too often: their correlation spreads by 1/√(n − 1)."""

COPIES = (8, 128)
"""Fewest and most copies that are drawn where nobody says how many."""

MOST_WEIGHTS = 2**23
"""Numbers in all copies together, beyond which no more than the fewest are drawn."""


class Randomisation(Check):
    """Rank correlation of the scores of the model with those of copies whose weights are drawn anew (Adebayo 2018).

    Correlation alone says little: maps of two random models resemble each other too, since the input enters them. So
    the excess of trained–random over random–random correlation counts. Above `margin`, the scores of a trained model
    look like those of models that learned nothing: FAIL. Where random models agree among themselves by more than
    `saturated`, the comparison cannot tell: INCONCLUSIVE. Scores that are the same whatever the weights (a Sobel
    filter) do not depend on the model: FAIL. Intervals count the draw of the copies as well as that of the samples.

    Args:
        margin: excess that is allowed.
        saturated: random–random correlation above which nothing is shown.
        blind: trained–random correlation from which the scores ignore the model.
        copies: models with random weights, at least 2; all samples share them, so few of them leave a wide interval.
            None for as many as the number of coefficients asks for, see `copies_for`.
        samples: how many of the audited samples are used.
    """

    name = "randomisation"
    question = "Do the scores depend on what the model has learned, or look alike for random weights?"

    def __init__(
        self,
        margin: float = 0.1,
        saturated: float = 0.5,
        blind: float = 0.99,
        copies: int | None = None,
        samples: int | None = 64,
    ) -> None:
        if copies is not None and copies < 2:
            raise OptionError(f"randomisation: expected copies ≥ 2, got {copies}")
        self.margin = margin
        self.saturated = saturated
        self.blind = blind
        self.copies = copies
        self._asked = copies
        self.samples = samples
        self._models: list[Counted] = []
        self._reason = ""

    def prepare(self, subject: Subject) -> None:
        """Draw the copies."""
        self.copies = self._asked or copies_for(_coefficients(subject), subject.model.model, self.margin)
        try:
            copies = randomised_copies(subject.model.model, self.copies, subject.seed)
            self._models = [subject.model.beside(model) for model in copies]
        except ModelError as error:
            self._reason = f"The model cannot be randomised: {error}."

    def inapplicable(self, subject: Subject, label: str) -> str:
        """Models with weights that nothing resets."""
        return self._reason

    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """Rank correlations: ``trained`` (N, K) with copies, ``null`` (N, pairs) among copies, ``input`` with |s|.

        ``size`` is each sample's largest |score|.
        """
        amplitude = centred_ranks(tree.rows(magnitude(batch.s)))
        measured = {}
        for label in labels:
            scores = tree.rows(batch.explained[label].scores)
            own = centred_ranks(scores)
            other = [self._ranks(subject, batch, label, model) for model in self._beside(subject, label)]
            alike = rank_correlations([own, *other])
            first, second = torch.triu_indices(len(other), len(other), 1) + 1
            measured[label] = {
                "trained": alike[:, 0, 1:],
                "null": alike[:, first, second],
                "input": rank_correlation(own, amplitude),
                "size": scores.abs().amax(1),
            }
        return measured

    def conclude(self, findings: Findings) -> Verdict:
        """Whether there is enough to rank; then blindness, the excess, saturation."""
        trained, null = findings.values["trained"], findings.values["null"]
        if "size" in findings.values and findings.values["size"].mean() == 0:
            return self.not_applicable(findings.subject, findings.label, _ZERO)
        draws = _draws(findings)
        similarity, level = draws.trained(trained).estimate, draws.null(null).estimate
        likeness = draws.excess(trained, null)
        excess = likeness.estimate
        if similarity.low >= self.blind:
            sentence = "The scores are the same whatever the model's weights: they say nothing about this model."
            return self.verdict(findings, Status.FAIL, sentence, similarity, ("≤", self.blind))
        if reason := _too_little(findings):
            return self._open(findings, reason, excess)
        if judge(excess, self.margin, "≤") is Status.FAIL:
            sentence = (
                f"The scores resemble those of untrained models {_by(excess)} more than untrained models do each other."
            )
            return self.verdict(findings, Status.FAIL, sentence, excess, ("≤", self.margin))
        if findings.subject.performance.at_chance:
            sentence = "The model is at chance, so it has learned nothing that the scores could depend on."
            return replace(self._open(findings, sentence, excess), samples_needed=None)
        if level.value > self.saturated:
            sentence = (
                f"Saturated: maps of untrained models correlate by {_two(level.value)} among themselves, so likeness "
                "shows nothing; see the controls, or audit a signed attribution."
            )
            verdict = self.verdict(findings, Status.INCONCLUSIVE, sentence, level, ("≤", self.saturated))
            return replace(verdict, samples_needed=None)
        return self._within(findings, likeness, level)

    def evidence(self, findings: Findings) -> dict[str, Any]:
        """Mean correlations of each copy and pair, over the samples; histograms over the first samples and copies."""
        values = findings.values
        return {
            "trained": values["trained"].mean(0).tolist(),
            "null": values["null"].mean(0).tolist(),
            "input": float(values["input"].mean()),
            "edges": EDGES.tolist(),
            "histograms": {name: np.histogram(values[name].rows, EDGES)[0].tolist() for name in ("trained", "null")},
            "excess": vars(_draws(findings).excess(values["trained"], values["null"]).estimate),
        }

    def paired(self, findings: Findings) -> dict[str, tuple[Column, Literal["higher", "lower"]]]:
        """Likeness to random models beyond that of random models to each other."""
        return {"excess": (findings.values["trained"].mean(1) - findings.values["null"].mean(1), "lower")}

    def sections(self, findings: Findings) -> list[Section]:
        """Likeness to untrained models beside the likeness of untrained models to each other."""
        evidence = findings.evidence
        markers = (
            ("trained and random", sum(evidence["trained"]) / len(evidence["trained"])),
            ("random and random", sum(evidence["null"]) / len(evidence["null"])),
            ("scores and input", evidence["input"]),
        )
        trained, null = (tuple(evidence["histograms"][name]) for name in ("trained", "null"))
        return [RandomisationPanel("Randomisation", _LEAD, tuple(evidence["edges"]), trained, null, markers)]

    def _beside(self, subject: Subject, label: str) -> list[Counted]:
        """The copies that an attribution explains: no more than the fewest, unless asked, where it takes samples one
        by one.
        """
        few = self._asked is None and subject.attributions[label].stochastic
        return self._models[: COPIES[0]] if few else self._models

    def _ranks(self, subject: Subject, batch: Batch, label: str, model: Counted) -> Array:
        return centred_ranks(tree.rows(subject.explain(batch, label, model=model).scores))

    def _within(self, findings: Findings, likeness: Likeness, level: Estimate) -> Verdict:
        excess = likeness.estimate
        if judge(excess, self.margin, "≤") is Status.INCONCLUSIVE:
            n = findings.n
            needed = likeness.samples_needed(self.margin, n)
            sentence = f"The interval from {number(excess.low)} to {number(excess.high)} contains the threshold "
            sentence += f"{number(self.margin)}."
            sentence += self._more_samples(n, needed) if needed else self._more_copies(findings, likeness)
            return replace(self._open(findings, sentence, excess), samples_needed=needed)
        sentence = (
            "With random weights the scores change about as much as between two random models (rank correlation "
            f"{_two(level.value + excess.value)} with {findings.values['trained'].shape[1]} random copies, "
            f"{_two(level.value)} among these)."
        )
        return self.verdict(findings, Status.PASS, sentence, excess, ("≤", self.margin))

    def _open(self, findings: Findings, sentence: str, excess: Estimate) -> Verdict:
        """INCONCLUSIVE; more samples are asked for only where there are too few for any interval."""
        verdict = self.verdict(findings, Status.INCONCLUSIVE, sentence, excess, ("≤", self.margin))
        return replace(verdict, samples_needed=missing(findings.n) or None)

    def _more_samples(self, n: int, needed: int) -> str:
        capped = f" The check uses {n}; set randomisation.samples={n + needed}." if n == self.samples else ""
        return more_samples(needed) + capped

    def _more_copies(self, findings: Findings, likeness: Likeness) -> str:
        """What would decide where more samples alone would not."""
        copies = findings.values["trained"].shape[1]
        more = likeness.copies_needed(self.margin, copies)
        if more is None:
            return " No realistic number of samples or of random copies would decide."
        return (
            f" More samples would not decide, since {copies} random copies differ by more than that; randomisation."
            f"copies={copies + more} probably would."
        )


def copies_for(coefficients: int, model: Any, margin: float) -> int:
    """How many copies leave an interval that a margin mostly decides, of scores whose ranks are unrelated.

    A correlation of n unrelated ranks spreads by 1/√(n − 1), that of a mean over K copies by 1/√(K (n − 1)); four such
    spreads are to fit into the margin. At least and at most `COPIES`; the fewest of a model of many weights, and where
    ranks are too few to be judged.

    Args:
        coefficients: n.
        model: its weights are counted.
        margin: of the excess.

    Example:
        >>> import torch
        >>> [copies_for(n, torch.nn.Linear(n, 1), margin=0.1) for n in (5, 12, 33, 784)]
        [8, 128, 50, 8]
    """
    fewest, most = COPIES
    if coefficients < FEWEST_COEFFICIENTS:
        return fewest
    weights = sum(p.numel() for p in parameters_of(model))
    wanted = math.ceil(round(16 / (coefficients - 1) / margin**2, 6))
    return max(fewest, min(wanted, most, MOST_WEIGHTS // max(1, weights)))


_LEAD = (
    "Rank correlation of maps. If the scores depend on what was learned, a trained model's map is no more like "
    "a random model's than two random models' maps are like each other."
)

_ZERO = "All scores are zero, so there is nothing to rank: the model's output does not react to these coefficients."


def _draws(findings: Findings) -> CopyBootstrap:
    return CopyBootstrap(findings.bootstrap, findings.values["trained"].shape[1], findings.subject.seed)


def _too_little(findings: Findings) -> str:
    """Why nothing can be concluded: too few samples, or too few coefficients to rank. "" where there is enough."""
    n = findings.n
    if missing(n):
        return too_few(n, "for a 95 % interval", missing(n))
    coefficients = _coefficients(findings.subject)
    if coefficients >= FEWEST_COEFFICIENTS:
        return ""
    return (
        f"{coefficients} coefficients are too few to rank: two random rankings are often alike by chance. "
        f"At least {FEWEST_COEFFICIENTS} are needed; see the controls instead."
    )


def _coefficients(subject: Subject) -> int:
    return sum(leaf.numel() for leaf in tree.leaves(subject.groups.labels))


def _two(correlation: float) -> str:
    return f"{round(correlation, 2) + 0.0:.2f}".replace("-", "−")


def _by(excess: Estimate) -> str:
    return f"by {number(excess.value)} [{number(excess.low)}, {number(excess.high)}]"
