"""What coefficients and scores are: trees of tensors, and named groups of their entries."""

from trimkit.coefficients import groups, tree

__all__ = ["groups", "tree"]
