"""Linear separability: can hyperplanes in the codes tell the attributes of the images?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.svm import LinearSVC

from trimkit.errors import OptionError, ShapeError
from trimkit.metrics.arrays import Floats, Integers, as_array, as_codes, as_factors
from trimkit.metrics.bootstrap import DRAWS, generator, interval, row_weights
from trimkit.metrics.generation.distances import with_all_rows
from trimkit.metrics.predictors import quiet, seed_of
from trimkit.metrics.results import MetricResult, by_name


def linear_separability(
    codes: Any,
    attributes: Any,
    confidence: Any = None,
    *,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """exp Σ_a H(Y_a | X_a) (Karras et al. 2019, section 4.2): 1 where each attribute is on one side of a hyperplane.

    Y_a is the attribute as a frozen classifier reads it off the generated image, X_a the side of a linear support
    vector machine's hyperplane that the code is on, trained on the same codes; H their conditional entropy in nats.

    Args:
        codes: (N, D) codes of generated images, N ≥ 20.
        attributes: (N, A) integers, the classifiers' decisions; more than two values are told by one hyperplane each.
        confidence: (N, A) of the classifiers. The more confident half of the images is then taken, for each attribute,
            as published; all by default.
        names: of the A attributes.
        seed: of the classifiers and the interval.
        draws: resamples of the images, with the hyperplanes as they are, for the interval; 0 for none.
    Returns:
        "linear_separability", ≥ 1. Parts: "per_attribute", each conditional entropy in nats.
    Raises:
        ShapeError, DataError, OptionError: arrays that do not fit.
    """
    z = as_codes(codes)
    y = as_factors(attributes, len(z), names)
    kept = _kept(confidence, len(z), as_array(attributes))
    rng = generator(seed, "linear_separability")
    entropies_by_draw = []
    for k, column in enumerate(y.columns):
        rows = kept[:, column]
        side, label = _sides(z[rows], y.values[rows, k], seed_of(rng)), y.values[rows, k]
        weights = with_all_rows(row_weights(len(label), draws, rng))
        entropies_by_draw.append(_conditional_entropy(label, side, weights))
    values = np.exp(np.sum(entropies_by_draw, axis=0))
    entropies = np.array([each[0] for each in entropies_by_draw])
    protocol = y.protocol() | {"seed": seed, "draws": draws, "confident_half": confidence is not None}
    parts = {"per_attribute": by_name(y.names, entropies)}
    value = float(values[0])
    return MetricResult("linear_separability", value, interval(value, values[1:], 1), protocol, parts)


def _kept(confidence: Any, n: int, attributes: Any) -> Any:
    """The rows that count for each attribute: (N, A) booleans."""
    shape = (n, 1 if attributes.ndim == 1 else attributes.shape[1])
    if confidence is None:
        return np.ones(shape, dtype=bool)
    sure = as_array(confidence)
    sure = sure[:, None] if sure.ndim == 1 else sure
    if sure.shape != shape:
        raise ShapeError(f"confidence: expected {shape}, like the attributes, got {sure.shape}")
    if not np.isfinite(sure).all():
        raise OptionError("confidence: expected finite numbers, got NaN or infinity")
    rank = np.argsort(np.argsort(-sure, axis=0, kind="stable"), axis=0)
    return rank < max(n // 2, 1)


def _sides(z: Floats, label: Integers, seed: int) -> Integers:
    """The decision of a linear support vector machine on the rows that it was trained on, features standardised."""
    if (label == label[0]).all():
        return label
    spread = z.std(0)
    z = (z - z.mean(0)) / np.where(spread > 0, spread, 1)
    with quiet():
        return np.asarray(LinearSVC(random_state=seed).fit(z, label).predict(z))


def _conditional_entropy(label: Integers, side: Integers, weights: Floats) -> Floats:
    """H(label | side) of each resample in nats: (draws,)."""
    total = np.zeros(len(weights))
    for x in np.unique(side):
        at_side = weights * (side == x)
        joint = np.stack([(at_side * (label == y)).sum(1) for y in np.unique(label)])
        share = joint / np.maximum(joint.sum(0), 1)
        logs = np.log(share, out=np.zeros_like(share), where=share > 0)
        total -= (joint * logs).sum(0)
    return total / weights.sum(1)
