"""Covariances of resamples, and the correlations of codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimkit.metrics.arrays import Floats

CHUNK = 2**22
"""Products of codes held at a time."""


def covariances(codes: Floats, weights: NDArray[np.uint8]) -> Floats:
    """Unbiased covariance of the codes with rows counted w times: (N, D) and (B, N), each summing to N → (B, D, D)."""
    n, d = codes.shape
    centred = codes - codes[0]  # exactly zero for a constant code, which a mean is not
    centred -= centred.mean(0)
    means = weights.astype(np.float64) @ centred / n
    moments = np.zeros((len(weights), d * d))
    step = max(1, CHUNK // max(d * d, len(weights)))
    for start in range(0, n, step):
        rows = centred[start : start + step]
        products = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
        moments += weights[:, start : start + step].astype(np.float64) @ products
    second_moments = moments.reshape(-1, d, d) / n - means[:, :, None] * means[:, None, :]
    return second_moments * n / (n - 1)


def correlation(covariance: Floats) -> Floats:
    """Correlations (..., D, D); rows and columns of a constant code, whose correlations are undefined, are zero.

    >>> correlation(np.array([[4.0, 2.0], [2.0, 4.0]]))
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    spread = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0))
    scale = np.where(spread > 0, spread, np.inf)
    return covariance / (scale[..., :, None] * scale[..., None, :])
