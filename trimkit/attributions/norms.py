"""Norms written out in operations for which the decompositions have rules; arguments as torch's."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from trimkit.errors import AttributionError


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """x / max(‖x‖₂, eps).

    Raises:
        AttributionError: another norm than p = 2.
    """
    _require_euclidean(p)
    return input * input.square().sum(dim=dim, keepdim=True).clamp_min(eps**2).rsqrt()


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Σ x₁ x₂ / (max(‖x₁‖, eps) max(‖x₂‖, eps))."""
    return (normalize(x1, dim=dim, eps=eps) * normalize(x2, dim=dim, eps=eps)).sum(dim=dim)


def instance_norm(
    input: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Group norm with a group a channel; with running statistics, batch norm."""
    if use_input_stats:
        return F.group_norm(input, input.shape[1], weight, bias, eps)
    return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


def var(
    input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Any:
    """Σ (x − mean)² / (n − correction) along some axes.

    Raises:
        AttributionError: over the batch too.
    """
    if dim is None or isinstance(dim, bool):
        raise AttributionError("a variance over all axes joins the samples; give it dim=")
    count = math.prod(input.shape[axis] for axis in ([dim] if isinstance(dim, int) else dim))
    squares = (input - input.mean(dim=dim, keepdim=True)).square().sum(dim=dim, keepdim=keepdim)
    return squares / (count - (int(unbiased) if correction is None else correction))


def std(*args: Any, **kwargs: Any) -> Any:
    """√ of `var`."""
    return var(*args, **kwargs).sqrt()


def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """√Σ x² along some axes.

    Raises:
        AttributionError: another norm than the Euclidean, or over the batch too.
    """
    _require_euclidean(2.0 if p in ("fro", None) else p)
    if dim is None:
        raise AttributionError("a norm over all axes joins the samples; give it dim=")
    return input.square().sum(dim=dim, keepdim=keepdim).sqrt()


def linalg_vector_norm(x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """As `norm`."""
    return norm(x, ord, dim, keepdim)


linalg_norm = linalg_vector_norm


def _require_euclidean(p: float) -> None:
    if p != 2:
        raise AttributionError(f"only the Euclidean norm, p = 2, has a rule, and the model takes p = {p}")
