"""The Fourier transform of signals on a graph: smooth patterns first, those that differ between neighbours last."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.coefficients.axes import Axes, Bands, Layout, group_by_bands, show_bands, take_bands
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.transforms.along import Along, require_real
from trimkit.transforms.base import Size, single_leaf


class GraphFourier(Along):
    """s = Uᵀ x along the axis of nodes, with the eigenvectors U of the graph's Laplacian, orthonormal (Shuman 2013).

    The eigenvalue of a pattern is its frequency: Σ over edges of weight · (difference)². Equal eigenvalues leave
    their eigenvectors free within their span, so scores of groups mean more than those of single coefficients.

    Args:
        adjacency: (n, n) symmetric weights ≥ 0 of the edges.
        bands: number of equally wide bands of eigenvalues above 0, or named ones.
        axes: the axis of nodes, by position or name; by default the last.
        layout: names of a sample's axes, in order: "node feature" for (N, nodes, features).
        normalized: eigenvectors of I − D^-½ A D^-½ instead of D − A; its eigenvalues lie in [0, 2].

    Attributes:
        basis: (n, n), U.
        eigenvalues: (n,), rising.
    """

    basis: Tensor
    eigenvalues: Tensor

    _owner = "graph_fourier"

    def __init__(
        self,
        adjacency: Tensor | Sequence[Sequence[float]],
        bands: Bands = 4,
        axes: Axes = None,
        layout: Layout = None,
        normalized: bool = False,
    ) -> None:
        super().__init__(None if axes is not None else 1, axes, layout)
        weights = torch.as_tensor(adjacency, dtype=torch.float64)
        if weights.ndim != 2 or not torch.equal(weights, weights.mT) or not bool((weights >= 0).all()):
            raise OptionError("graph_fourier: expected adjacency as a symmetric matrix (n, n) of weights ≥ 0")
        values, vectors = torch.linalg.eigh(laplacian(weights, normalized))
        zero = values < 1e-10 * values.abs().max().clamp_min(1e-30)
        self.normalized = normalized
        self._bands = take_bands("graph_fourier", bands, "eigenvalue")
        self.bands = show_bands(self._bands) if isinstance(self._bands, tuple) else self._bands
        self.register_buffer("basis", vectors)
        self.register_buffer("eigenvalues", values.masked_fill(zero, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., n) → the same shape."""
        return self._times(x, self.basis)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The transpose, which is the inverse."""
        return self._times(single_leaf(s, self._name), self.basis.mT)

    def groups(self, size: Size) -> Groups:
        """``dc``, the patterns that are constant on each part, and bands of eigenvalues, smooth to rough."""
        place = self._nodes_axis(size, len(self.eigenvalues))
        values = self.eigenvalues.double().cpu()
        groups = group_by_bands(values, self._bands, "graph frequency (eigenvalue)")
        shape = [-1 if i == place else 1 for i in range(len(size))]
        return dataclasses.replace(groups, labels=groups.labels.reshape(shape).expand(*size))  # type: ignore[union-attr]

    def _nodes_axis(self, size: Size, nodes: int) -> int:
        """The one axis of a sample along which the nodes lie.

        Raises:
            ShapeError: there is none, or it has another length.
        """
        places = self.places(size)
        if len(places) != 1 or size[places[0]] != nodes:
            raise ShapeError(
                f"graph_fourier: expected {nodes} nodes along one axis of a sample, got size {tuple(size)}"
            )
        return places[0]

    def _times(self, x: Tensor, matrix: Tensor) -> Tensor:
        require_real(self._name, x)
        self._nodes_axis(x.shape[1:], len(matrix))
        return single_leaf(self._forth(x, lambda y, _: y @ matrix.to(x)), self._name)


def laplacian(weights: Tensor, normalized: bool = False) -> Tensor:
    """D − A, or I − D^-½ A D^-½, where a node without edges has a row of zeros: (n, n) → (n, n)."""
    degrees = weights.sum(1)
    if not normalized:
        return torch.diag(degrees) - weights
    scale = torch.where(degrees > 0, degrees.clamp_min(1e-300).rsqrt(), 0.0)
    return torch.diag((degrees > 0).to(weights)) - scale[:, None] * weights * scale
