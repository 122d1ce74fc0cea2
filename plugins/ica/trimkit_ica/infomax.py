"""Infomax: maximum likelihood over all invertible matrices, extended to sub-Gaussian sources.

Bell, Sejnowski 1995; extended by Lee, Girolami, Sejnowski 1999; minimised as in Ablin, Cardoso, Gramfort 2018,
arXiv:1706.08171, from the papers' equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from trimkit_ica.moments import moments
from trimkit_ica.picard import FLATTEST, warmed_up
from trimkit_ica.quasi_newton import Point, Solution, adapted_signs, minimise
from trimkit_ica.unmixing import columns


class Unconstrained(Point):
    """An invertible W of white z with the loss −log |det W| + Σᵢ E[−log pᵢ(yᵢ)], y = W z; steps are W ← (I + D) W.

    Extended, −log p(y) = y²/2 ± log cosh y: 1 for super-, −1 for sub-Gaussian components. Else it is log cosh y.

    Args:
        matrix: W.
        pieces: of z, see `trimkit_ica.unmixing.columns`; exactly white, so that E[y yᵀ] = W Wᵀ.
        extended: see above.

    Attributes:
        excess: (k,) E[tanh′(yᵢ)] E[yᵢ²] − E[tanh(yᵢ) yᵢ], below 0 for sub-Gaussian components.
    """

    def __init__(self, matrix: Tensor, pieces: Sequence[Tensor], extended: bool) -> None:
        self.matrix = matrix
        self._pieces, self._extended = pieces, extended
        self._moments = moments(pieces, matrix)
        self._second = matrix @ matrix.T
        self.excess = self._moments.slope * self._second.diagonal() - self._moments.products.diagonal()
        self.signs = adapted_signs(self.excess) if extended else torch.ones_like(self.excess)

    def loss(self, signs: Tensor) -> float:
        """−log |det W| + Σᵢ E[−log pᵢ(yᵢ)] without the densities' constants."""
        energy = signs @ self._moments.log_cosh + self._extended * self._second.trace() / 2
        return float(energy - torch.linalg.slogdet(self.matrix).logabsdet)

    def gradient(self, signs: Tensor) -> Tensor:
        """E[ψ(y) yᵀ] − I with ψ = −(log p)′."""
        scored = signs[:, None] * self._moments.products + self._extended * self._second
        return scored - torch.eye(len(scored)).to(scored)

    def precondition(self, direction: Tensor) -> Tensor:
        """Solve hᵢⱼ Dᵢⱼ + Dⱼᵢ = directionᵢⱼ for each pair, with hᵢⱼ = E[ψ′(yᵢ)] E[yⱼ²]: the Hessian of independent yᵢ.

        Where a pair's 2 × 2 matrix is not safely positive definite, its diagonal is raised.
        """
        slope = self._extended + self.signs * self._moments.slope
        h = slope[:, None] * self._second.diagonal()
        least = (h + h.T - ((h - h.T).square() + 4).sqrt()) / 2
        h = h + (FLATTEST - least).clamp_min(0)
        return (h.T * direction - direction.T) / (h * h.T - 1)

    def moved(self, step: Tensor) -> Self:
        """(I + D) W."""
        return type(self)(self.matrix + step @ self.matrix, self._pieces, self._extended)


@torch.no_grad()
def infomax(
    z: Tensor, start: Tensor, *, extended: bool = True, tol: float = 1e-7, max_iter: int = 500
) -> tuple[Solution, Tensor]:
    """The matrix under which the components of white data are likeliest.

    Args:
        z: (n, k) white data, float64.
        start: (k, k) rotation, float64 on z's device; a few sweeps of FastICA are made from it first.
        extended: whether densities may be sub-Gaussian.
        tol: of the relative gradient's largest entry.
        max_iter: steps at most.
    Returns:
        The solution, whose components are uncorrelated only as far as that is likeliest and have no unit variance; and
        (k,) `Unconstrained.excess` there.
    """
    pieces = columns(z)
    solution = minimise(Unconstrained(warmed_up(z, start), pieces, extended), tol, max_iter)
    return solution, Unconstrained(solution.matrix, pieces, extended).excess
