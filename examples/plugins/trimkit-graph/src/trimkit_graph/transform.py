"""Signals on the nodes of a graph, in the basis of its Laplacian: graph Fourier transform."""

from __future__ import annotations

import torch
from torch import Tensor
from trimkit import Transform
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError
from trimkit.transforms import Groups, Size

from trimkit_graph.graphs import Edges, laplacian


class GraphFourier(Transform):
    """s = Uᵀ x over the last axis, with the Laplacian's eigenvectors U (Shuman et al. 2013, eq. 3). Orthonormal.

    Coefficients are in the order of rising eigenvalue λ ∈ [0, 2]: from what changes little between neighbours to what
    changes most. The eigenvalues of a symmetric graph (a ring) repeat, and the basis within one is arbitrary, so groups
    never cut an eigenspace.

    Args:
        edges: "path", "ring", or pairs of nodes, which are numbered along the last axis of the data.
        bands: into how many bands of equal width the eigenvalues are grouped, at least 1.
    Raises:
        OptionError: bands below 1, or edges that are none.
    """

    exact = True

    def __init__(self, edges: Edges = "path", bands: int = 4) -> None:
        super().__init__()
        if bands < 1:
            raise OptionError(f"graph-fourier: expected bands ≥ 1, got {bands}")
        self.edges = edges
        self.bands = bands
        self._bases: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., nodes) → (N, ..., nodes)."""
        return x.to(_at_least_float32(x)) @ self._basis(x.shape[-1])[1].to(x.device, _at_least_float32(x))

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, ..., nodes) → (N, ..., nodes)."""
        (leaf,) = tree.leaves(s)
        return leaf @ self._basis(leaf.shape[-1])[1].T.to(leaf)

    def groups(self, size: Size) -> Groups:
        """Bands of the eigenvalue, named by their ends, such as ``λ 0.5–1``."""
        values = self._basis(size[-1])[0]
        labels = (values * self.bands / 2 + 1e-9).long().clamp(0, self.bands - 1)
        ends = [2 * band / self.bands for band in range(self.bands + 1)]
        names = tuple(f"λ {low:g}–{high:g}" for low, high in zip(ends, ends[1:], strict=False))
        return Groups(names, labels.expand(*size), "graph frequency λ")

    def _basis(self, nodes: int) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors, computed once for a number of nodes."""
        if nodes not in self._bases:
            self._bases[nodes] = tuple(torch.linalg.eigh(laplacian(self.edges, nodes, "graph-fourier")))
        return self._bases[nodes]


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
