"""Sums over pixels, dimensions and pairs of samples, in float32 or better whatever the networks ran in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32 where they are narrower (bfloat16 under autocast), as they are otherwise.

    >>> at_least_float32(torch.ones(2, dtype=torch.bfloat16)).dtype, at_least_float32(torch.ones(2).double()).dtype
    (torch.float32, torch.float64)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def no_autocast(like: Tensor) -> torch.autocast:
    """A context in which matrix products keep the precision of their arguments, on a tensor's device.

    >>> x = torch.ones(2, 2)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     narrow = x @ x
    ...     with no_autocast(x):
    ...         full = x @ x
    >>> narrow.dtype, full.dtype
    (torch.bfloat16, torch.float32)
    """
    return torch.autocast(like.device.type, enabled=False)
