"""Unsupervised disentanglement ranking of models (UDR; Duan et al. 2020, arXiv:1905.12614)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import rankdata

from trimkit.errors import OptionError, ShapeError, UnknownNameError, nearest
from trimkit.metrics.arrays import Floats, as_array, as_codes
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights
from trimkit.metrics.disentanglement.covariance import correlation, covariances
from trimkit.metrics.results import MetricResult, plain

INFORMATIVE = 0.01
"""Mean KL in nats from which a code counts as informative."""

SHRINKAGE = 0.1
"""Of the Lasso, on standardised codes."""

SWEEPS = 1000
"""Of coordinate descent at most; ten codes need some tens."""

SETTLED = 1e-10
"""Change of the coefficients in a sweep at which they are found."""


def udr(
    codes_of_models: Sequence[Any],
    kl_of_models: Sequence[Any],
    *,
    relation: str = "lasso",
    informative: float = INFORMATIVE,
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """How far models of one kind agree on their codes, up to order and sign: a choice of model without factors.

    R_ab is the magnitude of the Lasso coefficient (α .1) of code a of one model for code b of another, or of their rank
    correlation, both of standardised, informative codes. A pair scores ½ [mean_b max_a R²/Σ_a R + mean_a max_b R²/Σ_b
    R]; a model's score is the median over the others of the pairs in which its codes are the targets. A pair in which a
    model has no informative code scores 0.

    Args:
        codes_of_models: (N, D_m) codes of the same N samples, one a model, at least two models, N ≥ 20.
        kl_of_models: (D_m,) mean KL of each code in nats, one a model.
        relation: "lasso" or "spearman".
        informative: mean KL above which a code is.
        seed: of the interval.
        draws: resamples of rows (ranks stay those of all rows); 0 for no interval.
    Returns:
        The mean over models, in [0, 1]. Parts: "per_model", "pairs" (M, M), row the regressors, column the targets.
    Raises:
        UnknownNameError: no such relation.
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    if relation not in ("lasso", "spearman"):
        raise UnknownNameError(f"There is no relation {relation!r}. {nearest(relation, ('lasso', 'spearman'))}")
    codes = _informative_codes(codes_of_models, kl_of_models, informative)
    joined = np.hstack(codes)
    if relation == "spearman":
        joined = rankdata(joined, axis=0)
    rng = generator(seed, "udr")
    weights = np.vstack([np.ones((1, len(joined)), np.uint8), row_weights(len(joined), draws, rng)])
    related = correlation(covariances(joined, weights))
    ends = np.cumsum([0, *(c.shape[1] for c in codes)])
    spans = [slice(a, b) for a, b in pairwise(ends.tolist())]
    pairs = _pairs(related, spans, relation)
    others = [np.delete(pairs[:, :, j], j, axis=1) for j in range(len(codes))]
    scores = np.stack([np.median(column, axis=1) for column in others], axis=1)  # (1 + draws, M)
    value = float(scores[0].mean())
    return MetricResult(
        "udr",
        value,
        interval(value, scores[1:].mean(1), 0, 1),
        {"samples": len(joined), "models": len(codes), "relation": relation, "informative": informative}
        | {"seed": seed, "draws": draws},
        {"per_model": plain(scores[0]), "pairs": plain(pairs[0])},
    )


def lasso(related: Floats, targets: Floats, shrinkage: float = SHRINKAGE) -> Floats:
    """Coefficients of ½ ‖y − X w‖²/n + α ‖w‖₁ for standardised X and y, which depend on their correlations only.

    Args:
        related: (B, A, A) correlations of the regressors; a constant one has zeros, its diagonal too.
        targets: (B, A, T) correlations of regressors and targets.
        shrinkage: α.
    Returns:
        (B, A, T).
    """
    w = np.zeros_like(targets)
    for _ in range(SWEEPS):
        before = w.copy()
        for a in range(w.shape[1]):
            pull = targets[:, a] - np.einsum("bc,bct->bt", related[:, a], w) + related[:, a, a, None] * w[:, a]
            w[:, a] = np.sign(pull) * np.maximum(np.abs(pull) - shrinkage, 0)
        if np.abs(w - before).max(initial=0) < SETTLED:
            break
    return w


def relative_strength(related: Floats) -> Floats:
    """½ [mean_b max_a R²/Σ_a R + mean_a max_b R²/Σ_b R] of (B, a, b) magnitudes R: (B,); 0/0 counts 0."""
    if 0 in related.shape:
        return np.zeros(len(related))
    halves = []
    for axis in (1, 2):
        total = related.sum(axis)
        halves.append((related.max(axis) ** 2 / np.where(total > 0, total, 1)).mean(1))
    return (halves[0] + halves[1]) / 2


def _pairs(related: Floats, spans: list[slice], relation: str) -> Floats:
    """Scores of all ordered pairs: (B, D, D) correlations → (B, M, M), 0 on the diagonal."""
    scores = np.zeros((len(related), len(spans), len(spans)))
    for i, a in enumerate(spans):
        for j, b in enumerate(spans):
            if i != j:
                across = related[:, a, b]
                strength = lasso(related[:, a, a], across) if relation == "lasso" else across
                scores[:, i, j] = relative_strength(np.abs(strength))
    return scores


def _informative_codes(codes_of_models: Sequence[Any], kl_of_models: Sequence[Any], threshold: float) -> list[Floats]:
    if len(codes_of_models) < 2 or len(codes_of_models) != len(kl_of_models):
        raise OptionError(
            f"expected codes and KL of at least two models, got {len(codes_of_models)} and {len(kl_of_models)}"
        )
    kept_codes = []
    for m, (codes, kl) in enumerate(zip(codes_of_models, kl_of_models, strict=True)):
        z, kl_per_code = as_codes(codes, f"codes of model {m}"), as_array(kl)
        if kl_per_code.shape != z.shape[1:]:
            raise ShapeError(
                f"KL of model {m}: expected one number for each of {z.shape[1]} codes, got {kl_per_code.shape}"
            )
        if len(z) != len(as_array(codes_of_models[0])):
            raise ShapeError(f"codes of model {m}: expected those of the same samples as model 0's, got {len(z)} rows")
        kept_codes.append(z[:, kl_per_code > threshold])
    return kept_codes
