"""Distances between two sets of codes."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.methods.precision import at_least_float32

KernelName: TypeAlias = Literal["imq", "rbf"]

IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Multiples of the inverse multiquadratic kernel's C, summed over: those of the published WAE code."""


def maximum_mean_discrepancy(a: Tensor, b: Tensor, kernel: KernelName = "imq") -> Tensor:
    """MMD² of two samples, the unbiased estimate of Gretton et al. 2012, eq. 3: 0 in the mean for equal distributions.

    Σ_{i≠j} k(a_i, a_j)/(N(N−1)) + Σ_{i≠j} k(b_i, b_j)/(M(M−1)) − 2 Σ_{ij} k(a_i, b_j)/(NM)

    Args:
        a: (N, D), N ≥ 2.
        b: (M, D), M ≥ 2.
        kernel: "imq", Σ_s sC/(sC + ‖a − b‖²) over seven scales s = 0.1 … 10 with C = 2D (Tolstikhin et al. 2018,
            arXiv:1711.01558, section 4); "rbf", exp(−‖a − b‖²/2D). Both are made for codes of unit variance.
    Returns:
        A scalar in float32 or better; it may be negative.
    Raises:
        OptionError: an unknown kernel.
        ShapeError: fewer than two rows, or different widths.
    """
    check_kernel(kernel)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ShapeError(
            f"expected two samples (N, D) and (M, D) of at least 2 rows each, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    a, b = at_least_float32(a), at_least_float32(b)
    across = _kernel(kernel, a, b).mean()
    return _within(kernel, a) + _within(kernel, b) - 2 * across


def paired_discrepancy(a: Tensor, b: Tensor, pairs: Tensor, kernel: KernelName = "imq") -> Tensor:
    """MMD² over pairs of rows that belong together, as those of a class; 0 in the mean where each class is alike.

    Σ_{i≠j} w_ij h_ij / Σ_{i≠j} w_ij with h_ij = k(a_i, a_j) + k(b_i, b_j) − k(a_i, b_j) − k(b_i, a_j) (Gretton et al.
    2012, lemma 6). Where w_ij is 1 for rows of one class and 0 for others, it is a mean of the classes' MMD², unbiased
    each, that weighs a class of n rows by n (n − 1).

    Args:
        a: (N, D), N ≥ 2.
        b: (N, D); row i belongs to what row i of a belongs to.
        pairs: w (N, N) ≥ 0, symmetric; the diagonal does not count.
        kernel: see `maximum_mean_discrepancy`.
    Returns:
        A scalar in float32 or better; it may be negative. 0 where no two rows belong together.
    Raises:
        OptionError: an unknown kernel.
        ShapeError: fewer than two rows, or shapes that do not fit.

    >>> a, b = torch.zeros(4, 1), torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    >>> one_class = torch.tensor([0, 0, 1, 1])
    >>> h = 2 - 2 * torch.tensor(-0.5).exp()               # of the second class; of the first, 0
    >>> found = paired_discrepancy(a, b, one_class[:, None] == one_class, "rbf")
    >>> torch.allclose(found, h / 2)
    True
    """
    check_kernel(kernel)
    n = len(a)
    if a.ndim != 2 or a.shape != b.shape or n < 2 or pairs.shape != (n, n):
        raise ShapeError(
            f"expected two samples (N, D) of at least 2 rows and pairs (N, N), got {tuple(a.shape)}, {tuple(b.shape)} "
            f"and {tuple(pairs.shape)}"
        )
    a, b = at_least_float32(a), at_least_float32(b)
    across = _kernel(kernel, a, b)
    gaps = _kernel(kernel, a, a) + _kernel(kernel, b, b) - across - across.T
    weights = pairs.to(gaps) * (1 - torch.eye(n).to(gaps))
    return (weights * gaps).sum() / weights.sum().clamp_min(torch.finfo(gaps.dtype).tiny)


def check_kernel(kernel: str) -> None:
    """Refuse a kernel that `maximum_mean_discrepancy` does not know.

    Raises:
        OptionError: with the nearest.

    >>> check_kernel("imq")
    >>> check_kernel("rbff")
    Traceback (most recent call last):
    trimkit.errors.OptionError: there is no kernel 'rbff'. Did you mean 'rbf'?
    """
    if kernel not in _KERNELS:
        raise OptionError(f"there is no kernel {kernel!r}. {nearest(kernel, _KERNELS)}")


def _within(kernel: KernelName, a: Tensor) -> Tensor:
    """Mean of k over pairs of different rows."""
    values, n = _kernel(kernel, a, a), len(a)
    return (values.sum() - values.diagonal().sum()) / (n * (n - 1))


def _kernel(kernel: KernelName, a: Tensor, b: Tensor) -> Tensor:
    squared = (a[:, None] - b).square().sum(2)
    return _KERNELS[kernel](squared, 2.0 * a.shape[1])


def _inverse_multiquadratic(squared: Tensor, scale: float) -> Tensor:
    return torch.stack([s * scale / (s * scale + squared) for s in IMQ_SCALES]).sum(0)


def _gaussian(squared: Tensor, scale: float) -> Tensor:
    return (-squared / scale).exp()


_KERNELS = {"imq": _inverse_multiquadratic, "rbf": _gaussian}
