"""Intervals: keyed resampling of rows, as weights, so that a statistic of all resamples is one product."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats

LEVEL = 0.95
"""Of every interval."""

DRAWS = 200
"""Resamples of an interval; the ends of a 95 % interval are then its 5th value from either side."""


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator that depends on the seed and what it is for; NumPy's global state is never touched.

    Args:
        seed: ≥ 0.
        purpose: "mutual_information_gap", …
    Raises:
        OptionError: a negative seed.
    """
    if seed < 0:
        raise OptionError(f"seed: expected a number ≥ 0, got {seed}")
    return np.random.default_rng([seed, *purpose.encode()])


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A torch generator on the CPU, seeded by the next draw of a NumPy one."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def row_weights(n: int, draws: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """How often each of n rows is in each resample of n rows with replacement: (draws, n).

    Raises:
        OptionError: a negative or fractional number of draws.
    """
    if not isinstance(draws, int) or draws < 0:
        raise OptionError(f"draws: expected a whole number ≥ 0, got {draws!r}")
    weights = np.empty((draws, n), dtype=np.uint8)
    for row in weights:
        row[:] = np.minimum(np.bincount(rng.integers(n, size=n), minlength=n), 255)
    return weights


def interval(
    value: float, resampled: Floats, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float] | None:
    """The 95 % interval round a value from its resampled values.

    The resampled values are centred on the value before their quantiles are taken: plug-in information of a resample
    is biased upwards once more, by about as much as the value itself, and percentiles of it would miss the value.

    Args:
        value: of all rows.
        resampled: (draws,); empty for no interval.
        low: the statistic's smallest possible value.
        high: its largest.
    Returns:
        (low, high), or None without draws.
    """
    if not len(resampled):
        return None
    ends = value + np.quantile(resampled - resampled.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    below, above = np.clip(ends, low, high).tolist()
    return min(below, value), max(above, value)


def share_interval(right: NDArray[np.bool_], draws: int, rng: np.random.Generator) -> tuple[float, float] | None:
    """The 95 % interval of a share of n independent answers that are right: their resamples are binomial."""
    share = float(right.mean())
    return interval(share, rng.binomial(len(right), share, draws) / len(right), 0, 1)


def weighted_means(values: Floats, weights: NDArray[np.uint8]) -> Floats:
    """Means of resamples: (n, ...) values and (draws, n) weights → (draws, ...).

    >>> weighted_means(np.array([1.0, 3.0]), np.array([[1, 1], [2, 0]], dtype=np.uint8))
    array([2., 1.])
    """
    flat = values.reshape(len(values), -1)
    return (weights.astype(np.float64) @ flat / len(values)).reshape(len(weights), *values.shape[1:])
