"""Changes through recurrent cells: gates pass, signals carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from trimkit.attributions.relevance.twin import Twin


class SignalTakesAll:
    """Relevance through a gate · signal: all to the signal, as far as that is exact.

    Arras et al. 2017 (1706.07206) give the gate nothing. Δ(a b) = a Δb + b₀ Δa with gate a and signal b is that rule
    where the signal's reference b₀ is 0, and sums to the change anywhere.
    """

    def lift(self, value: Any, like: Twin) -> Twin:
        """A constant does not change."""
        return value if isinstance(value, Twin) else Twin(value, value, value.new_zeros(value.shape))

    def linear(self, x: Any, weight: Tensor, bias: Tensor | None) -> Any:
        """A linear layer."""
        return F.linear(x, weight, bias)

    def add(self, first: Any, second: Any) -> Any:
        """A sum."""
        return first + second

    def activate(self, function: Callable[[Tensor], Tensor], value: Any) -> Any:
        """The slope of the chord."""
        return function(value)

    def gate(self, gate: Twin, signal: Twin) -> Twin:
        """a Δb + b₀ Δa."""
        change = gate.total * signal.change + signal.reference * gate.change
        return Twin(gate.total * signal.total, gate.reference * signal.reference, change)

    def expose(self, gate: Twin, signal: Twin) -> Twin:
        """As `gate`."""
        return self.gate(gate, signal)

    def rest(self, gate: Any) -> Any:
        """1 − gate."""
        return 1 - gate

    def read(self, state: Any) -> Any:
        """As it is."""
        return state

    def write(self, value: Any) -> Any:
        """As it is."""
        return value
