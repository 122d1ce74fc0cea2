"""Trees of tensors: the shape that coefficients and scores have.

A tree is a tensor, or a tuple, list or dict of trees; every leaf has the batch first. torch's own pytree is private, so
these few functions are ours. Dicts keep their order of insertion; a named tuple stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeGuard

import torch
from torch import Tensor

from trimkit.errors import ShapeError

Tree: TypeAlias = Tensor | Sequence["Tree"] | Mapping[str, "Tree"]
"""Coefficients or scores: a tensor, or a (nested) tuple, list or dict of tensors, batch first."""


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order.

    Raises:
        ShapeError: something in the tree is neither a tensor nor a tuple, list or dict.
    """
    return [tree] if isinstance(tree, Tensor) else list(_walk(tree))


def _walk(tree: Tree) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for child in tree.values():
            yield from _walk(child)
    elif _is_sequence(tree):
        for child in tree:
            yield from _walk(child)
    else:
        raise ShapeError(
            f"expected a tensor or a tuple, list or dict of tensors, got {type(tree).__name__}; "
            "convert it, e.g. with torch.as_tensor"
        )


def map_leaves(function: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """Apply a function to the corresponding leaves of one or several trees.

    Args:
        function: takes one leaf of each tree.
        tree: gives the structure of the result.
        *others: trees of the same structure.
    Returns:
        A tree of the structure of ``tree``.
    Raises:
        ShapeError: the trees differ in structure.
    """
    if isinstance(tree, Tensor) and (not others or all(isinstance(other, Tensor) for other in others)):
        return function(tree, *others)
    columns = [leaves(tree), *(matched_leaves(tree, other) for other in others)]
    return rebuild(tree, [function(*row) for row in zip(*columns, strict=True)])


def matched_leaves(tree: Tree, other: Tree) -> list[Tensor]:
    """The leaves of another tree in the order of the first one: those of dicts by key, others by position.

    Raises:
        ShapeError: the trees differ in structure.

    >>> one, other = torch.zeros(1), torch.ones(1)
    >>> matched_leaves({"a": one, "b": other}, {"b": other, "a": one})      # by key, whatever the order
    [tensor([0.]), tensor([1.])]
    """
    return list(_walk_beside(tree, other))


def _walk_beside(tree: Tree, other: Tree) -> Iterator[Tensor]:
    if isinstance(tree, Tensor) and isinstance(other, Tensor):
        yield other
    elif isinstance(tree, Mapping) and isinstance(other, Mapping) and tree.keys() == other.keys():
        for key, child in tree.items():
            yield from _walk_beside(child, other[key])
    elif _is_sequence(tree) and _is_sequence(other) and len(tree) == len(other):
        for child, beside in zip(tree, other, strict=True):
            yield from _walk_beside(child, beside)
    else:
        raise ShapeError(
            f"expected trees of one structure, got {_structure(tree)} and {_structure(other)}; "
            "build the second tree from the first, e.g. with trimkit.coefficients.tree.map_leaves"
        )


def _is_sequence(tree: Tree) -> TypeGuard[Sequence[Tree]]:
    return isinstance(tree, Sequence) and not isinstance(tree, str)


def _structure(tree: Tree) -> str:
    if isinstance(tree, Mapping):
        return f"a dict with {', '.join(map(repr, tree)) or 'no keys'}"
    return f"{len(tree)} parts" if _is_sequence(tree) else f"one {type(tree).__name__}"


def rebuild(like: Tree, tensors: Sequence[Tensor]) -> Tree:
    """Put tensors, in the order of `leaves`, into the structure of another tree."""
    return _build(like, iter(tensors))


def _build(node: Tree, supply: Iterator[Tensor]) -> Tree:
    if isinstance(node, Tensor):
        return next(supply)
    if isinstance(node, Mapping):
        return type(node)((key, _build(child, supply)) for key, child in node.items())  # type: ignore[call-arg]
    children = [_build(child, supply) for child in node]
    if hasattr(node, "_fields"):
        return type(node)(*children)
    return type(node)(children)  # type: ignore[call-arg]


def batch_size(tree: Tree) -> int:
    """Number of samples N, the length of every leaf's first dimension.

    Raises:
        ShapeError: no leaf, a leaf without batch dimension, leaves that disagree, or N = 0.
    """
    sizes = {leaf.shape[0] if leaf.ndim else -1 for leaf in leaves(tree)}
    if len(sizes) != 1 or -1 in sizes:
        raise ShapeError(f"expected leaves that share their first dimension (the batch), got sizes {sorted(sizes)}")
    (size,) = sizes
    if size == 0:
        raise ShapeError("expected at least one sample, got an empty batch")
    return size


def rows(tree: Tree) -> Tensor:
    """Flatten a tree of real scores to one row a sample.

    Args:
        tree: leaves (N, ...), real.
    Returns:
        (N, n), the leaves side by side.
    Raises:
        ShapeError: complex leaves, or an empty or inconsistent batch.
    """
    size = batch_size(tree)
    flat = leaves(tree)
    if any(leaf.is_complex() for leaf in flat):
        raise ShapeError("expected real scores, got complex ones; scores of complex coefficients are Re(conj(g)·Δ)")
    columns = [leaf if leaf.ndim == 2 else leaf.reshape(size, -1) for leaf in flat]
    return torch.cat(columns, dim=1) if len(columns) > 1 else columns[0]


def sample_sums(tree: Tree) -> Tensor:
    """Sum of all entries of each sample: leaves (N, ...) → (N,)."""
    sums = [leaf.flatten(1).sum(1) if leaf.ndim > 1 else leaf for leaf in leaves(tree)]
    return torch.stack(sums).sum(0) if len(sums) > 1 else sums[0]


def concatenate(trees: Sequence[Tree]) -> Tree:
    """Join trees of one structure along the batch, leaf by leaf."""
    columns = zip(*(matched_leaves(trees[0], tree) for tree in trees), strict=True)
    return rebuild(trees[0], [torch.cat(column) for column in columns])


def add(trees: Sequence[Tree]) -> Tree:
    """Sum of trees of one structure, leaf by leaf.

    >>> add([{"a": torch.ones(1)}, {"a": torch.ones(1)}])
    {'a': tensor([2.])}
    """
    first, *rest = trees
    return map_leaves(lambda *column: torch.stack(column).sum(0), first, *rest) if rest else first
