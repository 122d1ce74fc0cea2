"""How dependent codes are on each other, without factors (Locatello et al. 2019, section 5.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimkit.metrics.arrays import Floats, as_codes
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights
from trimkit.metrics.disentanglement.covariance import correlation, covariances
from trimkit.metrics.disentanglement.histograms import (
    BINS,
    equal_width_bins,
    information_and_entropy,
    resampled_information,
)
from trimkit.metrics.results import MetricResult, plain


def gaussian_total_correlation(codes: Any, *, seed: int = 0, draws: int = DRAWS) -> MetricResult:
    """Total correlation of the Gaussian with the codes' covariance: −½ log det of their correlation matrix, in nats.

    0 for uncorrelated codes. Constant codes are left out. Where a code is a linear function of others it is infinite,
    and reported as what double precision tells from it, about 18 nats a code.

    Args:
        codes: (N, D) real, N ≥ 20.
        seed: of the interval.
        draws: resamples of rows; 0 for no interval.
    Returns:
        A value ≥ 0.
    Raises:
        ShapeError, DataError: codes that do not fit.
    """
    covariance = _covariances(as_codes(codes), seed, draws, "gaussian_total_correlation")
    related = correlation(covariance)
    empty = np.diagonal(related, axis1=-2, axis2=-1) == 0
    related += np.eye(related.shape[-1]) * empty[:, None, :]  # a constant code adds log 1
    eigenvalues = np.maximum(np.linalg.eigvalsh(related), np.finfo(np.float64).eps)
    values = np.maximum(-0.5 * np.log(eigenvalues).sum(-1), 0)
    return _result(
        "gaussian_total_correlation", values, as_codes(codes), {"unit": "nats", "seed": seed, "draws": draws}
    )


def wasserstein_correlation(codes: Any, *, seed: int = 0, draws: int = DRAWS) -> MetricResult:
    """Squared 2-Wasserstein distance of the Gaussian with the codes' covariance from that with its diagonal.

    2 tr Σ − 2 tr (Σ · diag Σ)^½ (Watters et al. 2019), in squared units of the codes; "normalised" in the parts is the
    share of tr Σ, which no scaling changes. 0 for constant codes.

    Args:
        codes: (N, D) real, N ≥ 20.
        seed: of the interval.
        draws: resamples of rows; 0 for no interval.
    Returns:
        A value ≥ 0. Parts: "normalised".
    Raises:
        ShapeError, DataError: codes that do not fit.
    """
    z = as_codes(codes)
    covariance = _covariances(z, seed, draws, "wasserstein_correlation")
    spread = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0))
    similar = spread[:, :, None] * covariance * spread[:, None, :]  # symmetric, the eigenvalues of Σ · diag Σ
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(similar), 0)).sum(-1)
    trace = (spread**2).sum(-1)
    values = np.maximum(2 * trace - 2 * roots, 0)
    parts = {"normalised": float(values[0] / trace[0]) if trace[0] > 0 else 0.0}
    return _result("wasserstein_correlation", values, z, {"seed": seed, "draws": draws}, parts)


def mean_pairwise_mutual_information(
    codes: Any, *, bins: int = BINS, seed: int = 0, draws: int = DRAWS
) -> MetricResult:
    """Mean mutual information of two different codes, in nats.

    Plug-in estimates from equal-width bins, whose bias for independent codes is about (bins − 1)² / 2N. 0 for one code.

    Args:
        codes: (N, D) real, N ≥ 20.
        bins: of each code.
        seed: of the interval.
        draws: resamples of rows; 0 for no interval.
    Returns:
        A value ≥ 0. Parts: "mutual_information" (D, D) with entropies on the diagonal.
    Raises:
        ShapeError, DataError, OptionError: codes or options that do not fit.
    """
    z = as_codes(codes)
    binned = equal_width_bins(z, bins)
    matrix = information_and_entropy(binned, binned)[0]
    values = _off_diagonal(matrix[None])
    if draws:
        weights = row_weights(len(z), draws, generator(seed, "mean_pairwise_mutual_information"))
        values = np.concatenate([values, _off_diagonal(resampled_information(binned, binned, weights)[0])])
    protocol = {"bins": bins, "estimator": "plug-in, equal-width bins", "unit": "nats", "seed": seed, "draws": draws}
    parts = {"mutual_information": plain(matrix)}
    return _result("mean_pairwise_mutual_information", values, z, protocol, parts)


def _covariances(codes: Floats, seed: int, draws: int, purpose: str) -> Floats:
    """Of all rows first, then of resamples: (1 + draws, D, D)."""
    resamples = row_weights(len(codes), draws, generator(seed, purpose))
    return covariances(codes, np.vstack([np.ones((1, len(codes)), np.uint8), resamples]))


def _off_diagonal(information: Floats) -> Floats:
    d = information.shape[-1]
    total = information.sum((-1, -2)) - np.trace(information, axis1=-2, axis2=-1)
    return np.maximum(total, 0) / max(d * d - d, 1)


def _result(
    name: str, values: Floats, codes: Floats, protocol: dict[str, Any], parts: dict[str, Any] | None = None
) -> MetricResult:
    value = float(values[0])
    return MetricResult(name, value, interval(value, values[1:], 0), {"samples": len(codes)} | protocol, parts or {})
