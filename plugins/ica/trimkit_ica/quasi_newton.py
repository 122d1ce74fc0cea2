"""Minimisation of a smooth function of an unmixing matrix: preconditioned L-BFGS with a halving line search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

MEMORY = 7
"""Steps that the curvature is estimated from (Ablin, Cardoso, Gramfort 2018)."""

HALVINGS = 10
"""Of a step, before its direction is given up."""

ROUNDING = 1e-14
"""Relative increase of the loss that is that of its rounding."""


class Point(ABC):
    """An unmixing matrix W (k, k), and what the data say there.

    Which density a component has, super- or sub-Gaussian, is read off at each point: `signs`. Two points can be
    compared under the signs of one of them only.

    Attributes:
        matrix: W.
        signs: (k,), 1 or −1.
    """

    matrix: Tensor
    signs: Tensor

    @abstractmethod
    def loss(self, signs: Tensor) -> float:
        """The mean negative log-likelihood under these signs, in nats up to a constant."""

    @abstractmethod
    def gradient(self, signs: Tensor) -> Tensor:
        """Relative gradient (k, k): the loss after a step D changes by ⟨gradient, D⟩ to first order."""

    @abstractmethod
    def precondition(self, direction: Tensor) -> Tensor:
        """A positive definite approximation of the inverse Hessian, applied to a direction (k, k)."""

    @abstractmethod
    def moved(self, step: Tensor) -> Self:
        """The point after a relative step D (k, k)."""


@dataclass(frozen=True)
class Solution:
    """Where a minimisation ended.

    Attributes:
        matrix: W (k, k) in float64.
        converged: the largest entry of the gradient is below the tolerance.
        iterations: steps that were made.
    """

    matrix: Tensor
    converged: bool
    iterations: int


def minimise(point: Point, tol: float, most: int) -> Solution:
    """Go down from a point until the gradient is below the tolerance.

    Args:
        point: to start from.
        tol: of the gradient's largest entry.
        most: steps at most.
    Returns:
        The last point; not converged after that many steps, or where rounding lets the loss fall no further.
    """
    memory = Memory()
    for iteration in range(most + 1):
        gradient = point.gradient(point.signs)
        if float(gradient.abs().max()) < tol:
            return Solution(point.matrix, True, iteration)
        better = None
        if iteration < most:
            better = _search(point, -memory.times(gradient, point.precondition))
            better = better or _search(point, -point.precondition(gradient))
        if better is None:
            return Solution(point.matrix, False, iteration)
        new, step = better
        if bool((new.signs != point.signs).any()):
            memory = Memory()  # the curvature was that of other densities
        else:
            memory.add(step, new.gradient(new.signs) - gradient)
        point = new
    raise AssertionError("the last iteration returns")


def _search(point: Point, direction: Tensor) -> tuple[Point, Tensor] | None:
    """The first of the steps direction · 1, ½, ¼, … that does not raise the loss, and where it leads."""
    before = point.loss(point.signs)
    for _ in range(HALVINGS):
        new = point.moved(direction)
        if new.loss(point.signs) <= before + ROUNDING * abs(before):
            return new, direction
        direction = direction / 2
    return None


class Memory:
    """The last steps and the changes of the gradient over them."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step, if the curvature along it is positive; the inverse stays positive definite."""
        if float((step * change).sum()) > 0:
            self._pairs.append((step, change))

    def times(self, direction: Tensor, inverse: Callable[[Tensor], Tensor]) -> Tensor:
        """The estimated inverse Hessian times a direction, by the two-loop recursion (Nocedal 1980).

        Args:
            direction: (k, k).
            inverse: the inverse Hessian before anything is remembered.
        """
        weights = []
        for step, change in reversed(self._pairs):
            weight = (step * direction).sum() / (step * change).sum()
            direction = direction - weight * change
            weights.append(weight)
        product = inverse(direction)
        for (step, change), weight in zip(self._pairs, reversed(weights), strict=True):
            product = product + (weight - (change * product).sum() / (step * change).sum()) * step
        return product


def adapted_signs(score: Tensor) -> Tensor:
    """1 for super-Gaussian components, where E[tanh′(y)] E[y²] > E[tanh(y) y], and −1 for others.

    Args:
        score: (k,) that difference, 0 for a Gaussian (Stein's lemma).
    """
    return torch.where(score < 0, -1.0, 1.0).to(score)
