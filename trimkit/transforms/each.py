"""A transform along some axes at every place of the others: the principal components of each pixel's spectrum, say."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Self

from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.axes import Axes, Layout
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry import resolve
from trimkit.transforms.along import Along
from trimkit.transforms.base import Size, Transform


class Each(Along):
    """Gives ``axes`` to transforms of whole samples, such as pca, nmf, dictionary or color.

    The axes are taken in the order in which they are named, and what lies along them is one sample of the inner
    transform, which is fitted to all of them. Groups are those of the inner transform, over all places.

    Args:
        of: the transform of what lies along the axes: a name, (name, options), or a transform.
        axes: the axes, by position or name; by default the last.
        layout: names of a sample's axes, in order: "height width channel".

    Example:
        >>> import torch
        >>> space = Each(("pca", {"components": 2}), axes="channel").fit(torch.randn(8, 5, 6, 6))
        >>> tuple(space(torch.randn(1, 5, 6, 6)).shape), space.groups((5, 6, 6)).names
        ((1, 2, 6, 6), ('component 1', 'component 2'))
    """

    def __init__(
        self, of: str | tuple[str, dict[str, Any]] | Transform, axes: Axes = None, layout: Layout = None
    ) -> None:
        super().__init__(None if axes is not None else 1, axes, layout)
        self.part = resolve("transform", of)
        if not isinstance(self.part, Transform):
            raise OptionError(f"each: expected a transform or its name, got {type(self.part).__name__}")
        self.exact = self.part.exact

    def fit(self, x: Tensor) -> Self:
        """Fit the inner transform to what lies along the axes, at all places of all samples."""
        places = self.places(x.shape[1:])
        self.part.fit(x.movedim([p + 1 for p in places], list(range(-len(places), 0))).flatten(0, -len(places) - 1))
        return self

    def forward(self, x: Tensor) -> Tree:
        """The inner transform's coefficients, their axes in the place of those named where they are as many, else last.

        Args:
            x: (N, ...).
        """

        def split(y: Tensor, dims: int) -> Tree:
            s = self.part(y.flatten(0, -dims - 1))
            return tree.map_leaves(lambda leaf: leaf.unflatten(0, y.shape[:-dims]), s)

        return self._forth(x, split)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The data.

        Raises:
            ShapeError: no ``size``, which tells the places.
        """
        if size is None:
            raise ShapeError("each: expected the size of a sample, which tells how many places there are")
        first = self.worked_size(size)[: len(size) - len(self.places(size))]

        def join(moved: Tree, dims: int, worked: Size | None) -> Tensor:
            before = (tree.batch_size(moved), *first)
            rows = tree.map_leaves(lambda leaf: leaf.reshape(math.prod(before), *leaf.shape[len(before) :]), moved)
            own = self.worked_size(size)[-dims:]
            return self.part.inverse(rows, own).reshape(*before, *own)

        return self._back(s, size, join)

    def groups(self, size: Size) -> Groups:
        """The inner transform's groups, each over all places."""
        count = len(self.places(size))
        worked = self.worked_size(size)
        inner = self.part.groups(worked[-count:])

        def spread(labels: Tree) -> Tree:
            return self._labels(tree.map_leaves(lambda leaf: leaf.expand(*worked[:-count], *leaf.shape), labels), size)

        counts = inner.multiplicity
        return dataclasses.replace(
            inner, labels=spread(inner.labels), multiplicity=None if counts is None else spread(counts)
        )
