"""How well codes know the true sources: the mean correlation coefficient, MCC."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from trimkit.errors import OptionError, ShapeError
from trimkit.metrics.arrays import Floats, Integers, as_codes
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights
from trimkit.metrics.results import MetricResult, plain

Kind: TypeAlias = Literal["pearson", "spearman"]


def mean_correlation(
    codes: Any, sources: Any, *, kind: Kind = "pearson", seed: int = 0, draws: int = DRAWS
) -> MetricResult:
    """MCC: the mean absolute correlation of each true source with the code that is matched to it.

    (1/d) max_π Σ_i |corr(c_π(i), s_i)| over one-to-one matchings π of codes to sources, by the Hungarian method. Where
    there are fewer codes than sources, those without a code count as 0; where there are more, the best are taken.
    "pearson" forgives a change of a source's unit, "spearman" any monotone one. Give posterior *means*, of rows that
    were not trained on; choosing among several codes by their MCC would be choosing by the truth. A constant has no
    correlation with anything. A value means nothing without `mcc_baselines`: rotating the true sources at random gives
    .6 to .8 for five of them.

    Args:
        codes: (N, D) real, N ≥ 20.
        sources: (N, d) real; give their magnitudes for a method that knows sources up to sign only (TCL).
        kind: see above.
        seed: of the interval.
        draws: resamples of rows, each ranked and matched anew; 0 for no interval.
    Returns:
        A value in [0, 1]. Parts: "per_source" |correlation|, "matching" number of each source's code (−1 without),
        "correlations" (D, d) with their signs.
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    if kind not in ("pearson", "spearman"):
        raise OptionError(f"mean_correlation: expected kind 'pearson' or 'spearman', got {kind!r}")
    c, s = as_codes(codes), as_codes(sources, "sources")
    if len(c) != len(s):
        raise ShapeError(f"expected codes and sources of the same samples, got {len(c)} and {len(s)}")
    correlate = _Correlation(c, s) if kind == "pearson" else _RankCorrelation(c, s)
    table = correlate(np.ones(len(c)))
    code, source = _matching(table)
    per_source, partners = np.zeros(s.shape[1]), np.full(s.shape[1], -1)
    per_source[source], partners[source] = np.abs(table[code, source]), code
    weights = row_weights(len(c), draws, generator(seed, "mean_correlation"))
    resampled = np.array([_matched_mean(correlate(w)) for w in weights])
    value = float(per_source.mean())
    return MetricResult(
        "mean_correlation",
        value,
        interval(value, resampled, 0, 1),
        {"samples": len(c), "kind": kind, "seed": seed, "draws": draws},
        {"per_source": plain(per_source), "matching": plain(partners), "correlations": plain(table)},
    )


class _Correlation:
    """Correlations (D, d) of codes and sources with rows counted w times."""

    def __init__(self, codes: Floats, sources: Floats) -> None:
        self._codes, self._sources = codes, sources

    def __call__(self, weights: NDArray[Any]) -> Floats:
        w = weights / weights.sum()
        return _weighted_correlations(self._codes, self._sources, w)


class _RankCorrelation:
    """The same of ranks within the counted rows, equal values sharing theirs."""

    def __init__(self, codes: Floats, sources: Floats) -> None:
        self._codes, self._sources = ([_Ranks(column) for column in table.T] for table in (codes, sources))

    def __call__(self, weights: NDArray[Any]) -> Floats:
        codes, sources = (
            np.stack([ranks(weights) for ranks in table], axis=1) for table in (self._codes, self._sources)
        )
        return _weighted_correlations(codes, sources, weights / weights.sum())


class _Ranks:
    """Ranks of one column in resamples of its rows: a running sum of weights in the order of the values."""

    def __init__(self, column: Floats) -> None:
        self._level: Integers = rankdata(column, "dense").astype(np.int64) - 1

    def __call__(self, weights: NDArray[Any]) -> Floats:
        counted = np.bincount(self._level, weights)
        return (np.cumsum(counted) - counted / 2)[self._level]


def _weighted_correlations(codes: Floats, sources: Floats, w: Floats) -> Floats:
    """Correlations with weights that sum to 1; 0 for a constant, which is exactly so once its first value is off."""
    c, s = codes - codes[0], sources - sources[0]
    c, s = c - w @ c, s - w @ s
    scale = np.sqrt(np.outer(w @ c**2, w @ s**2))
    cross = (c * w[:, None]).T @ s
    return np.clip(np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0), -1, 1)


def _matching(correlations: Floats) -> tuple[Integers, Integers]:
    """Numbers of codes and of their sources, min(D, d) of each."""
    return linear_sum_assignment(np.abs(correlations), maximize=True)


def _matched_mean(correlations: Floats) -> float:
    code, source = _matching(correlations)
    return float(np.abs(correlations[code, source]).sum() / correlations.shape[1])
