"""Codes that cost nothing to learn, to print beside a method's: random projection, PCA, ICA."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FastICA
from sklearn.utils.extmath import randomized_svd

from trimkit.errors import OptionError
from trimkit.metrics.arrays import as_codes
from trimkit.metrics.bootstrap import generator
from trimkit.metrics.predictors import quiet, seed_of

Projection: TypeAlias = Callable[[Any], NDArray[np.float32]]
"""Data (n, ...) → codes (n, components)."""


def linear_baselines(x: Any, components: int, *, seed: int = 0) -> dict[str, Projection]:
    """Linear codes of data, fitted to some of it.

    Args:
        x: (N, ...) data to fit to, flattened, N ≥ 20; some thousands are enough.
        components: D of the codes, as many as of the method they stand beside; fewer where the data have fewer.
        seed: of the projection and of the algorithms.
    Returns:
        "random" (Gaussian projection), "pca" (principal components, in their own units) and "ica" (FastICA of those).
    Raises:
        OptionError: no component.
        ShapeError, DataError: data that are no finite numbers, or too few.
    """
    if components < 1:
        raise OptionError(f"components: expected at least 1, got {components}")
    rows = as_codes(x, "x")
    mean = rows.mean(0)
    rows = (rows - mean).astype(np.float32)  # centred first: float32 has no digits left for what varies far from 0
    components = min(components, *rows.shape)
    rng = generator(seed, "linear_baselines")
    random = rng.standard_normal((rows.shape[1], components), dtype=np.float32) / math.sqrt(rows.shape[1])
    basis = randomized_svd(rows, components, random_state=seed_of(rng))[2].T
    ica = np.eye(components, dtype=np.float32)
    scores = rows @ basis
    spread = scores.std(0)
    live = spread > 1e-6 * spread.max(initial=0)  # components beyond the rank of the data cannot be whitened
    if live.any():
        with quiet():
            unmixed = FastICA(whiten="unit-variance", random_state=seed_of(rng)).fit(scores[:, live])
        ica = np.zeros((components, int(live.sum())), dtype=np.float32)
        ica[live] = unmixed.components_.T
    return {"random": _projection(mean, random), "pca": _projection(mean, basis), "ica": _projection(mean, basis @ ica)}


def _projection(mean: NDArray[Any], basis: NDArray[Any]) -> Projection:
    def project(x: Any) -> NDArray[np.float32]:
        rows = np.asarray(x, dtype=np.float64)
        return (rows.reshape(len(rows), -1) - mean).astype(np.float32) @ basis

    return project
