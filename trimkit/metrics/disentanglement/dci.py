"""Disentanglement, completeness, informativeness (DCI; Eastwood & Williams 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import entropy

from trimkit.errors import UnknownNameError, nearest
from trimkit.metrics.arrays import Floats, Halves, Integers, as_codes, as_factors, for_trees, halves, warn_of_one
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights, weighted_means
from trimkit.metrics.predictors import PREDICTORS, quiet, seed_of
from trimkit.metrics.results import MetricResult, by_name, plain

TINY = 1e-11
"""Added to importances before their entropy, as disentanglement_lib does: a code of no importance has a uniform row."""


class DCI(NamedTuple):
    """The three numbers of one set of predictors.

    >>> factors = np.random.default_rng(0).integers(0, 3, (300, 2))
    >>> scores = dci(factors.astype(float), factors, names=("shape", "size"), draws=0)      # each code is a factor
    >>> [round(result.value, 2) for result in scores]
    [1.0, 1.0, 1.0]
    """

    disentanglement: MetricResult
    completeness: MetricResult
    informativeness: MetricResult


def dci(
    codes: Any,
    factors: Any,
    *,
    predictor: str = "forest",
    test_share: float = 1 / 3,
    refits: int = 0,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> DCI:
    """How few factors a code matters for, how few codes a factor needs, and how well codes predict factors.

    R_dk is the importance of code d for a classifier of factor k. Disentanglement Σ_d w_d (1 − H(R_d·/ΣR_d·)), entropy
    to base K, weights w the codes' shares of ΣR; completeness the same over columns, base D; both 0 where no code has
    any importance, and 1 where there is one factor, or one code. Informativeness is the mean test *accuracy*, as in
    disentanglement_lib; the paper's is an error, stated beside it. Rows are divided at random.

    Args:
        codes: (N, D) real, N ≥ 20.
        factors: (N, K) integers.
        predictor: "forest" (50 trees of depth 12), or "boosting", disentanglement_lib's, some minutes for 10,000 rows.
        test_share: of the rows.
        refits: predictors fitted anew to resampled training rows, for intervals of disentanglement and completeness, at
            that many times the cost (20 is little, but enough to see the spread); without, they have none.
        names: of the factors.
        seed: of the division, the predictors and the intervals.
        draws: resamples of the test rows, for the interval of informativeness; 0 for none.
    Returns:
        Three results in [0, 1]. Parts: "per_code" and "importances" (D, K); "per_factor"; "per_factor", "error",
        "train".
    Raises:
        UnknownNameError: no such predictor.
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    Warns:
        TrimkitWarning: one factor varies, or there is one code: then one of the three is 1 for everything.
    """
    scores = dci_scores(codes, factors, predictor, test_share, refits, names=names, seed=seed, draws=draws)
    importances = np.asarray(scores.disentanglement.parts["importances"])
    warn_of_one("disentanglement", importances.shape[1], "factor")
    warn_of_one("completeness", importances.shape[0], "code")
    return scores


def dci_scores(
    codes: Any,
    factors: Any,
    predictor: str,
    test_share: float = 1 / 3,
    refits: int = 0,
    *,
    names: Sequence[str],
    seed: int,
    draws: int,
) -> DCI:
    """What `dci` gives, for those who leave out what is not applicable."""
    if predictor not in PREDICTORS:
        raise UnknownNameError(f"There is no predictor {predictor!r}. {nearest(predictor, PREDICTORS)}")
    z = for_trees(as_codes(codes))
    v = as_factors(factors, len(z), names)
    rng = generator(seed, "dci")
    parts = halves(len(z), test_share, rng)
    importances, right = fitted(z, v.values, parts, predictor, rng)
    others = [fitted(z, v.values, _resampled(parts, rng), predictor, rng)[0] for _ in range(refits)]
    protocol = v.protocol() | {"predictor": predictor, "train": len(parts.train), "test": len(parts.test), "seed": seed}
    refitted = protocol | {"refits": refits}
    per_code = {"per_code": plain(disentangled(importances)[0])}
    per_factor = {"per_factor": by_name(v.names, complete(importances)[0])}
    return DCI(
        _scored("disentanglement", importances, others, refitted, per_code),
        _scored("completeness", importances, others, refitted, per_factor),
        _informative(right[parts.train], right[parts.test], v.names, protocol | {"draws": draws}, rng),
    )


def fitted(
    z: Floats, values: Integers, parts: Halves, predictor: str, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Importances of codes for each factor (D, K), and whether each row is predicted right (N, K), 0 or 1."""
    importances = np.zeros((z.shape[1], values.shape[1]))
    right = np.empty(values.shape)
    for k, value in enumerate(values.T):
        seed = seed_of(rng)
        if (value[parts.train] == value[parts.train[0]]).all():  # nothing to learn: no code matters
            right[:, k] = value == value[parts.train[0]]
            continue
        with quiet():
            model = PREDICTORS[predictor](seed).fit(z[parts.train], value[parts.train])
            right[:, k] = model.predict(z) == value
        importances[:, k] = model.feature_importances_
    return importances, right


def disentangled(importances: Floats) -> tuple[Floats, float]:
    """1 − entropy of each row to base K (D,), and their mean weighted by the rows' shares."""
    return _concentrated(importances)


def complete(importances: Floats) -> tuple[Floats, float]:
    """1 − entropy of each column to base D (K,), and their mean weighted by the columns' shares."""
    return _concentrated(importances.T)


def _concentrated(rows: Floats) -> tuple[Floats, float]:
    if rows.shape[1] == 1:
        return np.ones(len(rows)), 1.0
    each = np.clip(1 - entropy(rows + TINY, base=rows.shape[1], axis=1), 0, 1)
    total = rows.sum()
    weight = rows.sum(1) / total if total > 0 else np.full(len(rows), 1 / len(rows))
    return each, float(np.clip(each @ weight, 0, 1))


def _informative(
    train: Floats, test: Floats, names: tuple[str, ...], protocol: dict[str, Any], rng: np.random.Generator
) -> MetricResult:
    """The mean test accuracy, from whether each row to learn from and to test on is predicted right, 0 or 1."""
    value = float(test.mean(0).mean())
    by_draw = weighted_means(test, row_weights(len(test), protocol["draws"], rng)).mean(1)
    parts = {"per_factor": by_name(names, test.mean(0)), "error": 1 - value, "train": float(train.mean(0).mean())}
    protocol = protocol | {"interval": "test rows resampled", "measure": "accuracy"}
    return MetricResult("dci_informativeness", value, interval(value, by_draw, 0, 1), protocol, parts)


def _resampled(parts: Halves, rng: np.random.Generator) -> Halves:
    return Halves(rng.choice(parts.train, len(parts.train)), parts.test)


def _scored(
    what: str, importances: Floats, others: list[Floats], protocol: dict[str, Any], parts: dict[str, Any]
) -> MetricResult:
    score = disentangled if what == "disentanglement" else complete
    value = score(importances)[1]
    resampled = np.array([score(other)[1] for other in others])
    parts = parts | {"importances": plain(importances)}
    return MetricResult(f"dci_{what}", value, interval(value, resampled, 0, 1), protocol, parts)
