"""What a penalty is: a pure function of scores, one value a sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from torch import Tensor

from trimkit import tree
from trimkit.tree import Tree

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


def alive(values: Tensor) -> Tensor:
    """(N, n) → (N,): False for dead rows, whose scores are all exactly 0. A row with NaN is alive, and stays NaN."""
    return (values != 0).any(dim=1)


def dead_rows(scores: Tree) -> Tensor:
    """Number of samples whose scores are all exactly 0, as a 0-dim integer tensor on the scores' device."""
    return (~alive(tree.rows(scores))).sum()
