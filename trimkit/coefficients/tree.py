"""Trees of tensors: the shape that coefficients and scores have.

A tree is a tensor, or a tuple, list or dict of trees; every leaf has the batch first. torch's own pytree is private, so
these few functions are ours. Dicts keep their order of insertion; a named tuple stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

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
    return list(_walk(tree))


def _walk(tree: Tree) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for child in tree.values():
            yield from _walk(child)
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
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
        *others: trees of the same structure; dicts are matched by key, in any order.
    Returns:
        A tree of the structure of ``tree``.
    Raises:
        ShapeError: the trees differ in structure or keys.
    """
    columns = [leaves(tree), *(leaves(_in_order_of(tree, other)) for other in others)]
    if len({len(column) for column in columns}) > 1:
        raise ShapeError(
            f"expected trees of one structure, got {[len(c) for c in columns]} leaves; "
            "build the second tree from the first, e.g. with trimkit.coefficients.tree.map_leaves"
        )
    return rebuild(tree, [function(*row) for row in zip(*columns, strict=True)])


def _in_order_of(like: Tree, other: Tree) -> Tree:
    """The other tree with the order of keys of the first, wherever both have a dict."""
    if isinstance(like, Mapping) and isinstance(other, Mapping):
        if set(like) != set(other):
            raise ShapeError(f"expected a tree with the keys {sorted(like)}, got {sorted(other)}")
        return {key: _in_order_of(like[key], other[key]) for key in like}
    if isinstance(like, Tensor | Mapping) or isinstance(other, Tensor | Mapping) or len(like) != len(other):
        return other
    return [_in_order_of(a, b) for a, b in zip(like, other, strict=True)]


def rebuild(like: Tree, tensors: Sequence[Tensor]) -> Tree:
    """Put tensors, in the order of `leaves`, into the structure of another tree."""
    supply = iter(tensors)

    def build(node: Tree) -> Tree:
        if isinstance(node, Tensor):
            return next(supply)
        if isinstance(node, Mapping):
            return type(node)((key, build(child)) for key, child in node.items())  # type: ignore[call-arg]
        children = [build(child) for child in node]
        if hasattr(node, "_fields"):
            return type(node)(*children)
        return type(node)(children)  # type: ignore[call-arg]

    return build(like)


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
    return torch.cat([leaf.reshape(size, -1) for leaf in flat], dim=1)


def sample_sums(tree: Tree) -> Tensor:
    """Sum of all entries of each sample: leaves (N, ...) → (N,)."""
    return torch.stack([leaf.flatten(1).sum(1) if leaf.ndim > 1 else leaf for leaf in leaves(tree)]).sum(0)


def concatenate(trees: Sequence[Tree]) -> Tree:
    """Join trees of one structure along the batch, leaf by leaf."""
    columns = zip(*(leaves(_in_order_of(trees[0], tree)) for tree in trees), strict=True)
    return rebuild(trees[0], [torch.cat(column) for column in columns])


def add(trees: Sequence[Tree]) -> Tree:
    """Sum of trees of one structure, leaf by leaf."""
    first, *rest = trees
    return map_leaves(lambda *column: torch.stack(column).sum(0), first, *rest) if rest else first
