"""Where coefficients count as absent, and the difference to there."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError

Baseline: TypeAlias = float | Tree | None
"""Where coefficients are "absent": None for zeros, a number, or a tree that broadcasts to the coefficients."""


def product(gradient: Tree, difference: Tree) -> Tree:
    """Real product of gradient and difference: g·Δ, for complex leaves Re(conj(g)·Δ), which is what sums to a change
    of f.
    """

    def leaf(g: Tensor, d: Tensor) -> Tensor:
        return (g.conj() * d).real if g.is_complex() else g * d

    return tree.map_leaves(leaf, gradient, difference)


def difference(s: Tree, baseline: Tree | None) -> Tree:
    """s − s₀, leaf by leaf; s itself where s₀ is None, which stands for zeros."""
    return s if baseline is None else tree.map_leaves(torch.sub, s, baseline)


def number_of(baseline: Baseline) -> float | None:
    """A baseline that is one number, of Python, numpy or a tensor without axes; None for any other.

    >>> number_of(0.5), number_of(torch.ones(2)) is None
    (0.5, True)
    """
    if isinstance(baseline, numbers.Real) or (isinstance(baseline, Tensor) and not baseline.ndim):
        return float(baseline)
    return None


def expand_baseline(baseline: Baseline, s: Tree) -> Tree:
    """A baseline with the structure and shape of s, constant: no gradient flows to it.

    Raises:
        ShapeError: a baseline that does not broadcast to s.
    """
    number = number_of(baseline)
    if baseline is None or number is not None:
        value = number or 0.0
        if not math.isfinite(value):
            raise ShapeError(f"expected a finite baseline, got {value}")
        return tree.map_leaves(lambda leaf: leaf.detach().new_full((), value).expand_as(leaf), s)
    if not isinstance(baseline, Tensor | Mapping | Sequence) or isinstance(baseline, str):
        raise ShapeError(
            f"expected None, a number or a tree of tensors as baseline, got {type(baseline).__name__}; "
            "convert it, e.g. with torch.as_tensor"
        )

    def leaf(base: Tensor, like: Tensor) -> Tensor:
        """One leaf of the baseline, as large as its coefficients."""
        try:
            return base.detach().to(like).expand_as(like)
        except RuntimeError as error:
            raise ShapeError(
                f"expected a baseline that broadcasts to coefficients {tuple(like.shape)}, got {tuple(base.shape)}"
            ) from error

    if isinstance(baseline, Tensor) and isinstance(s, Tensor):
        return leaf(baseline, s)
    return tree.map_leaves(lambda like, base: leaf(base, like), s, baseline)
