"""A tensor with what it is at the reference, and the linear map from the change of the input to the change of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trimkit.attributions.contextual.pair import Call, Pair, operation, out_of_place, refuse

Rule: TypeAlias = "Callable[[Call], Any]"

RULES: dict[str, Rule] = {}
"""The rule of each operation by its name without the underscore of in-place ones; `rules` enters them."""

METHOD = "layerwise relevance"


class Twin(Pair):
    """f(s) and f(s₀) of one intermediate result, and their difference as a linear function of s − s₀.

    Attributes:
        total: (N, ...) what the model computes.
        reference: (N, ...) what it computes at the reference.
        change: total − reference, computed by maps that are linear in the change of the input, so that its gradient
            there are the multipliers of Shrikumar et al. 2017.
        is_root, divides: made by a square root, or by the reciprocal of one: what a norm divides by.
    """

    reference: Tensor
    change: Tensor
    is_root: bool = False
    divides: bool = False

    @staticmethod
    def __new__(cls: type[Twin], total: Tensor, reference: Tensor, change: Tensor) -> Twin:
        """Join the three."""
        twin = Tensor._make_wrapper_subclass(cls, total.shape, dtype=total.dtype, device=total.device)
        twin.total, twin.reference, twin.change = total, reference, change
        return twin

    def __repr__(self) -> str:
        with torch._C.DisableTorchFunctionSubclass():
            return f"Twin(shape={tuple(self.total.shape)})"

    @property
    def middle(self) -> Tensor:
        """Between both."""
        return (self.total + self.reference) / 2

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Apply the rule for an operation; an operation in place puts the result into its first argument.

        Raises:
            AttributionError: there is no rule for it.
        """
        kwargs = dict(kwargs or {})
        name = operation(func)
        inplace = bool(kwargs.pop("inplace", False)) or (name.endswith("_") and not name.endswith("__"))
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None or kwargs.get("out") is not None or (inplace and not isinstance(args[0], Twin)):
            refuse(name, method=METHOD)
        if not inplace:
            return rule(Call(func, name, args, kwargs))
        result = rule(Call(out_of_place(func, name), name.removesuffix("_"), args, kwargs))
        into = args[0]
        into.total, into.reference, into.change = result.total, result.reference, result.change
        return into
