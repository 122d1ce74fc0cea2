"""A tensor with what it is at the reference, and the linear map from the change of the input to the change of it."""

from __future__ import annotations

from torch import Tensor

from trimkit.attributions.carrier import Carrier, Rule

RULES: dict[str, Rule] = {}
"""The rule of each operation by its name without the underscore of in-place ones; `rules` enters them."""

PLAIN: dict[str, Rule] = {}
"""The rules of what asks for shape or kind only."""

METHOD = "layerwise relevance"


class Twin(Carrier):
    """f(s) and f(s₀) of one intermediate result, and their difference as a linear function of s − s₀.

    Attributes:
        reference: (N, ...) what the model computes at the reference.
        change: total − reference, computed by maps that are linear in the change of the input, so that its gradient
            there are the multipliers of Shrikumar et al. 2017.
        is_root, divides: made by a square root, or by the reciprocal of one: what a norm divides by.
    """

    reference: Tensor
    change: Tensor
    is_root: bool = False
    divides: bool = False
    parts = ("total", "reference", "change")
    rules = RULES
    method = METHOD

    @property
    def middle(self) -> Tensor:
        """Between both."""
        return (self.total + self.reference) / 2


class Places(Twin):
    """Where the largest entries are, which is elsewhere at the reference: what reads entries there has no rule."""

    rules = PLAIN
