"""What a method in training achieves on held-out data: its best weights, and when nothing gets better any more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from trimkit.methods import Method
from trimkit.training.steps import PhaseReport


@dataclass(frozen=True)
class Moment:
    """Where a run is, for the user's functions.

    Attributes:
        step: steps that are done.
        total: steps that are asked for.
        method: in training, as it is: with its running weights, not their averages.
        reports: name of each phase → what its newest step did, on this process.
        evaluation: the newest numbers on held-out data; {} where there are none.
    """

    step: int
    total: int
    method: Method
    reports: Mapping[str, PhaseReport]
    evaluation: Mapping[str, Any]


Callback: TypeAlias = Callable[[Moment], Any]
"""Called after a step or an evaluation, in every process; True ends the run there, complete."""


class Validation:
    """The best weights so far by the loss on held-out data, and how long they have been the best.

    Args:
        patience: evaluations without a better one after which the run ends; None for never.

    Attributes:
        best: step and loss of the best evaluation; {} before the first.
        numbers: of the newest evaluation.
    """

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self._waited = 0
        self._weights: dict[str, Tensor] = {}
        self.best: dict[str, float] = {}
        self.numbers: dict[str, Any] = {}

    def judge(self, step: int, numbers: Mapping[str, Any], method: Method) -> None:
        """Count in an evaluation, and keep the method's weights where its loss is the smallest.

        Args:
            step: steps that are done.
            numbers: of the evaluation, with "loss"; one that is not finite is no better than any.
            method: with the weights that were evaluated.
        """
        self.numbers = dict(numbers)
        loss = float(numbers["loss"])
        if math.isfinite(loss) and loss < self.best.get("loss", math.inf):
            self.best = {"step": step, "loss": loss}
            self._weights = {name: value.detach().cpu().clone() for name, value in method.state_dict().items()}
            self._waited = 0
        else:
            self._waited += 1

    @property
    def exhausted(self) -> bool:
        """True where the run is to end."""
        return self._patience is not None and self._waited >= self._patience

    def apply(self, method: Method) -> None:
        """Put the best weights into a method."""
        method.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        """Everything that later evaluations depend on, in plain containers."""
        if not self.numbers:
            return {}
        return {"best": self.best, "waited": self._waited, "weights": self._weights, "numbers": self.numbers}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        if state:
            self.best, self._waited = dict(state["best"]), int(state["waited"])
            self._weights, self.numbers = dict(state["weights"]), dict(state["numbers"])
