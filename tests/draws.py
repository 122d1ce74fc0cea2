"""Random draws that tests share."""

from __future__ import annotations

import torch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def double(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def data(*shape: int, seed: int = 1) -> torch.Tensor:
    """The same, of another seed: what is explained beside weights and directions of seed 0."""
    return double(*shape, seed=seed)
