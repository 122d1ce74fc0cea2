"""Contextual decomposition of recurrent cells, as Murdoch et al. 2018 (1801.05453, section 3.2) have it for the LSTM.

Each value of a cell is a sum of three, the relevant part β, the irrelevant γ and the bias b. An activation gives
β' = g(β + b) − g(b), or the mean of that and g(β + γ + b) − g(γ + b) (rule "shapley", the paper's), and b' = g(b). Of a
gate · signal, β' = (β_a + b_a)(β_b + b_b) − b_a b_b is what the relevant parts make with biases; what they make with
irrelevant ones is irrelevant, and so is what biases make alone. The output gate multiplies both parts as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trimkit.attributions.contextual.pair import SHAPLEY, Pair, lift


@dataclass(frozen=True)
class Biased:
    """A value in a cell.

    Attributes:
        total: β + γ + b, (N, width).
        relevant: β of each group, (G, N, width).
        bias: b, (width,) or (N, width).
    """

    total: Tensor
    relevant: Tensor
    bias: Tensor


class Published:
    """The steps of Murdoch et al., and the same for GRU and RNN."""

    def lift(self, value: Any, like: Pair) -> Pair:
        """Nothing of a constant is relevant."""
        return lift(value, like)

    def linear(self, x: Pair, weight: Tensor, bias: Tensor | None) -> Biased:
        """Of both parts; the bias stands alone."""
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return Biased(F.linear(x.total, weight, bias), F.linear(x.relevant, weight), bias)

    def add(self, first: Biased, second: Biased) -> Biased:
        """Part by part."""
        return Biased(first.total + second.total, first.relevant + second.relevant, first.bias + second.bias)

    def activate(self, function: Callable[[Tensor], Tensor], value: Biased) -> Biased:
        """What β makes with the bias alone, or the mean of that and of what it makes of all the rest."""
        total, bias = function(value.total), function(value.bias)
        relevant = function(value.relevant + value.bias) - bias
        if SHAPLEY.get():
            relevant = (relevant + total - function(value.total - value.relevant)) / 2
        return Biased(total, relevant, bias)

    def gate(self, gate: Biased, signal: Biased) -> Biased:
        """Relevant is what relevant parts and biases make, without what biases make alone."""
        both = gate.bias * signal.bias
        relevant = (gate.relevant + gate.bias) * (signal.relevant + signal.bias) - both
        return Biased(gate.total * signal.total, relevant, both)

    def expose(self, gate: Biased, signal: Biased) -> Biased:
        """Times the whole gate."""
        return Biased(gate.total * signal.total, gate.total * signal.relevant, gate.total * signal.bias)

    def rest(self, gate: Biased) -> Biased:
        """1 − gate, whose 1 is a bias."""
        return Biased(1 - gate.total, -gate.relevant, 1 - gate.bias)

    def read(self, state: Pair) -> Biased:
        """A state has no bias."""
        return Biased(state.total, state.relevant, torch.zeros_like(state.total))

    def write(self, value: Biased) -> Pair:
        """What is left of biases is irrelevant."""
        return Pair(value.total, value.relevant)
