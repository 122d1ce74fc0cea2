"""A dictionary of unit directions, and the optimiser that keeps them so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Dictionary(nn.Module):
    """x̂ = z D + b: each feature is one direction of length 1.

    Args:
        features: M.
        width: d of the activations.

    Attributes:
        directions: D (M, d), rows of norm 1, drawn from torch's global generator, uniform on the sphere.
        bias: b (d,).
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(normalize(torch.randn(features, width), dim=1))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, z: Tensor) -> Tensor:
        """(..., M) → (..., d)."""
        return z @ self.directions + self.bias


class UnitNormAdam(torch.optim.Adam):
    """Adam for a model with a dictionary: the part of the gradient along a direction goes, and the norm stays 1.

    Without it, Adam's moments would hold what the normalisation takes back (Bricken et al. 2023, "Autoencoder training
    details").

    Args:
        parameters: all that are trained.
        directions: (M, d), one of them, with rows of norm 1.
        options: of Adam.
    """

    def __init__(self, parameters: list[nn.Parameter], directions: nn.Parameter, **options: Any) -> None:
        super().__init__(parameters, **options)
        self._directions = directions

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, as Adam's."""
        directions = self._directions
        if directions.grad is not None:
            remove_parallel_(directions.grad, directions)
        result = super().step(closure)
        directions.div_(torch.linalg.vector_norm(directions, dim=1, keepdim=True))
        return result


def remove_parallel_(gradient: Tensor, directions: Tensor) -> None:
    """g ← g − (g · d) d in place, for each row d of norm 1: (M, d) both."""
    gradient.addcmul_(torch.linalg.vecdot(gradient, directions)[:, None], directions, value=-1)


def geometric_median(rows: Tensor, steps: int = 100, tolerance: float = 1e-6) -> Tensor:
    """The point of the smallest mean distance to all rows, by Weiszfeld's iteration (1937): (N, d) → (d,).

    Args:
        rows: at least one.
        steps: at most.
        tolerance: it stops where a step is shorter than this share of the mean distance.
    """
    centre = rows.mean(0)
    for _ in range(steps):
        distance = torch.linalg.vector_norm(rows - centre, dim=1).clamp_min(torch.finfo(rows.dtype).tiny ** 0.5)
        before, centre = centre, (rows / distance[:, None]).sum(0) / (1 / distance).sum()
        if torch.linalg.vector_norm(centre - before) <= tolerance * distance.mean():
            break
    return centre
