"""Separated attribute predictability (SAP; Kumar et al. 2018, arXiv:1711.00848, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.svm import LinearSVC

from trimkit.metrics.arrays import (
    Factors,
    Floats,
    Halves,
    as_array,
    as_codes,
    as_factors,
    centred,
    halves,
    lies_far,
    with_second_code,
)
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights, weighted_means
from trimkit.metrics.predictors import quiet
from trimkit.metrics.results import MetricResult, by_name, plain

CONSTANT = 1e-12
"""Variance up to which a code counts as constant and is correlated with nothing, as in disentanglement_lib."""


def sap(
    codes: Any,
    factors: Any,
    *,
    continuous: bool = False,
    test_share: float = 1 / 3,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """How much better the best single code predicts a factor than the second best does.

    mean_k (S₍₁₎k − S₍₂₎k), S_dk the test accuracy of a linear classifier of factor k from code d alone: the support
    vector machine of disentanglement_lib (squared hinge, C .01, balanced classes), solved exactly. For continuous
    factors S_dk is the squared correlation of code and factor, of all rows. One code alone has a constant one beside
    it. Rows are divided at random. The value depends on the scale of the codes, whose weights the machine penalises;
    codes further than ten of their standard deviations from 0 are brought to mean 0, and named in the protocol.

    Args:
        codes: (N, D) real, N ≥ 20.
        factors: (N, K) integers.
        continuous: treat the factors' numbers as measurements.
        test_share: of the rows, for the classifiers.
        names: of the factors.
        seed: of the division and the interval.
        draws: resamples of the test rows (of all rows for continuous factors); 0 for no interval.
    Returns:
        A value in [0, 1]. Parts: "per_factor" and "scores" (D, K).
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    z = with_second_code(as_codes(codes))
    far = lies_far(z)  # the machine penalises the way there
    z, moved = np.where(far, centred(z), z), np.flatnonzero(far).tolist()
    v = as_factors(factors, len(z), names)
    rng = generator(seed, "sap")
    protocol = v.protocol() | {"seed": seed, "draws": draws} | ({"centred": moved} if moved else {})
    if continuous:
        weights = np.vstack([np.ones((1, len(z)), dtype=np.uint8), row_weights(len(z), draws, rng)])
        scores = np.stack([squared_correlation(z, _numbers(factors, v), w) for w in weights])
        return _result(scores, v, protocol | {"predictor": "squared correlation", "interval": "rows resampled"})
    parts = halves(len(z), test_share, rng)
    right = single_code_hits(z, v, parts)
    resampled = weighted_means(right, row_weights(len(parts.test), draws, rng))
    protocol |= {"predictor": "linear SVM, C 0.01"} | parts.protocol()
    return _result(np.concatenate([right.mean(0)[None], resampled]), v, protocol)


def single_code_hits(z: Floats, v: Factors, parts: Halves) -> Floats:
    """Whether each test row's factor k is predicted right from code d alone: (n, D, K), 0 or 1."""
    hits = np.empty((len(parts.test), z.shape[1], len(v.sizes)))
    for k in range(len(v.sizes)):
        learnt, asked = v.values[parts.train, k], v.values[parts.test, k]
        if (learnt == learnt[0]).all():  # nothing to separate
            hits[:, :, k] = (asked == learnt[0])[:, None]
            continue
        for d in range(z.shape[1]):
            with quiet():
                machine = LinearSVC(C=0.01, class_weight="balanced", dual="auto").fit(z[parts.train, d, None], learnt)
            hits[:, d, k] = machine.predict(z[parts.test, d, None]) == asked
    return hits


def squared_correlation(z: Floats, values: Floats, weights: Any) -> Floats:
    """Squared correlation of codes (N, D) and values (N, K) with each row counted w times: (D, K); 0 for constants."""
    w = weights / weights.sum()
    z, values = z - w @ z, values - w @ values
    covariance = (z * w[:, None]).T @ values
    spread, other = w @ z**2, w @ values**2
    scale = np.outer(spread, other)
    defined = (spread[:, None] > CONSTANT) & (other > 0)
    return np.where(defined, covariance**2 / np.where(defined, scale, 1), 0.0)


def _numbers(factors: Any, v: Factors) -> Floats:
    """The values of the kept factors as they were given, not renumbered."""
    return as_array(factors).reshape(len(v.values), -1)[:, v.columns].astype(np.float64)


def _result(scores: Floats, v: Factors, protocol: dict[str, Any]) -> MetricResult:
    ordered = np.sort(scores, axis=1)
    per_factor = ordered[:, -1] - ordered[:, -2]
    value = float(per_factor[0].mean())
    return MetricResult(
        "sap",
        value,
        interval(value, per_factor[1:].mean(1), 0, 1),
        protocol,
        {"per_factor": by_name(v.names, per_factor[0]), "scores": plain(scores[0])},
    )
