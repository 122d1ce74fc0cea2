"""Modularity and explicitness (Ridgeway & Mozer 2018, "Learning deep disentangled embeddings", arXiv:1802.05312)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from trimkit.metrics.arrays import Factors, Floats, Halves, as_codes, as_factors, halves, warn_of_one
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights
from trimkit.metrics.disentanglement.histograms import (
    BINS,
    equal_width_bins,
    information_and_entropy,
    resampled_information,
)
from trimkit.metrics.predictors import quiet
from trimkit.metrics.results import MetricResult, by_name, plain


def modularity(
    codes: Any,
    factors: Any,
    *,
    bins: int = BINS,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """How far each code has information on one factor only.

    Mean over codes of 1 − Σ_{k≠k*} I_dk² / ((K − 1) I_dk*²), k* the factor of which code d says most; information as in
    `mutual_information_gap`. A code without information counts 0, as in disentanglement_lib. With one factor, a code
    counts 1 where it has any.

    Args:
        codes: (N, D) real, N ≥ 20.
        factors: (N, K) integers.
        bins: of each code.
        names: of the factors.
        seed: of the interval.
        draws: resamples of rows; 0 for no interval.
    Returns:
        A value in [0, 1]. Parts: "per_code" and "mutual_information" (D, K).
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    Warns:
        TrimkitWarning: one factor varies.
    """
    z = as_codes(codes)
    v = as_factors(factors, len(z), names)
    warn_of_one("modularity", len(v.sizes), "factor")
    binned = equal_width_bins(z, bins)
    information = information_and_entropy(binned, v.values)[0]
    resampled = np.empty(0)
    if draws:
        weights = row_weights(len(z), draws, generator(seed, "modularity"))
        resampled = modularity_of_codes(resampled_information(binned, v.values, weights)[0]).mean(-1)
    per_code = modularity_of_codes(information)
    value = float(per_code.mean())
    return MetricResult(
        "modularity",
        value,
        interval(value, resampled, 0, 1),
        v.protocol() | {"bins": bins, "estimator": "plug-in, equal-width bins", "seed": seed, "draws": draws},
        {"per_code": plain(per_code), "mutual_information": plain(information)},
    )


def modularity_of_codes(information: Floats) -> Floats:
    """1 − Σ_{k≠k*} I² / ((K − 1) I*²) of each code: (..., D, K) → (..., D); 0 without information."""
    squared = information**2
    most, others = squared.max(-1), max(information.shape[-1] - 1, 1)
    defined = most > 0
    return np.where(defined, 1 - (squared.sum(-1) - most) / np.where(defined, others * most, 1), 0.0)


def explicitness(
    codes: Any,
    factors: Any,
    *,
    test_share: float = 1 / 3,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """How well a linear classifier on all codes tells the values of the factors apart.

    One-vs-rest area under the ROC curve on test rows of a multinomial logistic regression (scikit-learn, C 1) on
    standardised codes; mean over the values of a factor, then over factors. .5 is chance. Ties count half. Values that
    training or test rows lack, or that all of them have, are left out; a factor of which none is left counts .5.

    Args:
        codes: (N, D) real, N ≥ 20; constant ones become zero.
        factors: (N, K) integers.
        test_share: of the rows, divided at random.
        names: of the factors.
        seed: of the division and the interval.
        draws: resamples of the test rows; 0 for no interval.
    Returns:
        A value in [0, 1]. Parts: "per_factor".
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    z = as_codes(codes)
    v = as_factors(factors, len(z), names)
    rng = generator(seed, "explicitness")
    parts = halves(len(z), test_share, rng)
    weights = np.vstack([np.ones((1, len(parts.test)), np.uint8), row_weights(len(parts.test), draws, rng)])
    areas = np.stack([_areas(z, v, k, parts, weights) for k in range(len(v.sizes))], axis=1)  # (1 + draws, K)
    value = float(areas[0].mean())
    return MetricResult(
        "explicitness",
        value,
        interval(value, areas[1:].mean(1), 0, 1),
        v.protocol() | {"predictor": "logistic regression", "seed": seed, "draws": draws} | parts.protocol(),
        {"per_factor": by_name(v.names, areas[0])},
    )


def _areas(z: Floats, v: Factors, k: int, parts: Halves, weights: NDArray[np.uint8]) -> Floats:
    """Mean area over the values of one factor, of each weighting of the test rows: (1 + draws,)."""
    learnt, asked = v.values[parts.train, k], v.values[parts.test, k]
    if len(np.unique(learnt)) < 2:
        return np.full(len(weights), 0.5)
    shifted = z - z[parts.train[0]]  # so that a constant code is exactly zero
    spread = shifted[parts.train].std(0)
    standard = (shifted - shifted[parts.train].mean(0)) / np.where(spread > 0, spread, 1)
    with quiet():
        model = LogisticRegression().fit(standard[parts.train], learnt)
    scores = model.predict_proba(standard[parts.test])
    each = np.stack([areas_under_roc(s, asked == c, weights) for s, c in zip(scores.T, model.classes_, strict=True)])
    defined = ~np.isnan(each)
    count = defined.sum(0)
    return np.where(count > 0, np.where(defined, each, 0).sum(0) / np.maximum(count, 1), 0.5)


def areas_under_roc(scores: Floats, positive: NDArray[np.bool_], weights: NDArray[np.uint8]) -> Floats:
    """P(score of a positive > that of a negative) + ½ P(equal), with rows counted w times.

    Args:
        scores: (n,).
        positive: (n,).
        weights: (B, n).
    Returns:
        (B,), NaN where there are no positives or no negatives.
    """
    order = np.argsort(scores, kind="stable")
    low, high = (rankdata(scores[order], method).astype(np.int64) for method in ("min", "max"))
    w, own = weights[:, order].astype(np.float64), positive[order]
    below = np.concatenate([np.zeros((len(w), 1)), np.cumsum(w * ~own, axis=1)], axis=1)
    won = (w[:, own] * (below[:, low[own] - 1] + below[:, high[own]])).sum(1) / 2
    pairs = w[:, own].sum(1) * below[:, -1]
    return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)
