"""Penalties: scores → one number a sample. What it means for an explanation to be desirable."""

from trimkit.penalties.agreement import agreement
from trimkit.penalties.base import (
    Penalty,
    dead_rows,
    is_measure,
    is_scale_invariant,
    measure,
    needs_signs,
    scale_invariant,
    signed,
)
from trimkit.penalties.gate import Gate, l0_gate
from trimkit.penalties.mask import contrast, masked
from trimkit.penalties.monotonicity import isotonic, isotonic_regression, monotone_gradient, monotone_order
from trimkit.penalties.sampling import Points, UniformBox
from trimkit.penalties.smoothness import total_variation
from trimkit.penalties.sparsity import entropy, gini, group_l1, hoyer, l1

__all__ = [
    "Gate",
    "Penalty",
    "Points",
    "UniformBox",
    "agreement",
    "contrast",
    "dead_rows",
    "entropy",
    "gini",
    "group_l1",
    "hoyer",
    "is_measure",
    "is_scale_invariant",
    "isotonic",
    "isotonic_regression",
    "l0_gate",
    "l1",
    "masked",
    "measure",
    "monotone_gradient",
    "monotone_order",
    "needs_signs",
    "scale_invariant",
    "signed",
    "total_variation",
]
