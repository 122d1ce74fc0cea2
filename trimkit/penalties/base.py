"""What a penalty is: a pure function of scores, one value a sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import PenaltyError, ShapeError

Penalty: TypeAlias = Callable[[Tree], Tensor]
"""Scores, leaves (N, ...) → (N,)."""

F = TypeVar("F", bound=Callable[..., Tensor])


def measure(function: F) -> F:
    """Mark a function as a measure in [0, 1] of which more is better (Hoyer, Gini): a loss minimises 1 − value."""
    function.is_measure = True  # type: ignore[attr-defined]
    return function


def is_measure(penalty: Any) -> bool:
    """True for a function marked by `measure`, also behind functools.partial."""
    return getattr(penalty.func if isinstance(penalty, partial) else penalty, "is_measure", False)


def scale_invariant(function: F) -> F:
    """Mark a function whose value does not change when all scores are multiplied by c > 0."""
    function.is_scale_invariant = True  # type: ignore[attr-defined]
    return function


def is_scale_invariant(penalty: Any) -> bool:
    """True for a function marked by `scale_invariant`, also behind functools.partial.

    >>> from trimkit.penalties import hoyer, l1
    >>> is_scale_invariant(hoyer), is_scale_invariant(l1)
    (True, False)
    """
    return getattr(penalty.func if isinstance(penalty, partial) else penalty, "is_scale_invariant", False)


def signed(function: F) -> F:
    """Mark a function whose scores must carry their sign: magnitudes of gradients would make it say nothing.

    >>> @signed
    ... def positive_part(scores):
    ...     return scores.clamp(min=0).flatten(1).sum(1)
    >>> positive_part.needs_signs
    True
    """
    function.needs_signs = True  # type: ignore[attr-defined]
    return function


def needs_signs(penalty: Any) -> bool:
    """True for a function marked by `signed`, also behind functools.partial."""
    return getattr(penalty.func if isinstance(penalty, partial) else penalty, "needs_signs", False)


def require_groups(name: str, groups: Groups | None) -> Groups:
    """The groups, or what to do where there are none.

    Raises:
        PenaltyError: groups is None.
    """
    if groups is None:
        raise PenaltyError(
            f"{name} needs groups of coefficients: pass groups=transform.groups(size), or use it in trimkit.TrimPenalty"
        )
    return groups


def expand(name: str, given: Tree, like: Tree) -> Tree:
    """Broadcast a given tree to the shapes of another.

    Args:
        name: of what is given, for the message, such as "masked: the mask".
        given: a tensor, or a tree of the structure of ``like``.
        like: gives shapes, dtype and device.
    Raises:
        ShapeError: it does not fit.
    """

    def leaf(target: Tensor, tensor: Tensor) -> Tensor:
        try:
            return tensor.to(target).expand(target.shape)
        except RuntimeError as error:
            raise ShapeError(
                f"{name} must be one that broadcasts to {tuple(target.shape)}, got {tuple(tensor.shape)}"
            ) from error

    if isinstance(given, Tensor) and isinstance(like, Tensor):
        return leaf(like, given)
    return tree.map_leaves(leaf, like, given)


def row(name: str, given: Tree, scores: Tree) -> Tensor:
    """Weights for one sample's scores, broadcast to them and laid out like `trimkit.coefficients.tree.rows`: (1, n).

    Raises:
        ShapeError: they do not fit.
    """
    fitted = expand(name, given, tree.map_leaves(lambda leaf: leaf[0].detach(), scores))
    return tree.rows(tree.map_leaves(lambda leaf: leaf[None], fitted))


def alive(values: Tensor) -> Tensor:
    """(N, n) → (N,): False for dead rows, whose scores are all exactly 0. A row with NaN is alive, and stays NaN.

    >>> import torch
    >>> alive(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    tensor([False,  True])
    """
    return (values != 0).any(dim=1)


def dead_rows(scores: Tree) -> Tensor:
    """Number of samples whose scores are all exactly 0, as a 0-dim integer tensor on the scores' device."""
    return (~alive(tree.rows(scores))).sum()
