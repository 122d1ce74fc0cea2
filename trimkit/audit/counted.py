"""The audited model with a count of the samples it is sent: what an audit costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trimkit.audit.examine import output_tensor


@dataclass
class Counter:
    """A number that several wrappers count up together."""

    value: int = 0


class Counted(nn.Module):
    """A model that counts the samples it is sent, and gives its output as a tensor (N, ...) whatever it wraps it in.

    Args:
        model: any callable; a module is called as it is, its mode untouched.
        raw: give its outputs unchanged, for targets that are callables.
        counter: shared with other models of the same audit.
    """

    def __init__(self, model: Callable[[Tensor], Any], raw: bool = False, counter: Counter | None = None) -> None:
        super().__init__()
        self.training = False  # this wrapper alone: .eval() would walk into the caller's model
        self.model = model
        self.raw = raw
        self.counter = counter or Counter()

    def forward(self, x: Tensor) -> Any:
        """(M, *size) → the model's output (M, ...), or what it returned."""
        self.counter.value += len(x)
        output = self.model(x.clone())  # it may write to what it gets
        return output if self.raw else output_tensor(output)

    def beside(self, model: nn.Module) -> Counted:
        """Another model, wrapped alike, that counts into the same counter."""
        return Counted(model, self.raw, self.counter)
