"""Operations written out in others for which the decompositions have rules; arguments as torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from trimkit.attributions.carrier import Carrier


def glu(input: Any, dim: int = -1) -> Any:
    """a · σ(b) of two halves."""
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def softmin(input: Any, dim: int, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """softmax(−x)."""
    return F.softmax(-input, dim=dim, dtype=dtype)


def maximum(input: Any, other: Any) -> Any:
    """b + relu(a − b)."""
    difference = input - other
    return difference.relu() + other if isinstance(difference, Carrier) else torch.maximum(input, other)


def minimum(input: Any, other: Any) -> Any:
    """−max(−a, −b)."""
    return -maximum(-input, -other)


def amin(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """−max(−x)."""
    return -(-input).amax(dim, keepdim)


def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Of two, `minimum`; along one axis, the smallest and where it is."""
    if isinstance(dim, torch.Tensor) or other is not None:
        return minimum(input, dim if other is None else other)
    largest = (-input).max(dim, keepdim)
    return torch.return_types.min((-largest.values, largest.indices))


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """β c + α a b."""
    return beta * input + alpha * (mat1 @ mat2)


addmv = baddbmm = addmm


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """c + v a b, by entries."""
    return input + value * (tensor1 * tensor2)


def lerp(input: Any, end: Any, weight: Any) -> Any:
    """a + w (b − a)."""
    return input + weight * (end - input)
