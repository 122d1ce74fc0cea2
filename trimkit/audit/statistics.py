"""The audit's statistics: keyed draws, bootstrap over samples, intervals of quantiles, rank correlation.

The resampling unit is always the sample, never a pixel, a coefficient or a step of a curve. Every draw comes from a
generator keyed by (seed, purpose, sample id), so it is the same whatever the batch size, the order or the shard.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom, rankdata
from torch import Tensor

from trimkit.audit.columns import BITS, Array, Column
from trimkit.processes import hash_to_seed
from trimkit.report.verdicts import Estimate

LEVEL = 0.95
"""Of every interval."""

FEWEST = 20
"""Samples below which a bootstrap says nothing: intervals from fewer are infinite. One sample has no spread at all."""


DRAWS = 2000
"""Resamples of a bootstrap."""

MANY = 2**20
"""Ids beyond which keys are mixed in place of hashed."""


def key(seed: int, *parts: str | int) -> int:
    """A 63-bit seed hashed from a seed and what it is for; sums such as seed + id would collide.

    Example:
        >>> key(0, "controls", 12) == key(0, "controls", 12), key(0, "a", 1) == key(0, "a1")
        (True, False)
    """
    return hash_to_seed(repr((seed, *parts)))


def generator(seed: int, *parts: str | int) -> torch.Generator:
    """A generator on the CPU, seeded by `key`."""
    return torch.Generator().manual_seed(key(seed, *parts))


def choose(total: int, n: int | None, seed: int) -> Sequence[int]:
    """n of the ids 0 … total − 1 without replacement, in rising order: those whose keys are smallest; None for all.

    A larger n keeps the ids of a smaller one.
    """
    everything = range(total)
    if n is None or n >= total:
        return everything if total > MANY else list(everything)
    return sorted(in_key_order(everything, seed, n))


def in_key_order(ids: Sequence[int], seed: int, most: int | None = None) -> list[int]:
    """The ids in a random order that depends on each id and the seed alone; the first ``most`` of them.

    Keys of more than `MANY` ids are mixed (SplitMix64, Steele et al. 2014, doi:10.1145/2660193.2660195) in place of
    hashed, since hashing 10⁸ ids takes minutes.
    """
    count = len(ids) if most is None else min(most, len(ids))
    if len(ids) <= MANY:
        return heapq.nsmallest(count, ids, key=lambda i: key(seed, "sample", i))
    parts = [np.asarray(ids[start : start + MANY], np.uint64) for start in range(0, len(ids), MANY)]
    best = np.zeros(0, np.uint64)
    for part in parts if count < len(ids) else [np.concatenate(parts)]:
        both = np.concatenate([best, part])
        best = both[np.argsort(_mixed(both, seed), kind="stable")[:count]]
    return [int(i) for i in best]


def _mixed(ids: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    x = (ids + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key(seed, "sample"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def poisson_weights(seed: int, ids: Sequence[int], draws: int) -> NDArray[np.uint8]:
    """Keyed Poisson(1) weights, (n, draws): id i has the same in every check and every shard."""
    ones = torch.ones(draws)
    rows = [torch.poisson(ones, generator=generator(seed, "bootstrap", int(i))).byte() for i in ids]
    return torch.stack(rows).numpy()


class Resampling:
    """Means of resamples stand for the sampling distribution of a mean; comparisons of the same samples are paired.

    Args:
        n: samples.
        spent: share of the error rate 1 − `LEVEL` that these intervals may spend; below 1 where several looks share it.
    """

    def __init__(self, n: int, spent: float = 1.0) -> None:
        self.n = n
        self.spent = spent
        self.draws = DRAWS

    @property
    def tails(self) -> tuple[float, float]:
        """Quantiles at which an interval ends."""
        return (1 - LEVEL) / 2 * self.spent, 1 - (1 - LEVEL) / 2 * self.spent

    def means(self, values: Any) -> Array:
        """Means of the resamples of a `Column` (n, ...): (B, ...)."""
        return values.draws

    def estimate(self, values: Any) -> Estimate:
        """Mean of (n,) values with its percentile interval, which is infinite below `FEWEST` samples."""
        if self.n < FEWEST:
            return Estimate(float(values.mean()), -math.inf, math.inf)
        low, high = np.quantile(self.means(values), self.tails)
        return Estimate(float(values.mean()), float(low), float(high))

    def band(self, values: Any) -> tuple[Array, Array, Array]:
        """Means of (n, ...) values with pointwise intervals: value, low and high, each (...)."""
        low, high = np.quantile(self.means(values), self.tails, axis=0)
        return values.mean(0), low, high

    def p_value(self, differences: Any) -> float:
        """One-sided paired test that the mean of (n,) differences is above zero: the share of resamples that are not.

        (1 + number of resampled means ≤ 0) / (1 + B), so it is never zero.
        """
        means = self.means(differences)
        return float((1 + (means <= 0).sum()) / (1 + len(means)))


class Bootstrap(Resampling):
    """Resampling of samples whose values are all there, by `poisson_weights`.

    Args:
        ids: sample ids, n.
        seed: of the audit.
        draws: resamples B.
    """

    def __init__(self, ids: Sequence[int], seed: int, draws: int = DRAWS) -> None:
        super().__init__(len(ids))
        self.draws = draws
        self.weights = poisson_weights(seed, ids, draws)

    def means(self, values: Any) -> Array:
        """Means of the resamples: (n, ...) → (B, ...)."""
        if isinstance(values, Column):
            return values.draws
        totals = self.weights.sum(0, dtype=np.float64)
        flat = values.reshape(len(values), -1)
        sums = sum(self.weights[part].T.astype(np.float64) @ flat[part] for part in _chunks(len(flat)))
        means = sums / np.where(totals == 0, 1, totals)[:, None]
        return means[totals > 0].reshape(-1, *values.shape[1:])


def _chunks(n: int, size: int = 1024) -> list[slice]:
    """Consecutive slices, so that the weights of few samples are floating numbers at a time."""
    return [slice(start, start + size) for start in range(0, n, size)]


TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Quantiles at which an interval ends."""


