"""How independent and how far from Gaussian components are, without knowing the true ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_selection import mutual_info_regression

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats, as_codes
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights
from trimkit.metrics.independence.log_cosh import GAUSSIAN_LOG_COSH, log_cosh
from trimkit.metrics.predictors import seed_of
from trimkit.metrics.results import MetricResult, plain

NEIGHBOURS, SAMPLES = 3, 1000
"""Of the estimate of mutual information: neighbours of each sample, and samples, at some milliseconds a pair."""


COMPARED = 24
"""Components whose mutual information a report estimates, pair by pair: those whose squares correlate most."""


def negentropy(s: Any) -> Floats:
    """How far each standardised component is from Gaussian: (E log cosh s − E log cosh ν)² with ν ~ N(0, 1).

    What FastICA maximises, a proxy and not in nats (Hyvärinen 1998): 0 for a Gaussian component and for some that are
    not, .0013 for Laplace, .0007 for a uniform one. A constant component has 0.

    Args:
        s: (N, k) real, N ≥ 20.
    Returns:
        (k,) values ≥ 0.
    Raises:
        ShapeError, DataError: components that do not fit.
    """
    return _negentropy(as_codes(s, "components"), None)


def excess_kurtosis(s: Any) -> Floats:
    """E s⁴ / (E s²)² − 3 of each centred component: 0 for a Gaussian, 3 for Laplace, −1.2 for uniform, −2 the least.

    A constant component has 0.

    Args:
        s: (N, k) real, N ≥ 20.
    Returns:
        (k,) values ≥ −2.
    Raises:
        ShapeError, DataError: components that do not fit.
    """
    return _kurtosis(as_codes(s, "components"), None)


def squared_correlations(s: Any) -> Floats:
    """Correlations of the squares of centred components: what is left of dependence where they are uncorrelated.

    Independent components have 0 off the diagonal; components that are large together (of one natural image, or of
    segments with a common scale) more; a rotation of two uniform ones by 45° has −3/7.

    Args:
        s: (N, k) real, N ≥ 20.
    Returns:
        (k, k) symmetric, in [−1, 1], 1 on the diagonal; 0 in the row of a component whose square is constant.
    Raises:
        ShapeError, DataError: components that do not fit.
    """
    return _squared_correlations(as_codes(s, "components"), None)


def mutual_information_matrix(s: Any, *, neighbours: int = NEIGHBOURS, samples: int = SAMPLES, seed: int = 0) -> Floats:
    """Mutual information of every pair of components, by nearest neighbours (Kraskov et al. 2004, scikit-learn's).

    Unlike correlations it sees dependence of any form. For independent components it is 0 but for an error of about
    .02 nats at 1000 samples, cut off below 0.

    Args:
        s: (N, k) real, N ≥ 20.
        neighbours: of each sample; more of them lower the variance and raise the bias.
        samples: of the rows, at most, drawn without replacement.
        seed: of the rows, and of scikit-learn's jitter of 1e-10 against equal values.
    Returns:
        (k, k) nats, symmetric, ≥ 0. The diagonal, infinite for a continuous component, is 0.
    Raises:
        ShapeError, DataError, OptionError: components or options that do not fit.
    """
    codes, draws = as_codes(s, "components"), generator(seed, "mutual_information_matrix")
    if samples < 2:
        raise OptionError(f"samples: expected at least 2 for mutual information, got {samples}")
    rows = draws.permutation(len(codes))[:samples]
    if not 1 <= neighbours < len(rows):
        raise OptionError(f"neighbours: expected from 1 to {len(rows) - 1} of {len(rows)} samples, got {neighbours}")
    few, k = codes[rows], codes.shape[1]
    matrix = np.zeros((k, k))
    for i in range(k - 1):
        matrix[i, i + 1 :] = mutual_info_regression(
            few[:, i + 1 :], few[:, i], n_neighbors=neighbours, random_state=seed_of(draws)
        )
    return matrix + matrix.T


def report(s: Any, *, samples: int = SAMPLES, seed: int = 0, draws: int = DRAWS) -> dict[str, MetricResult]:
    """Independence measures of components, each as one number with its interval and its parts.

    Args:
        s: (N, k) real, N ≥ 20: of rows that were not fitted to.
        samples: of the mutual information, see `mutual_information_matrix`.
        seed: of everything that is drawn.
        draws: resamples of rows; 0 for no intervals.
    Returns:
        "negentropy" and "excess_kurtosis": means of the components' values and magnitudes, with "per_component";
        "squared_correlation" and "component_information" (nats): the largest magnitude of all pairs, which is 0 for
        one component, with the "matrix". Information is that of 24 "components" at most, whose squares correlate most,
        and has no interval: a resample holds rows twice, and their neighbours are themselves.
    Raises:
        ShapeError, DataError, OptionError: components or options that do not fit.
    """
    codes = as_codes(s, "components")
    named = {"samples": len(codes), "seed": seed, "draws": draws}
    results = (
        _summary("negentropy", _negentropy, np.mean, codes, named),
        _summary("excess_kurtosis", _kurtosis, _mean_magnitude, codes, named),
        _summary("squared_correlation", _squared_correlations, _largest, codes, named),
        _information(codes, samples, seed),
    )
    return {result.name: result for result in results}


Statistic: TypeAlias = Callable[[Floats, NDArray[Any] | None], Floats]


def _summary(
    name: str,
    statistic: Statistic,
    summed: Callable[[Floats], Any],
    codes: Floats,
    named: dict[str, Any],
) -> MetricResult:
    values = statistic(codes, None)
    value = float(summed(values))
    weights = row_weights(len(codes), named["draws"], generator(named["seed"], "independence"))
    resampled = np.array([float(summed(statistic(codes, w))) for w in weights])
    part = "per_component" if values.ndim == 1 else "matrix"
    return MetricResult(name, value, interval(value, resampled, 0), named, {part: plain(values)})


def _information(codes: Floats, samples: int, seed: int) -> MetricResult:
    """The largest mutual information of a pair, among the components that are most suspicious of it."""
    off = np.abs(_squared_correlations(codes, None)) - np.eye(codes.shape[1])
    chosen = np.sort(np.argsort(-off.max(1), kind="stable")[:COMPARED])
    matrix = mutual_information_matrix(codes[:, chosen], samples=samples, seed=seed)
    named = {"unit": "nats", "neighbours": NEIGHBOURS, "rows": min(samples, len(codes)), "components": len(chosen)}
    parts = {"matrix": plain(matrix), "components": plain(chosen)}
    return MetricResult("component_information", _largest(matrix), None, named | {"seed": seed}, parts)


def _standardised(codes: Floats, weights: NDArray[Any] | None) -> tuple[Floats, Floats]:
    """Components of mean 0 and variance 1 under the weights, which sum to 1 then; a constant one is 0."""
    w = np.full(len(codes), 1 / len(codes)) if weights is None else weights / weights.sum()
    centred = codes - codes[0]  # exactly zero for a constant, which a mean is not
    centred -= w @ centred
    spread = np.sqrt(w @ centred**2)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0), w


def _negentropy(codes: Floats, weights: NDArray[Any] | None) -> Floats:
    z, w = _standardised(codes, weights)
    values = log_cosh(torch.from_numpy(z)).numpy()
    return np.where(z.any(0), (w @ values - GAUSSIAN_LOG_COSH) ** 2, 0)


def _kurtosis(codes: Floats, weights: NDArray[Any] | None) -> Floats:
    z, w = _standardised(codes, weights)
    return np.where(z.any(0), w @ (z**2) ** 2 - 3, 0)


def _squared_correlations(codes: Floats, weights: NDArray[Any] | None) -> Floats:
    squares, w = _standardised(_standardised(codes, weights)[0] ** 2, weights)
    correlations = (squares * w[:, None]).T @ squares
    np.fill_diagonal(correlations, 1)
    return np.clip(correlations, -1, 1)


def _mean_magnitude(values: Floats) -> Any:
    return np.abs(values).mean()


def _largest(matrix: Floats) -> float:
    """The largest magnitude off the diagonal; 0 for one component."""
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    return float(np.abs(off).max(initial=0))
