"""What attributions that look behind their probe may know of `trimkit.trim.Composed`, which lies in a layer above."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor, nn

from trimkit import tree
from trimkit.groups import Groups
from trimkit.tree import Tree


class Inverse(Protocol):
    """The half of a transform that leads to data."""

    def inverse(self, s: Tree, size: Sequence[int] | None = None) -> Tensor:
        """Data (N, *size) of coefficients."""
        ...


class Composition(Protocol):
    """f(T⁻¹(s) + r), with its parts in sight; the attributes are those of `trimkit.trim.Composed`."""

    model: Callable[[Tensor], Any]
    transform: Inverse
    residual: Tensor
    size: Sequence[int]

    def __call__(self, s: Tree) -> Any:
        """The model's raw output."""
        ...

    def groups(self) -> Groups:
        """The transform's named groups for this size of data."""
        ...


def is_composition(function: Any) -> TypeGuard[Composition]:
    """Whether a function is a model behind an inverse transform, rather than a bare function of coefficients."""
    return all(hasattr(function, name) for name in ("model", "transform", "residual", "size", "groups"))


def model_of(function: Any) -> Any:
    """The predictor itself: the model behind the inverse transform, or the bare function."""
    return function.model if is_composition(function) else function


def groups_of(function: Any, s: Tree) -> Groups:
    """The transform's groups, or one group for each coefficient of a bare function."""
    return function.groups() if is_composition(function) else each_coefficient(s)


def each_coefficient(s: Tree) -> Groups:
    """Every coefficient as a group of its own, named by its number in the order of the leaves."""
    sizes = [leaf[0].numel() for leaf in tree.leaves(s)]
    numbers = torch.arange(sum(sizes)).split(sizes)
    labels = [n.reshape(leaf.shape[1:]) for n, leaf in zip(numbers, tree.leaves(s), strict=True)]
    return Groups(tuple(map(str, range(sum(sizes)))), tree.rebuild(s, labels), "coefficient")


def fitted_labels(groups: Groups, s: Tree) -> Tree:
    """The groups' labels with the shape of one sample of s and on its device.

    Raises:
        ShapeError: groups of another structure than s.
    """
    return tree.map_leaves(lambda labels, leaf: labels.expand(leaf.shape[1:]).to(leaf.device), groups.labels, s)


@contextmanager
def eager(model: Any) -> Iterator[None]:
    """Run a compiled model as it was written, so that hooks and tensor subclasses are seen; others run as they are."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    if any(hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in modules):
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield
