"""A small normalising flow: the density and the noise that an unnormalised density is contrasted with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trimkit.methods import at_least_float32, standard_normal
from trimkit_ica.networks import mlp

STEEPEST = 2.0
"""Largest log of a coupling's scale: it bounds how far one layer stretches, so that no early step breaks the flow."""


class Coupling(nn.Module):
    """One affine coupling (Dinh et al. 2017, RealNVP): every second entry is scaled and moved, by the rest.

    Args:
        size: p, entries of a row.
        first: 0 or 1, which of every two entries moves.
        hidden: width of the function.
    """

    def __init__(self, size: int, first: int, hidden: int) -> None:
        super().__init__()
        moves = (torch.arange(size) % 2 == first).float()
        self.register_buffer("moves", moves, persistent=False)
        self.moves: Tensor
        self.network = mlp(size, 2 * size, hidden=hidden, layers=3)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # the identity to start with
        nn.init.zeros_(last.bias)

    def change(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log scale and shift, (N, p) each, from the entries that stay; 0 for those."""
        moves = self.moves.to(x)
        log_scale, shift = at_least_float32(self.network(x * (1 - moves))).chunk(2, 1)
        return STEEPEST * (log_scale / STEEPEST).tanh() * moves, shift * moves


class CouplingFlow(nn.Module):
    """x ⇄ z ~ N(0, I) by affine couplings that take turns, after a learned scale and shift of each entry.

    Args:
        size: p, entries of a row; with one, the flow is a normal distribution.
        layers: couplings, at least 1.
        hidden: width of their networks.
    """

    def __init__(self, size: int, *, layers: int = 4, hidden: int = 32) -> None:
        super().__init__()
        self.size = size
        self.centre = nn.Parameter(torch.zeros(size))
        self.log_scale = nn.Parameter(torch.zeros(size))
        self.couplings = nn.ModuleList(Coupling(size, i % 2, hidden) for i in range(layers))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and log |det ∂z/∂x|: (N, p) → (N, p) and (N,)."""
        z = (x - self.centre) * (-self.log_scale).exp()
        log_det = -self.log_scale.sum().expand(len(x))
        for coupling in self._couplings():
            log_scale, shift = coupling.change(z)
            z = z * log_scale.exp() + shift
            log_det = log_det + log_scale.sum(1)
        return z, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """x of z: (N, p) → (N, p)."""
        for coupling in reversed(self._couplings()):
            log_scale, shift = coupling.change(z)  # the same, since it depends on entries that stay
            z = (z - shift) * (-log_scale).exp()
        return z * self.log_scale.exp() + self.centre

    def log_prob(self, x: Tensor) -> Tensor:
        """log q(x): (N, p) → (N,) nats."""
        z, log_det = self(x)
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def sample(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """One draw for each row of (N, p), with the flow's graph: (N, p)."""
        return self.inverse(standard_normal(like, generator))

    def _couplings(self) -> list[Coupling]:
        return [layer for layer in self.couplings if isinstance(layer, Coupling)]
