"""Likeness to random models is uncertain twice: other samples, and other draws of the random models, would change it.

The random copies are shared by all samples, so resampling samples alone leaves out what is often most of the variance.
Copies are therefore resampled too: the copies are the nodes, a correlation of two of them is an edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm, t

from trimkit.audit.columns import Array, Column
from trimkit.audit.statistics import FEWEST, Resampling, generator
from trimkit.report.verdicts import Estimate


@dataclass(frozen=True)
class Likeness:
    """A mean correlation, with what it is uncertain about.

    Attributes:
        estimate: the number and its interval, from both sources.
        samples: half-width that the choice of samples alone leaves.
        copies: half-width that the draw of the copies alone leaves.
    """

    estimate: Estimate
    samples: float
    copies: float

    def samples_needed(self, threshold: float, n: int) -> int | None:
        """How many more samples would probably decide, with the same copies; None where no number would."""
        return _more(n, self.samples, self._room(threshold, self.copies))

    def copies_needed(self, threshold: float, k: int) -> int | None:
        """How many more copies would probably decide, with the same samples; None where no number would."""
        return _more(k, self.copies, self._room(threshold, self.samples))

    def _room(self, threshold: float, other: float) -> float:
        """The half-width that one source may have if the other stays as it is."""
        return math.sqrt(max(0.0, (self.estimate.value - threshold) ** 2 - other**2))


@dataclass(frozen=True)
class _Deviations:
    """A mean, and how far resamples of samples and of copies move it, (B,) each."""

    value: float
    samples: Array
    copies: Array

    def __sub__(self, other: _Deviations) -> _Deviations:
        b = min(len(self.samples), len(other.samples))  # many pairs of copies keep fewer resamples
        return _Deviations(
            self.value - other.value, self.samples[:b] - other.samples[:b], self.copies[:b] - other.copies[:b]
        )


class CopyBootstrap:
    """Resampling on two levels: samples by the audit's own weights, copies with replacement by a keyed draw.

    Two resampled copies that are the same original make no pair. Deviations of the copies are widened by
    t₀.₉₇₅(K − 1) / z₀.₉₇₅ · √(K / (K − 1)), since a percentile interval from K draws is too narrow by that much.

    Args:
        bootstrap: draws over the samples.
        copies: K, at least 2.
        seed: of the audit.
    """

    def __init__(self, bootstrap: Resampling, copies: int, seed: int) -> None:
        self.bootstrap = bootstrap
        self.copies = copies
        drawn = torch.randint(copies, (bootstrap.draws, copies), generator=generator(seed, "bootstrap copies"))
        self.counts: Array = torch.nn.functional.one_hot(drawn, copies).sum(1).double().numpy()
        upper = bootstrap.tails[1]
        self._widening = float(t.ppf(upper, copies - 1) / norm.ppf(upper)) * math.sqrt(copies / (copies - 1))

    def trained(self, values: Array | Column) -> Likeness:
        """Mean likeness of the model to its copies, from (n, K) correlations."""
        return self._likeness(self._of_copies(values))

    def null(self, values: Array | Column) -> Likeness:
        """Mean likeness of the copies to each other, from (n, K(K − 1)/2) correlations in the order of combinations."""
        return self._likeness(self._of_pairs(values))

    def excess(self, trained: Array | Column, null: Array | Column) -> Likeness:
        """The first less the second, resampled together."""
        return self._likeness(self._of_copies(trained) - self._of_pairs(null))

    def _of_copies(self, values: Array | Column) -> _Deviations:
        return self._deviations(values, self.counts @ values.mean(0), self.counts.sum(1))

    def _of_pairs(self, values: Array | Column) -> _Deviations:
        """Pairs of equal draws have no value, so a resample counts the pairs of different originals."""
        table = np.zeros((self.copies, self.copies))
        table[np.triu_indices(self.copies, 1)] = values.mean(0)
        sums = ((self.counts @ table) * self.counts).sum(1)
        return self._deviations(values, sums, (self.counts.sum(1) ** 2 - (self.counts**2).sum(1)) / 2)

    def _deviations(self, values: Array | Column, sums: Array, totals: Array) -> _Deviations:
        """From (n, m) values, and (B,) sums of their resampled columns; a resample without any moves nothing."""
        mean = float(values.mean())
        moved = sums / np.where(totals == 0, 1, totals) - mean
        samples = self.bootstrap.means(values.mean(1)) - mean
        return _Deviations(mean, samples, np.where(totals == 0, 0, moved)[: len(samples)])

    def _likeness(self, found: _Deviations) -> Likeness:
        if self.bootstrap.n < FEWEST:
            return Likeness(Estimate(found.value, -math.inf, math.inf), math.inf, math.inf)
        copies = self._widening * found.copies
        low, high = found.value + np.quantile(found.samples + copies, self.bootstrap.tails)
        return Likeness(Estimate(found.value, float(low), float(high)), self._half(found.samples), self._half(copies))

    def _half(self, deviations: Array) -> float:
        return float(np.abs(np.quantile(deviations, self.bootstrap.tails)).max())


def _more(count: int, half: float, room: float) -> int | None:
    """How many beyond ``count`` shrink a half-width ∝ 1/√count to ``room``; None beyond a hundred times as many."""
    if not math.isfinite(half) or room == 0 or half > 10 * room:
        return None
    return max(1, math.ceil(count * (half / room) ** 2) - count)
