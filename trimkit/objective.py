"""Named, weighted, scheduled terms → one loss and its breakdown."""

from __future__ import annotations

import math
import numbers
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


def cyclical(start: float, end: float, period: int) -> Callable[[int], float]:
    """Again and again from ``start`` to ``end``: linear in the first half of a period, then ``end`` (Fu et al. 2019).

    >>> [cyclical(0.0, 1.0, period=4)(step) for step in (0, 1, 2, 3, 4)]
    [0.0, 0.5, 1.0, 1.0, 0.0]
    """
    _check_steps(period)
    return lambda step: start + (end - start) * min(2 * (step % period) / period, 1.0)


def one_cycle(start: float, peak: float, steps: int) -> Callable[[int], float]:
    """From ``start`` to ``peak`` in the first 30 % of the steps, then to 0, each along half a cosine.

    For learning rates: Smith & Topin 2018 (arXiv:1708.07120).

    >>> [round(one_cycle(0.0, 1.0, steps=10)(step), 3) for step in (0, 3, 10, 11)]
    [0.0, 1.0, 0.0, 0.0]
    """
    _check_steps(steps)
    rising = max(round(0.3 * steps), 1)
    up, down = cosine(start, peak, rising), cosine(peak, 0.0, max(steps - rising, 1))
    return lambda step: up(step) if step < rising else down(step - rising)


def as_schedule(weight: Weight) -> Schedule:
    """A weight as it is typed in files and on the command line.

    Args:
        weight: a number or a function, returned as it is; or text: ``"0.5"``, ``"linear(0, 4, 5000)"``,
            ``"cosine(0, 1, 5000)"`` for start, end and steps, ``"cyclical(0, 1, 5000)"`` for start, end and period; see
            the functions of these names; ``"one_cycle(0.04, 1, 5000)"``, for learning rates.
    Raises:
        OptionError: text that is neither.

    >>> as_schedule("linear(0, 4, 100)")(50)
    2.0
    """
    if not isinstance(weight, str):
        return weight
    match = re.fullmatch(r"\s*(linear|cosine|cyclical|one_cycle)\(([^,()]+),([^,()]+),([^,()]+)\)\s*", weight)
    try:
        if match is None:
            return float(weight)
        numbers = float(match[2]), float(match[3]), int(match[4])
    except ValueError as error:
        raise OptionError(
            "expected a weight such as 0.5, 'linear(0, 4, 5000)', 'cosine(0, 1, 5000)', 'cyclical(0, 1, 5000)' or "
            f"'one_cycle(0.04, 1, 5000)', got {weight!r}"
        ) from error
    return {"linear": linear, "cosine": cosine, "cyclical": cyclical, "one_cycle": one_cycle}[match[1]](*numbers)


def require_weights(**weights: Weight) -> None:
    """Refuse options that are no weights: text that is none, and numbers below 0; a function is taken as it is.

    Args:
        weights: by the names of the options.
    Raises:
        OptionError: the first that is none.

    >>> require_weights(beta=4, gamma="linear(0, 1, 100)")
    >>> require_weights(beta=-1)
    Traceback (most recent call last):
    trimkit.errors.OptionError: expected beta ≥ 0, got -1
    """
    for name, weight in weights.items():
        schedule = as_schedule(weight)
        if not callable(schedule) and not 0 <= schedule < math.inf:
            raise OptionError(f"expected {name} ≥ 0, got {weight}")


@dataclass(frozen=True)
class Term:
    """One named number of a loss, unweighted.

    Attributes:
        values: (N,) one value a sample, in nats where it is a likelihood or divergence; or a scalar that is a statistic
            of the batch (|mean KL − C|, MMD), which means over devices or accumulated batches do not reproduce. A
            python or numpy number becomes a scalar, a constant that trains nothing.

    Raises:
        OptionError: neither a tensor nor a number.
        ShapeError: more than one axis, no value, or values that are not floating.
    """

    values: Tensor

    def __post_init__(self) -> None:
        if isinstance(self.values, numbers.Real):
            object.__setattr__(self, "values", torch.tensor(float(self.values)))
        if not isinstance(self.values, Tensor):
            raise OptionError(f"expected a tensor or a number as term, got {type(self.values).__name__}")
        if self.values.ndim > 1:
            raise ShapeError(
                f"expected one value a sample (N,) or a scalar of the batch, got {tuple(self.values.shape)}"
            )
        if not self.values.numel():
            raise ShapeError("expected at least one value, got an empty term (0,); leave out empty batches")
        if not self.values.is_floating_point():
            raise ShapeError(f"expected floating values, got {self.values.dtype}; convert them, e.g. with .float()")

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
            if not callable(weight) and not (isinstance(weight, numbers.Real) and math.isfinite(weight)):
                raise OptionError(f"Objective: expected a finite number or a schedule for {name!r}, got {weight!r}")
        self.weights = dict(weights)

    def weight(self, name: str, step: int) -> float:
        """The weight of a term at a step.

        Raises:
            OptionError: a schedule that gives anything but a finite number.
        """
        schedule = self.weights[name]
        if not callable(schedule):
            return float(schedule)
        given = schedule(step)
        try:
            weight = float(given)
        except (TypeError, ValueError, RuntimeError):
            weight = math.nan
        if not math.isfinite(weight):
            raise OptionError(
                f"Objective: expected a finite number from the schedule of {name!r} at step {step}, got {given!r}"
            )
        return weight

    def __call__(self, terms: Mapping[str, Term | Tensor | float], step: int = 0) -> tuple[Tensor, dict[str, Part]]:
        """One loss and its breakdown.

        Args:
            terms: name → term, or what `Term` takes; exactly the names that have weights.
            step: for the schedules, from 0.
        Returns:
            Scalar loss, and each term's part by name.
        Raises:
            OptionError: a term without weight, a weight without term, a schedule that gives no finite number, a term
                that is neither tensor nor number, or terms that could be trained and all weigh 0.
            ShapeError: a term of another shape, see `Term`.
        """
        self._check_names(terms)
        means = {name: _term(name, term).mean for name, term in terms.items()}
        parts = {name: Part(mean.detach(), self.weight(name, step)) for name, mean in means.items()}
        counted = [part.weight * means[name] for name, part in parts.items() if part.weight]
        if not counted and any(mean.requires_grad for mean in means.values()):
            raise OptionError(
                f"Objective: every weight is 0 at step {step}: nothing would be trained; give one of "
                f"{sorted(means)} a weight, start its warm-up above 0, or evaluate under torch.no_grad()"
            )
        return sum(counted, torch.zeros_like(next(iter(means.values())).detach())), parts

    def _check_names(self, terms: Mapping[str, Term | Tensor | float]) -> None:
        for name in terms:
            if name not in self.weights:
                raise OptionError(f"Objective: term {name!r} has no weight. {nearest(name, self.weights)}")
        missing = sorted(set(self.weights) - set(terms))
        if missing:
            raise OptionError(f"Objective: expected the terms {missing} too, got {sorted(terms)}")


def _term(name: str, given: Term | Tensor | float) -> Term:
    try:
        return given if isinstance(given, Term) else Term(given)  # type: ignore[arg-type]  # a Term makes it a tensor
    except (OptionError, ShapeError) as error:
        raise type(error)(f"Objective: term {name!r}: {error}") from error


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise OptionError(f"schedule: expected steps ≥ 1, got {steps}")
