"""A tensor that carries, beside itself, the part of it that is due to each of several groups of coefficients.

The pair (relevant, irrelevant) of contextual decomposition, Murdoch et al. 2018 and Singh et al. 2019, is stored as
(relevant, total): the irrelevant part is the rest, so that the two cannot drift apart, and one total serves all groups.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from trimkit.attributions.carrier import Call, Carrier, Rule

SHAPLEY: ContextVar[bool] = ContextVar("SHAPLEY", default=False)
"""Whether activations average the relevant part's effect over both orders; `decompose` sets it."""

RULES: dict[str, Rule] = {}
"""The rule of each operation by its name without the underscore of in-place ones; `rules` enters them."""


class Pair(Carrier):
    """A tensor (N, ...) with its relevant parts (G, N, ...), one for each of G groups.

    Attributes:
        relevant: (G, N, ...) the part that is due to each group.
    """

    relevant: Tensor
    parts = ("total", "relevant")
    rules = RULES
    method = "contextual decomposition"

    def __repr__(self) -> str:
        with torch._C.DisableTorchFunctionSubclass():
            return f"Pair(shape={tuple(self.total.shape)}, groups={len(self.relevant)})"

    @property
    def irrelevant(self) -> Tensor:
        """(G, N, ...) what is left of the total for each group."""
        return self.total - self.relevant


def relevants(call: Call) -> Any:
    """The result of an operation on the relevant parts, group by group."""
    return on_groups(lambda *values: call.on(values), *(pair.relevant for pair in call.pairs))


def on_groups(function: Callable[..., Any], *relevant: Tensor) -> Any:
    """Apply a function of tensors (N, ...) to each group of tensors (G, N, ...), all groups in one batch."""
    return torch.func.vmap(function)(*relevant)


def add_constant(pair: Pair, constant: Any) -> Pair:
    """Add a constant, shared in proportion to the magnitudes of the two parts: |β| / (|β| + |γ|) of it is relevant.

    Of −∞, a mask before softmax, nothing is.
    """
    shared = constant.masked_fill(torch.isneginf(constant), 0) if isinstance(constant, Tensor) else constant

    def part(relevant: Tensor) -> Tensor:
        own = relevant.abs()
        whole = own + (pair.total - relevant).abs()
        return relevant + own / whole.clamp_min(torch.finfo(whole.dtype).tiny) * shared  # of nothing, nothing

    return Pair(pair.total + constant, on_groups(part, pair.relevant))


def lift(value: Any, like: Pair) -> Pair:
    """A constant as a pair, of which nothing is relevant; a pair as it is."""
    if isinstance(value, Pair):
        return value
    total = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return Pair(total, total.new_zeros(len(like.relevant), *total.shape))
