"""A learned latent space as a transform, so that any predictor can be explained and penalised in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError, TransformError
from trimkit.transforms.base import Size, Transform, single_leaf

if TYPE_CHECKING:
    from trimkit.methods.base import LatentSpace, Method


class LatentTransform(Transform):
    """x ⇄ z by a method's encoder and decoder; what the codes do not say stays in the residual.

    Args:
        method: shares its weights with the transform.
        space: one of its spaces.
    Raises:
        TransformError: a space without encoder or decoder, or one that needs auxiliary variables.

    Attributes:
        method: as given.
        space: as given.
    """

    exact: ClassVar[bool] = False

    def __init__(self, method: Method, space: LatentSpace) -> None:
        super().__init__()
        _require_both_ways(type(method).__name__, space)
        self.method = method
        self.space = space

    def forward(self, x: Tensor) -> Tensor:
        """The mean code of data: (N, *method.shape) → (N, *space.shape).

        Raises:
            ShapeError: data of another shape than the method was made for.
        """
        if tuple(x.shape[1:]) != self.method.shape:
            raise ShapeError(
                f"{type(self.method).__name__} was trained on data of shape {self.method.shape} a sample, got "
                f"{tuple(x.shape[1:])}; bring the data to that shape"
            )
        return self.method.encode(x, space=self.space.name).mean

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The data of codes: (N, *space.shape) → (N, *method.shape)."""
        return self.method.decode(single_leaf(s, self.space.name), self.space.name)

    def groups(self, size: Size) -> Groups:
        """The units of the space, see `trimkit.methods.LatentSpace.groups`."""
        return self.space.groups


class GeneratedTransform(Transform):
    """Codes that a method drew itself, for methods that give no codes of data: forward gives the `codes` at hand.

    Nothing is left over, so the residual is 0. The gradient of a penalty reaches what made the codes.

    Args:
        method: shares its weights with the transform.
        space: one of its spaces, with a decoder.
    Raises:
        TransformError: the space cannot be decoded.

    Attributes:
        codes: (N, *space.shape), set before each use.
    """

    codes: Tensor

    def __init__(self, method: Method, space: LatentSpace) -> None:
        super().__init__()
        if not space.can_decode:
            raise TransformError(
                f"the space {space.name!r} of {type(method).__name__} is no transform: its codes cannot be decoded: "
                f"{space.reason}"
            )
        self.method = method
        self.space = space

    def forward(self, x: Tensor) -> Tensor:
        """The codes at hand, of which x are the samples: (N, *method.shape) → (N, *space.shape)."""
        return self.codes

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The samples of codes: (N, *space.shape) → (N, *method.shape)."""
        return self.method.decode(single_leaf(s, self.space.name), self.space.name)

    def residual(self, x: Tensor, s: Tree) -> Tensor:
        """Zeros: the samples are what their codes decode to."""
        return torch.zeros_like(x)

    def groups(self, size: Size) -> Groups:
        """The units of the space, see `trimkit.methods.LatentSpace.groups`."""
        return self.space.groups


def _require_both_ways(method: str, space: LatentSpace) -> None:
    faults = {
        "data cannot be encoded to it": not space.can_encode,
        "its codes cannot be decoded": not space.can_decode,
        "encoding needs auxiliary variables, which a transform does not get": space.needs_aux,
    }
    found = [fault for fault, present in faults.items() if present]
    if found:
        reason = f" ({space.reason})" if space.reason else ""
        raise TransformError(f"the space {space.name!r} of {method} is no transform: {' and '.join(found)}{reason}")
