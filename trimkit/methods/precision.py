"""Sums over pixels, dimensions and pairs of samples, in float32 or better whatever the networks ran in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32 where they are narrower (bfloat16 under autocast), as they are otherwise."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def no_autocast(like: Tensor) -> torch.autocast:
    """A context in which matrix products keep the precision of their arguments, on a tensor's device."""
    return torch.autocast(like.device.type, enabled=False)
