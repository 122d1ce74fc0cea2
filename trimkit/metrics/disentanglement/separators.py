"""Linear support vector machines on one feature, solved exactly for all classes at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trimkit.metrics.arrays import Floats, Integers

STEPS = 100
"""Newton steps at most; a problem of two unknowns needs about ten."""

HALVINGS = 40
"""Of a step that does not lower the objective."""

ACCURATE = 1e-9
"""Gradient at which a problem counts as solved, as a share of that at the start."""


def separators(x: Floats, labels: Integers, classes: int, penalty: float = 0.01) -> tuple[Floats, Floats]:
    """Slope w and offset b of each class against the rest; the class of x is that with the largest w·x + b.

    min ½(w² + b²) + C Σ_i c_i max(0, 1 − y_i (w x_i + b))², c_i the balanced weight n / (V n_v) for the class's own
    samples and 1 for the others: what LIBLINEAR solves for `LinearSVC(C=0.01, class_weight="balanced")`, which gives
    both sides their weight where there are two classes. Which samples are inside the margin is a prefix or suffix of
    the sorted x, so their sums are differences of cumulative ones and a Newton step costs O(V log n), not O(V n).

    Args:
        x: (n,) one feature.
        labels: (n,) classes 0 … V − 1; one that does not occur keeps w = b = 0.
        classes: V ≥ 2.
        penalty: C.
    Returns:
        w (V,) and b (V,).
    """
    problem = _Problem.of(x, labels, classes, penalty)
    at = np.zeros((2, len(problem.own)))  # rows w, b
    value, gradient, hessian = problem.evaluate(at)
    enough = ACCURATE * np.maximum(np.abs(gradient).max(0), 1)
    for _ in range(STEPS):
        open_ = np.abs(gradient).max(0) > enough
        if not open_.any():
            break
        step = -np.linalg.solve(hessian, gradient.T[..., None])[..., 0].T * open_
        at = problem.lowered(at, step, value, gradient)
        value, gradient, hessian = problem.evaluate(at)
    w, b = at
    return (np.array([-w[0], w[0]]), np.array([-b[0], b[0]])) if classes == 2 else (w, b)


@dataclass(frozen=True)
class _Problem:
    """V problems on one sorted feature.

    Attributes:
        x: (n,) sorted.
        own: (V,) weights of the class's samples.
        rest: (V,) weights of the others.
        sums: (n + 1, 3, V) number, Σx and Σx² of the class's samples among the first 0 … n.
        all: (n + 1, 3) the same of all samples.
    """

    x: Floats
    own: Floats
    rest: Floats
    sums: Floats
    all: Floats

    @classmethod
    def of(cls, x: Floats, labels: Integers, classes: int, penalty: float) -> _Problem:
        order = np.argsort(x, kind="stable")
        x, labels = x[order], labels[order]
        powers = np.stack([np.ones_like(x), x, x * x], axis=1)
        member = labels[:, None] == np.arange(classes)
        counts = member.sum(0)
        balanced = np.where(counts > 0, len(x) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0)
        own, rest = penalty * balanced, np.where(counts > 0, penalty, 0.0)
        if classes == 2:
            own, rest, member = own[1:], own[:1], member[:, 1:]
        return cls(x, own, rest, _cumulated(powers[:, :, None] * member[:, None, :]), _cumulated(powers))

    def evaluate(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """Objective (V,), gradient (2, V) and Hessian (V, 2, 2) at (w, b)."""
        w, b = at
        inside = [c * s for c, s in zip((self.own, self.rest), self._inside(w, b), strict=True)]  # each (3, V)
        n, first, second = inside[0] + inside[1]
        pull = inside[0] - inside[1]  # Σ c y of 1, x, x²
        value = 0.5 * (w * w + b * b) + n - 2 * (w * pull[1] + b * pull[0])
        value += w * w * second + 2 * w * b * first + b * b * n
        gradient = np.stack([w + 2 * (w * second + b * first - pull[1]), b + 2 * (w * first + b * n - pull[0])])
        hessian = np.stack([1 + 2 * second, 2 * first, 2 * first, 1 + 2 * n], axis=-1).reshape(-1, 2, 2)
        return value, gradient, hessian

    def lowered(self, at: Floats, step: Floats, value: Floats, gradient: Floats) -> Floats:
        """The point after a step, halved in each problem until it lowers its objective enough (Armijo)."""
        slope = (gradient * step).sum(0)
        size = np.ones_like(value)
        for _ in range(HALVINGS):
            high = self.evaluate(at + size * step)[0] > value + 1e-4 * size * slope + 1e-12 * np.abs(value)
            if not high.any():
                break
            size[high] /= 2
        return at + size * step

    def _inside(self, w: Floats, b: Floats) -> tuple[Floats, Floats]:
        """Sums (3, V) over the class's samples with w·x + b < 1, and over the others with w·x + b > −1."""
        problem = np.arange(len(w))
        first, last = self._below(w, 1 - b)
        own = self.sums[last, :, problem] - self.sums[first, :, problem]
        first, last = self._below(-w, 1 + b)
        rest = self.all[last] - self.all[first] - (self.sums[last, :, problem] - self.sums[first, :, problem])
        return own.T, rest.T

    def _below(self, w: Floats, t: Floats) -> tuple[Integers, Integers]:
        """The range of sorted samples with w·x < t, one a problem."""
        with np.errstate(over="ignore"):
            at = t / np.where(w == 0, 1, w)
        first = np.where(w < 0, np.searchsorted(self.x, at, "right"), 0)
        last = np.where(w > 0, np.searchsorted(self.x, at, "left"), len(self.x))
        return first, np.where((w == 0) & (t <= 0), 0, last)


def _cumulated(values: Floats) -> Floats:
    """Sums of the first 0 … n rows."""
    return np.concatenate([np.zeros((1, *values.shape[1:])), values.cumsum(0)])
