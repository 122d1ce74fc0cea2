"""Known mixtures of independent sources."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor


class Mixture(NamedTuple):
    """x = A s + μ with independent s of variance 1, all float64.

    Attributes:
        x: (n, k).
        sources: (n, k).
        mixing: A (k, k).
    """

    x: Tensor
    sources: Tensor
    mixing: Tensor


@pytest.fixture
def mixture():
    """Makes a mixture: "laplace", "uniform", "mixed" (half of each) or "gaussian"; mixing of a given condition."""

    def make(kind: str = "mixed", n: int = 4000, k: int = 4, seed: int = 0, condition: float | None = None) -> Mixture:
        g = torch.Generator().manual_seed(seed)
        u = torch.rand(n, k, generator=g, dtype=torch.float64) - 0.5
        laplace, uniform = -u.sign() * torch.log1p(-2 * u.abs()) / 2**0.5, u * 12**0.5
        gaussian = torch.randn(n, k, generator=g, dtype=torch.float64)
        mixed = torch.cat([laplace[:, : k // 2], uniform[:, k // 2 :]], 1)
        sources = {"laplace": laplace, "uniform": uniform, "mixed": mixed, "gaussian": gaussian}[kind]
        mixing = torch.randn(k, k, generator=g, dtype=torch.float64)
        if condition is not None:
            left, _, right = torch.linalg.svd(mixing)
            scales = torch.tensor(1 / condition, dtype=torch.float64) ** torch.linspace(0, 1, k, dtype=torch.float64)
            mixing = left * scales @ right
        return Mixture(sources @ mixing.T + 1.5, sources, mixing)

    return make