def quantile_estimate(values: Array | Column, q: float, spent: float = 1.0) -> Estimate:
    """A quantile with its exact interval from order statistics, which needs no assumption on the distribution.

    The number of values below the quantile is Binomial(n, q); the interval runs between the order statistics that leave
    at most 2.5 % on either side. Where n is too small for an upper end it is infinite (`fewest_samples`). Of a column
    whose rows are not all kept, order statistics come from its counts, and the interval's ends move outwards by their
    rounding, 0.4 %.

    Args:
        values: (n,).
        q: in (0, 1), such as 0.95.
        spent: share of the error rate, see `Resampling`.
    """
    n = len(values)
    tail = TAILS[0] * spent
    below = int(binom.ppf(tail, n, q))  # P(count < below) ≤ 2.5 %
    above = int(binom.ppf(1 - tail, n, q)) + 1  # P(count ≥ above) ≤ 2.5 %
    exact = not isinstance(values, Column) or values.complete
    wider = 0.0 if exact else 2.0**-BITS
    ends = _order_statistics(values, [max(1, below), min(above, n)])
    low = ends[0] - wider * abs(ends[0]) if below >= 1 else -math.inf
    high = ends[1] + wider * abs(ends[1]) if above <= n else math.inf
    return Estimate(float(quantiles(values, [q])[0]), float(low), float(high))


def quantiles(values: Array | Column, levels: Sequence[float]) -> Array:
    """Quantiles of (n,) values, linear between order statistics."""
    places = np.asarray(levels) * (len(values) - 1)
    low = np.floor(places).astype(int)
    ends = _order_statistics(values, [*(low + 1), *(np.ceil(places).astype(int) + 1)])
    first, second = ends[: len(low)], ends[len(low) :]
    return first + (second - first) * (places - low)


def _order_statistics(values: Array | Column, ranks: Sequence[int]) -> Array:
    """The values of these ranks, 1 for the smallest; those of counted values where rows are not all kept."""
    if isinstance(values, Column) and not values.complete:
        ordered = np.array(sorted(values.counts))
        ends = np.cumsum([values.counts[value] for value in ordered.tolist()])
        return ordered[np.minimum(np.searchsorted(ends, ranks), len(ordered) - 1)]
    return np.sort(np.asarray(values))[np.asarray(ranks) - 1]


def fewest_samples(q: float, spent: float = 1.0) -> int:
    """The smallest n for which a quantile above the median has a finite upper end: qⁿ ≤ 2.5 %.

    Example:
        >>> fewest_samples(0.95)
        72
    """
    return math.ceil(math.log(TAILS[0] * spent) / math.log(q))


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of each row, with average ranks for ties.

    Values within a millionth of the row's largest magnitude are ties, so that rounding errors where a score should be
    zero have no rank. A constant row has no ranks: two constant rows count as equal (1), one as unrelated (0).

    Args:
        a: (N, n) real.
        b: (N, n) real.
    Returns:
        (N,) float64 in [−1, 1].
    """
    return rank_correlation(centred_ranks(a), centred_ranks(b))


def rank_correlation(x: Array, y: Array) -> Tensor:
    """`spearman` of rows whose ranks are known already, see `centred_ranks`: (N, n) and (N, n) → (N,).

    >>> x, y = (centred_ranks(torch.tensor([row])) for row in ([1.0, 2.0, 3.0], [10.0, 20.0, 15.0]))
    >>> round(rank_correlation(x, y).item(), 3)
    0.5
    """
    norms = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    both_constant = (np.abs(x).sum(1) == 0) & (np.abs(y).sum(1) == 0)
    related = (x * y).sum(1) / np.where(norms == 0, 1, norms)
    return torch.from_numpy(np.where(both_constant, 1.0, np.where(norms == 0, 0.0, related)))


def rank_correlations(several: Sequence[Array]) -> Tensor:
    """`rank_correlation` of each pair: K times (N, n) → (N, K, K) float64, 1 on the diagonal."""
    ranks = torch.from_numpy(np.stack(several, axis=1))
    norms = ranks.norm(dim=2, keepdim=True)
    unit = ranks / norms.where(norms > 0, 1.0)
    constant = (norms == 0).double()
    return unit @ unit.mT + constant @ constant.mT


def centred_ranks(rows: Tensor) -> Array:
    """Average ranks of each row, less their mean: (N, n) real → (N, n) float64.

    >>> centred_ranks(torch.tensor([[0.1, 0.1, 5.0]]))      # ties share their average rank
    array([[-0.5, -0.5,  1. ]])
    """
    values = rows.detach().cpu().double().numpy()
    largest = np.abs(values).max(axis=1, keepdims=True)
    ranks = rankdata(np.round(values / np.where(largest == 0, 1, largest * 1e-6)), axis=1)
    return ranks - (rows.shape[1] + 1) / 2
