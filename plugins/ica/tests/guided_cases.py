"""Mixed sources, and a predictor that reads them."""

from __future__ import annotations

import torch
from torch import nn

from .draws import generator

P, K = 9, 6
"""Values of a sample, and components of it."""


def sources(n: int, k: int, seed: int = 0) -> torch.Tensor:
    """Independent and heavy-tailed, the first more than the last, (n, k) float64."""
    normal = torch.randn(n, k, generator=generator(seed), dtype=torch.float64)
    return normal.sign() * normal.abs().pow(torch.linspace(2.5, 1.7, k, dtype=torch.float64))


def samples(n: int = 300, seed: int = 0) -> torch.Tensor:
    """Mixed sources of very different sizes, (n, P) float64."""
    mixing = torch.randn(P, P, generator=generator(7), dtype=torch.float64)
    return sources(n, P, seed) @ (mixing * torch.logspace(0, -2, P, dtype=torch.float64)).T / 3 + 1


def classifier(dtype: torch.dtype = torch.float64, size: int = P) -> nn.Module:
    """Steeper than initial weights are, so that there is something to read."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(size, 12), nn.Tanh(), nn.Linear(12, 4))
        model[1].weight.data *= 2
        model[3].weight.data *= 8
    return model.to(dtype).eval()
