"""A penalty is a pure function of scores: real leaves (N, ...) → (N,)."""

from __future__ import annotations

from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError


def log_sum(scores: Tree, *, epsilon: float = 0.1) -> Tensor:
    """Σ log(1 + |s| / ε): closer to a count of what is not zero than l1 is (Candès, Wakin & Boyd 2008, eq. 8).

    Args:
        scores: real leaves (N, ...).
        epsilon: magnitude below which it acts like l1, > 0.
    Returns:
        (N,) values ≥ 0.
    Raises:
        OptionError: ε is not above 0.
    """
    if not epsilon > 0:
        raise OptionError(f"epsilon: expected a magnitude > 0, got {epsilon}")
    return (tree.rows(scores).abs() / epsilon).log1p().sum(1)
