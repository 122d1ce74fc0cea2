"""Scores where there should be none: right for the right reasons."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit import tree
from trimkit.errors import PenaltyError
from trimkit.groups import Groups
from trimkit.penalties.base import alive, row
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
    return (tree.rows(scores).square() * _weights("masked", mask, scores, groups)).sum(1)


def contrast(scores: Tree, *, mask: Tree | str | Sequence[str], groups: Groups | None = None) -> Tensor:
    """softmax([R, I])_R = sigmoid(R − I): what the forbidden coefficients contribute, against the rest.

    R = Σ_j M_j a_j and I = Σ_j (1 − M_j) a_j. With scores of a complete attribution R + I = f(x) − f(x₀), and this is
    the bounded term of Rieger et al. 2020 (CDEP) for the one output that is explained; they average over all classes,
    with contextual decomposition as the scores. Contributions keep their sign: evidence against the output lowers R.
    Not invariant to scale: large logits saturate it. A dead row (all scores 0) has value ½ and no gradient.

    Args:
        scores: real leaves (N, ...), contributions with their sign.
        mask: non-zero (or True) where scores are forbidden, as in `masked`.
        groups: the transform's named groups; `trimkit.TrimPenalty` passes them.
    Returns:
        (N,) values in (0, 1).
    Raises:
        PenaltyError: group names without groups, or a mask that forbids nothing.
        ShapeError: a mask that does not fit.
    """
    values = tree.rows(scores)
    forbidden = _weights("contrast", mask, scores, groups)
    margin = (values * (2 * forbidden - 1)).sum(1)
    return torch.sigmoid(torch.where(alive(values), margin, margin.detach() * 0))


def _weights(name: str, mask: Tree | str | Sequence[str], scores: Tree, groups: Groups | None) -> Tensor:
    """The mask as a row that fits the scores', (1, n)."""
    weights = row(f"{name}: the mask", _named(name, mask, groups), scores)
    if not bool(weights.any()):
        raise PenaltyError(f"{name}: the mask forbids nothing (all zero); mark at least one coefficient")
    return weights


def _named(name: str, mask: Tree | str | Sequence[str], groups: Groups | None) -> Tree:
    names = [mask] if isinstance(mask, str) else mask
    if isinstance(names, Sequence) and names and all(isinstance(entry, str) for entry in names):
        if groups is None:
            raise PenaltyError(f"{name}: group names {list(names)} need groups=transform.groups(size)")
        return groups.mask(names)  # type: ignore[arg-type]
    return torch.as_tensor(mask) if isinstance(mask, (bool, int, float)) else mask  # type: ignore[return-value]
