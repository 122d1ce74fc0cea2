"""Smoothness of scores: neighbours should matter alike."""

from __future__ import annotations

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError
from trimkit.registry.options import one_of


def total_variation(scores: Tree, *, dims: int | None = None) -> Tensor:
    """Σ |a_i − a_j| over neighbours i, j along the trailing axes of each leaf, the pixel prior of Erion et al. 2021.

    Of the scores as they are, with their signs. Proportional to the scale of the scores; the gradient between equal
    neighbours is 0. A dead row (all scores 0) has value 0 and no gradient.

    Args:
        scores: real leaves (N, ...).
        dims: how many trailing axes have neighbours, 1 or 2; by default two for leaves (N, C, H, W), else one.
    Returns:
        (N,) values ≥ 0.
    Raises:
        OptionError: dims that is neither 1 nor 2.
        ShapeError: too few axes, or no leaf with two neighbours.
    """
    one_of("total_variation", (None, 1, 2), dims=dims)
    tree.rows(scores)  # refuses complex scores and empty batches
    steps = [step for leaf in tree.leaves(scores) for step in _steps(leaf, dims)]
    if not any(step.numel() for step in steps):
        raise ShapeError("total_variation: expected at least two neighbours along an axis; no score here has one")
    return torch.stack([step.abs().flatten(1).sum(1) for step in steps]).sum(0)


def _steps(leaf: Tensor, dims: int | None) -> list[Tensor]:
    """Differences of neighbours along each trailing axis."""
    along = dims or (2 if leaf.ndim >= 4 else 1)
    if leaf.ndim <= along:
        raise ShapeError(f"total_variation: expected scores with {along} axes a sample, got {tuple(leaf.shape[1:])}")
    return [leaf.diff(dim=axis) for axis in range(-along, 0)]
