"""Dependence that is left between components, on rows that the fit did not see, beside what chance gives.

The null permutes every column on its own, which keeps the marginal distributions and destroys all dependence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn import config_context

from trimkit.metrics.arrays import Floats
from trimkit.metrics.bootstrap import DRAWS, generator, row_weights, weighted_means
from trimkit.metrics.independence.components import mutual_information_matrix, squared_correlations
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number, samples_needed
from trimkit_ica.assumptions.fitted import Unmixing, decides, standardised
from trimkit_ica.assumptions.space import TAILS, Z95

PERMUTATIONS = 199
"""Of the columns, for correlations of squares: its 95 % quantile is the 190th value."""

INFORMATION_PERMUTATIONS = 19
"""For mutual information, which is dear: the data must exceed the largest, which is a test at 5 % exactly."""

INFORMATION_ROWS = 1000
"""Rows at most for mutual information."""

HALF_SAMPLES = 20
"""Random halves of the rows that give its standard error."""


@dataclass(frozen=True)
class Dependence:
    """One measure of dependence, between all pairs.

    Attributes:
        matrix: (k, k), symmetric; its diagonal means nothing.
        pair: (i, j) of the largest magnitude.
        estimate: the largest magnitude, with its interval.
        chance: 95 % quantile of the largest magnitude under the null.
        n: rows.
        settings: how it was measured.
        most: rows beyond which more are not looked at; None for no limit.
    """

    matrix: Floats
    pair: tuple[int, int]
    estimate: Estimate
    chance: float
    n: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    most: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values; the pair is counted from 1, as on the page."""
        pair = [i + 1 for i in self.pair]
        return {"matrix": self.matrix.tolist(), "largest": pair, "chance": self.chance, "n": self.n}


def measure_squares(fitted: Unmixing) -> Dependence:
    """Correlations of s_i² and s_j². The interval resamples rows, for the pair with the largest."""
    s = standardised(fitted.sources)
    matrix = squared_correlations(s)
    pair, value = largest(matrix)
    low, high = _correlation_interval(s[:, pair[0]] ** 2, s[:, pair[1]] ** 2, fitted.seed)
    null = _null(s, squared_correlations, PERMUTATIONS, fitted.seed, "squares")
    settings = {
        "null": f"columns permuted, {PERMUTATIONS} times",
        "interval": "test rows resampled, for the largest pair",
        "draws": DRAWS,
    }
    chance = float(np.quantile(null, 0.95, method="higher"))
    return Dependence(matrix, pair, Estimate(value, min(low, value), max(high, value)), chance, len(s), settings)


