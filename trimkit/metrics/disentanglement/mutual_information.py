"""Mutual information of codes and factors, and its gap (MIG; Chen et al. 2018, arXiv:1802.04942)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from trimkit.errors import OptionError, ShapeError
from trimkit.metrics.arrays import Factors, Floats, Integers, as_codes, as_factors
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights, weighted_means
from trimkit.metrics.disentanglement.histograms import (
    BINS,
    entropy,
    equal_width_bins,
    information_and_entropy,
    resampled_information,
)
from trimkit.metrics.results import MetricResult, by_name, plain

CHUNK = 2**22
"""Densities evaluated at a time."""


def mutual_information_gap(
    codes: Any,
    factors: Any,
    *,
    bins: int = BINS,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """MIG: how much more the best code says of a factor than the second best, as a share of the factor's entropy.

    mean_k (I₍₁₎k − I₍₂₎k) / H(v_k) with plug-in estimates of I(z_d; v_k) and H(v_k) from histograms of equal-width bins
    over each code's range: the definition of disentanglement_lib, which takes posterior *means* as codes, 20 bins and
    10,000 samples. Outliers widen the bins, so a monotone change of a code changes the value; a permutation, a shift
    and a scaling do not. A constant code has no information; one code alone has a constant one beside it; a factor with
    one value is left out. For the definition of Chen et al., see `sampled_mutual_information_gap`.

    Args:
        codes: (N, D) real, N ≥ 20.
        factors: (N, K) integers.
        bins: of each code.
        names: of the factors.
        seed: of the interval.
        draws: resamples of rows, whose bins stay those of all rows; 0 for no interval.
    Returns:
        A value in [0, 1]. Parts: "per_factor", "mutual_information" (D, K) and "entropy" (K,) in nats. Look at
        "per_factor": a mean of .2 can be one factor at .95.
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    z = as_codes(codes)
    v = as_factors(factors, len(z), names)
    binned = equal_width_bins(z, bins)
    information, entropies = information_and_entropy(binned, v.values)
    per_factor = gaps(information, entropies)
    resampled = np.empty(0)
    if draws:
        weights = row_weights(len(z), draws, generator(seed, "mutual_information_gap"))
        resampled = gaps(*resampled_information(binned, v.values, weights)).mean(-1)
    value = float(per_factor.mean())
    return MetricResult(
        "mutual_information_gap",
        value,
        interval(value, resampled, 0, 1),
        v.protocol() | {"bins": bins, "estimator": "plug-in, equal-width bins", "seed": seed, "draws": draws},
        _parts(v, per_factor, information, entropies),
    )


def sampled_mutual_information_gap(
    means: Any,
    log_variances: Any,
    factors: Any,
    *,
    samples: int = 2000,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """MIG as Chen et al. (2018) define it: of codes z ~ q(z|x), with densities instead of histograms.

    I(z_d; v_k) = E[log q(z_d|v_k) − log q(z_d)], where q(z_d) is the mixture of the posteriors of all rows and
    q(z_d|v_k) that of the rows that share the value: the aggregate posterior of the whole set if the rows are the full
    grid of factors, as in the paper, and of the rows otherwise (fewer rows, larger information). The expectation is
    over ``samples`` rows drawn with replacement and one code from each.

    Args:
        means: (N, D) of Gaussian posteriors.
        log_variances: (N, D).
        factors: (N, K) integers.
        samples: draws of the expectation; costs samples · N · D densities.
        names: of the factors.
        seed: of the samples and the interval.
        draws: resamples of the samples; 0 for no interval.
    Returns:
        A value, in [0, 1] but for the error of sampling. Parts as of `mutual_information_gap`.
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    mean, log_variance = as_codes(means, "means"), as_codes(log_variances, "log_variances")
    if mean.shape != log_variance.shape:
        raise ShapeError(f"expected means and log_variances of one shape, got {mean.shape} and {log_variance.shape}")
    if samples < 1:
        raise OptionError(f"samples: expected at least 1, got {samples}")
    v = as_factors(factors, len(mean), names)
    rng = generator(seed, "sampled_mutual_information_gap")
    rows = rng.integers(len(mean), size=samples)
    z = mean[rows] + np.exp(log_variance[rows] / 2) * rng.standard_normal((samples, mean.shape[1]))
    ratios = np.stack(
        [_log_ratios(z[:, d], mean[:, d], log_variance[:, d], v, rows) for d in range(z.shape[1])], axis=1
    )
    entropies = entropy(v.values)
    per_factor = gaps(ratios.mean(0), entropies)
    resampled = gaps(weighted_means(ratios, row_weights(samples, draws, rng)), entropies).mean(-1)
    value = float(per_factor.mean())
    return MetricResult(
        "sampled_mutual_information_gap",
        value,
        interval(value, resampled),
        v.protocol() | {"draws of z": samples, "estimator": "aggregate posterior", "seed": seed, "draws": draws},
        _parts(v, per_factor, ratios.mean(0), entropies),
    )


def gaps(information: Floats, entropies: Floats) -> Floats:
    """(I₍₁₎ − I₍₂₎) / H of each factor: (..., D, K) and (..., K) → (..., K). A missing second code has I = 0.

    >>> gaps(np.array([[0.6], [0.1]]), np.array([1.0]))
    array([0.5])
    """
    ordered = np.sort(information, axis=-2)
    second = ordered[..., -2, :] if ordered.shape[-2] > 1 else 0.0
    varies = entropies > 0  # in a resample of few rows a factor may have one value left
    return np.where(varies, (ordered[..., -1, :] - second) / np.where(varies, entropies, 1), 0.0)


def _parts(v: Factors, per_factor: Floats, information: Floats, entropies: Floats) -> dict[str, Any]:
    return {
        "per_factor": by_name(v.names, per_factor),
        "mutual_information": plain(information),
        "entropy": plain(entropies),
    }


def _log_ratios(z: Floats, mean: Floats, log_variance: Floats, v: Factors, rows: Integers) -> Floats:
    """log q(z|v_k) − log q(z) of one code's samples, drawn from posteriors ``rows``: (S,) → (S, K)."""
    offsets = np.concatenate([[0], np.cumsum(v.sizes)[:-1]])
    columns = v.values + offsets
    member = csr_array(
        (np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, columns.shape[1])),
        shape=(len(mean), sum(v.sizes)),
    )
    sizes = np.asarray(member.sum(0)).ravel()
    ratios = np.empty((len(z), len(v.sizes)))
    for start in range(0, len(z), step := max(1, CHUNK // len(mean))):
        part = slice(start, start + step)
        log_density = -0.5 * ((z[part, None] - mean) ** 2 * np.exp(-log_variance) + log_variance)
        density = np.exp(log_density - log_density.max(1, keepdims=True))
        own = columns[rows[part]]
        shared = np.take_along_axis(np.asarray((member.T @ density.T).T), own, axis=1) / sizes[own]
        ratios[part] = np.log(shared) - np.log(density.mean(1))[:, None]
    return ratios
