"""Scores where there should be none: right for the right reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from weakref import finalize

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import PenaltyError, ShapeError
from trimkit.penalties.base import alive, row

Mask: TypeAlias = Tree | str | Sequence[str] | Sequence[Any]
"""A tree of tensors, arrays or nested lists of numbers; or names of groups."""


def masked(scores: Tree, *, mask: Mask, groups: Groups | None = None) -> Tensor:
    """Sum of squared scores in forbidden coefficients, Σ_j M_j a_j², as in Ross et al. 2017, eq. 1.

    Ross et al. score with the gradient of the summed log-probabilities: attribution "saliency" and
    ``target=trimkit.targets.log_probabilities``. Quadratic in the scale of the scores. A row without score in the
    mask has value 0 and no gradient.

    Args:
        scores: real leaves (N, ...).
        mask: non-zero (or True) where scores are forbidden: a tree that broadcasts to one sample's scores (tensors,
            arrays or nested lists of numbers), or the names of forbidden groups.
        groups: the transform's named groups; `trimkit.TrimPenalty` passes them.
    Returns:
        (N,) values ≥ 0.
    Raises:
        PenaltyError: group names without groups, or a mask that forbids nothing (a mask on another device than the
            CPU is not asked, since that would wait for the device at every step).
        ShapeError: a mask that does not fit, or is no mask.
    """
    return (tree.rows(scores).square() * _weights("masked", mask, scores, groups)).sum(1)


def contrast(scores: Tree, *, mask: Mask, groups: Groups | None = None) -> Tensor:
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
        PenaltyError, ShapeError: as in `masked`.
    """
    values = tree.rows(scores)
    forbidden = _weights("contrast", mask, scores, groups)
    margin = (values * (2 * forbidden - 1)).sum(1)
    return torch.sigmoid(torch.where(alive(values), margin, margin.detach() * 0))


_Key: TypeAlias = tuple[Any, ...]

_ROWS: dict[int, dict[_Key, Tensor]] = {}
"""id of groups → what masks by name were resolved to; gone with the groups."""


def _weights(name: str, mask: Mask, scores: Tree, groups: Groups | None) -> Tensor:
    """The mask as a row that fits the scores', (1, n)."""
    names = _group_names(mask)
    if names is None:
        return _resolved(name, _as_tree(name, mask), scores)
    if groups is None:
        raise PenaltyError(f"{name}: group names {list(names)} need groups=transform.groups(size)")
    rows_by_name = _rows_of(groups)
    leaves = tree.leaves(scores)
    key = (names, leaves[0].dtype, leaves[0].device, *(leaf.shape[1:] for leaf in leaves))
    if key not in rows_by_name:
        with torch.inference_mode(False):  # what is kept must serve training too
            rows_by_name[key] = _resolved(name, groups.mask(names), scores)
    return rows_by_name[key]


def _resolved(name: str, mask: Tree, scores: Tree) -> Tensor:
    weights = row(f"{name}: the mask", mask, scores)
    leaves = tree.leaves(mask)
    if all(leaf.device.type == "cpu" for leaf in leaves) and not any(bool(leaf.any()) for leaf in leaves):
        raise PenaltyError(f"{name}: the mask forbids nothing (all zero); mark at least one coefficient")
    return weights


def _rows_of(groups: Groups) -> dict[_Key, Tensor]:
    if id(groups) not in _ROWS:
        _ROWS[id(groups)] = {}
        finalize(groups, _ROWS.pop, id(groups), None)
    return _ROWS[id(groups)]


def _group_names(mask: Mask) -> tuple[str, ...] | None:
    names = [mask] if isinstance(mask, str) else mask
    if isinstance(names, Sequence) and names and all(isinstance(entry, str) for entry in names):
        return tuple(names)  # type: ignore[arg-type]
    return None


def _as_tree(name: str, mask: Any) -> Tree:
    """A mask with its numbers, arrays and nested lists of numbers as tensors."""
    if isinstance(mask, Tensor):
        return mask
    if isinstance(mask, Mapping):
        return type(mask)((key, _as_tree(name, child)) for key, child in mask.items())  # type: ignore[call-arg]
    if isinstance(mask, Sequence) and not isinstance(mask, str) and not _numeric(mask):
        return [_as_tree(name, child) for child in mask]
    try:
        return torch.tensor(mask)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(
            f"{name}: expected a mask of tensors, arrays or numbers, or names of groups, got {type(mask).__name__} "
            f"({error}); convert it, e.g. with torch.as_tensor"
        ) from error


def _numeric(mask: Sequence[Any]) -> bool:
    """True for a (nested) list of numbers, which is one tensor and not a tree of several."""
    return all(
        _numeric(entry) if isinstance(entry, list | tuple) else isinstance(entry, bool | int | float) for entry in mask
    )
