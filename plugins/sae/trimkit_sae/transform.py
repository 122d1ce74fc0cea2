"""A dictionary's features as a space of any layer output: tokens, pixels, or one vector a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError
from trimkit.transforms.base import Size, Transform, single_leaf

if TYPE_CHECKING:
    from trimkit.methods import LatentSpace

FEATURES, ERROR = "features", "features+error"
"""Names of the spaces."""


class Features(Protocol):
    """What the space needs of an autoencoder: vectors ⇄ codes, and where vectors lie in a layer's output."""

    shape: tuple[int, ...]
    axis: int | None
    width: int

    def read(self, x: Tensor, space: str) -> Tensor:
        """(N, ..., d) vectors → (N, ..., M) codes."""
        ...

    def write(self, s: Tensor, space: str) -> Tensor:
        """(N, ..., M) codes → (N, ..., d) vectors."""
        ...

    def layout(self, name: str, places: Sequence[int]) -> Groups:
        """One group a feature, for all positions."""
        ...


class FeatureTransform(Transform):
    """x ⇄ the features at each position, beside the error where the space has it.

    Args:
        method: shares its weights with the transform.
        space: "features" or "features+error" of the method.
        axis: of the features in one sample; None for where they were in training, or where they fit.

    Attributes:
        method: as given.
        space: as given.
        exact: with the error, inverse(forward(x)) = x up to rounding.
    """

    norm_constrained = True

    def __init__(self, method: Features, space: LatentSpace, axis: int | None = None) -> None:
        super().__init__()
        self.method = method
        self.space = space
        self.exact = space.exact_inverse
        self._asked = axis

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., d, ...) activations → (N, ..., M) codes, features last.

        Raises:
            ShapeError: the dictionary fits no axis.
        """
        return self.method.read(as_vectors(x, self._axis(x.shape[1:])), self.space.name)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, ..., M) codes → (N, *size) activations; size as in training by default."""
        size = self.method.shape if size is None else size
        return as_data(self.method.write(single_leaf(s, self.space.name), self.space.name), size, self._axis(size))

    def groups(self, size: Size) -> Groups:
        """``feature 0``, ``feature 1``, …, each over all positions, and ``error``."""
        return self.method.layout(self.space.name, positions(size, self._axis(size)))

    def _axis(self, size: Size) -> int | None:
        if self._asked is None and tuple(size) == self.method.shape:
            return self.method.axis
        return width_axis(size, self.method.width, self._asked)


def as_vectors(x: Tensor, axis: int | None) -> Tensor:
    """(N, *size) → (N, *positions, d): the axis of the features last; None for one vector a sample."""
    return x.flatten(1) if axis is None else x.movedim(axis if axis < 0 else axis + 1, -1)


def as_data(vectors: Tensor, size: Size, axis: int | None) -> Tensor:
    """The opposite of `as_vectors`: (N, *positions, d) → (N, *size)."""
    if axis is None:
        return vectors.reshape(len(vectors), *size)
    return vectors.movedim(-1, axis if axis < 0 else axis + 1)


def positions(size: Size, axis: int | None) -> tuple[int, ...]:
    """The axes of a sample that are not the features'; none where the sample is one vector."""
    return () if axis is None else tuple(n for i, n in enumerate(size) if i != axis % len(size))


def width_axis(size: Sequence[int], width: int, axis: int | None = None) -> int | None:
    """The axis of a layer's output that has as many entries as a dictionary is wide; None for the whole output.

    Args:
        size: of one sample.
        width: of the dictionary.
        axis: asked for; by default the first of three, the last of others, or the only one that fits.
    Raises:
        ShapeError: none fits.
    """
    fitting = [i for i, n in enumerate(size) if n == width]
    usual = (0 if len(size) == 3 else len(size) - 1) if axis is None else axis % len(size)
    if usual in fitting:
        return usual
    if axis is None and math.prod(size) == width:
        return None
    if axis is None and len(fitting) == 1:
        return fitting[0]
    raise ShapeError(
        f"the dictionary was trained on {width} features a position, got a layer output {tuple(size)}; explain the "
        "layer it was trained at, or say where its features are: as_transform(axis=…)"
    )
