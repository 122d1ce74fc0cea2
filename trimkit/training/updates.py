"""What surrounds an optimiser's step: the learning rate before it, the running averages of parameters after it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError
from trimkit.methods import Phase, Schedule


def decay_at(decay: float, step: int) -> float:
    """min(d, (1 + t) / (10 + t)) at step t, from 0: a young average forgets its first values sooner.

    Without it the initial, random weights still count d^t after t steps: a tenth after 2,300 steps of d = 0.999.
    """
    return min(decay, (1 + step) / (10 + step))


class Averages:
    """average ← d_t · average + (1 − d_t) · parameter, once after each step that moved it, from its initial value.

    d_t is that of `decay_at`. A parameter of several phases, such as one that a lazy penalty moves too, is averaged
    when all of them have had their turn.

    Args:
        module: that has the parameters, on its device.
        phases: whose parameters may be averaged, by the decay of the first that has one.
        decay: d for all phases; None for each phase's own.
    """

    def __init__(self, module: nn.Module, phases: list[Phase], decay: float | None = None) -> None:
        self._parameters = dict(module.named_parameters())
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        self._decays: dict[str, float] = {}
        for phase in phases:
            chosen = phase.ema if decay is None else decay
            if chosen:
                self._decays = {names[id(parameter)]: chosen for parameter in phase.parameters} | self._decays
        self._moved_by = {phase.name: {names[id(parameter)] for parameter in phase.parameters} for phase in phases}
        self._averages = {name: self._parameters[name].detach().clone() for name in self._decays}
        self._moved: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._averages)

    def mark_moved(self, phase: str) -> None:
        """Note that a phase has taken its step, so that its parameters are counted in at the next `update`."""
        self._moved |= self._moved_by[phase]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Count in what phases have moved since the last call, after all their turns at a step, from 0."""
        for name, average in self._averages.items():
            if name in self._moved:
                average.lerp_(self._parameters[name], 1 - decay_at(self._decays[name], step))
        self._moved.clear()

    @torch.no_grad()
    def apply(self) -> None:
        """Put the averages in the place of the parameters, for good."""
        for name, average in self._averages.items():
            self._parameters[name].copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages in the place of the parameters for a while."""
        raw = {name: self._parameters[name].detach().clone() for name in self._averages}
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in raw.items():
                    self._parameters[name].copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Name of each averaged parameter → its average."""
        return dict(self._averages)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state.

        Raises:
            ValueError: it is of other parameters.
        """
        if state.keys() != self._averages.keys():
            raise ValueError(f"averages of {sorted(state)} do not fit those of {sorted(self._averages)}")
        for name, average in self._averages.items():
            average.copy_(state[name])


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
