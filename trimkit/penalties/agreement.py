"""Agreement of scores with a map that is known to be right: an expert's, or another model's."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import PenaltyError
from trimkit.penalties.base import alive, expand
from trimkit.registry.options import one_of


def agreement(scores: Tree, *, reference: Tree, distance: Literal["cosine", "mse"] = "cosine") -> Tensor:
    """Distance of each row to a given map m: 1 − ⟨a, m⟩/(‖a‖‖m‖), or the mean of (a − m)².

    The cosine form is invariant to scale; a dead row (all scores 0), or a map of zeros, agrees with nothing: value 1,
    no gradient. The mean square asks for the map's scale too; a dead row is pulled towards the map like any other.

    Args:
        scores: real leaves (N, ...).
        reference: a tree that broadcasts to the scores: one map for all samples, or one a sample (N, ...).
        distance: "cosine", in [0, 2], or "mse", ≥ 0.
    Returns:
        (N,) values.
    Raises:
        OptionError: another distance.
        PenaltyError: "cosine" to a map that is all zero.
        ShapeError: a map that does not fit.
    """
    one_of("agreement", ("cosine", "mse"), distance=distance)
    a, m = tree.rows(scores), tree.rows(expand("agreement: the reference", reference, scores))
    if distance == "mse":
        return (a - m).square().mean(1)
    if not bool(m.any()):
        raise PenaltyError("agreement: the reference is all zero, and no direction agrees with it; mark some scores")
    live = alive(a) & alive(m)
    cosine = (_unit(a, live) * _unit(m, live)).sum(1)
    return torch.where(live, 1 - cosine, torch.ones_like(cosine))


def _unit(values: Tensor, live: Tensor) -> Tensor:
    """Rows of length 1, those that are not alive replaced before dividing."""
    safe = torch.where(live[:, None], values, torch.ones_like(values))
    safe = safe / safe.detach().abs().amax(1, keepdim=True)
    return safe / torch.linalg.vector_norm(safe, dim=1, keepdim=True)
