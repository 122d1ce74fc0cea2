"""The audit's statistics: keyed draws, bootstrap over samples, intervals of quantiles, rank correlation.

The resampling unit is always the sample, never a pixel, a coefficient or a step of a curve. Every draw comes from a
generator keyed by (seed, purpose, sample id), so it is the same whatever the batch size, the order or the shard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom, rankdata
from torch import Tensor

from trimkit.processes import hash_to_seed
from trimkit.report.verdicts import Estimate

Array = NDArray[np.float64]

LEVEL = 0.95
"""Of every interval."""

FEWEST = 20
"""Samples below which a bootstrap says nothing: intervals from fewer are infinite. One sample has no spread at all."""


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


def choose(total: int, n: int, seed: int) -> list[int]:
    """n of the ids 0 … total − 1 without replacement, in rising order: those whose keys are smallest.

    A larger n keeps the ids of a smaller one.
    """
    return sorted(in_key_order(range(total), seed)[:n])


def in_key_order(ids: Sequence[int], seed: int) -> list[int]:
    """The ids in a random order that depends on each id and the seed alone."""
    return sorted(ids, key=lambda i: key(seed, "sample", i))


class Bootstrap:
    """Resampling of samples by keyed Poisson(1) weights: id i has the same weights in every check and every shard.

    Comparisons of values of the same samples are therefore paired. The distribution of weighted means over draws stands
    for the sampling distribution of the mean.

    Args:
        ids: sample ids, n.
        seed: of the audit.
        draws: resamples B.
    """

    def __init__(self, ids: Sequence[int], seed: int, draws: int = 2000) -> None:
        ones = torch.ones(draws)
        self.n = len(ids)
        self.draws = draws
        rows = [torch.poisson(ones, generator=generator(seed, "bootstrap", int(i))).byte() for i in ids]
        self.weights: NDArray[np.uint8] = torch.stack(rows).numpy()

    def means(self, values: Array) -> Array:
        """Means of the resamples: (n, ...) → (B, ...)."""
        totals = self.weights.sum(0, dtype=np.float64)
        flat = values.reshape(len(values), -1)
        sums = sum(self.weights[part].T.astype(np.float64) @ flat[part] for part in _chunks(len(flat)))
        means = sums / np.where(totals == 0, 1, totals)[:, None]
        return means[totals > 0].reshape(-1, *values.shape[1:])

    def estimate(self, values: Array) -> Estimate:
        """Mean of (n,) values with its percentile interval, which is infinite below `FEWEST` samples."""
        if self.n < FEWEST:
            return Estimate(float(values.mean()), -math.inf, math.inf)
        low, high = np.quantile(self.means(values), TAILS)
        return Estimate(float(values.mean()), float(low), float(high))

    def band(self, values: Array) -> tuple[Array, Array, Array]:
        """Means of (n, ...) values with pointwise intervals: value, low and high, each (...)."""
        low, high = np.quantile(self.means(values), TAILS, axis=0)
        return values.mean(0), low, high

    def p_value(self, differences: Array) -> float:
        """One-sided paired test that the mean of (n,) differences is above zero: the share of resamples that are not.

        (1 + number of resampled means ≤ 0) / (1 + B), so it is never zero.
        """
        means = self.means(differences)
        return float((1 + (means <= 0).sum()) / (1 + len(means)))


def _chunks(n: int, size: int = 1024) -> list[slice]:
    """Consecutive slices, so that the weights of few samples are floating numbers at a time."""
    return [slice(start, start + size) for start in range(0, n, size)]


TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Quantiles at which an interval ends."""


def quantile_estimate(values: Array, q: float) -> Estimate:
    """A quantile with its exact interval from order statistics, which needs no assumption on the distribution.

    The number of values below the quantile is Binomial(n, q); the interval runs between the order statistics that leave
    at most 2.5 % on either side. Where n is too small for an upper end it is infinite (`fewest_samples`).

    Args:
        values: (n,).
        q: in (0, 1), such as 0.95.
    """
    ordered = np.sort(values)
    n = len(ordered)
    below = int(binom.ppf(TAILS[0], n, q))  # P(count < below) ≤ 2.5 %
    above = int(binom.ppf(TAILS[1], n, q)) + 1  # P(count ≥ above) ≤ 2.5 %
    low = ordered[below - 1] if below >= 1 else -math.inf
    high = ordered[above - 1] if above <= n else math.inf
    return Estimate(float(np.quantile(ordered, q)), float(low), float(high))


def fewest_samples(q: float) -> int:
    """The smallest n for which a quantile above the median has a finite upper end: qⁿ ≤ 2.5 %.

    Example:
        >>> fewest_samples(0.95)
        72
    """
    return math.ceil(math.log(TAILS[0]) / math.log(q))


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
    """`spearman` of rows whose ranks are known already, see `centred_ranks`: (N, n) and (N, n) → (N,)."""
    norms = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    both_constant = (np.abs(x).sum(1) == 0) & (np.abs(y).sum(1) == 0)
    related = (x * y).sum(1) / np.where(norms == 0, 1, norms)
    return torch.from_numpy(np.where(both_constant, 1.0, np.where(norms == 0, 0.0, related)))


def centred_ranks(rows: Tensor) -> Array:
    """Average ranks of each row, less their mean: (N, n) real → (N, n) float64."""
    values = rows.detach().cpu().double().numpy()
    largest = np.abs(values).max(axis=1, keepdims=True)
    ranks = rankdata(np.round(values / np.where(largest == 0, 1, largest * 1e-6)), axis=1)
    return ranks - (rows.shape[1] + 1) / 2
