"""Learning rates that change over a run."""

from __future__ import annotations

import math

import torch

from trimkit.errors import OptionError
from trimkit.methods import Schedule


class LearningRate:
    """An optimiser's learning rate: what it was made with, times a factor of the step.

    Nothing is carried from step to step: the rate is set before each one, also over the rate that a restored optimiser
    brings from the step at which it was saved.

    Args:
        optimiser: as it was made, with its full rate.
        factor: see `trimkit.methods.Phase`; None leaves the rate alone.
        phase: name, for messages.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, factor: Schedule | None, phase: str) -> None:
        self._optimiser = optimiser
        self._full = [group["lr"] for group in optimiser.param_groups]
        self._factor = factor
        self._phase = phase

    def set(self, step: int) -> None:
        """Set the rate of a step, from 0 over the whole run.

        Raises:
            OptionError: a factor that is no finite number ≥ 0.
        """
        if self._factor is None:
            return
        factor = self._factor(step) if callable(self._factor) else self._factor
        if not (math.isfinite(factor) and factor >= 0):
            raise OptionError(
                f"phase {self._phase!r}: expected a finite rate ≥ 0 at step {step}, got {factor}; it is a factor of "
                "the learning rate, such as 'cosine(1, 0, 20000)'"
            )
        for group, full in zip(self._optimiser.param_groups, self._full, strict=True):
            group["lr"] = full * factor
