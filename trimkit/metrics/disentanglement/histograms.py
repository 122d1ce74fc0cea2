"""Histograms of codes, and the plug-in information of their joint tables of counts with factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import xlogy

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats, Integers

BINS = 20
"""Equal-width bins a code, as disentanglement_lib takes them."""

ROUNDING = 1e-12
"""Nats up to which information is rounding error, so that a constant code has none at all."""

CHUNK = 2**22
"""Cells counted at a time."""


def equal_width_bins(codes: Floats, bins: int = BINS) -> Integers:
    """The bin of each code between its smallest and largest value: (N, D) in 0 … bins − 1; 0 for a constant code.

    Raises:
        OptionError: fewer than two bins.
    """
    if bins < 2:
        raise OptionError(f"bins: expected at least 2, got {bins}")
    binned = np.zeros(codes.shape, dtype=np.int64)
    for d, (low, high) in enumerate(zip(codes.min(0), codes.max(0), strict=True)):
        edges = np.linspace(low, high, bins + 1)
        if edges[0] < edges[1]:  # else constant, or narrower than its rounding
            binned[:, d] = np.searchsorted(edges[1:-1], codes[:, d], side="right")
    return binned


def information_and_entropy(left: Integers, right: Integers) -> tuple[Floats, Floats]:
    """Plug-in mutual information in nats of all pairs of columns, and the entropy of the columns of the second.

    Args:
        left: (N, D) integers from 0.
        right: (N, K) integers from 0.
    Returns:
        (D, K), never negative, and (K,).
    """
    shape = _table(left, right)
    counts = np.zeros(int(np.prod(shape)), dtype=np.int64)
    step = max(1, CHUNK // (shape[0] * shape[1]))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        counts += np.bincount(_cells(left[part], right[part], shape).ravel(), minlength=len(counts))
    return _from_counts(counts.reshape(shape).astype(np.float64))


def resampled_information(left: Integers, right: Integers, weights: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """`information_and_entropy` of resamples: (draws, D, K) and (draws, K).

    All joint histograms of all resamples are one product of the sparse matrix (rows × cells that occur) and weights.
    """
    shape = _table(left, right)
    cells = _cells(left, right, shape).reshape(len(left), -1)
    occurring, cell = np.unique(cells, return_inverse=True)
    starts = np.arange(0, cells.size + 1, cells.shape[1])
    rows = csr_array((np.ones(cells.size, dtype=np.float32), cell.ravel(), starts), shape=(len(left), len(occurring)))
    transposed = rows.T.tocsr()
    parts = [_dense(transposed, part, occurring, shape) for part in _chunks(weights, int(np.prod(shape)))]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _dense(
    rows: csr_array, weights: NDArray[np.uint8], occurring: Integers, shape: tuple[int, ...]
) -> tuple[Floats, Floats]:
    counts = np.zeros((len(weights), int(np.prod(shape))))
    counts[:, occurring] = (rows @ weights.T.astype(np.float32)).T
    return _from_counts(counts.reshape(-1, *shape))


def _chunks(weights: NDArray[np.uint8], cells: int) -> list[NDArray[np.uint8]]:
    step = max(1, CHUNK // cells)
    return [weights[start : start + step] for start in range(0, len(weights), step)]


def _table(left: Integers, right: Integers) -> tuple[int, int, int, int]:
    return left.shape[1], right.shape[1], int(left.max()) + 1, int(right.max()) + 1


def _cells(left: Integers, right: Integers, shape: tuple[int, int, int, int]) -> Integers:
    """The cell of the table (D, K, values left, values right) that each row falls into, for each pair: (N, D, K)."""
    d, k, values, others = shape
    table = np.arange(d * k).reshape(d, k) * values
    return (table + left[:, :, None]) * others + right[:, None, :]


def _from_counts(counts: Floats) -> tuple[Floats, Floats]:
    """From joint counts (..., D, K, a, b): information (..., D, K) and the entropy of b (..., K)."""
    n = counts[..., 0, 0, :, :].sum((-1, -2))[..., None, None]
    joint = xlogy(counts, counts).sum((-1, -2))
    left, right = counts.sum(-1), counts.sum(-2)
    marginals = [xlogy(m, m).sum(-1) for m in (left, right)]
    information = (joint - marginals[0] - marginals[1]) / n + np.log(n)
    information = np.where(information > ROUNDING, information, 0)
    return information, np.maximum(np.log(n) - marginals[1] / n, 0)[..., 0, :]


def entropy(values: Integers) -> Floats:
    """Plug-in entropy of each column of (N, K) integers from 0, in nats: (K,).

    >>> entropy(np.array([[0, 0], [1, 0]])).round(3).tolist()       # log 2, and 0
    [0.693, 0.0]
    """
    return information_and_entropy(values[:, :1], values)[1]
