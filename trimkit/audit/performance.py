"""How good the audited model is at all: what stands at the head of every report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from trimkit.audit.statistics import LEVEL
from trimkit.report.verdicts import Estimate

FLAT = 1e-6
"""Outputs that vary by less than this share of their size do not depend on the input."""


@dataclass(frozen=True)
class Performance:
    """Accuracy on the audited samples.

    Attributes:
        accuracy: share of samples whose label is predicted, with Wilson's interval; None where labels are missing or
            do not fit the output.
        chance: share of the most frequent label, which needs no model.
        n: samples.
        ignores_input: the output is the same for every sample.
    """

    accuracy: Estimate | None
    chance: float
    n: int
    ignores_input: bool

    @property
    def at_chance(self) -> bool:
        """The interval of the accuracy does not lie above chance."""
        return self.accuracy is not None and self.accuracy.low <= self.chance

    @property
    def warning(self) -> str:
        """What a reader must know before any verdict, one sentence, or ""."""
        if self.ignores_input:
            return "The model ignores its input: its output is the same for every sample."
        return "The model is at chance: it has learned nothing that predicts these labels." if self.at_chance else ""

    @property
    def line(self) -> str:
        """``0.600 [0.539, 0.658] on 256 samples; chance 0.113``, or why there is none."""
        if self.accuracy is None:
            return "not measured: no labels that fit the output"
        value, low, high = (f"{v:.3f}" for v in asdict(self.accuracy).values())
        return f"{value} [{low}, {high}] on {self.n} samples; chance {self.chance:.3f}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "at_chance": self.at_chance}


def right(outputs: Tensor, labels: Tensor | None) -> Tensor | None:
    """1 where the predicted class is the label, else 0: (N,) float64; None where the two do not fit.

    Args:
        outputs: (N, K) logits; one logit is positive for class 1.
        labels: (N,) class indices, or None.
    """
    classes = max(2, outputs.shape[1])
    if labels is None or int(labels.max()) >= classes:
        return None
    return (predictions(outputs) == labels.to(outputs.device)).double()


def predictions(outputs: Tensor) -> Tensor:
    """The class of each sample: (N, K) logits → (N,)."""
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)


def performance(outputs: Tensor, labels: Tensor | None) -> Performance:
    """Accuracy with its interval and chance level, and whether the model looks at its input.

    Args:
        outputs: (n, K) of the audited samples.
        labels: (n,) class indices, or None where there are none or outputs are no logits.
    """
    size = float(outputs.abs().max())
    flat = len(outputs) > 1 and float((outputs - outputs[:1]).abs().max()) <= FLAT * size
    hits = right(outputs, labels)
    if hits is None or labels is None:
        return Performance(None, 0.0, len(outputs), flat)
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, "wilson")
    accuracy = Estimate(float(hits.mean()), float(interval.low), float(interval.high))
    return Performance(accuracy, float(torch.bincount(labels).max()) / len(labels), len(hits), flat)
