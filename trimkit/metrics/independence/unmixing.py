"""How near a linear unmixing is to the true one."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimkit.errors import DataError, ShapeError
from trimkit.metrics.arrays import Floats, as_array


def amari_distance(unmixing: Any, mixing: Any) -> float:
    """Amari distance of an unmixing W from the inverse of a mixing A: how far P = W A is from a scaled permutation.

    [Σ_i (Σ_j |P_ij| / max_j |P_ij| − 1) + Σ_j (Σ_i |P_ij| / max_i |P_ij| − 1)] / 2k(k − 1), Amari et al. 1996, divided
    by its largest value. The order, sign and scale of the components, which ICA leaves open, do not matter; nor do
    errors of W orthogonal to A's columns. A row or column of zeros, of a dead component, counts as equal entries.

    Args:
        unmixing: W (k, p), s = W (x − mean): tensor, array or nested lists.
        mixing: A (p, k), x = A s.
    Returns:
        A value in [0, 1]: 0 for a scaled permutation, 1 where all |P_ij| are equal; 0 for k = 1.
    Raises:
        ShapeError: no real matrices (k, p) and (p, k).
        DataError: NaN or infinity among the entries.

    Example:
        >>> amari_distance([[0.0, 3.0], [-1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
        0.0
        >>> amari_distance([[1.0, 1.0], [1.0, -1.0]], [[1.0, 0.0], [0.0, 1.0]])
        1.0
    """
    w, a = _matrix(unmixing, "unmixing"), _matrix(mixing, "mixing")
    if w.shape != a.shape[::-1]:
        raise ShapeError(f"expected an unmixing (k, p) and a mixing (p, k), got {w.shape} and {a.shape}")
    p = np.abs(w @ a)
    k = len(p)
    return float((_excess(p) + _excess(p.T)) / (2 * k * (k - 1))) if k > 1 else 0.0


def _excess(p: Floats) -> float:
    """Σ_i (Σ_j P_ij / max_j P_ij − 1)."""
    largest = p.max(1, keepdims=True)
    return float(np.divide(p, largest, out=np.ones_like(p), where=largest > 0).sum() - len(p))


def _matrix(values: Any, name: str) -> Floats:
    array = as_array(values)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"{name}: expected a real matrix, got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise DataError(f"{name}: expected finite entries, got NaN or infinity; the fit has diverged")
    return array.astype(np.float64)
