"""Sparsity of scores: few coefficients should matter."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trimkit import tree
from trimkit.errors import ShapeError
from trimkit.penalties.base import alive, measure
from trimkit.tree import Tree


def l1(scores: Tree) -> Tensor:
    """Sum of magnitudes of each sample, ‖a‖₁, as in Ha et al. 2021 (there divided by the number of scales).

    Proportional to the scale of the scores: a constant model minimises it, so watch the task's loss. The gradient at
    an exact 0 is 0. A dead row (all scores 0) has value 0 and no gradient.

    Args:
        scores: real leaves (N, ...).
    Returns:
        (N,) values ≥ 0.
    """
    return tree.rows(scores).abs().sum(1)


@measure
def hoyer(scores: Tree) -> Tensor:
    """Hoyer sparsity of each row: 1 for one non-zero entry, 0 for equal magnitudes.

    (√n − ‖a‖₁/‖a‖₂) / (√n − 1), Hoyer 2004. Invariant to scale. Dead rows (all scores 0) return 0 without gradient. A
    measure: `trimkit.TrimPenalty` minimises 1 − hoyer.

    Args:
        scores: real leaves (N, ...).
    Returns:
        (N,) values in [0, 1].
    Raises:
        ShapeError: fewer than two entries a row.
    """
    a = tree.rows(scores).abs()
    n = a.shape[1]
    if n < 2:
        raise ShapeError(f"hoyer: expected at least two scores a sample, got {n}; sparsity of one number says nothing")
    live = alive(a)
    safe = torch.where(live[:, None], a, torch.ones_like(a))  # before dividing: 0/0 would send NaN back
    safe = safe / safe.detach().amax(1, keepdim=True)  # squares of tiny or huge scores leave the range of floats
    ratio = safe.sum(1) / torch.linalg.vector_norm(safe, dim=1)
    sparsity = (math.sqrt(n) - ratio) / (math.sqrt(n) - 1)
    return torch.where(live, sparsity, torch.zeros_like(sparsity))
