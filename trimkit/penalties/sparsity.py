"""Sparsity of scores: few coefficients should matter."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError
from trimkit.penalties.base import alive, measure, require_groups, scale_invariant


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
@scale_invariant
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
    safe, live = _relative("hoyer", scores)
    n = safe.shape[1]
    ratio = safe.sum(1) / torch.linalg.vector_norm(safe, dim=1)
    sparsity = (math.sqrt(n) - ratio) / (math.sqrt(n) - 1)
    return torch.where(live, sparsity, torch.zeros_like(sparsity))


@measure
@scale_invariant
def gini(scores: Tree) -> Tensor:
    """Gini coefficient of each row's magnitudes: 1 − 1/n for one non-zero entry, 0 for equal magnitudes.

    Σ_ij |a_i − a_j| / (2 n Σ_i a_i) = Σ_i (2i − n − 1) a_(i) / (n Σ_i a_i) with a sorted upwards, i = 1 … n. Erion et
    al. 2021 penalise −gini of the batch's mean |a|, which depends on the batch's size; this is each sample's own.
    Invariant to scale. Dead rows (all scores 0) return 0 without gradient. A measure: `trimkit.TrimPenalty` minimises
    1 − gini.

    Args:
        scores: real leaves (N, ...).
    Returns:
        (N,) values in [0, 1 − 1/n].
    Raises:
        ShapeError: fewer than two entries a row.
    """
    safe, live = _relative("gini", scores)
    n = safe.shape[1]
    rank = 2 * torch.arange(1, n + 1, dtype=safe.dtype, device=safe.device) - n - 1
    inequality = (safe.sort(1).values * rank).sum(1) / (n * safe.sum(1))
    return torch.where(live, inequality, torch.zeros_like(inequality))


@scale_invariant
def entropy(scores: Tree, *, normalised: bool = True) -> Tensor:
    """Entropy of the shares p = |a| / Σ|a| of each row: 0 for one non-zero entry, largest for equal magnitudes.

    −Σ p log p, in nats, or divided by log n. Invariant to scale. The slope is infinite as p → 0; at an exact 0 it is
    taken as 0, like that of |a|. Dead rows (all scores 0) count as equal magnitudes, which is never sparse, and have no
    gradient.

    Args:
        scores: real leaves (N, ...).
        normalised: divide by log n, so that rows of different length compare.
    Returns:
        (N,) values in [0, 1], or in [0, log n].
    Raises:
        ShapeError: fewer than two entries a row.
    """
    safe, live = _relative("entropy", scores)
    p = safe / safe.sum(1, keepdim=True)
    logs = torch.where(p == 0, torch.ones_like(p), p).log()  # log 0 would send NaN back
    largest = math.log(p.shape[1])
    entropy_of_rows = torch.where(live, -(p * logs).sum(1), torch.full_like(p[:, 0], largest))
    return entropy_of_rows / largest if normalised else entropy_of_rows


def group_l1(scores: Tree, *, groups: Groups | None = None) -> Tensor:
    """Σ_g √|g| ‖a_g‖₂ over named groups: few groups should matter, whatever happens inside them (Yuan, Lin 2006).

    |g| counts coefficients of the full basis, as `Groups.sizes` does. Proportional to the scale of the
    scores. A group, or a row, whose scores are all exactly 0 has value 0 and no gradient.

    Args:
        scores: real leaves (N, ...).
        groups: the transform's named groups; `trimkit.TrimPenalty` passes them.
    Returns:
        (N,) values ≥ 0.
    Raises:
        PenaltyError: no groups.
        ShapeError: groups of another size.
    """
    groups = require_groups("group_l1", groups)
    flat = tree.rows(scores)
    unit = flat.detach().abs().amax(1, keepdim=True)
    unit = torch.where(unit == 0, torch.ones_like(unit), unit)  # squares of tiny scores would vanish
    squares = groups.sums((flat / unit).square())
    norms = torch.where(squares == 0, torch.ones_like(squares), squares).sqrt()  # the slope of √ at 0 is infinite
    norms = torch.where(squares == 0, torch.zeros_like(norms), norms)
    return (unit * norms * groups.sizes.sqrt().to(norms)).sum(1)


def _relative(name: str, scores: Tree) -> tuple[Tensor, Tensor]:
    """Magnitudes as shares of the row's largest (N, n), dead rows replaced by ones; and which rows are alive (N,)."""
    a = tree.rows(scores).abs()
    if a.shape[1] < 2:
        raise ShapeError(
            f"{name}: expected at least two scores a sample, got {a.shape[1]}; sparsity of one number says nothing"
        )
    live = alive(a)
    safe = torch.where(live[:, None], a, torch.ones_like(a))  # before dividing: 0/0 would send NaN back
    return safe / safe.detach().amax(1, keepdim=True), live  # squares of tiny or huge scores leave the range of floats
