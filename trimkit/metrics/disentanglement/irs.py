"""Interventional robustness score (IRS; Suter et al. 2019, arXiv:1811.00007)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats, Integers, as_codes, as_factors
from trimkit.metrics.bootstrap import generator, interval
from trimkit.metrics.disentanglement.histograms import BINS, equal_width_bins
from trimkit.metrics.results import MetricResult, plain


def irs(
    codes: Any,
    factors: Any,
    *,
    quantile: float | str = 0.99,
    bins: int | None = BINS,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = 100,
) -> MetricResult:
    """How little each code moves when one factor is held and all others change.

    IRS_dk = 1 − E_{v_k}[Q |z_d − E(z_d | v_k)|] / max |z_d − E z_d|, each value of v_k weighing the same; a code's
    score is its largest over factors, the value their mean weighted by max |z_d − E z_d|. Constant codes are left out;
    if all are, the value is 0. Assumes that factors are independent in the rows. An uninformative code does not score
    0: the more heavy-tailed it is, the more it scores.

    Args:
        codes: (N, D) real, N ≥ 20.
        factors: (N, K) integers.
        quantile: Q in (0, 1], .99 as in disentanglement_lib, or "max" as in the paper, which outliers decide.
        bins: equal-width bins of a factor's values, as disentanglement_lib takes them; None for the values themselves.
        names: of the factors.
        seed: of the interval.
        draws: resamples of rows; 0 for no interval.
    Returns:
        A value in [0, 1]. Parts: "per_code", "parents" (name of the factor of each code), "matrix" (D, K), "active"
        codes.
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    q = _share(quantile)
    z = as_codes(codes)
    v = as_factors(factors, len(z), names)
    values = v.values if bins is None else equal_width_bins(v.values.astype(np.float64), bins)
    active = np.flatnonzero(z.max(0) > z.min(0))
    protocol = v.protocol() | {"quantile": quantile, "bins": bins, "seed": seed, "draws": draws}
    if not len(active):
        parts = {"per_code": [], "parents": [], "matrix": [], "active": []}
        return MetricResult("irs", 0.0, (0.0, 0.0) if draws else None, protocol, parts)
    z = z[:, active]
    matrix, deviation = robustness(z, values, q)
    value = _average(matrix, deviation)
    rng = generator(seed, "irs")
    drawn = (rng.integers(len(z), size=len(z)) for _ in range(draws))
    resampled = np.array([_average(*robustness(z[rows], values[rows], q)) for rows in drawn])
    parts = {
        "per_code": plain(matrix.max(1)),
        "parents": [v.names[k] for k in matrix.argmax(1)],
        "matrix": plain(matrix),
        "active": active.tolist(),
    }
    return MetricResult("irs", value, interval(value, resampled, 0, 1), protocol, parts)


def _share(quantile: float | str) -> float:
    """The quantile as a number."""
    q = 1.0 if quantile == "max" else quantile
    if not isinstance(q, float | int) or not 0 < q <= 1:
        raise OptionError(f'quantile: expected a number in (0, 1] or "max", got {quantile!r}')
    return q


def robustness(z: Floats, values: Integers, quantile: float) -> tuple[Floats, Floats]:
    """IRS_dk (D, K), and the largest deviation of each code from its mean (D,)."""
    deviation = np.abs(z - z.mean(0)).max(0)
    scale = np.where(deviation > 0, deviation, 1)  # constant in a resample: it has not moved at all
    return np.stack([1 - _moved(z, value, quantile) / scale for value in values.T], axis=1), deviation


def _moved(z: Floats, value: Integers, quantile: float) -> Floats:
    """Mean over the values of one factor of the quantile of |z − mean| among the rows that have it: (D,)."""
    order = np.argsort(value, kind="stable")
    starts = np.flatnonzero(np.diff(value[order], prepend=-1))
    groups = np.split(z[order], starts[1:])
    return np.mean([_quantile(np.abs(group - group.mean(0)), quantile) for group in groups], axis=0)


def _quantile(rows: Floats, quantile: float) -> Floats:
    """The quantile of each column, linear between order statistics, from a partial sort."""
    place = quantile * (len(rows) - 1)
    low = int(place)
    high = min(low + 1, len(rows) - 1)
    rows = np.partition(rows, (low, high), axis=0)
    return rows[low] + (place - low) * (rows[high] - rows[low])


def _average(matrix: Floats, deviation: Floats) -> float:
    best = matrix.max(1)
    return float(best @ deviation / deviation.sum()) if deviation.sum() > 0 else 0.0
