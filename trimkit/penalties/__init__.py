"""Penalties: scores → one number a sample. What it means for an explanation to be desirable."""

from trimkit.penalties.base import Penalty, dead_rows, is_measure, measure
from trimkit.penalties.mask import masked
from trimkit.penalties.sparsity import hoyer, l1

__all__ = ["Penalty", "dead_rows", "hoyer", "is_measure", "l1", "masked", "measure"]
