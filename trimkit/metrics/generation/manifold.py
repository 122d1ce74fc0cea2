"""Precision and recall of generated samples, by the neighbourhoods of their features (Kynkäänniemi et al. 2019)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats
from trimkit.metrics.bootstrap import DRAWS, generator, share_interval
from trimkit.metrics.generation.distances import blocks, feature_pair
from trimkit.metrics.results import MetricResult


class PrecisionRecall(NamedTuple):
    """How much of what is generated is right, and how much of what there is gets generated.

    Attributes:
        precision: share of generated samples inside the real ones' manifold.
        recall: share of real samples inside the generated ones' manifold.

    >>> real = np.random.default_rng(0).normal(size=(200, 2))
    >>> precision, recall = precision_recall(real, 0.1 * real, draws=0)     # right, but all in the middle
    >>> precision.value > 0.9, recall.value < 0.5
    (True, True)
    """

    precision: MetricResult
    recall: MetricResult


def precision_recall(
    real: Any, made: Any, *, neighbours: int = 3, seed: int = 0, draws: int = DRAWS
) -> PrecisionRecall:
    """Shares of one set that lie within the other's manifold: the union of balls round its samples.

    The radius of a ball is the distance to the sample's k-th nearest neighbour in its own set; its border counts.

    Args:
        real: (N, F) features of data, N ≥ 20; further axes are flattened.
        made: (M, F) features of generated samples, M ≥ 20.
        neighbours: k, from 1 to the smaller set's size minus one.
        seed: of the intervals.
        draws: resamples of the samples that are judged, for the intervals; 0 for none.
    Returns:
        Two results in [0, 1].
    Raises:
        OptionError: a k out of range.
        ShapeError, DataError: arrays that do not fit.
    """
    x, y = feature_pair(real, made)
    if not 1 <= neighbours < min(len(x), len(y)):
        raise OptionError(f"neighbours: expected 1 to {min(len(x), len(y)) - 1}, got {neighbours}")
    protocol = {"real": len(x), "made": len(y), "features": x.shape[1], "neighbours": neighbours, "seed": seed}
    results = []
    for name, judged, manifold in (("precision", y, x), ("recall", x, y)):
        inside = _inside(judged, manifold, _radii(manifold, neighbours))
        spread = share_interval(inside, draws, generator(seed, name))
        results.append(MetricResult(name, float(inside.mean()), spread, protocol))
    return PrecisionRecall(*results)


def _radii(rows: Floats, neighbours: int) -> Floats:
    """Distance of each row to its k-th nearest other row: (n,)."""
    nearest = (np.partition(cdist(rows[part], rows), neighbours, axis=1) for part in blocks(len(rows)))
    return np.concatenate([distances[:, neighbours] for distances in nearest]).astype(np.float64)


def _inside(rows: Floats, manifold: Floats, radii: Floats) -> NDArray[np.bool_]:
    """Whether each row lies in some ball: (n,)."""
    return np.concatenate([(cdist(rows[part], manifold) <= radii).any(1) for part in blocks(len(rows))])
