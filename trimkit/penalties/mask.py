"""Scores where there should be none: right for the right reasons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit import tree
from trimkit.errors import PenaltyError, ShapeError
from trimkit.groups import Groups
from trimkit.tree import Tree


def masked(scores: Tree, *, mask: Tree | str | Sequence[str], groups: Groups | None = None) -> Tensor:
    """Sum of squared scores in forbidden coefficients, Σ_j M_j a_j², as in Ross et al. 2017, eq. 1.

    Ross et al. score with the gradient of the summed log-probabilities: attribution "saliency" and
    ``target=trimkit.targets.log_probabilities``. Quadratic in the scale of the scores. A row without score in the
    mask has value 0 and no gradient.

    Args:
        scores: real leaves (N, ...).
        mask: non-zero (or True) where scores are forbidden: a tree that broadcasts to one sample's scores, or the
            names of forbidden groups.
        groups: the transform's named groups; `trimkit.TrimPenalty` passes them.
    Returns:
        (N,) values ≥ 0.
    Raises:
        PenaltyError: group names without groups, or a mask that forbids nothing.
        ShapeError: a mask that does not fit.
    """
    weights = _weights(mask, groups)
    if not any(bool(leaf.any()) for leaf in tree.leaves(weights)):
        raise PenaltyError("masked: the mask forbids nothing (all zero); mark at least one coefficient")

    def leaf(score: Tensor, weight: Tensor) -> Tensor:
        try:
            return score.square() * weight.to(score).expand(score.shape[1:])
        except RuntimeError as error:
            raise ShapeError(
                f"masked: expected a mask that broadcasts to {tuple(score.shape[1:])}, the scores of one sample, "
                f"got {tuple(weight.shape)}"
            ) from error

    if isinstance(scores, Tensor) and isinstance(weights, Tensor):
        return leaf(scores, weights).flatten(1).sum(1)
    return tree.rows(tree.map_leaves(leaf, scores, weights)).sum(1)


def _weights(mask: Tree | str | Sequence[str], groups: Groups | None) -> Tree:
    names = [mask] if isinstance(mask, str) else mask
    if isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names):
        if groups is None:
            raise PenaltyError(f"masked: group names {list(names)} need groups=transform.groups(size)")
        return groups.mask(names)  # type: ignore[arg-type]
    return torch.as_tensor(mask) if isinstance(mask, (bool, int, float)) else mask  # type: ignore[return-value]
