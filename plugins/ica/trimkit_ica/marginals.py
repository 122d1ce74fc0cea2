"""The distribution of each component by itself, as quantiles over the training data."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 1025
"""Quantiles of each component that are kept, from the least to the largest value."""

KEPT = 2**14
"""Samples that they are taken from, at most: every second, every third, … of more."""


def marginal_quantiles(s: Tensor) -> Tensor:
    """(1025, k) at evenly spaced levels, linear between the sorted values of (n, k)."""
    s = s[:: -(-len(s) // KEPT)]
    ordered = s.T.contiguous().sort(1).values.T
    place = torch.linspace(0, len(s) - 1, LEVELS, dtype=torch.float64, device=s.device)
    low = place.long().clamp_max(len(s) - 2)
    return torch.lerp(ordered[low], ordered[low + 1], (place - low)[:, None])


def draw_marginals(quantiles: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Each component by itself, its distribution function linear between the quantiles: (levels, k) → (n, k)."""
    device = quantiles.device if generator is None else generator.device
    size = (n, quantiles.shape[1])
    place = torch.rand(size, generator=generator, device=device, dtype=torch.float64).to(quantiles.device)
    place = place * (len(quantiles) - 1)
    low = place.long()
    below, above = quantiles.gather(0, low), quantiles.gather(0, low + 1)
    return torch.lerp(below, above, place - low)
