"""What all outputs of an audited model add up to: right answers, labels, and whether they vary at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scipy.stats import binomtest
from torch import Tensor

from trimkit.audit.performance import FLAT, Performance, right
from trimkit.audit.statistics import LEVEL
from trimkit.report.verdicts import Estimate


@dataclass
class Tally:
    """Counts and extremes, which merge to the same bits in any order.

    Attributes:
        n: samples.
        hits: right answers; None where some labels are missing or do not fit the output.
        labels: label → number of samples.
        low: smallest value of each output, (K,).
        high: largest value.
    """

    n: int = 0
    hits: int | None = 0
    labels: Counter[int] = field(default_factory=Counter)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def update(self, outputs: Tensor, labels: Tensor | None) -> None:
        """Add the outputs (N, K) of a batch, and its labels (N,)."""
        hits = right(outputs, labels)
        counted = Counter() if labels is None else Counter(labels.tolist())
        low, high = outputs.amin(0).tolist(), outputs.amax(0).tolist()
        self.merge(Tally(len(outputs), None if hits is None else int(hits.sum()), counted, low, high))

    def merge(self, other: Tally) -> None:
        """Add what was counted of other samples."""
        if other.n == 0:
            return
        self.hits = None if self.hits is None or other.hits is None else self.hits + other.hits
        self.labels.update(other.labels)
        self.low = _each(min, self.low, other.low)
        self.high = _each(max, self.high, other.high)
        self.n += other.n

    def conclude(self, first: Performance) -> Performance:
        """How good the model is on all samples.

        Args:
            first: how good it is on the first samples, which is the answer where there are no more.
        """
        if self.n <= first.n:
            return first
        spread = max(high - low for low, high in zip(self.low, self.high, strict=True))
        flat = spread <= FLAT * max(map(abs, (*self.low, *self.high)))
        if self.hits is None or first.accuracy is None:
            return replace(first, accuracy=None, chance=0.0, n=self.n, ignores_input=flat)
        ends = binomtest(self.hits, self.n).proportion_ci(LEVEL, "wilson")
        accuracy = Estimate(self.hits / self.n, float(ends.low), float(ends.high))
        return replace(
            first, accuracy=accuracy, chance=max(self.labels.values()) / self.n, n=self.n, ignores_input=flat
        )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "labels": list(map(list, self.labels.items()))}


def tally_from(plain: dict[str, Any]) -> Tally:
    """What `Tally.as_json` gave."""
    return Tally(**{**plain, "labels": Counter(dict(plain["labels"]))})


def _each(pick: Any, one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [pick(pair) for pair in zip(one, other, strict=True)] if one else list(other)
