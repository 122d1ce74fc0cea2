"""Picard-O: maximum likelihood over rotations of white data, for sources whose densities adapt their sign.

Ablin, Cardoso, Gramfort 2018, arXiv:1711.10873, written from the paper's equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from trimkit_ica.moments import moments
from trimkit_ica.quasi_newton import Point, Solution, adapted_signs, minimise
from trimkit_ica.unmixing import columns, fastica

FLATTEST = 1e-2
"""Least curvature that a direction is taken to have: none is known between two Gaussian components."""

ROUGH, WARM_UP = 1e-3, 10
"""The search starts where FastICA has converged to this tolerance, or after so many sweeps: they cost two thirds."""


class Rotated(Point):
    """A rotation W of white z with the loss Σᵢ signᵢ E[log cosh yᵢ], y = W z; steps are antisymmetric, W ← e^D W."""

    def __init__(self, matrix: Tensor, pieces: Sequence[Tensor]) -> None:
        self.matrix = matrix
        self._pieces = pieces
        self._moments = moments(pieces, matrix)
        excess = self._moments.slope - self._moments.products.diagonal()
        self.signs = adapted_signs(excess)
        curvature = excess.abs()
        self._curvature = ((curvature[:, None] + curvature) / 2).clamp_min(FLATTEST)

    def loss(self, signs: Tensor) -> float:
        """Σᵢ signᵢ E[log cosh yᵢ]."""
        return float(signs @ self._moments.log_cosh)

    def gradient(self, signs: Tensor) -> Tensor:
        """(G − Gᵀ) / 2 with Gᵢⱼ = signᵢ E[tanh(yᵢ) yⱼ]."""
        products = signs[:, None] * self._moments.products
        return (products - products.T) / 2

    def precondition(self, direction: Tensor) -> Tensor:
        """Divide by (hᵢ + hⱼ) / 2, where hᵢ = |E[tanh′(yᵢ)] − E[tanh(yᵢ) yᵢ]|."""
        return direction / self._curvature

    def moved(self, step: Tensor) -> Self:
        """e^D W."""
        return type(self)(torch.linalg.matrix_exp(step) @ self.matrix, self._pieces)


@torch.no_grad()
def picard(z: Tensor, start: Tensor, *, tol: float = 1e-7, max_iter: int = 500) -> Solution:
    """The rotation of white data under which the components are likeliest.

    Args:
        z: (n, k) white data, float64.
        start: (k, k) rotation, float64 on z's device; a few sweeps of FastICA are made from it first.
        tol: of the relative gradient's largest entry.
        max_iter: steps at most.
    """
    return minimise(Rotated(warmed_up(z, start), columns(z)), tol, max_iter)


def warmed_up(z: Tensor, start: Tensor) -> Tensor:
    """Where a few sweeps of FastICA lead from a rotation."""
    return fastica(z, start=start, tol=ROUGH, max_iter=WARM_UP).matrix
