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
        labels: tree of integer leaves with the shape of ONE sample's coefficients; entry = index of its group.
        axis: what the order means, such as "spatial frequency (cycles/pixel)".
        multiplicity: tree like ``labels``: how many coefficients of the full basis each stored one stands for (a half
            spectrum stores one of two conjugate bins), or None where each stands for itself.
        spans: (G,) the interval of the axis that each group covers, in the axis's unit, None for one that has no place
            on it; () where the axis has no scale.
    """

    names: tuple[str, ...]
    labels: Tree
    axis: str
    multiplicity: Tree | None = None
    spans: tuple[Span | None, ...] = ()

    def sums(self, scores: Tree) -> Tensor:
        """Total score of each group.

        Args:
            scores: real leaves (N, ...).
        Returns:
            (N, G).
        """
        values = tree.rows(scores)
        index = self._row(self.labels, values)
        return values.new_zeros(len(values), len(self.names)).index_add_(1, index, values)

    def means(self, scores: Tree) -> Tensor:
        """Mean score of each group over the coefficients it stands for: (N, G); 0 for a group that holds none.

        Bands differ in size, so that their sums cannot be compared.
        """
        return self.sums(scores) / self.sizes.clamp_min(1).to(tree.leaves(scores)[0])

    @property
    def sizes(self) -> Tensor:
        """(G,) number of full-basis coefficients in each group, float64."""
        labels = tree.rows(tree.map_leaves(lambda leaf: leaf[None], self.labels))[0]
        ones = torch.ones(len(labels), dtype=torch.float64)
        count = ones if self.multiplicity is None else self._row(self.multiplicity, ones).double()
        return torch.zeros(len(self.names), dtype=torch.float64).index_add_(0, labels.cpu(), count)

    def mask(self, names: str | Iterable[str]) -> Tree:
        """True for the coefficients of the named groups: a tree of boolean leaves with the shape of one sample.

        Raises:
            UnknownNameError: a name that is no group.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in self.names:
                raise UnknownNameError(f"no group is named {name!r}. {nearest(name, self.names, most=2)}")
        chosen = [self.names.index(name) for name in wanted]
        return tree.map_leaves(lambda leaf: torch.isin(leaf, leaf.new_tensor(chosen)), self.labels)

    def _row(self, labels: Tree, values: Tensor) -> Tensor:
        row = tree.rows(tree.map_leaves(lambda leaf: leaf[None], labels))[0]
        if len(row) != values.shape[-1]:
            raise ShapeError(
                f"expected scores with {len(row)} coefficients a sample, as the groups have, got {values.shape[-1]}; "
                "make the groups for the size of this data"
            )
        return row.to(values.device)


def equal_parts(length: int, parts: int, device: torch.device | None = None) -> Tensor:
    """Label the positions 0 … length − 1 with at most ``parts`` runs of nearly equal length: (length,) integers."""
    return torch.arange(length, device=device) * min(parts, length) // length
