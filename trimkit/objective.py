"""Named, weighted, scheduled terms → one loss and its breakdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from trimkit.errors import OptionError, ShapeError, nearest

Schedule: TypeAlias = float | Callable[[int], float]
"""A weight: a number, or a function of the step (an integer from 0)."""


Weight: TypeAlias = float | str | Callable[[int], float]
"""A schedule, or its text as in files and on the command line, see `as_schedule`."""


def constant(value: float) -> Callable[[int], float]:
    """A weight that stays."""
    return lambda step: value


def linear(start: float, end: float, steps: int) -> Callable[[int], float]:
    """From ``start`` to ``end`` in ``steps`` steps, then ``end``; rising or falling.

    >>> [linear(0.0, 1.0, steps=4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    _check_steps(steps)
    return lambda step: start + (end - start) * min(step / steps, 1.0)


def cosine(start: float, end: float, steps: int) -> Callable[[int], float]:
    """As `linear`, along half a cosine: flat at both ends."""
    _check_steps(steps)
    return lambda step: end + (start - end) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2


def as_schedule(weight: Weight) -> Schedule:
    """A weight as it is typed in files and on the command line.

    Args:
        weight: a number or a function, returned as it is; or text: ``"0.5"``, ``"linear(0, 4, 5000)"``,
            ``"cosine(0, 1, 5000)"`` for start, end and steps.
    Raises:
        OptionError: text that is neither.

    >>> as_schedule("linear(0, 4, 100)")(50)
    2.0
    """
    if not isinstance(weight, str):
        return weight
    match = re.fullmatch(r"\s*(linear|cosine)\(([^,()]+),([^,()]+),([^,()]+)\)\s*", weight)
    try:
        if match is None:
            return float(weight)
        shape = {"linear": linear, "cosine": cosine}[match[1]]
        return shape(float(match[2]), float(match[3]), int(match[4]))
    except ValueError as error:
        raise OptionError(
            f"expected a weight such as 0.5, 'linear(0, 4, 5000)' or 'cosine(0, 1, 5000)', got {weight!r}"
        ) from error


@dataclass(frozen=True)
class Term:
    """One named number of a loss, unweighted.

    Attributes:
        values: (N,) one value a sample, in nats where it is a likelihood or divergence; or a scalar that is a statistic
            of the batch (|mean KL − C|, MMD), which means over devices or accumulated batches do not reproduce.
    """

    values: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim > 1:
            raise ShapeError(
                f"expected one value a sample (N,) or a scalar of the batch, got {tuple(self.values.shape)}"
            )

    @property
    def batch_statistic(self) -> bool:
        """True where the term has no value a sample."""
        return self.values.ndim == 0

    @property
    def mean(self) -> Tensor:
        """Scalar that enters the loss."""
        return self.values.mean()


@dataclass(frozen=True)
class Part:
    """A term's share of a loss, for logs: its unweighted mean, detached, and the weight of this step."""

    value: Tensor
    weight: float

    @property
    def weighted(self) -> Tensor:
        """weight · value; 0 where the weight is 0, also for a value that is not finite."""
        return self.weight * self.value if self.weight else torch.zeros_like(self.value)


class Objective:
    """L = Σ weight_k(step) · mean(term_k).

    Args:
        weights: name → `Schedule`. A term of weight 0 is reported, and left out of the graph.
    Raises:
        OptionError: no weight, or one that is neither a finite number nor a function.

    Example:
        >>> import torch
        >>> objective = Objective({"task": 1.0, "sparsity": linear(0.0, 0.1, steps=100)})
        >>> loss, parts = objective({"task": torch.tensor(2.0), "sparsity": torch.tensor([1.0, 3.0])}, step=50)
        >>> round(float(loss), 3), round(float(parts["sparsity"].weighted), 3)
        (2.1, 0.1)
    """

    def __init__(self, weights: Mapping[str, Schedule]) -> None:
        if not weights:
            raise OptionError("Objective: expected at least one weighted term, got none")
        for name, weight in weights.items():
            if not callable(weight) and not (isinstance(weight, int | float) and math.isfinite(weight)):
                raise OptionError(f"Objective: expected a finite number or a schedule for {name!r}, got {weight!r}")
        self.weights = dict(weights)

    def weight(self, name: str, step: int) -> float:
        """The weight of a term at a step."""
        schedule = self.weights[name]
        return float(schedule(step)) if callable(schedule) else float(schedule)

    def __call__(self, terms: Mapping[str, Term | Tensor], step: int = 0) -> tuple[Tensor, dict[str, Part]]:
        """One loss and its breakdown.

        Args:
            terms: name → term, or a tensor (N,) or scalar; exactly the names that have weights.
            step: for the schedules, from 0.
        Returns:
            Scalar loss, and each term's part by name.
        Raises:
            OptionError: a term without weight or a weight without term.
        """
        self._check_names(terms)
        means = {name: (term if isinstance(term, Term) else Term(term)).mean for name, term in terms.items()}
        parts = {name: Part(mean.detach(), self.weight(name, step)) for name, mean in means.items()}
        counted = [part.weight * means[name] for name, part in parts.items() if part.weight]
        loss = torch.stack(counted).sum() if counted else torch.zeros_like(next(iter(means.values())))
        return loss, parts

    def _check_names(self, terms: Mapping[str, Term | Tensor]) -> None:
        for name in terms:
            if name not in self.weights:
                raise OptionError(f"Objective: term {name!r} has no weight. {nearest(name, self.weights)}")
        missing = sorted(set(self.weights) - set(terms))
        if missing:
            raise OptionError(f"Objective: expected the terms {missing} too, got {sorted(terms)}")


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise OptionError(f"schedule: expected steps ≥ 1, got {steps}")
