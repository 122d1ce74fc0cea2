"""Named groups of coefficients: bands, patches, latents. What people reason about, and what audits delete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError, UnknownNameError, nearest

Span: TypeAlias = tuple[float, float]
"""An interval of an axis, in the axis's unit: from, to."""


@dataclass(frozen=True)
class Groups:
    """A partition of a sample's coefficients into named groups, in the order of the axis they lie on.

    Attributes:
        names: (G,) names, ordered, such as bands from low to high frequency.
        labels: tree of integer leaves with the shape of ONE sample's coefficients; entry = index of its group. With
            ``each``, leaves (N, ...) with a row for each sample.
        axis: what the order means, such as "spatial frequency (cycles/pixel)".
        multiplicity: tree like ``labels``: how many coefficients of the full basis each stored one stands for (a half
            spectrum stores one of two conjugate bins), or None where each stands for itself.
        spans: (G,) the interval of the axis that each group covers, in the axis's unit, None for one that has no place
            on it; () where the axis has no scale.
        each: each sample has groups of its own, as many as the sample with the most; others have empty ones. A number
            or name then means something in its sample alone: averages over samples by group make no sense.
    """

    names: tuple[str, ...]
    labels: Tree
    axis: str
    multiplicity: Tree | None = None
    spans: tuple[Span | None, ...] = ()
    each: bool = False

    def sums(self, scores: Tree) -> Tensor:
        """Total score of each group.

        Args:
            scores: real leaves (N, ...).
        Returns:
            (N, G).
        """
        values = tree.rows(scores)
        index = self._rows(self.labels, values)
        sums = values.new_zeros(len(values), len(self.names))
        return sums.scatter_add_(1, index, values) if self.each else sums.index_add_(1, index[0], values)

    def means(self, scores: Tree) -> Tensor:
        """Mean score of each group over the coefficients it stands for: (N, G); 0 for a group that holds none.

        Bands differ in size, so that their sums cannot be compared.
        """
        return self.sums(scores) / self.sizes.clamp_min(1).to(tree.leaves(scores)[0])

    @property
    def sizes(self) -> Tensor:
        """(G,) number of full-basis coefficients in each group, float64; with ``each``, (N, G)."""
        labels = self._as_rows(self.labels).cpu()
        counts = torch.ones(labels.shape, dtype=torch.float64)
        if self.multiplicity is not None:
            counts = self._rows(self.multiplicity, counts).double()
        sizes = torch.zeros(len(labels), len(self.names), dtype=torch.float64).scatter_add_(1, labels, counts)
        return sizes if self.each else sizes[0]

    def mask(self, names: str | Iterable[str]) -> Tree:
        """True for the coefficients of the named groups: a tree of boolean leaves of the shape of the labels.

        Raises:
            UnknownNameError: a name that is no group.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in self.names:
                raise UnknownNameError(f"no group is named {name!r}. {nearest(name, self.names, most=2)}")
        chosen = [self.names.index(name) for name in wanted]
        return tree.map_leaves(lambda leaf: torch.isin(leaf, leaf.new_tensor(chosen)), self.labels)

    def _as_rows(self, labels: Tree) -> Tensor:
        """Labels or counts, (1, n), or with ``each`` (N, n)."""
        return tree.rows(labels if self.each else tree.map_leaves(lambda leaf: leaf[None], labels))

    def _rows(self, labels: Tree, values: Tensor) -> Tensor:
        rows = self._as_rows(labels)
        if rows.shape[1] != values.shape[-1]:
            raise ShapeError(
                f"expected scores with {rows.shape[1]} coefficients a sample, as the groups have, got "
                f"{values.shape[-1]}; make the groups for the size of this data"
            )
        if self.each and len(rows) != len(values):
            raise ShapeError(
                f"expected scores of the {len(rows)} samples that these groups are of, got {len(values)}; make the "
                "groups of these samples: transform.groups_of(x)"
            )
        return rows.to(values.device)


def equal_parts(length: int, parts: int, device: torch.device | None = None) -> Tensor:
    """Label the positions 0 … length − 1 with at most ``parts`` runs of nearly equal length: (length,) integers."""
    return torch.arange(length, device=device) * min(parts, length) // length
