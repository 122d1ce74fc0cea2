"""Distances between two sets of samples, taken in the features of a frozen predictor.

The Fréchet inception distance and the kernel inception distance are these formulas on the features of one network,
whose weights come from elsewhere. On other features the numbers compare with nothing published: they are called by what
they are, and should be reported with the predictor's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trimkit.errors import OptionError, ShapeError
from trimkit.metrics.arrays import Floats, as_codes
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights
from trimkit.metrics.results import MetricResult

BLOCK = 512
"""Rows of a kernel or distance matrix that are held at a time."""

USUAL_FEATURES = 512
"""For which a Fréchet distance takes a fifth of a second."""


def frechet_distance(real: Any, made: Any, *, seed: int = 0, draws: int = DRAWS) -> MetricResult:
    """‖μ₁ − μ₂‖² + Tr(C₁ + C₂ − 2 (C₁ C₂)^½), the squared distance of two Gaussians (Dowson & Landau 1982).

    This is the squared 2-Wasserstein distance of the Gaussians with the samples' means and covariances. Of finite sets
    it is biased upwards, by about Tr C · (1/n + 1/m) and more for many features: compare only sets of equal sizes.

    Args:
        real: (N, F) features of data, N ≥ 20; further axes are flattened.
        made: (M, F) features of generated samples, M ≥ 20.
        seed: of the interval.
        draws: resamples of both sets' rows, for the interval; 0 for none. For more than 512 features there are fewer,
            since each takes time ∝ F³; the protocol says how many.
    Returns:
        "frechet_distance", ≥ 0 in squared units of the features; 0 for a set and itself. Parts: "mean" and
        "covariance", the two summands.
    Raises:
        ShapeError, DataError: arrays that do not fit.
    """
    x, y = feature_pair(real, made)
    if x.shape[1] > USUAL_FEATURES:
        draws = int(draws * (USUAL_FEATURES / x.shape[1]) ** 3)
    value, mean = _frechet(_moments(x), _moments(y))
    rng = generator(seed, "frechet_distance")
    weights = [row_weights(len(rows), draws, rng) for rows in (x, y)]
    resampled = np.array(
        [_frechet(_moments(x, first), _moments(y, second))[0] for first, second in zip(*weights, strict=True)]
    )
    parts = {"mean": mean, "covariance": value - mean}
    return MetricResult("frechet_distance", value, interval(value, resampled, 0), _protocol(x, y, seed, draws), parts)


def kernel_distance(real: Any, made: Any, *, degree: int = 3, seed: int = 0, draws: int = DRAWS) -> MetricResult:
    """The unbiased squared maximum mean discrepancy with the kernel (x·y / F + 1)^degree (Bińkowski et al. 2018).

    mean_{i≠j} k(xᵢ, xⱼ) + mean_{i≠j} k(yᵢ, yⱼ) − 2 mean_{ij} k(xᵢ, yⱼ): its expectation does not depend on the numbers
    of samples, and is 0 for equal distributions; the value of a sample may be below 0.

    Args:
        real: (N, F) features of data, N ≥ 20; further axes are flattened.
        made: (M, F) features of generated samples, M ≥ 20.
        degree: of the polynomial, at least 1.
        seed: of the interval.
        draws: resamples of both sets' rows, for the interval; a pair of one row and itself never counts. 0 for none.
    Returns:
        "kernel_distance".
    Raises:
        ShapeError, DataError: arrays that do not fit.
        OptionError: a degree below 1.
    """
    if degree < 1:
        raise OptionError(f"degree: expected at least 1, got {degree}")
    x, y = feature_pair(real, made)
    rng = generator(seed, "kernel_distance")
    first, second = (with_all_rows(row_weights(len(rows), draws, rng)) for rows in (x, y))
    within = sum(_mean_kernel(rows, rows, w, w, degree, others=True) for rows, w in ((x, first), (y, second)))
    values = within - 2 * _mean_kernel(x, y, first, second, degree)
    protocol = _protocol(x, y, seed, draws) | {"kernel": f"(x·y / {x.shape[1]} + 1)^{degree}", "estimator": "unbiased"}
    return MetricResult("kernel_distance", float(values[0]), interval(float(values[0]), values[1:]), protocol)


def with_all_rows(weights: Any) -> Floats:
    """The weights of resamples (draws, n) behind those of the sample itself, all 1: (1 + draws, n).

    >>> with_all_rows(np.array([[0, 2]]))
    array([[1., 1.],
           [0., 2.]])
    """
    return np.concatenate([np.ones((1, weights.shape[1])), weights.astype(np.float64)])


def blocks(n: int) -> Iterator[slice]:
    """Runs of at most `BLOCK` rows."""
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def feature_pair(real: Any, made: Any) -> tuple[Floats, Floats]:
    """Features of both sets as float64 (N, F) and (M, F).

    Raises:
        ShapeError: different numbers of features.
        ShapeError, DataError: no finite features of at least 20 samples.
    """
    x, y = as_codes(real, "real"), as_codes(made, "made")
    if x.shape[1] != y.shape[1]:
        raise ShapeError(
            f"expected the same features of both sets, got {x.shape[1]} of real and {y.shape[1]} of made samples; take "
            "them from one layer of one predictor"
        )
    return x, y


def _protocol(x: Floats, y: Floats, seed: int, draws: int) -> dict[str, Any]:
    sizes = {"real": len(x), "made": len(y), "features": x.shape[1], "seed": seed, "draws": draws}
    return sizes | {"interval": "rows of both sets resampled"}


def _moments(rows: Floats, weights: Any = None) -> tuple[Floats, Floats]:
    """Mean (F,) and unbiased covariance (F, F); weights are how often each row counts."""
    counts = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    mean = counts @ rows / counts.sum()
    centred = rows - mean
    return mean, (centred * counts[:, None]).T @ centred / (counts.sum() - 1)


def _frechet(one: tuple[Floats, Floats], two: tuple[Floats, Floats]) -> tuple[float, float]:
    """The distance and its first summand.

    Tr (C₁C₂)^½ is the sum of the singular values of C₁^½ C₂^½, which is real, and exact for singular covariances too.
    """
    mean = float(np.square(one[0] - two[0]).sum())
    cross = np.linalg.svd(_root(one[1]) @ _root(two[1]), compute_uv=False).sum()
    spread = float(np.trace(one[1]) + np.trace(two[1]) - 2 * cross)
    return mean + max(spread, 0.0), mean


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _mean_kernel(x: Floats, y: Floats, first: Floats, second: Floats, degree: int, *, others: bool = False) -> Floats:
    """Mean kernel of each resample (draws,); with ``others``, of pairs of different rows only."""
    total, pairs = np.zeros(len(first)), first.sum(1) * second.sum(1)
    for rows in blocks(len(x)):
        kernel = (x[rows] @ y.T / x.shape[1] + 1) ** degree
        if others:
            kernel[np.arange(len(kernel)), np.arange(rows.start, rows.stop)] = 0
        total += ((first[:, rows] @ kernel) * second).sum(1)
    return total / (pairs - np.square(first).sum(1) if others else pairs)