def measure_information(fitted: Unmixing) -> Dependence:
    """Mutual information by nearest neighbours. The interval is that of a delete-half jackknife, for the largest pair.

    A random half has about √2 times the standard error of the whole, and the same rows: the spread of halves round
    their whole is the standard error of the whole (Shao and Wu 1989).
    """
    s = standardised(fitted.sources)[:INFORMATION_ROWS]

    def measure(t: Floats) -> Floats:
        with config_context(assume_finite=True, skip_parameter_validation=True):  # a third of the time, otherwise
            return mutual_information_matrix(t, samples=len(t), seed=fitted.seed)

    matrix = measure(s)
    pair, value = largest(matrix)
    draws = generator(fitted.seed, "halves of information")
    parts = [draws.permutation(len(s))[: len(s) // 2] for _ in range(HALF_SAMPLES)]
    error = Z95 * float(np.std([measure(s[part][:, pair])[0, 1] for part in parts], ddof=1))
    null = _null(s, measure, INFORMATION_PERMUTATIONS, fitted.seed, "information")
    settings = {
        "estimator": "3 nearest neighbours, nats",
        "null": f"columns permuted, {INFORMATION_PERMUTATIONS} times",
        "interval": f"delete-half jackknife, {HALF_SAMPLES} halves, for the largest pair",
    }
    estimate = Estimate(value, max(0.0, value - error), value + error)
    return Dependence(matrix, pair, estimate, max(null), len(s), settings, INFORMATION_ROWS)


def squares_verdict(fitted: Unmixing, dependence: Dependence) -> Verdict:
    """Do the components' squares correlate, such as where their variances rise and fall together?"""
    return _verdict(
        fitted, dependence, fitted.limits.squares, "independence of squares", "Do the components' squares correlate?"
    )


def information_verdict(fitted: Unmixing, dependence: Dependence) -> Verdict:
    """Does any component tell anything about another?"""
    question = "Does a component tell anything about another?"
    return _verdict(fitted, dependence, fitted.limits.information, "mutual information", question)


def compare(dependence: Dependence, tolerance: float) -> tuple[Status, int | None]:
    """What a dependence beside its null says, and how many more rows would decide.

    No more than chance: PASS where chance is at most the tolerance, so that more would have shown; else INCONCLUSIVE.
    More than chance: WARN where the interval lies below the tolerance, FAIL where it lies above, else INCONCLUSIVE.
    """
    if dependence.estimate.value <= dependence.chance:
        if dependence.chance <= tolerance:
            return Status.PASS, None
        return Status.INCONCLUSIVE, math.ceil(dependence.n * ((dependence.chance / tolerance) ** 2 - 1))
    side = judge(dependence.estimate, tolerance, "≤")
    if side is Status.INCONCLUSIVE:
        return side, samples_needed(dependence.estimate, tolerance, dependence.n)
    return (Status.WARN if side is Status.PASS else side), None


def largest(matrix: Floats) -> tuple[tuple[int, int], float]:
    """The pair i < j of the largest magnitude off the diagonal, and that magnitude."""
    above = np.triu(np.abs(matrix), 1)
    i, j = np.unravel_index(int(above.argmax()), above.shape)
    if i >= j:
        i, j = 0, 1
    return (int(i), int(j)), float(above[i, j])


def _null(s: Floats, measure: Callable[[Floats], Floats], times: int, seed: int, purpose: str) -> list[float]:
    """Largest magnitudes where every column is permuted on its own."""
    draws = generator(seed, f"null of {purpose}")
    return [largest(measure(draws.permuted(s, axis=0)))[1] for _ in range(times)]


def _correlation_interval(a: Floats, b: Floats, seed: int) -> tuple[float, float]:
    """Of the magnitude of the correlation of two columns: percentiles over resampled rows."""
    weights = row_weights(len(a), DRAWS, generator(seed, "interval of squares"))
    a, b = a - a.mean(), b - b.mean()
    mean_a, mean_b, aa, bb, ab = weighted_means(np.stack([a, b, a * a, b * b, a * b], axis=1), weights).T
    scale = np.sqrt(((aa - mean_a**2) * (bb - mean_b**2)).clip(min=np.finfo(np.float64).tiny))
    correlations = (ab - mean_a * mean_b) / scale
    sign = 1.0 if correlations.mean() >= 0 else -1.0
    low, high = np.quantile(sign * correlations, TAILS)
    return float(low), float(high)


def _verdict(fitted: Unmixing, dependence: Dependence, tolerance: float, name: str, question: str) -> Verdict:
    status, needed = compare(dependence, tolerance)
    if needed is not None and dependence.most is not None and dependence.n + needed > dependence.most:
        needed = None
    needed = fitted.in_all(needed, len(fitted.sources))
    return Verdict(
        name,
        question,
        status,
        _sentence(status, dependence, tolerance) + decides(needed),
        dependence.estimate,
        max(dependence.chance, tolerance),
        "≤",
        dependence.n,
        fitted.seed,
        settings=fitted.settings(**dependence.settings, chance=number(dependence.chance), tolerance=tolerance),
        samples_needed=needed,
    )


def _sentence(status: Status, dependence: Dependence, tolerance: float) -> str:
    i, j = (index + 1 for index in dependence.pair)
    value, chance = number(dependence.estimate.value), number(dependence.chance)
    if status is Status.PASS:
        return f"No pair shows more than chance does: the largest is {value}, chance gives up to {chance}."
    if dependence.estimate.value <= dependence.chance:
        return f"Chance alone gives up to {chance} with so few rows, more than the {number(tolerance)} looked for."
    more = f"Components {i} and {j} depend on each other: {value}, where chance gives up to {chance}"
    if status is Status.FAIL:
        return f"{more}. They are not independent."
    if status is Status.WARN:
        return f"{more}; that is more than chance, but small."
    return f"{more}; whether by more than {number(tolerance)} is open."
