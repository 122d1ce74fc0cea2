"""Points that autograd follows, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError


def gradients_of(values: Tensor, points: Sequence[Tensor], create_graph: bool) -> Sequence[Tensor | None]:
    """∂Σ values/∂points; None for each that the values do not depend on.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> gradients_of(x.square(), [x], create_graph=False)[0]
    tensor([2., 4.])
    """
    if not values.requires_grad:
        return [None] * len(points)
    ones = torch.ones_like(values)
    return torch.autograd.grad(values, points, ones, create_graph=create_graph, allow_unused=True)


def track(points: Tree, *, keep_graph: bool) -> Tree:
    """Make points that autograd follows, without touching the caller's tensors.

    Args:
        points: any tree of floating or complex leaves.
        keep_graph: leaves that require grad already stay in their graph; otherwise they are cut from it.
    Returns:
        A tree whose leaves all require grad.
    """

    def leaf(tensor: Tensor) -> Tensor:
        """One that requires grad: itself, or a detached one."""
        if keep_graph and tensor.requires_grad:
            return tensor
        tensor = tensor.detach()
        return (tensor.clone() if tensor.is_inference() else tensor).requires_grad_()

    return tree.map_leaves(leaf, points)


def detach(value: Any) -> Any:
    """Cut a tree of tensors from its graph; anything else (a model's own output class) is returned as it is.

    >>> detach({"a": torch.ones(1, requires_grad=True)})["a"].requires_grad
    False
    """
    try:
        return tree.map_leaves(Tensor.detach, value)
    except ShapeError:
        return value
